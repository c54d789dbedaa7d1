"""Files of an earlier training with the same model prefix: resume it, replace it or refuse."""

import fcntl
import glob
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from weaver.utils.logger import _logger

from kd_trainer.digests import sha256
from kd_trainer.errors import InputError
from kd_trainer.files import make_directory
from kd_trainer.weaver_hooks.recipe import changes

RECORDED = ("recipe", "epochs", "metrics", "best_epoch", "sha256")
SAVED = ("recipe", "epoch", "metrics", "best_epoch", "best")
FROM_SCRATCH = "-o restart \"'yes'\" (RESTART=yes)"


class Found(NamedTuple):
    """The result of the search for an earlier training."""

    kind: str  # "new": start from scratch; "go on": a saved state; "done"; "by hand": weaver reads the checkpoint
    epoch: int | None = None  # the last complete epoch
    state: dict[str, Any] | None = None  # as saved by `Training`
    metrics: dict[int, float] = {}  # by epoch
    best_epoch: int | None = None
    best: bytes | None = None  # the checkpoint of that epoch


class Earlier:
    """The files of an earlier training with weaver's `prefix`, compared with the recipe, restart and --load-epoch."""

    def __init__(
        self, prefix: str, recipe: dict[str, Any], *, restart: str, load_epoch: int | None, regression: bool
    ) -> None:
        self.prefix, self.recipe = prefix, recipe
        self.restart, self.load_epoch, self.regression = restart, load_epoch, regression
        self.resume, self.record = f"{prefix}_resume.pt", f"{prefix}_record.json"
        self.best = f"{prefix}_best_epoch_state.pt"

    def find(self) -> Found:
        """Look for an earlier training; called by the first process, which then locks the files.

        InputError if the earlier training has another recipe and `restart` does not say what to do.
        """
        self._lock()
        self._sweep()
        if self.restart == "yes":
            if self.load_epoch is not None:
                raise InputError("restart 'yes' and --load-epoch exclude each other: give one of them")
            return Found("new")
        record, saved = self._read_record(), self._read_state()
        there = {path: found for path, found in ((self.resume, saved), (self.record, record)) if found}
        other = {path: changes(found["recipe"], self.recipe) for path, found in there.items()}
        complete = other.get(self.record) == ""
        if record and complete and (done := self._complete(record)):
            return done
        if saved and not other[self.resume]:
            best = None if saved["best"] is None else saved["best"].numpy().tobytes()
            return Found("go on", saved["epoch"], saved, saved["metrics"], saved["best_epoch"], best)
        if complete:
            _logger.warning("%s is missing: training from scratch", self.best)
            return Found("new")
        if self.load_epoch is not None:
            return self._by_hand(self.load_epoch, record, saved)
        if self.restart == "changed":
            for path, text in other.items():
                _logger.info("Training from scratch: %s has other settings (%s)", path, text)
            return Found("new")
        for path, found in there.items():
            is_state = path == self.resume
            what = f"epoch {found['epoch']} of a training" if is_state else f"the result of {found['epochs']} epochs"
            raise InputError(
                f"{path} holds {what} with other settings ({other[path]}): give {FROM_SCRATCH} "
                "to train from scratch, restore those settings, or choose another --model-prefix (RUN=NAME)"
            )
        if os.path.exists(self.best):
            raise InputError(
                f"{self.best} exists without {self.record}: another program trained it; "
                f"give {FROM_SCRATCH} to replace it, or choose another --model-prefix (RUN=NAME)"
            )
        return Found("new")

    def _complete(self, record: dict[str, Any]) -> Found | None:
        """The complete training of a record, if its best checkpoint exists."""
        best = self._best_of(record)
        if self.restart == "no" and record["sha256"] and content_of(self.best) not in (None, best):
            raise InputError(
                f"{self.best} is not the checkpoint recorded in {self.record}: restore the recorded file, "
                f"or give {FROM_SCRATCH} to train from scratch"
            )
        if record["sha256"] and best is None:
            return None
        return Found("done", record["epochs"] - 1, best_epoch=record["best_epoch"], best=best)

    def _best_of(self, record: dict[str, Any]) -> bytes | None:
        """The best checkpoint of a record; it may exist only under the name of its epoch."""
        for path in (self.best, self.checkpoint(record["best_epoch"])):
            if os.path.exists(path) and sha256(path) == record["sha256"]:
                return content_of(path)
        return None

    def _by_hand(self, last: int, record: dict[str, Any] | None, saved: dict[str, Any] | None) -> Found:
        """The epoch of --load-epoch, with the best epoch up to it."""
        if not os.path.exists(self.checkpoint(last)):
            raise InputError(f"--load-epoch {last}: there is no {self.checkpoint(last)}")
        known = (saved or record or {"metrics": {}})["metrics"]
        metrics = {int(epoch): float(value) for epoch, value in known.items() if int(epoch) <= last}
        if not metrics:
            _logger.warning("The metrics up to epoch %d are not known: the best epoch will be a later one",
                            last)  # fmt: skip
            return Found("by hand", last, saved)
        best_epoch = next(iter(metrics))
        for epoch, value in metrics.items():
            best_epoch = epoch if better(value, metrics[best_epoch], self.regression) else best_epoch
        best = None
        if saved and saved["best_epoch"] == best_epoch:
            best = saved["best"].numpy().tobytes()
        elif record and record["best_epoch"] == best_epoch:
            best = self._best_of(record)
        best = best or content_of(self.checkpoint(best_epoch))
        if best is None:
            raise InputError(
                f"--load-epoch {last}: the best epoch up to it is {best_epoch}, "
                f"but {self.checkpoint(best_epoch)} is missing"
            )
        return Found("by hand", last, saved, metrics, best_epoch, best)

    def remove(self) -> None:
        """Remove all files of the earlier training; the record last, so that after a kill the rest is recognised."""
        for path in (self.best, f"{self.prefix}_best_epoch_optimizer.pt"):
            Path(path).unlink(missing_ok=True)
        self.remove_after(-1)
        for path in (self.resume, self.record):
            Path(path).unlink(missing_ok=True)

    def remove_after(self, last: int) -> None:
        """Remove checkpoints of later epochs: those of a longer training could be mistaken for this one's."""
        start = f"{self.prefix}_epoch-"
        for path in glob.glob(f"{glob.escape(start)}[0-9]*_*.pt"):
            if int(path.removeprefix(start).split("_")[0]) > last:
                os.remove(path)

    def checkpoint(self, epoch: int, kind: str = "state") -> str:
        """Path of weaver's file of an epoch, of the kind state or optimizer."""
        return f"{self.prefix}_epoch-{epoch}_{kind}.pt"

    def _read_record(self) -> dict[str, Any] | None:
        content = content_of(self.record)
        try:
            return None if content is None else _with(RECORDED, json.loads(content))
        except ValueError:
            raise InputError(f"{self.record} cannot be read: remove it to train from scratch") from None

    def _read_state(self) -> dict[str, Any] | None:
        if not os.path.exists(self.resume):
            return None
        try:
            return _with(SAVED, torch.load(self.resume, map_location="cpu", weights_only=True))
        except Exception:  # torch's text advises to load the file unsafely
            raise InputError(
                f"{self.resume} cannot be read (truncated, or written by another program): give {FROM_SCRATCH} to "
                "train from scratch"
            ) from None

    def _sweep(self) -> None:
        """Remove temporary files that a killed training has left."""
        folder, name = os.path.split(glob.escape(self.prefix))
        for file in ("resume.pt", "record.json", "best_epoch_*.pt", "epoch-*_*.pt"):
            for path in glob.glob(os.path.join(folder, f".{name}_{file}.*")):
                os.remove(path)

    def _lock(self) -> None:
        """Lock the files; InputError if another process is training. The kernel frees the lock of a killed process.

        Loader workers may outlive a killed training for some seconds; they do not inherit a lock of `lockf`.
        """
        folder, name = os.path.split(self.prefix)
        make_directory(folder or ".")
        self.lock = open(os.path.join(folder, f".{name}.lock"), "a")  # noqa: SIM115  until the training is complete
        try:
            fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise InputError(f"{self.prefix} is being trained by another process: wait for it or stop it") from None
        except OSError:
            pass  # a file system without locks


def _with(keys: Collection[str], content: Any) -> dict[str, Any]:
    """The content of a file; ValueError unless it has these keys, with a recipe."""
    if not isinstance(content, dict) or set(keys) - content.keys() or not isinstance(content["recipe"], dict):
        raise ValueError
    return content


def better(metric: float, best: float, regression: bool) -> bool:
    """Whether a metric is better than the best so far; NaN is never better than a number."""
    if best != best:
        return metric == metric
    return metric < best if regression else metric > best


def content_of(path: str | Path) -> bytes | None:
    return Path(path).read_bytes() if os.path.exists(path) else None
