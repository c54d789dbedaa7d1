"""The shell drivers, run as a user runs them."""

import json
import os
import re

import awkward as ak
import onnx
import pytest
import torch
import yaml
from helpers import ROOT, random_jets, run
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

MODES = ("make_weight", "teacher", "train", "baseline", "test", "report", "convert", "demo")


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
        ("train", {"DATASET": "JetClassIII"}, "unknown DATASET 'JetClassIII': there are JetClass JetClassII demo"),
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
data_train=("a:$DATADIR/jets_0.parquet" "b:$DATADIR/jets_1.parquet")
data_val=("$DATADIR/jets_2.parquet")
data_test=("$DATADIR/jets_2.parquet")
data_options=(--num-workers 1 --fetch-step 1.0)
epochs=1 samples_per_epoch=512 samples_per_epoch_val=512
"""


def test_jetclass2_with_sampling_weights(clone, tmp_path):
    """make_weight at full resolution, and what it made goes into the training of a student on l1 inputs."""
    for i in range(3):
        ak.to_parquet(random_jets(number=188 * 8, particles=30, seed=i), tmp_path / f"jets_{i}.parquet")
    (clone / "train_scripts" / "datasets" / "tiny2.sh").write_text(TINY)
    settings = {"DATASET": "tiny2", "DATADIR": tmp_path, "TEACHER": "ParT-small", "STUDENT": "dense"}
    script = clone / "train_kd.sh"
    untrained = run(script, "baseline", check=False, env=settings)
    assert untrained.returncode != 0 and "run make_weight first" in untrained.stderr
    run(script, "make_weight", env=settings)
    (auto,) = (clone / "data" / "JetClassII").glob("JetClassII_full.*.auto.yaml")
    made = yaml.safe_load(auto.read_text())["weights"]["reweight_hists"]
    assert len(made) == 30
    config = DataConfig.load(str(ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"))
    model, _ = import_module(str(ROOT / "networks" / "dense.py")).get_model(config)
    torch.save(model.state_dict(), tmp_path / "teacher.pt")
    for mode in ("train", "baseline"):
        run(script, mode, env={**settings, "TEACHER": "dense", "TEACHER_WEIGHTS": tmp_path / "teacher.pt"})
    paired = yaml.safe_load((clone / "training" / "tiny2_dense_l1_kd_seed1" / "paired.yaml").read_text())
    assert paired["weights"]["reweight_hists"] == made
    log = (clone / "logs" / "tiny2_dense_l1_kd_seed1" / "train.log").read_text()
    assert "[WeightMaker]" not in log and "distillation: task_loss" in log
    assert (clone / "training" / "tiny2_dense_l1_baseline_seed1" / "net_best_epoch_state.pt").is_file()


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

    run(clone / "train_kd.sh", "convert", env={**settings, "DATASET": "demo"})
    model = onnx.load(weights.with_name("model.onnx"))
    assert [o.name for o in model.graph.output] == ["softmax"]
    assert not re.search("teacher", weights.with_name("preprocess.json").read_text())
