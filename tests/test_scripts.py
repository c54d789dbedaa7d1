"""The shell drivers, run as a user runs them."""

import json
import os
import re

import awkward as ak
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from helpers import ROOT, random_jets, run
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

MODES = (
    *("make_weight", "teacher", "pretrain", "finetune", "cache"),
    *("train", "baseline", "test", "report", "convert", "demo"),
)


def train_kd(*args, cwd=ROOT, **env):
    return run(ROOT / "train_kd.sh", *args, check=False, cwd=cwd, env=env)


def test_help():
    result = train_kd("--help")
    assert result.returncode == 0
    for word in (*MODES, "DATASET", "DATADIR", "COMMENT", "DDP_NGPUS", "TEACHER_WEIGHTS", "STUDENT", "TIER"):
        assert word in result.stdout


@pytest.mark.parametrize(
    "mode, env, message",
    [
        ("distil", {}, "unknown mode 'distil'"),
        ("train", {"DATASET": "JetClassIII"}, "unknown DATASET 'JetClassIII': there are JetClass JetClassII Quark"),
        ("train", {"TIER": "l2"}, "unknown tier 'l2' of JetClassII: there are full hlt kin kinpid l1"),
        ("train", {"STUDENT": "PNF"}, "unknown STUDENT 'PNF': there are "),
        ("train", {"TEACHER": "Part"}, "unknown TEACHER 'Part': there are "),
        ("train", {"DATADIR": "/no/such"}, "no file matches /no/such/Pythia/Res2P_0000.parquet"),
        ("teacher", {"DATASET": "JetClass", "DATADIR": "/no/such"}, "no file matches /no/such/Pythia/train_100M/HToBB"),
        ("train", {"DDP_NGPUS": "2"}, "DDP_NGPUS is 2, but there is no CUDA device here"),
        ("convert", {"COMMENT": "_none"}, "there is no trained student at training/JetClassII_PFN_l1_kd_seed1_none/"),
        ("report", {"COMMENT": "_none"}, "run train, baseline and test first"),
    ],
)
def test_bad_settings(mode, env, message, tmp_path):
    result = train_kd(mode, cwd=tmp_path, **env)
    assert result.returncode != 0
    assert message in result.stderr.splitlines()[-1]


def test_missing_teacher(jets):
    result = train_kd("train", DATASET="demo", DATADIR=jets, COMMENT="_none")
    assert result.returncode != 0 and "train one (./train_kd.sh teacher) or name one (TEACHER_WEIGHTS=" in result.stderr


def test_given_teacher_is_not_trained(tmp_path):
    result = train_kd("teacher", DATASET="demo", TEACHER_WEIGHTS="mine.pt", cwd=tmp_path)
    assert result.stdout == f"TEACHER_WEIGHTS={tmp_path}/mine.pt is the teacher: nothing to train\n"


def test_no_weights_to_make():
    assert "nothing to do" in train_kd("make_weight", DATASET="demo").stdout


TINY = """
data_config=data/JetClassII/JetClassII
TEACHER=${TEACHER:-Sophon}
data_train=("a:$DATADIR/jets_0.parquet" "b:$DATADIR/jets_1.parquet")
data_val=("$DATADIR/jets_2.parquet")
data_test=("$DATADIR/jets_2.parquet")
data_options=(--num-workers 1 --fetch-step 1.0)
epochs=1 samples_per_epoch=1024 samples_per_epoch_val=1024
"""
TINY_SOPHON = """
network=networks/Sophon.py
network_options=(embed_dims "[16]" pair_embed_dims "[8]" num_heads 2 num_layers 1 num_cls_layers 1)
training_options=(--batch-size 64 --start-lr 2e-2)
cuda_options=()
"""


def test_sophon_teaches_a_student(clone, tmp_path):
    """JetClass-II as its users know it: make_weight, train, convert; then a student on l1 inputs, and its report."""
    for i in range(3):
        ak.to_parquet(random_jets(number=188 * 8, particles=30, seed=i), tmp_path / f"jets_{i}.parquet")
    (clone / "train_scripts" / "datasets" / "JetClassII.sh").write_text(TINY)
    (clone / "train_scripts" / "models" / "Sophon.sh").write_text(TINY_SOPHON)
    script, sophon = clone / "train_kd.sh", clone / "train_scripts" / "train_sophon.sh"
    teacher = clone / "training" / "JetClassII_Sophon" / "net_best_epoch_state.pt"
    settings = {"DATADIR": tmp_path, "STUDENT": "dense", "TEACHER_WEIGHTS": teacher}
    untrained = run(script, "baseline", check=False, env=settings)
    assert untrained.returncode != 0 and "run make_weight first" in untrained.stderr
    run(sophon, "make_weight", env={"DATADIR": tmp_path})
    (auto,) = (clone / "data" / "JetClassII").glob("JetClassII_full.*.auto.yaml")
    made = yaml.safe_load(auto.read_text())["weights"]["reweight_hists"]
    assert len(made) == 30
    run(sophon, "train", env={"DATADIR": tmp_path})
    log = (clone / "logs" / "JetClassII_Sophon" / "train.log").read_text()
    assert "[WeightMaker]" not in log and "X_bb vs QCD" in log and "roc_auc_score" not in log
    run(sophon, "convert", env={"DATADIR": tmp_path})
    session = onnxruntime.InferenceSession(teacher.with_name("model.onnx"))
    jet = {x.name: np.ones((1, x.shape[1], 128), dtype="float32") for x in session.get_inputs()}
    assert session.run(None, jet)[0].shape == (1, 188 + 16)  # with the embedding

    for mode in ("train", "baseline", "test", "report"):
        result = run(script, mode, env=settings)
    assert "X_cc vs X_bb" in (clone / "training" / "JetClassII_report" / "report.md").read_text()
    assert "dense distilled" in result.stdout
    name = "JetClassII_dense_l1_kd_seed1"
    paired = yaml.safe_load((clone / "training" / name / "paired.yaml").read_text())
    assert paired["weights"]["reweight_hists"] == made
    log = (clone / "logs" / name / "train.log").read_text()
    assert "[WeightMaker]" not in log and "distillation: task_loss" in log


def test_finetuning_on_another_dataset(clone, tmp_path):
    """A model of ten classes becomes one of two: all but the output layer is taken over, that learns faster."""
    for split in ("train", "val", "test"):
        (tmp_path / split).mkdir()
        ak.to_parquet(random_jets(number=64, particles=30), tmp_path / split / "jets.parquet")
    config = DataConfig.load(str(ROOT / "data" / "JetClass" / "JetClass_kin.yaml"))
    options = {"embed_dims": [16], "pair_embed_dims": [8], "num_heads": 2, "num_layers": 1, "num_cls_layers": 1}
    model, _ = import_module(str(ROOT / "networks" / "ParT.py")).get_model(config, **options)
    torch.save(model.state_dict(), tmp_path / "pretrained.pt")
    arguments = [word for name, value in options.items() for word in ("-o", name, value)]
    settings = {"DATASET": "TopLandscape", "DATADIR": tmp_path, "TEACHER": "ParT", "COMMENT": "_test"}
    script = clone / "train_kd.sh"
    nothing = run(script, "finetune", check=False, env=settings)
    assert nothing.returncode != 0 and "name it with PRETRAINED=" in nothing.stderr
    absent = run(script, "finetune", check=False, env={**settings, "PRETRAINED": "absent.pt"})
    assert absent.returncode != 0 and "there is no checkpoint at PRETRAINED=" in absent.stderr
    run(script, "finetune", "--samples-per-epoch", 64, "--samples-per-epoch-val", 64, "--num-epochs", 1,
        "--batch-size", 32, *arguments, env={**settings, "PRETRAINED": tmp_path / "pretrained.pt"})
    name = "TopLandscape_ParT_kin_test_finetuned"
    log = (clone / "logs" / name / "train.log").read_text()
    assert "Missing: ['mod.fc.0.weight', 'mod.fc.0.bias']" in log and "Unexpected: []" in log
    assert "Parameters with lr multiplied by 50:\n - mod.fc.0.weight\n - mod.fc.0.bias" in log
    weights = torch.load(clone / "training" / name / "net_best_epoch_state.pt", weights_only=True)
    assert weights["mod.fc.0.weight"].shape == (2, 16)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository's files: what runs write stays out of the working tree."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("train_kd.sh", "train_scripts", "networks", "data", "kd_trainer", "setup.cfg", "constraints.txt"):
        run("cp", "-a", ROOT / name, folder / name)
    return folder


def test_demo_in_small_and_again(clone, tmp_path):
    """Every stage of the demo with few jets, from another folder; a second run finds everything done."""
    settings = {"JETS": 40, "STUDENT": "dense", "SEED": 1, "COMMENT": "_small"}
    args = ("demo", "--num-epochs", "2", "--batch-size", "32")
    first = run(clone / "train_kd.sh", *args, cwd=tmp_path, env=settings)
    report = clone / "training" / "demo_report_small"
    assert {"report.md", "report.json", "roc.png", "ratio.png", "rejection_vs_flops.png"} <= set(os.listdir(report))
    data = json.loads((report / "report.json").read_text())
    assert set(data["models"]) == {"teacher", "dense distilled", "dense baseline"}
    for run_name in ("ParT-small_full", "dense_l1_kd_seed1", "dense_l1_baseline_seed1"):
        assert (clone / "training" / f"demo_{run_name}_small" / "pred.root").is_file()
    assert "dense distilled" in first.stdout and "report.md" in first.stdout
    log = (clone / "logs" / "demo_dense_l1_kd_seed1_small" / "train.log").read_text()
    assert "Teacher networks/ParT.py" in log and "alpha" in log
    assert "labels alone" in (clone / "logs" / "demo_dense_l1_baseline_seed1_small" / "train.log").read_text()

    weights = clone / "training" / "demo_dense_l1_kd_seed1_small" / "net_best_epoch_state.pt"
    before = weights.stat().st_mtime_ns
    second = run(clone / "train_kd.sh", *args, cwd=tmp_path, env=settings)
    assert second.stdout.count("is trained already") == 3 and second.stdout.count("is predicted already") == 3
    assert weights.stat().st_mtime_ns == before

    demo = {**settings, "DATASET": "demo", "TEACHER": "ParT-small"}
    run(clone / "train_kd.sh", "convert", env=demo)
    model = onnx.load(weights.with_name("model.onnx"))
    assert [o.name for o in model.graph.output] == ["softmax"]
    assert not re.search("teacher", weights.with_name("preprocess.json").read_text())

    run(clone / "train_kd.sh", "cache", env=demo)
    run(clone / "train_kd.sh", "train", *args[1:], env={**demo, "COMMENT": "_small", "SEED": 2})
    log = (clone / "logs" / "demo_dense_l1_kd_seed2_small" / "train.log").read_text()
    assert "cache/demo_ParT-small_full_small_l1" in log
    (clone / "networks" / "ParT.py").write_text((clone / "networks" / "ParT.py").read_text() + "\n# changed\n")
    stale = run(clone / "train_kd.sh", "train", *args[1:], env={**demo, "SEED": 3}, check=False)
    assert stale.returncode != 0 and "are not those of this teacher" in stale.stderr
