"""Handling of an earlier training, for every state that a kill, the workflow engine or a user can leave."""

import hashlib
import io
import json
import os
import subprocess
import sys

import pytest
import torch
from helpers import Program

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks.earlier import Earlier, better
from kd_trainer.weaver_hooks.training import Metric

RECIPE = {"start_lr": 0.005, "-o kd_alpha": 0.7}
BEST = b"weights of epoch 1"


@pytest.fixture
def earlier(tmp_path):
    def make(restart="no", load_epoch=None, **changes):
        recipe = {**RECIPE, "load_epoch": load_epoch, **changes}
        return Earlier(str(tmp_path / "net"), recipe, restart=restart, load_epoch=load_epoch, regression=False)

    return make


def write_state(folder, epoch=2, **changes):
    best = torch.frombuffer(bytearray(BEST), dtype=torch.uint8)
    content = {"epoch": epoch, "recipe": {**RECIPE, "load_epoch": None, **changes}, "best_epoch": 1, "best": best,
               "metrics": {0: 0.5, 1: 0.9, 2: 0.8}}  # fmt: skip
    torch.save(content, folder / "net_resume.pt")


def write_record(folder, **changes):
    content = {"recipe": {**RECIPE, "load_epoch": None, **changes}, "epochs": 3, "best_epoch": 1,
               "metrics": {"0": 0.5, "1": 0.9, "2": 0.8}, "sha256": hashlib.sha256(BEST).hexdigest()}  # fmt: skip
    (folder / "net_record.json").write_text(json.dumps(content))
    (folder / "net_best_epoch_state.pt").write_bytes(BEST)


def pickled(content):
    torch.save(content, file := io.BytesIO())
    return file.getvalue()


def test_nothing_is_there(earlier):
    for restart in ("no", "yes", "changed"):
        assert earlier(restart).find().kind == "new"


def test_the_state_of_the_same_training(earlier, tmp_path):
    write_state(tmp_path)
    found = earlier().find()
    assert (found.kind, found.epoch, found.best_epoch, found.best) == ("go on", 2, 1, BEST)
    assert earlier("changed").find().kind == "go on" and earlier("yes").find().kind == "new"


def test_a_state_that_holds_a_program_is_refused_without_the_advice_of_torch(earlier, tmp_path):
    torch.save(Program(tmp_path / "executed"), tmp_path / "net_resume.pt")
    with pytest.raises(InputError, match="net_resume.pt cannot be read .*: give .* to train from scratch$"):
        earlier().find()
    assert not (tmp_path / "executed").exists()


def test_another_training(earlier, tmp_path):
    write_state(tmp_path)
    line = r"net_resume.pt holds epoch 2 of a training with other settings \(start_lr was 0.005, now 0.01\): give -o"
    with pytest.raises(InputError, match=line + r" restart \"'yes'\" \(RESTART=yes\) to train from .*RUN=NAME"):
        earlier(start_lr=0.01).find()
    assert earlier("changed", start_lr=0.01).find().kind == "new"
    (tmp_path / "net_resume.pt").unlink()
    write_record(tmp_path, **{"-o seed": 1})
    with pytest.raises(InputError, match="net_record.json holds the result of 3 epochs .*-o seed was 1, now absent"):
        earlier().find()


def test_a_complete_training(earlier, tmp_path):
    write_record(tmp_path)
    write_state(tmp_path)  # a kill has left it
    found = earlier().find()
    assert (found.kind, found.epoch, found.best) == ("done", 2, BEST)


def test_a_complete_training_without_its_best_checkpoint(earlier, tmp_path):
    """As Snakemake leaves it before it runs a job again."""
    write_record(tmp_path)
    best = tmp_path / "net_best_epoch_state.pt"
    best.unlink()
    assert earlier().find().kind == "new"
    write_state(tmp_path)
    assert earlier().find().kind == "go on"
    (tmp_path / "net_resume.pt").unlink()
    (tmp_path / "net_epoch-1_state.pt").write_bytes(BEST)
    assert earlier().find().best == BEST
    (tmp_path / "net_epoch-1_state.pt").unlink()
    best.write_bytes(b"others")
    with pytest.raises(InputError, match="is not the checkpoint recorded in .*net_record.json: restore the"):
        earlier().find()
    assert earlier("changed").find().kind == "new"


def test_a_checkpoint_of_another_program(earlier, tmp_path):
    (tmp_path / "net_best_epoch_state.pt").write_bytes(BEST)
    with pytest.raises(InputError, match="exists without .*net_record.json: another program trained it"):
        earlier().find()
    assert earlier("changed").find().kind == "new"


def test_files_that_cannot_be_read(earlier, tmp_path):
    write_state(tmp_path)
    whole = (tmp_path / "net_resume.pt").read_bytes()
    for content in (whole[:-100], b"PK", *map(pickled, ({}, [1], torch.zeros(3), {"recipe": 3}, os.system))):
        (tmp_path / "net_resume.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"resume.pt cannot be read \(truncated, or .*\): give -o restart") as line:
            earlier().find()
        assert "weights_only" not in str(line.value)
    (tmp_path / "net_resume.pt").unlink()
    for content in (b"{", b"[]", b"{}", b'{"recipe": 3}', b"\xff"):
        (tmp_path / "net_record.json").write_bytes(content)
        with pytest.raises(InputError, match="net_record.json cannot be read: remove it to train from scratch"):
            earlier().find()


@pytest.mark.parametrize("write", [write_state, write_record])
def test_an_epoch_that_is_chosen_by_hand(earlier, tmp_path, write):
    write(tmp_path)
    with pytest.raises(InputError, match="--load-epoch 2: there is no .*net_epoch-2_state.pt"):
        earlier(load_epoch=2).find()
    for epoch in (0, 2):
        (tmp_path / f"net_epoch-{epoch}_state.pt").write_bytes(b"weights of epoch %d" % epoch)
    found = earlier(load_epoch=2).find()
    assert (found.kind, found.epoch, found.best_epoch, found.best) == ("by hand", 2, 1, BEST)
    found = earlier(load_epoch=0).find()
    assert (found.best_epoch, found.best, found.metrics) == (0, b"weights of epoch 0", {0: 0.5})


def test_by_hand_without_what_it_takes(earlier, tmp_path):
    (tmp_path / "net_epoch-1_state.pt").write_bytes(b"")
    assert earlier(load_epoch=1).find().best is None  # checkpoints of plain weaver
    write_record(tmp_path)
    (tmp_path / "net_best_epoch_state.pt").write_bytes(b"others")
    (tmp_path / "net_epoch-1_state.pt").rename(tmp_path / "net_epoch-2_state.pt")
    with pytest.raises(InputError, match="the best epoch up to it is 1, but .*net_epoch-1_state.pt is missing"):
        earlier(load_epoch=2).find()
    with pytest.raises(InputError, match="restart 'yes' and --load-epoch exclude each other: give one of them"):
        earlier("yes", load_epoch=2).find()


def test_what_is_removed(earlier, tmp_path):
    write_record(tmp_path)
    write_state(tmp_path)
    for name in ("epoch-7_state.pt", "epoch-7_optimizer.pt", "best_epoch_optimizer.pt", "other.pt"):
        (tmp_path / f"net_{name}").touch()
    earlier().remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net_other.pt"]


def test_later_epochs_than_the_one_to_go_on_from(earlier, tmp_path):
    for epoch in (8, 9, 10, 30):
        (tmp_path / f"net_epoch-{epoch}_state.pt").touch()
    (tmp_path / "net_b_epoch-30_state.pt").touch()
    earlier(load_epoch=9).remove_after(9)
    left = {"net_epoch-8_state.pt", "net_epoch-9_state.pt", "net_b_epoch-30_state.pt"}
    assert {path.name for path in tmp_path.iterdir()} == left


def test_what_a_kill_has_left_half_written(earlier, tmp_path):
    for name in (".net_resume.pt.123", ".net_epoch-2_state.pt.77", ".net_b_resume.pt.123"):
        (tmp_path / name).touch()
    earlier().find()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".net.lock", ".net_b_resume.pt.123"]


def test_another_process_trains_it(earlier, tmp_path):
    program = "import sys; from kd_trainer.weaver_hooks.earlier import Earlier; e = Earlier(sys.argv[1], {}, " \
              "restart='no', load_epoch=None, regression=False); print(e.find().kind, flush=True); input()"  # fmt: skip
    command = [sys.executable, "-c", program, tmp_path / "net"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"new\n"
    with pytest.raises(InputError, match="net is being trained by another process: wait for it or stop it"):
        earlier().find()
    other.kill()
    other.communicate()
    assert earlier().find().kind == "new"


def test_the_best_metric():
    assert better(0.6, 0.5, False) and not better(0.5, 0.5, False) and better(0.4, 0.5, True)
    nan = float("nan")
    assert not better(nan, 0.5, False) and better(0.5, nan, False) and not better(nan, nan, True)
    for is_best in (True, False):  # whatever weaver compares it with
        metric = Metric(0.9, is_best)
        assert [metric > 1, metric > 0, metric < 1, metric < 0] == [is_best] * 4 and f"{metric:.2f}" == "0.90"
