"""The steps of a scan: which trainings, from what, with which files."""

import pytest
from helpers import ROOT

from kd_trainer.errors import InputError
from kd_trainer.study import scan

SETTINGS = {
    "DATASET": "TopLandscape", "DATADIR": "/top", "PRETRAIN_DATASET": "demo", "PRETRAIN_DATADIR": "datasets/demo",
    "MODEL": "PFN", "TIER": "kin", "FRACTION": "0.1 1", "PRETRAIN_FRACTION": "0.5 1", "SEED": "1 2",
    "PRETRAIN_SEED": "1", "MODES": "scratch linear finetune", "HEAD_RATE": "10", "PRETRAIN_ARGS": "--num-epochs 50",
    "COMMENT": "_x",
}  # fmt: skip


@pytest.fixture
def steps(monkeypatch):
    """Function of changes of the settings: {run: step}, in order."""
    monkeypatch.chdir(ROOT)

    def of(*, find=lambda pattern: [pattern], **changes):
        settings = {name: value for name, value in {**SETTINGS, **changes}.items() if value}
        return {step.run: step for step in scan.of_settings(settings, ("--num-epochs", "2"), find)}

    return of


def names(steps, kind):
    return [run for run, step in steps.items() if step.kind == kind]


def test_trainings(steps):
    found = steps()
    assert names(found, "pretrain") == [f"demo_PFN_kin_pretrained_{size}_seed1_x" for size in ("0.5", "1")]
    labelled = names(found, "labelled")
    assert len(labelled) == len(set(labelled)) == 2 * 2 * (1 + 2 + 2)
    step = found["TopLandscape_PFN_kin_finetune_from_demo_0.5_0.1_seed2_x"]
    assert step.command == (
        "MODEL=PFN TIER=kin COMMENT=_x DATASET=TopLandscape DATADIR=/top FRACTION=0.1 SEED=2 HEAD_RATE=10 "
        "PRETRAIN_DATASET=demo PRETRAIN_FRACTION=0.5 PRETRAIN_SEED=1 RESTART=changed "
        "train_scripts/train_ssl.sh finetune --num-epochs 2"
    )
    first = found["demo_PFN_kin_pretrained_0.5_seed1_x"]
    assert set(first.outputs) < set(step.inputs) and "training/" + step.run + "/pred.root" in step.outputs
    assert "PRETRAIN_ARGS='--num-epochs 50'" in first.command and "DATADIR" not in first.settings  # the usual one
    assert {"/top/train_file.parquet", "/top/test_file.parquet", "networks/PFN.py", "networks/finetune.py",
            "data/TopLandscape/TopLandscape_kin.yaml", "train_scripts/models/PFN.sh"} < set(step.inputs)  # fmt: skip
    scratch = found["TopLandscape_PFN_kin_scratch_1_seed1_x"]
    assert not any(path.startswith("training/") for path in scratch.inputs)
    assert not any("PRETRAIN" in name or name == "HEAD_RATE" for name in scratch.settings)


def test_a_part_of_a_dataset(steps, tmp_path):
    settings = {"PRETRAIN_DATASET": "JetClassII", "PRETRAIN_DATADIR": str(tmp_path), "FILES": "found",
                "MODES": "linear"}  # fmt: skip
    with pytest.raises(InputError, match="none of the 200 files Res2P_0000.parquet to Res2P_0199.parquet is in"):
        steps(**settings)
    (tmp_path / "Pythia").mkdir()
    there = [f"{tmp_path}/Pythia/{name}.parquet" for name in
             ("Res2P_0007", "Res34P_0001", "QCD_0000", "Res2P_0200", "Res34P_0860", "QCD_0280")]  # fmt: skip
    for path in there:
        open(path, "w").close()
    (tmp_path / "top").mkdir()
    for name in ("train", "val", "test"):
        (tmp_path / "top" / f"{name}_file.parquet").touch()
    found = steps(**settings, DATADIR=str(tmp_path / "top"))
    step = found["JetClassII_PFN_kin_pretrained_1_seed1_x"]
    assert [path for path in step.inputs if path.endswith(".parquet")] == there
    assert step.settings["FILES"] == "found"


def test_a_pretraining_for_each_seed(steps):
    found = steps(PRETRAIN_SEED="each", MODES="linear")
    runs = [f"demo_PFN_kin_pretrained_{size}_seed{seed}_x" for size in ("0.5", "1") for seed in (1, 2)]
    assert names(found, "pretrain") == runs
    step = found["TopLandscape_PFN_kin_linear_from_demo_1_0.1_seed2_x"]
    assert step.settings["PRETRAIN_SEED"] == "2" and f"training/{runs[-1]}/net_record.json" in step.inputs


def test_from_a_given_checkpoint(steps):
    found = steps(PRETRAINED="/given.pt")
    assert not names(found, "pretrain") and len(names(found, "labelled")) == 2 * 2 * 3
    assert "/given.pt" in found["TopLandscape_PFN_kin_linear_1_seed1_x"].inputs
    assert "/given.pt" not in found["TopLandscape_PFN_kin_scratch_1_seed1_x"].inputs


def test_what_is_compared(steps):
    *_, report = steps(MODES="scratch linear", PRETRAIN_FRACTION="0.5", FRACTION="0.1").values()
    scratch = [f"training/TopLandscape_PFN_kin_scratch_0.1_seed{seed}_x" for seed in (1, 2)]
    linear = [f"training/TopLandscape_PFN_kin_linear_from_demo_0.5_0.1_seed{seed}_x" for seed in (1, 2)]
    assert report.arguments[:2] == (
        f"scratch:{scratch[0]}/labelled_0.1.json={scratch[0]}/pred.root,{scratch[1]}/pred.root",
        "linear:training/demo_PFN_kin_pretrained_0.5_seed1_x/unlabelled_0.5.json:"
        f"{linear[0]}/labelled_0.1.json={linear[0]}/pred.root,{linear[1]}/pred.root",
    )
    assert report.inputs == tuple(f"{folder}/pred.root" for folder in (*scratch, *linear))
    assert report.kind == "report" and "training/TopLandscape_PFN_kin_scan_x/efficiency.md" in report.outputs


def test_one_at_a_time_takes_all_cores(steps):
    assert all(step.alone for step in steps(JOBS="1").values() if step.kind != "report")
    assert not any(step.alone for step in steps(JOBS="2").values())


def test_without_files(steps):
    with pytest.raises(InputError, match="there is no file /top/train_file.parquet"):
        steps(find=lambda pattern: [] if "/top/" in pattern else [pattern])
