"""The shell drivers, run as a user runs them."""

import pytest
from helpers import ROOT, script

MODES = (
    *("make_weight", "teacher", "pretrain", "finetune", "cache"),
    *("train", "baseline", "test", "report", "convert", "quantise", "latency", "demo"),
)


def train_kd(*args, cwd=ROOT, **env):
    return script(ROOT / "train_kd.sh", *args, check=False, cwd=cwd, env=env)


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
        ("train", {"TIER": "l2"}, "unknown tier 'l2' of JetClassII: there are full gen hlt kin kinpid l1"),
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
    missing = train_kd("teacher", DATASET="demo", TEACHER_WEIGHTS="mine.pt", cwd=tmp_path)
    assert missing.returncode == 1 and f"there is no checkpoint at TEACHER_WEIGHTS={tmp_path}/mine.pt" in missing.stderr
    (tmp_path / "mine.pt").write_text("")
    result = train_kd("teacher", DATASET="demo", TEACHER_WEIGHTS="mine.pt", cwd=tmp_path)
    assert result.stdout == f"TEACHER_WEIGHTS={tmp_path}/mine.pt is the teacher: nothing to train\n"


def test_no_weights_to_make():
    assert "nothing to do" in train_kd("make_weight", DATASET="demo").stdout
