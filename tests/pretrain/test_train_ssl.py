"""The driver of pre-training, run as a user runs it: a scan, in part through the real weaver command, and it again."""

import json
import os

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT, fork_bin, random_jets, run
from weaver.utils.data.fileio import _write_root
from weaver.utils.dataset import DataConfig, _load_next
from weaver.utils.import_tools import import_module

from kd_trainer.evaluate.predictions import read
from kd_trainer.pretrain.contrastive import as_contrastive

PRETRAINED = "demo_PFN_kin_pretrained_1_seed1"
LINEAR = "TopLandscape_PFN_kin_linear_from_demo_1_0.3_seed1"
MODES = ("scratch", "linear", "finetune")
SETTINGS = {"DATASET": "TopLandscape", "PRETRAIN_DATASET": "demo", "MODEL": "PFN", "FRACTION": 0.3}
SHORT = ("--num-epochs", 1, "--batch-size", 32, "--samples-per-epoch", 64, "--samples-per-epoch-val", 64)
# in place of weaver: notes its arguments and leaves what a training leaves; one linear probe goes on to the real one
WEAVER = """#!/usr/bin/env bash
case "$*" in *_linear_*_seed1/pred.root*) exec "$REAL_WEAVER" "$@" ;; esac
echo "$*" >>"$NOTES"
while (($#)); do
    case $1 in
        --model-prefix) cp "$ENCODER" "$2_best_epoch_state.pt" ;;
        --predict-output) cp "$PREDICTION" "$2" ;;
    esac
    shift
done
"""


def network():
    """The ordinary network of the runs with labels: (model, its info, data config)."""
    config = DataConfig.load(str(ROOT / "data" / "TopLandscape" / "TopLandscape_kin.yaml"), load_observers=False)
    return *import_module(str(ROOT / "networks" / "PFN.py")).get_model(config), config


def train_ssl(folder, *args, check=True, **env):
    env = {"PATH": f"{fork_bin()}:{os.environ['PATH']}", **env}
    return run(folder / "train_scripts" / "train_ssl.sh", *args, check=check, cwd=folder.parent, env=env)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for seed, split in enumerate(("train", "val", "test")):
        (folder / split).mkdir()
        jets = random_jets(120, particles=30, seed=seed)
        jets["event_number"] = np.arange(120)
        ak.to_parquet(jets, folder / split / "jets.parquet")
    top = jets.label == 1
    columns = {"jet_isTop": top, "score_jet_isTop": 0.6 - 0.2 * top}
    columns |= {"jet_isQCD": ~top, "score_jet_isQCD": 0.4 + 0.2 * top, "_label_": 1 - jets.label, "jet_pt": jets.jet_pt}
    _write_root(str(folder / "pred.root"), ak.Array(columns))
    return folder


@pytest.fixture(scope="module")
def settings(data):
    """Of a scan: without the seeds and modes."""
    (data / "bin").mkdir()
    (data / "bin" / "weaver").write_text(WEAVER)
    (data / "bin" / "weaver").chmod(0o755)
    encoder = as_contrastive(network()[0], projection=(4,), temperature=0.1)
    torch.save(encoder.state_dict(), data / "encoder.pt")
    files = {"NOTES": "notes", "PREDICTION": "pred.root", "ENCODER": "encoder.pt"}
    stub = {"REAL_WEAVER": fork_bin() / "weaver", **{name: data / file for name, file in files.items()}}
    path = f"{data / 'bin'}:{fork_bin()}:{os.environ['PATH']}"
    ours = {"DATADIR": data, "PRETRAIN_DATADIR": data, "SEED": "1 2 3", "PRETRAIN_ARGS": "--num-epochs 2"}
    return {**SETTINGS, **stub, **ours, "PATH": path}


@pytest.fixture(scope="module")
def scan(clone, settings):
    """The clone after a scan, and what that printed."""
    result = train_ssl(clone, "scan", *SHORT, **settings)
    return clone, result.stdout


def weights(folder, name):
    return torch.load(folder / "training" / name / "net_best_epoch_state.pt", weights_only=True)


def test_a_linear_probe_leaves_the_encoder_bit_by_bit(scan):
    folder, _ = scan
    before, after = weights(folder, PRETRAINED), weights(folder, LINEAR)
    encoder = [name for name in after if not name.startswith("mod.fc.")]
    assert set(before) - set(after) == {name for name in before if name.startswith("contrast.")}
    assert set(after) - set(before) == {"mod.fc.weight", "mod.fc.bias"}
    assert any("running_mean" in name for name in encoder) and all(torch.equal(before[n], after[n]) for n in encoder)


def test_its_predictions_are_those_of_the_ordinary_network(scan, data):
    folder, _ = scan
    model, info, config = network()
    model.load_state_dict(weights(folder, LINEAR))
    options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, _ = _load_next(config, [str(data / "test" / "jets.parquet")], None, options)
    with torch.no_grad():
        scores = model.eval()(*(torch.from_numpy(table["_" + name]) for name in info["input_names"])).softmax(dim=1)
    predicted = read(folder / "training" / LINEAR / "pred.root")
    np.testing.assert_allclose(predicted.scores, scores, rtol=1e-4, atol=1e-5)
    assert predicted.labels.tolist() == table["_label_"].tolist()


def test_arguments_of_the_modes(scan, data):
    lines = (data / "notes").read_text().splitlines()
    assert len(lines) == 9
    pretrain = lines.pop(0)
    assert "networks/contrastive.py" in pretrain and pretrain.endswith(" --num-epochs 2")
    assert "--data-config training/TopLandscape_PFN_kin_scan/unlabelled_1.yaml" in pretrain
    own = f"-o pretrained 'training/{PRETRAINED}/net_best_epoch_state.pt'"
    scratch, linear, finetune = ([line for line in lines if f"_kin_{mode}_" in line] for mode in MODES)
    assert [len(found) for found in (scratch, linear, finetune)] == [3, 2, 3]
    assert all(own in line for line in linear + finetune) and not any("pretrained" in line for line in scratch)
    assert all("-o frozen True" in line for line in linear) and not any("frozen" in line for line in scratch + finetune)
    assert all("--start-lr 0.001 " in line and "lr_mult ('mod.fc.*', 10)" in line for line in finetune)
    assert all("--start-lr 1e-2 --lr-scheduler" in line and "lr_mult" not in line for line in scratch + linear)
    for line in lines:
        assert "/labelled_0.3.yaml" in line and "--data-config-test data/TopLandscape/TopLandscape_kin.yaml" in line
        assert "--data-config-val training/TopLandscape_PFN_kin_scan/labelled_1.yaml" in line


def test_table(scan):
    folder, printed = scan
    results = json.loads((folder / "training" / "TopLandscape_PFN_kin_scan" / "efficiency.json").read_text())
    assert results["starts"] == ["scratch", "linear, 120 unlabelled", "finetune, 120 unlabelled"]
    assert [len(point["files"]) for point in results["points"]] == [3, 3, 3]
    assert {point["labels"] for point in results["points"]} == {int(printed.split("0.3: ")[1].split()[0])}


def test_the_same_scan_again_makes_what_has_changed(scan, settings, data):
    """And what is new: two runs at a time, from two pre-trainings.

    Of the complete runs one was made with other settings, one before its files, and one has lost its prediction.
    """
    folder, _ = scan
    names = [f"TopLandscape_PFN_kin_scratch_0.3_seed{seed}" for seed in (1, 2, 3)]
    done = [folder / "training" / name / "done" for name in names]
    done[1].write_text("another\n")
    os.utime(done[2], (1e9, 1e9))
    tuned = [f"TopLandscape_PFN_kin_finetune_from_demo_1_0.3_seed{seed}" for seed in (1, 2, 3)]
    (folder / "training" / tuned[2] / "pred.root").unlink()
    (data / "notes").unlink()
    own = {**settings, "JOBS": 2, "PRETRAIN_FRACTION": "0.5 1", "MODES": "scratch finetune"}
    result = train_ssl(folder, "scan", *SHORT, **own)
    there = [f"{name} is trained already" in result.stdout for name in (PRETRAINED, *names, *tuned)]
    assert there == [True, True, False, False, True, True, False]

    pretrain, *made = (data / "notes").read_text().splitlines()
    other, configs = PRETRAINED.replace("_1_", "_0.5_"), "training/TopLandscape_PFN_kin_scan"
    assert f"--model-prefix training/{other}/net " in pretrain
    assert f"--data-config {configs}/unlabelled_0.5.yaml" in pretrain
    assert f"--data-config-val {configs}/unlabelled_1.yaml" in pretrain
    starts = {names[1]: None, names[2]: None, tuned[2]: PRETRAINED}
    starts |= {name.replace("demo_1", "demo_0.5"): other for name in tuned}
    assert len(made) == len(starts)
    for name, start in starts.items():
        (line,) = (line for line in made if f"/{name}/pred.root" in line)
        assert f"-o seed {name[-1]} " in line
        assert start is None or f"-o pretrained 'training/{start}/net_best_epoch_state.pt'" in line
    results = json.loads((folder / configs / "efficiency.json").read_text())
    assert len(results["starts"]) == 3 and [len(point["files"]) for point in results["points"]] == [3, 3, 3]


def test_pretrain_then_finetune(clone, settings, data):
    """The data config with labels asks for sampling weights, which another one has."""
    config, notes = clone / "data" / "TopLandscape" / "TopLandscape_l1.yaml", data / "single"
    weights = {"use_precomputed_weights": False, "reweight_method": "flat", "reweight_classes": ["jet_isTop"],
               "reweight_vars": {"jet_pt": [0, 5000], "jet_eta": [-5, 5]}, "class_weights": [1]}  # fmt: skip
    options = {**yaml.safe_load(config.read_text()), "weights": weights}
    config.write_text(yaml.safe_dump(options))
    made = {**weights, "reweight_hists": {"jet_isTop": [[1.0]]}}
    (data / "made.auto.yaml").write_text(yaml.safe_dump({**options, "weights": made}))
    own = {**settings, "NOTES": notes, "SEED": 7, "TIER": "l1", "WEIGHTS": data / "made.auto.yaml"}
    train_ssl(clone, "pretrain", *SHORT, **own)
    result = train_ssl(clone, "finetune", *SHORT, **own, HEAD_RATE=5)
    pretrain, finetune = notes.read_text().splitlines()
    first, run = PRETRAINED.replace("kin", "l1"), "TopLandscape_PFN_l1_finetune_from_demo_1_0.3_seed7"
    assert f"--data-config training/{first}/unlabelled_1.yaml" in pretrain and "-o seed 1 " in pretrain
    assert f"--model-prefix training/{first}/net " in pretrain and "--predict-output" not in pretrain
    assert f"--data-config training/{run}/labelled_0.3.yaml" in finetune and "-o seed 7 " in finetune
    assert f"-o pretrained 'training/{first}/net_best_epoch_state.pt'" in finetune
    assert "lr_mult ('mod.fc.*', 5)" in finetune and "--start-lr 0.002 " in finetune
    assert result.stdout.splitlines()[-1] == f"{run}: training/{run}/pred.root"
    for fraction in ("0.3", "1"):
        labelled = yaml.safe_load((clone / "training" / run / f"labelled_{fraction}.yaml").read_text())
        assert labelled["weights"] == made


@pytest.mark.parametrize(
    "mode, env, message",
    [
        ("probe", {}, "unknown mode 'probe'"),
        ("scan", {"DATASET": "Top"}, "unknown DATASET 'Top': there are "),
        ("scan", {"PRETRAIN_DATASET": "Jets"}, "unknown PRETRAIN_DATASET 'Jets': there are "),
        ("scan", {"MODEL": "PNF"}, "unknown MODEL 'PNF': there are "),
        ("scan", {"TIER": "full"}, "unknown tier 'full' of TopLandscape: there are hlt kin l1"),
        ("scan", {"FRACTION": "0.1 1.5"}, "FRACTION is '1.5': it must be above 0, and 1 at most"),
        ("scan", {"PRETRAIN_FRACTION": "few"}, "PRETRAIN_FRACTION is 'few'"),
        ("scan", {"MODES": "scratch probe"}, "MODES has 'probe': there are scratch linear finetune"),
        ("scan", {"JOBS": "0"}, "JOBS is '0': it must be a number above 0"),
        ("finetune", {"HEAD_RATE": "0"}, "HEAD_RATE is '0': it must be a number above 0"),
        ("scratch", {"WEIGHTS": "no.yaml"}, f"there are no sampling weights at WEIGHTS={ROOT.parent}/no.yaml"),
        ("linear", {"FRACTION": "0.1 1"}, "FRACTION=0.1 1 names several: that is for scan"),
        ("finetune", {"PRETRAINED": "absent.pt"}, f"there is no checkpoint at PRETRAINED={ROOT.parent}/absent.pt"),
    ],
)
def test_bad_settings(mode, env, message):
    result = train_ssl(ROOT, mode, check=False, **env)
    assert result.returncode != 0 and message in result.stderr.splitlines()[-1]


def test_help():
    result = train_ssl(ROOT, "--help")
    assert all(word in result.stdout for word in ("pretrain", "finetune", "linear", "scratch", "scan", "PRETRAIN_ARGS"))
