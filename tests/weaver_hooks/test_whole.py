import errno
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from distillation import L1
from helpers import ROOT, run

from kd_trainer.weaver_hooks.whole import write_whole


class Unfinished:
    def __reduce__(self):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture(autouse=True)
def patched(monkeypatch):
    monkeypatch.setattr(torch, "save", torch.save)  # to be put back
    monkeypatch.setattr(shutil, "copy2", shutil.copy2)
    write_whole()


def test_a_checkpoint_is_whole_or_what_it_was(tmp_path):
    torch.save({"x": torch.ones(2)}, tmp_path / "net.pt")
    with pytest.raises(SystemExit, match="the disk is full"):
        torch.save({"x": torch.zeros(2), "y": Unfinished()}, tmp_path / "net.pt")
    assert torch.load(tmp_path / "net.pt", weights_only=True)["x"].tolist() == [1, 1]
    shutil.copy2(tmp_path / "net.pt", tmp_path / "best.pt")
    with pytest.raises(SystemExit, match="No such file"):
        shutil.copy2(tmp_path / "none.pt", tmp_path / "best.pt")
    assert (tmp_path / "best.pt").read_bytes() == (tmp_path / "net.pt").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "net.pt"]


def test_other_uses_stay(tmp_path):
    save = torch.save
    write_whole()
    assert torch.save is save
    with open(tmp_path / "a.pt", "wb") as file:
        torch.save(torch.ones(1), file)
    (tmp_path / "folder").mkdir()
    shutil.copy2(tmp_path / "a.pt", tmp_path / "folder")
    assert torch.load(tmp_path / "folder" / "a.pt", weights_only=True).item() == 1


DYING = """
import os, signal, sys, yaml
from weaver.utils.data.config import DataConfig
from weaver.utils.import_tools import import_module
sys.path.insert(0, ".")
import_module("train_scripts/whole.py", "_func_module")  # as --custom-functions does
def half(options, file, **_):
    file.write("treename")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
yaml.safe_dump = half
DataConfig.load(sys.argv[1]).dump(sys.argv[2])
"""


def test_sampling_weights_are_whole_or_not_there(tmp_path):
    done = subprocess.run([sys.executable, "-c", DYING, L1, tmp_path / "derived.yaml"], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name.split(".")[1] for path in tmp_path.iterdir()] == ["derived"]  # hidden
    for name in ("train_kd.sh", "train_sophon.sh"):
        command = run(ROOT / "train_scripts" / name, "make_weight", "--dry-run").stdout
        assert "--custom-functions train_scripts/whole.py" in command
