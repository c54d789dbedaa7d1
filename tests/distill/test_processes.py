"""Several processes: a cache that is killed or shared, gradients of one step on one and on two processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import awkward as ak
import pyarrow.parquet as pq
import pytest
import torch
from helpers import ROOT, random_jets
from weaver.utils.import_tools import import_module

from kd_trainer.cache import compute, fingerprint

ONE_STEP = Path(__file__).with_name("one_step.py")
SLOW = """
import sys, time
from kd_trainer.__main__ import main
from kd_trainer.cache import compute
from kd_trainer.teacher.frozen import Teacher
compute.JETS = 20
call = Teacher.__call__
Teacher.__call__ = lambda self, X, device: (time.sleep({delay}), call(self, X, device))[1]
sys.exit(main(sys.argv[1:]))
"""


def start(*args, environment=None, delay=0.0):
    """python -m kd_trainer in the background, slowly and 20 jets at a time."""
    command = [sys.executable, "-c", SLOW.format(delay=delay), *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def wait(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    return out


@pytest.fixture
def files(tmp_path):
    for i, number in enumerate((100, 60, 80, 40)):
        ak.to_parquet(random_jets(number, particles=40, seed=i), tmp_path / f"jets_{i}.parquet")
    return f"g:{tmp_path}/jets_*.parquet"


def content(folder):
    paths = sorted(folder.rglob("*.parquet"))
    assert [path.name for path in paths] == [f"jets_{i}.parquet" for i in range(4)]
    return {path.name: (pq.read_table(path), fingerprint.read(path)) for path in paths}


def test_kill_in_the_middle_of_a_file_and_two_ranks(make_cache, files, tmp_path, monkeypatch):
    monkeypatch.setattr(compute, "JETS", 20)
    make_cache(tmp_path / "whole", files)
    whole = content(tmp_path / "whole")

    process = make_cache(tmp_path / "cut", files, run=start, environment={"PYTHONUNBUFFERED": "1"}, delay=0.4)
    unfinished = tmp_path / "cut" / "g" / ".jets_2.parquet.part"  # the second largest
    while not unfinished.exists() or unfinished.stat().st_size < 1000:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [path.name for path in sorted((tmp_path / "cut").rglob("*.parquet"))] == ["jets_0.parquet"]
    assert unfinished.exists()
    assert "4 of 4 files, 1 of them complete" in make_cache(tmp_path / "cut", files).stdout
    assert content(tmp_path / "cut") == whole
    assert not unfinished.exists()

    ranks = [
        make_cache(tmp_path / "two", files, run=start, environment={"RANK": str(rank), "WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    for rank, process in enumerate(ranks):
        assert f"rank {rank} of 2: 2 of 4 files, 0 of them complete" in wait(process)
    assert content(tmp_path / "two") == whole
    assert (tmp_path / "two" / "cached.yaml").read_text() == (tmp_path / "whole" / "cached.yaml").read_text()


def in_two_processes(paired, out, *wrappers):
    """Parameters after one step, of each wrapper and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in (0, 1):
        launched = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, ONE_STEP, paired, out, *wrappers]
        processes.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, **launched}, stderr=subprocess.PIPE))
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err.decode()[-2000:]
    return {name: [torch.load(f"{out}.{name}.{rank}", weights_only=True) for rank in (0, 1)] for name in wrappers}


def test_two_processes_have_the_gradients_of_one(configs, tmp_path):
    paired = configs / "paired.yaml"
    kinds = ("", "+embedding", "+average", "+unlabelled")
    one_step = import_module(str(ONE_STEP))
    alone = {name: one_step.parameters(paired, name) for name in (*(f"none{kind}" for kind in kinds), "DataParallel")}
    distributed = [f"DistributedDataParallel{kind}" for kind in kinds]
    both = in_two_processes(paired, tmp_path / "two", *distributed)
    for name in distributed:
        one = alone[name.replace("DistributedDataParallel", "none")]
        assert ("kd_matching.projection.weight" in one) == name.endswith("+embedding")
        for state in both[name]:
            torch.testing.assert_close(state, one, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(alone["DataParallel"], alone["none"], rtol=0, atol=0)
