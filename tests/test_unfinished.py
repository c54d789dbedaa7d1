"""Each mode that reads a checkpoint, after a killed training and with a checkpoint that was replaced."""

import shutil

import pytest
from distillation import short
from helpers import ROOT, script, write_splits

NOT_COMPLETE = (
    "the training half is not complete: run the same command again to continue it; see logs/half/train.log "
    "(to use its best epoch so far, copy training/half/net_best_epoch_state.pt to another folder)"
)


@pytest.fixture(scope="module")
def call(clone, tmp_path_factory):
    """call(script, mode, *arguments, **settings) -> the result, which may be a failure."""
    folder = write_splits(tmp_path_factory.mktemp("jets"), train=64, val=64, test=64)

    def call(name, mode, *args, **settings):
        settings = {"DATASET": "TopLandscape", "DATADIR": folder, "TEACHER": "PFN-1k", "STUDENT": "PFN-1k",
                    "MODEL": "PFN-1k", **settings}  # fmt: skip
        return script(clone / name, mode, *args, check=False, cwd=folder, env=settings)

    return call


def train(call, die=""):
    hooks = {"HOOKS": ROOT / "networks" / "distill.py", "DIE": die}
    dying = ("--network-config", ROOT / "tests" / "weaver_hooks" / "dying.py")
    return call("train_kd.sh", "baseline", *short(40, 40, 20, epochs=3), *dying, RUN="half", **hooks)


@pytest.fixture(scope="module")
def half(clone, call):
    """The folder of a training that was killed in its third epoch, with a prediction of one before it."""
    folder = clone / "training" / "half"
    folder.mkdir(parents=True)
    (folder / "pred.root").touch()
    assert train(call, die="train 2").returncode != 0
    assert (folder / "net_best_epoch_state.pt").exists() and not (folder / "net_record.json").exists()
    return folder


def refused(result, text):
    assert result.returncode == 1 and text in result.stderr.splitlines()[-1], result.stderr


@pytest.mark.parametrize(
    "mode, settings",
    [
        *((mode, {"RUN": "half"}) for mode in ("convert", "firmware", "latency")),
        ("test", {"RUN": "half", "PREDICT": "kd"}),
        *((mode, {"TEACHER_WEIGHTS": "HALF"}) for mode in ("cache", "train", "test")),
        *((mode, {"PRETRAINED": "HALF"}) for mode in ("baseline", "train", "finetune")),
        *((mode, {"PRETRAINED": "HALF"}) for mode in ("train_ssl finetune", "train_ssl linear", "train_ssl scan")),
    ],
)
def test_a_half_trained_run_is_refused(call, half, mode, settings):
    best = half / "net_best_epoch_state.pt"
    name, mode = ("train_scripts/train_ssl.sh", mode.split()[1]) if " " in mode else ("train_kd.sh", mode)
    result = call(name, mode, **{key: best if value == "HALF" else value for key, value in settings.items()})
    refused(result, NOT_COMPLETE)
    assert not (half / "model.onnx").exists()


def test_a_run_that_was_never_trained_is_not_called_incomplete(call):
    refused(call("train_kd.sh", "convert", RUN="none"), "training/none/net_best_epoch_state.pt: train it first")


def test_its_prediction_is_not_that_of_another(call, half):
    result = call("train_kd.sh", "report", RUN="half")
    assert result.returncode == 1 and "training/half/pred.root" in result.stderr.splitlines()[-1]


def test_elsewhere_then_complete_then_damaged(call, half, tmp_path):
    shutil.copytree(half, tmp_path / "half")
    for mode in ("cache", "test"):
        result = call("train_kd.sh", mode, TEACHER_WEIGHTS=tmp_path / "half" / "net_best_epoch_state.pt")
        refused(result, f"{tmp_path}/half/net_best_epoch_state.pt belongs to an incomplete training: run the")
    assert train(call).returncode == 0
    best = half / "net_best_epoch_state.pt"
    best.write_bytes(best.read_bytes() + b" ")
    for mode, settings in {"test": {"RUN": "half", "PREDICT": "kd"}, "cache": {"TEACHER_WEIGHTS": best}}.items():
        result = call("train_kd.sh", mode, **settings)
        refused(result, "half/net_best_epoch_state.pt is not the checkpoint recorded in ")
        refused(result, "half/net_record.json (its SHA-256 differs): restore the recorded file")
