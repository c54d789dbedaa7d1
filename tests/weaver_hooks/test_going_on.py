"""Trainings with the real weaver command that are killed and restarted, compared with uninterrupted ones."""

import importlib.util
import json
import shutil

import pytest
import torch
from distillation import FULL, L1, STUDENT, TEACHER, same, taught_by, words
from helpers import ROOT, kd_trainer, weaver
from weaver_inputs import untrained

from kd_trainer.digests import sha256

NETWORKS = ROOT / "networks"
COMMON = ("--batch-size", 16, "--optimizer", "ranger", "--start-lr", "5e-3", "--fetch-step", 0.5, "-o", "seed", 3)
STEPS = ("--steps-per-epoch", 12, "--steps-per-epoch-val", 5)


@pytest.fixture
def train(jets, tmp_path):
    """weaver with the hooks of a network file, as a function; it ends with kill -9 where `die` says."""

    def train(hooks, side, *args, die="", check=True, hash_seed=0):
        env = {"HOOKS": NETWORKS / f"{hooks}.py", "DIE": die, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": 1}
        (tmp_path / side).mkdir(exist_ok=True)
        result = weaver("--data-train", f"a:{jets}/train/[HQ]*.parquet", f"b:{jets}/train/[TWZ]*.parquet",
                        "--data-val", f"{jets}/val/*.parquet", "-n", ROOT / "tests" / "weaver_hooks" / "dying.py",
                        *COMMON, *args, "-m", tmp_path / side / "net", "--log-file", tmp_path / side / "net.log",
                        check=check and not die, env=env)  # fmt: skip
        assert not die or result.returncode != 0, f"it did not die at {die}"
        return result

    return train


def are_same(*paths):
    return same(*(torch.load(path, weights_only=True) for path in paths))


def agree(folder, epochs, best_is_last=False):
    """The best and the last checkpoint and the metrics are those of the training that nothing interrupted."""
    whole, cut = folder / "whole", folder / "cut"
    for name in ("best_epoch", f"epoch-{epochs - 1}"):
        assert are_same(*(side / f"net_{name}_state.pt" for side in (whole, cut))), name
    records = [json.loads((side / "net_record.json").read_text()) for side in (whole, cut)]
    metrics = {int(epoch): value for epoch, value in records[0]["metrics"].items()}
    if metrics:
        best = epochs - 1 if best_is_last else max(metrics, key=lambda epoch: (metrics[epoch], -epoch))
        assert records[0]["best_epoch"] == best
    for key in ("metrics", "best_epoch", "seed"):
        assert records[0][key] == records[1][key]
    assert not list(folder.glob("*/net_resume.pt"))
    assert "Continuing after epoch" in (cut / "net.log").read_text()


SUPERVISED = ("-c", L1, "-o", "network", f"'{NETWORKS}/PFN.py'", *STUDENT)


@pytest.mark.parametrize(
    "workers, steps, dies",
    [
        (0, (), ("train 0", "evaluate 1")),
        (0, STEPS, ("evaluate 0", "train 2")),
        (2, (*STEPS, "--lr-scheduler", "flat+cos"), ("evaluate 0",)),
        (1, (*STEPS, "--in-memory", "--auto-clean"), ("evaluate 1",)),
    ],
)
def test_the_same_jets_whatever_the_loader(train, tmp_path, workers, steps, dies):
    args = (*SUPERVISED, *steps, "--num-workers", workers, "--num-epochs", 3)
    train("supervised", "whole", *args)
    for seed, die in enumerate((*dies, "")):
        train("supervised", "cut", *args, die=die, hash_seed=seed)
    agree(tmp_path, 3)


@pytest.fixture
def distilled(tmp_path):
    """Arguments of a distillation."""
    untrained(tmp_path / "teacher.pt", FULL, seed=3, **TEACHER)
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "-o", tmp_path / "pair")
    return ("-c", tmp_path / "pair" / "paired.yaml", "--data-config-val", tmp_path / "pair" / "student.yaml",
            *taught_by(tmp_path / "teacher.pt"), "-o", "kd_alpha", "[(0, 0.9), (1, 0.3)]",
            "-o", "kd_temperature", "[(0, 4.0), (1, 1.0)]", *STUDENT)  # fmt: skip


@pytest.mark.parametrize(
    "hooks, options",
    [
        ("distill", ("-o", "student", f"'{NETWORKS}/PFN.py'", "-o", "kd_unlabelled", "['JETS/val/*.parquet']",
                     "-o", "kd_unlabelled_config", "'PAIR/paired.yaml'", "-o", "kd_unlabelled_fraction", 0.5)),
        ("distill", ("-o", "student", f"'{NETWORKS}/PFN.py'", "-o", "kd_ema", 0.9, "-o", "kd_embed_weight", 0.5)),
        pytest.param(
            "distill", ("-o", "student", f"'{NETWORKS}/firmware.py'", "-o", "plain", f"'{NETWORKS}/PFN.py'", *STUDENT),
            marks=pytest.mark.skipif(not importlib.util.find_spec("pquant"), reason="PQuantML is not there"),
        ),
        ("supervised", ("-c", L1, "-o", "network", f"'{NETWORKS}/Sophon.py'", *words(TEACHER))),
        ("contrastive", ("-c", L1, "-o", "encoder", f"'{NETWORKS}/PFN.py'", *STUDENT)),
        ("finetune", ("-c", L1, "-o", "encoder", f"'{NETWORKS}/PFN.py'", *STUDENT)),
    ],
)
def test_every_kind_of_training(train, distilled, jets, tmp_path, hooks, options):
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "--unlabelled", "-o", tmp_path / "without")
    options = [str(x).replace("JETS", str(jets)).replace("PAIR", f"{tmp_path}/without") for x in options]
    args = (*(distilled if hooks == "distill" else ()), *options, *STEPS, "--num-workers", 0, "--num-epochs", 2)
    train(hooks, "whole", *args)
    for die in ("evaluate 0", ""):
        train(hooks, "cut", *args, die=die)
    agree(tmp_path, 2, best_is_last="plain" in options)  # fixed point shrinks with each epoch


def test_averaged_weights(train, tmp_path):
    """The average is validated and saved; the raw weights are trained as without averaging, also after --load-epoch."""
    labels = ("-c", L1, "-o", "student", f"'{NETWORKS}/PFN.py'", *STUDENT, "-o", "kd_alpha", 0.0, *STEPS,
              "--num-workers", 0)  # fmt: skip
    args = (*labels, "-o", "kd_ema", 0.9)
    train("distill", "plain", *labels, "--num-epochs", 3, die="evaluate 1")
    train("distill", "whole", *args, "--num-epochs", 3)
    for die in ("train 0", "evaluate 1"):
        train("distill", "cut", *args, "--num-epochs", 3, die=die)
    plain, cut = (torch.load(tmp_path / side / "net_resume.pt", weights_only=True) for side in ("plain", "cut"))
    raw = cut["kept"]["raw weights"]
    assert raw["steps"] == 24 and len(raw["raw"]) == len(plain["model"])
    assert all(torch.equal(a, b) for a, b in zip(plain["model"].values(), raw["raw"]))
    saved = torch.load(tmp_path / "cut" / "net_epoch-1_state.pt", weights_only=True)
    assert all(torch.equal(saved[name], cut["model"][name]) for name in saved)
    assert not any(torch.equal(cut["model"][name], plain["model"][name]) for name in saved if "num_" not in name)
    assert all((cut["model"][name] - plain["model"][name]).abs().max() < 1 for name in saved if "weight" in name)
    train("distill", "cut", *args, "--num-epochs", 3)
    (tmp_path / "plain" / "net_resume.pt").unlink()
    agree(tmp_path, 3)
    log = (tmp_path / "whole" / "net.log").read_text()
    assert "is trained on labels alone; the weights are averaged with decay 0.9" in log
    assert "are not known" not in log + (tmp_path / "cut" / "net.log").read_text()

    train("distill", "whole", *args, "--num-epochs", 4, "--load-epoch", 2)
    log = (tmp_path / "whole" / "net.log").read_text()
    assert "The raw weights of epoch 2 are not known: training continues from its checkpoint" in log


def test_a_complete_training_and_another_one(train, tmp_path):
    args = (*SUPERVISED, *STEPS, "--num-workers", 0)
    train("supervised", "cut", *args, "--num-epochs", 2)
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("net_*")}
    assert "net_epoch-1_state.pt" in first and "net_resume.pt" not in first
    again = train("supervised", "cut", *args, "--num-epochs", 2)
    assert "All epochs are already trained" in again.stdout and "Epoch #0 training" not in again.stdout
    assert first == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("net_*")}
    refused = train("supervised", "cut", *args, "--num-epochs", 1, check=False)
    line = "net_record.json holds the result of 2 epochs with other settings (num_epochs was 2, now 1): give"
    assert line in refused.stderr
    train("supervised", "cut", *args, "--num-epochs", 1, "-o", "restart", "'changed'")
    assert not (tmp_path / "cut" / "net_epoch-1_state.pt").exists()  # of the longer one
    assert (tmp_path / "cut" / "net_epoch-0_state.pt").exists()


def test_without_validation_and_by_hand(train, tmp_path):
    args = (*SUPERVISED, *STEPS, "--num-workers", 0)
    train("supervised", "whole", *args, "--num-epochs", 2, "--run-mode", "train")
    for die in ("train 0", ""):  # its checkpoint is not there yet
        train("supervised", "cut", *args, "--num-epochs", 2, "--run-mode", "train", die=die)
    assert are_same(*(tmp_path / side / "net_epoch-1_state.pt" for side in ("whole", "cut")))
    assert not (tmp_path / "cut" / "net_best_epoch_state.pt").exists()

    train("supervised", "hand", *args, "--num-epochs", 2)
    hand = tmp_path / "hand"
    record = json.loads((hand / "net_record.json").read_text())
    shutil.copy(hand / "net_epoch-0_state.pt", hand / "net_best_epoch_state.pt")  # whichever was the best
    record |= {"metrics": {"0": 0.999, "1": 0.1}, "best_epoch": 0, "sha256": sha256(hand / "net_epoch-0_state.pt")}
    (hand / "net_record.json").write_text(json.dumps(record))
    (hand / "net_epoch-7_state.pt").touch()  # of a longer training
    train("supervised", "hand", *args, "--num-epochs", 3, "--load-epoch", 1)
    assert not (hand / "net_epoch-7_state.pt").exists()
    assert json.loads((hand / "net_record.json").read_text())["best_epoch"] == 0
    assert are_same(hand / "net_best_epoch_state.pt", hand / "net_epoch-0_state.pt")
    assert "the best epoch so far is 0 with 0.99900" in (hand / "net.log").read_text()
