"""Trainings through the real weaver command that are killed and begun again, against the same without interruption."""

import pytest
import torch
from distillation import L1, STUDENT
from helpers import ROOT, weaver

NETWORKS = ROOT / "networks"
COMMON = ("--batch-size", 16, "--optimizer", "ranger", "--start-lr", "5e-3", "--fetch-step", 0.5)


def train(hooks, prefix, *args, die="", check=True, hash_seed=0):
    """weaver with the hooks of a network file; it ends with kill -9 where `die` says."""
    env = {"HOOKS": NETWORKS / f"{hooks}.py", "DIE": die, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": 1}
    prefix.parent.mkdir(parents=True, exist_ok=True)
    return weaver("-n", ROOT / "tests" / "weaver_hooks" / "dying.py", *COMMON, *args, "-m", prefix,
                  "--log-file", f"{prefix}.log", check=check and not die, env=env)  # fmt: skip


def same(a, b):
    """Whether two checkpoints are equal bit by bit."""
    a, b = (torch.load(path, weights_only=True) for path in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def agree(folder, epochs):
    for name in ("best_epoch", f"epoch-{epochs - 1}"):
        assert same(*(folder / side / f"net_{name}_state.pt" for side in ("whole", "cut"))), name


SUPERVISED = ("-c", L1, "-o", "network", f"'{NETWORKS}/PFN.py'", *STUDENT, "-o", "seed", 3)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [(), ("--samples-per-epoch", 160, "--samples-per-epoch-val", 80),
                                   ("--steps-per-epoch", 10, "--steps-per-epoch-val", 5, "--in-memory",
                                    "--lr-scheduler", "flat+cos")])  # fmt: skip
def test_a_supervised_training(jets, tmp_path, workers, steps):
    args = ("--data-train", f"{jets}/train/*.parquet", "--data-val", f"{jets}/val/*.parquet", *SUPERVISED, *steps, "--num-workers", workers, "--num-epochs", 4)
    train("supervised", tmp_path / "whole" / "net", *args)
    for die in ("train 0", "evaluate 1", "train 3", ""):
        train("supervised", tmp_path / "cut" / "net", *args, die=die)
    agree(tmp_path, 4)
