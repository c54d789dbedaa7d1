"""The driver of pre-training, run as a user runs it: its modes, and a scan, in part through the real weaver command."""

import fcntl
import json
import os
import shlex
import subprocess

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT, fork_bin, random_jets, run, wait_for
from weaver.utils.data.fileio import _write_root
from weaver_inputs import data_config, network, table_of

from kd_trainer.evaluate.predictions import read
from kd_trainer.pretrain.contrastive import as_contrastive

KIN = ROOT / "data" / "TopLandscape" / "TopLandscape_kin.yaml"
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
        --model-prefix) cp "$ENCODER" "$2_best_epoch_state.pt" && echo '{}' >"$2_record.json" ;;
        --predict-output) cp "$PREDICTION" "$2" ;;
    esac
    shift
done
"""


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
    """Of a scan with the command in place of weaver: without the seeds and modes."""
    (data / "bin").mkdir()
    (data / "bin" / "weaver").write_text(WEAVER)
    (data / "bin" / "weaver").chmod(0o755)
    encoder = as_contrastive(network("PFN", KIN)[0], projection=(4,), temperature=0.1)
    torch.save(encoder.state_dict(), data / "encoder.pt")
    files = {"NOTES": "notes", "PREDICTION": "pred.root", "ENCODER": "encoder.pt"}
    stub = {"REAL_WEAVER": fork_bin() / "weaver", **{name: data / file for name, file in files.items()}}
    path = f"{data / 'bin'}:{fork_bin()}:{os.environ['PATH']}"
    ours = {"DATADIR": data, "PRETRAIN_DATADIR": data, "SEED": "1 2", "PRETRAIN_ARGS": "--num-epochs 2"}
    return {**SETTINGS, **stub, **ours, "PATH": path}


@pytest.fixture(scope="module")
def scan(clone, settings):
    """The clone after a scan."""
    train_ssl(clone, "scan", *SHORT, **settings, JOBS=2)
    return clone


def weights(folder, name):
    return torch.load(folder / "training" / name / "net_best_epoch_state.pt", weights_only=True)


def runs(notes):
    """Names of the trainings that the command in place of weaver was called for."""
    return {line.split("--model-prefix training/")[1].split("/")[0] for line in notes.read_text().splitlines()}


def test_a_linear_probe_leaves_the_encoder_bit_by_bit(scan):
    before, after = weights(scan, PRETRAINED), weights(scan, LINEAR)
    encoder = [name for name in after if not name.startswith("mod.fc.")]
    assert set(before) - set(after) == {name for name in before if name.startswith("contrast.")}
    assert set(after) - set(before) == {"mod.fc.weight", "mod.fc.bias"}
    assert any("running_mean" in name for name in encoder) and all(torch.equal(before[n], after[n]) for n in encoder)


def test_its_predictions_are_those_of_the_ordinary_network(scan, data):
    model, info = network("PFN", KIN)
    model.load_state_dict(weights(scan, LINEAR))
    table, _ = table_of(data_config("TopLandscape", "kin"), data / "test" / "jets.parquet")
    with torch.no_grad():
        scores = model.eval()(*(torch.from_numpy(table["_" + name]) for name in info["input_names"])).softmax(dim=1)
    predicted = read(scan / "training" / LINEAR / "pred.root")
    np.testing.assert_allclose(predicted.scores, scores, rtol=1e-4, atol=1e-5)
    assert predicted.labels.tolist() == table["_label_"].tolist()


def test_arguments_of_the_modes(scan, data):
    lines = sorted((data / "notes").read_text().splitlines(), key=lambda line: "contrastive" not in line)
    assert len(lines) == 6
    pretrain = lines.pop(0)
    assert "networks/contrastive.py" in pretrain and pretrain.endswith(" --num-epochs 2")
    assert f"--data-config training/{PRETRAINED}/unlabelled_1.yaml" in pretrain
    own = f"-o pretrained 'training/{PRETRAINED}/net_best_epoch_state.pt'"
    scratch, linear, finetune = ([line for line in lines if f"_kin_{mode}_" in line] for mode in MODES)
    assert [len(found) for found in (scratch, linear, finetune)] == [2, 1, 2]
    assert all(own in line for line in linear + finetune) and not any("pretrained" in line for line in scratch)
    assert all("-o frozen True" in line for line in linear) and not any("frozen" in line for line in scratch + finetune)
    assert all("--start-lr 0.001 " in line and "lr_mult ('mod.fc.*', 10)" in line for line in finetune)
    assert all("--start-lr 1e-2 --lr-scheduler" in line and "lr_mult" not in line for line in scratch + linear)
    for line in lines:
        assert "/labelled_0.3.yaml" in line and "--data-config-test data/TopLandscape/TopLandscape_kin.yaml" in line
        assert "/labelled_1.yaml" in line.split("--data-config-val ")[1].split()[0]
        assert "-o restart 'changed'" in line


def test_table(scan):
    results = json.loads((scan / "training" / "TopLandscape_PFN_kin_scan" / "efficiency.json").read_text())
    assert results["starts"] == ["scratch", "linear, 120 unlabelled", "finetune, 120 unlabelled"]
    assert [len(point["files"]) for point in results["points"]] == [2, 2, 2]
    labelled = json.loads((scan / "training" / LINEAR / "labelled_0.3.json").read_text())
    assert {point["labels"] for point in results["points"]} == {labelled["jets"]} and labelled["of"] == 120


def test_the_same_scan_again_makes_what_is_new_or_has_changed(scan, settings, data):
    (data / "notes").unlink()
    nothing = train_ssl(scan, "scan", *SHORT, **settings, JOBS=2)
    assert not (data / "notes").exists() and "Nothing to be done" in nothing.stderr + nothing.stdout
    train_ssl(scan, "scan", *SHORT, **{**settings, "SEED": "1 2 3", "HEAD_RATE": 5}, JOBS=2)
    new = {f"TopLandscape_PFN_kin_{name}_0.3_seed3" for name in ("scratch", "linear_from_demo_1")}
    changed = {f"TopLandscape_PFN_kin_finetune_from_demo_1_0.3_seed{seed}" for seed in (1, 2, 3)}
    assert runs(data / "notes") == new | changed
    results = json.loads((scan / "training" / "TopLandscape_PFN_kin_scan" / "efficiency.json").read_text())
    assert [len(point["files"]) for point in results["points"]] == [3, 3, 3]


def test_a_step_by_hand_is_that_of_the_scan(scan, settings, data):
    """The scan and the script give the same names, files and arguments."""
    (data / "notes").unlink(missing_ok=True)
    own = {**settings, "SEED": 2, "RESTART": "changed"}
    train_ssl(scan, "linear", *SHORT, **own)
    by_hand = (data / "notes").read_text()
    name = LINEAR.replace("seed1", "seed2")
    (scan / "training" / name / "pred.root").unlink()
    train_ssl(scan, "scan", *SHORT, **settings, MODES="linear", JOBS=2)
    assert (data / "notes").read_text() == 2 * by_hand and f"training/{name}/net " in by_hand


def test_pretrain_then_finetune(clone, settings, data):
    """The data config with labels needs sampling weights, which are in another file."""
    config, notes = clone / "data" / "TopLandscape" / "TopLandscape_hlt.yaml", data / "single"
    weights = {"use_precomputed_weights": False, "reweight_method": "flat", "reweight_classes": ["jet_isTop"],
               "reweight_vars": {"jet_pt": [0, 5000], "jet_eta": [-5, 5]}, "class_weights": [1]}  # fmt: skip
    options = {**yaml.safe_load(config.read_text()), "weights": weights}
    config.write_text(yaml.safe_dump(options, sort_keys=False))
    made = {**weights, "reweight_hists": {"jet_isTop": [[1.0]]}}
    (data / "made.auto.yaml").write_text(yaml.safe_dump({**options, "weights": made}))
    own = {**settings, "NOTES": notes, "SEED": 7, "TIER": "hlt", "PRETRAIN_DATASET": "TopLandscape"}
    train_ssl(clone, "pretrain", *SHORT, **own)
    result = train_ssl(clone, "finetune", *SHORT, **own, WEIGHTS=data / "made.auto.yaml", HEAD_RATE=5)
    pretrain, finetune = notes.read_text().splitlines()
    first = "TopLandscape_PFN_hlt_pretrained_1_seed1"
    run = "TopLandscape_PFN_hlt_finetune_from_TopLandscape_1_0.3_seed7"
    assert f"--data-config training/{first}/unlabelled_1.yaml" in pretrain and "-o seed 1 " in pretrain
    assert f"--model-prefix training/{first}/net " in pretrain and "--predict-output" not in pretrain
    assert f"--data-config training/{run}/labelled_0.3.yaml" in finetune and "-o seed 7 " in finetune
    assert f"-o pretrained 'training/{first}/net_best_epoch_state.pt'" in finetune
    assert "lr_mult ('mod.fc.*', 5)" in finetune and "--start-lr 0.002 " in finetune
    assert result.stdout.splitlines()[-1] == f"{run}: training/{run}/pred.root"
    for fraction in ("0.3", "1"):
        labelled = yaml.safe_load((clone / "training" / run / f"labelled_{fraction}.yaml").read_text())
        assert labelled["weights"] == made


def test_a_scan_that_was_killed_ends_as_one_that_was_not(clone, data):
    """With the real weaver: killed in the pre-training, after its first epoch, and started again."""
    env = {**SETTINGS, "DATADIR": data, "PRETRAIN_DATADIR": data, "MODES": "linear", "SEED": 1}
    words = (*SHORT[2:], "--num-epochs", 3)
    for mode in ("pretrain", "linear"):
        train_ssl(clone, mode, *words, **env, COMMENT="_whole")
    (data / "python").mkdir()
    (data / "python" / "python").symlink_to(fork_bin() / "python")  # but weaver itself: a fork would live on
    environment = {**os.environ, **env, "PATH": f"{data / 'python'}:{os.environ['PATH']}", "COMMENT": "_killed"}
    environment = {name: str(value) for name, value in environment.items()}
    command = [str(word) for word in (clone / "train_scripts" / "train_ssl.sh", "scan", *words)]
    with open(data / "killed.log", "w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    state = clone / "training" / f"{PRETRAINED}_killed" / "net_resume.pt"
    wait_for(lambda: state.exists() or process.poll() is not None, 120)
    process.kill()
    process.wait()
    lock = clone / "training" / "TopLandscape_PFN_kin_scan_killed" / ".lock"
    wait_for(lambda: not processes_of(process.pid) and is_free(lock), 120)
    assert state.exists(), (data / "killed.log").read_text()[-3000:]
    assert not (state.parent / "net_record.json").exists()
    train_ssl(clone, "scan", *words, **env, COMMENT="_killed")
    for name in (PRETRAINED, LINEAR):
        whole, killed = weights(clone, f"{name}_whole"), weights(clone, f"{name}_killed")
        assert all(torch.equal(whole[key], killed[key]) for key in whole)
    whole, killed = (read(clone / "training" / f"{LINEAR}_{name}" / "pred.root") for name in ("whole", "killed"))
    assert np.array_equal(whole.scores, killed.scores)
    assert (clone / "training" / "TopLandscape_PFN_kin_scan_killed" / "efficiency.png").exists()


def is_free(lock):
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def processes_of(session):
    lines = run("ps", "-e", "-o", "sid=,stat=").stdout.splitlines()
    return [line for line in lines if line.split()[0] == str(session) and not line.split()[1].startswith("Z")]


@pytest.mark.parametrize(
    "dataset, pretrain_dataset, tier, model",
    [("TopLandscape", "JetClass", "kin", "ParT"), ("QuarkGluon", "JetClass", "kinpid", "ParticleNet")],
)
def test_dry_run(clone, dataset, pretrain_dataset, tier, model):
    """Each mode prints commands that can be pasted; no file is written."""
    env = {"DATASET": dataset, "PRETRAIN_DATASET": pretrain_dataset, "TIER": tier, "MODEL": model, "FRACTION": "0.1"}
    before = set(clone.rglob("*"))
    for mode in ("pretrain", *MODES, "scan"):
        first, *lines = train_ssl(clone, mode, "--dry-run", "--num-epochs", 3, **env).stdout.splitlines()
        assert first == f"cd {clone} && source train_scripts/setup.sh"
        words = [shlex.split(line) for line in lines]
        last = words[-1]
        if mode == "scan":
            assert last[0] == "train_scripts/guard.py" and f"MODEL={model}" in last and "SEED=1 2 3" in last
            continue
        assert [command[0] for command in words[-3:]] == ["python", "mkdir", "weaver"]
        assert last[-2:] == ["--num-epochs", "3"]
        run_name = last[last.index("--model-prefix") + 1].split("/")[1]
        start = f"_from_{pretrain_dataset}_1" if mode in ("linear", "finetune") else ""
        name = f"{dataset}_{model}_{tier}_{mode}{start}_0.1_seed1"
        if mode == "pretrain":
            name = f"{pretrain_dataset}_{model}_{tier}_pretrained_1_seed1"
        assert run_name == name and ["mkdir", "-p", f"training/{name}", f"logs/{name}"] in words
        assert f"'networks/{model}.py'" in last and f"data/{dataset}/{dataset}_{tier}.yaml" in " ".join(sum(words, []))
    assert set(clone.rglob("*")) == before


def test_a_scan_without_files(clone):
    result = train_ssl(clone, "scan", check=False, DATASET="TopLandscape", DATADIR="/no", MODES="scratch")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith(": there is no file /no/train_file.parquet")


@pytest.mark.parametrize("mode", ["pretrain", "scan"])
def test_datasets_with_different_inputs(mode):
    result = train_ssl(ROOT, mode, check=False, PRETRAIN_DATASET="JetClass", DATASET="TopLandscape", TIER="l1")
    assert result.returncode == 1 and result.stderr.splitlines() == [
        "kd_trainer unlabelled: pf_features has 13 inputs in data/JetClass/JetClass_l1.yaml and 7 in "
        "data/TopLandscape/TopLandscape_l1.yaml (not in both: cand_charge, cand_isChargedHadron, cand_isNeutralHadron, "
        "cand_isPhoton, cand_isElectron, cand_isMuon): a network trained on one does not fit the other; choose another "
        "tier or dataset"
    ]


@pytest.mark.parametrize(
    "mode, env, message",
    [
        ("probe", {}, "unknown mode 'probe'"),
        ("scan", {"DATASET": "Top"}, "unknown DATASET 'Top': valid are "),
        ("scan", {"PRETRAIN_DATASET": "Jets"}, "unknown PRETRAIN_DATASET 'Jets': valid are "),
        ("scan", {"MODEL": "PNF"}, "unknown MODEL 'PNF': valid are "),
        ("scan", {"TIER": "full"}, "unknown tier 'full' of TopLandscape: valid are hlt kin l1"),
        ("scan", {"FRACTION": "0.1 1.5"}, "FRACTION is '1.5': it must be above 0 and at most 1"),
        ("scan", {"PRETRAIN_FRACTION": "few"}, "PRETRAIN_FRACTION is 'few'"),
        ("scan", {"MODES": "scratch probe"}, "MODES has 'probe': valid are scratch linear finetune"),
        ("scan", {"JOBS": "0"}, "JOBS is '0': it must be a whole number, at least 1"),
        ("scan", {"PRETRAIN_SEED": "all"}, "PRETRAIN_SEED is 'all'"),
        ("finetune", {"HEAD_RATE": "0"}, "HEAD_RATE is '0': it must be a number above 0"),
        ("scratch", {"WEIGHTS": "no.yaml"}, f"WEIGHTS={ROOT.parent}/no.yaml: there is no such file"),
        ("linear", {"FRACTION": "0.1 1"}, "FRACTION=0.1 1 has several values: only scan takes several"),
        ("finetune", {"PRETRAINED": "absent.pt"}, f"PRETRAINED={ROOT.parent}/absent.pt: there is no such file"),
        ("finetune", {"COMMENT": "_no"}, "no complete pre-training in training/JetClass_ParT_kin_pretrained_1_seed1"),
    ],
)
def test_bad_settings(mode, env, message):
    result = train_ssl(ROOT, mode, check=False, **env)
    assert result.returncode != 0 and message in result.stderr.splitlines()[-1]


def test_help():
    result = train_ssl(ROOT, "--help")
    assert all(word in result.stdout for word in ("pretrain", "finetune", "linear", "scratch", "scan", "PRETRAIN_ARGS"))
