"""train_scripts/study.sh, run as a user runs it."""

import pytest
from helpers import ROOT, script


def study(*args, cwd=ROOT, **env):
    return script(ROOT / "train_scripts" / "study.sh", *args, check=False, cwd=cwd, env=env)


def test_help():
    result = study("--help")
    assert result.returncode == 0
    for word in ("simulate", "run", "list", "report", "document", "DATADIR", "OUTPUT", "JOBS"):
        assert word in result.stdout


@pytest.mark.parametrize(
    "args, message",
    [
        (("train", "top"), "unknown mode 'train'"),
        (("run",), "name a study: jetclass, top, public or a file"),
        (("run", "tops"), "unknown study 'tops': there are jetclass public top, or name a file"),
        (("run", "mine.yaml"), "there is no study "),
    ],
)
def test_wrong_calls(args, message, tmp_path):
    result = study(*args, cwd=tmp_path)
    assert result.returncode != 0 and message in result.stderr.splitlines()[-1]


def test_folders_are_relative_to_the_caller(tmp_path):
    result = study("document", "top", cwd=tmp_path, OUTPUT="out")
    missing = f"there is no {tmp_path}/out/results.json: train_scripts/study.sh report top first"
    assert result.returncode != 0 and missing in result.stderr
