"""What an earlier training has left beside a model prefix, and what becomes of it."""

import fcntl
import glob
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from weaver.utils.logger import _logger

from kd_trainer.digests import sha256
from kd_trainer.directories import make_directory
from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks.recipe import changes

FROM_SCRATCH = "-o restart \"'yes'\" (RESTART=yes)"


class Found(NamedTuple):
    """What there is to go on from."""

    kind: str  # "new": nothing that is wanted; "go on": a state; "done"; "by hand": weaver reads the checkpoint
    epoch: int | None = None  # the last one that is complete
    state: dict[str, Any] | None = None  # as `Training` has saved it
    metrics: dict[int, float] = {}  # by epoch
    best_epoch: int | None = None
    best: bytes | None = None  # the checkpoint of that epoch


class Earlier:
    """The files of a training with weaver's `prefix`, and what is wanted: its recipe, restart, --load-epoch by hand."""

    def __init__(
        self, prefix: str, recipe: dict[str, Any], *, restart: str, load_epoch: int | None, regression: bool
    ) -> None:
        self.prefix, self.recipe = prefix, recipe
        self.restart, self.load_epoch, self.regression = restart, load_epoch, regression
        self.resume, self.record = f"{prefix}_resume.pt", f"{prefix}_record.json"
        self.best = f"{prefix}_best_epoch_state.pt"

    def find(self) -> Found:
        """What there is, asked by the first process, which has the files to itself from then on.

        It is an InputError if it is another training and nothing says what to do with it.
        """
        self._lock()
        self._sweep()
        if self.restart == "yes":
            if self.load_epoch is not None:
                raise InputError("restart 'yes' begins from scratch, --load-epoch does not: give one of them")
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
            _logger.warning("%s is gone: training from scratch", self.best)
            return Found("new")
        if self.load_epoch is not None:
            return self._by_hand(self.load_epoch, record, saved)
        if self.restart == "changed":
            for path, text in other.items():
                _logger.info("Training from scratch: %s is of other settings (%s)", path, text)
            return Found("new")
        for path, found in there.items():
            is_state = path == self.resume
            what = f"epoch {found['epoch']} of a training" if is_state else f"the result of {found['epochs']} epochs"
            raise InputError(
                f"{path} holds {what} with other settings ({other[path]}): give {FROM_SCRATCH} "
                "to train from scratch, go back to those settings, or take another --model-prefix"
            )
        if os.path.exists(self.best):
            raise InputError(
                f"{self.best} is there without {self.record}: it was trained in another way; "
                f"give {FROM_SCRATCH} to replace it, or another --model-prefix"
            )
        return Found("new")

    def _complete(self, record: dict[str, Any]) -> Found | None:
        """The training of a record, if its best checkpoint is there."""
        best = self._best_of(record)
        if self.restart == "no" and record["sha256"] and content_of(self.best) not in (None, best):
            raise InputError(
                f"{self.best} is not the checkpoint that {self.record} names: put that back, "
                f"or give {FROM_SCRATCH} to train from scratch"
            )
        if record["sha256"] and best is None:
            return None
        return Found("done", record["epochs"] - 1, best_epoch=record["best_epoch"], best=best)

    def _best_of(self, record: dict[str, Any]) -> bytes | None:
        """The best checkpoint that a record names, if only as that of its epoch."""
        for path in (self.best, self._checkpoint(record["best_epoch"])):
            if os.path.exists(path) and sha256(path) == record["sha256"]:
                return content_of(path)
        return None

    def _by_hand(self, last: int, record: dict[str, Any] | None, saved: dict[str, Any] | None) -> Found:
        """The epoch of --load-epoch, with the best one up to it."""
        if not os.path.exists(self._checkpoint(last)):
            raise InputError(f"--load-epoch {last}: there is no {self._checkpoint(last)}")
        known = (saved or record or {"metrics": {}})["metrics"]
        metrics = {int(epoch): float(value) for epoch, value in known.items() if int(epoch) <= last}
        if not metrics:
            _logger.warning("Nothing is known of the metrics up to epoch %d: the best epoch will be one after it",
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
        best = best or content_of(self._checkpoint(best_epoch))
        if best is None:
            raise InputError(
                f"--load-epoch {last}: the best epoch up to it is {best_epoch}, "
                f"but {self._checkpoint(best_epoch)} is gone"
            )
        return Found("by hand", last, saved, metrics, best_epoch, best)

    def remove(self) -> None:
        """Remove all that another training has left; the record last, so that a kill leaves nothing that looks new."""
        epochs = glob.glob(f"{glob.escape(self.prefix)}_epoch-*_*.pt")
        for path in (self.best, f"{self.prefix}_best_epoch_optimizer.pt", *epochs, self.resume, self.record):
            Path(path).unlink(missing_ok=True)

    def _checkpoint(self, epoch: int) -> str:
        return f"{self.prefix}_epoch-{epoch}_state.pt"

    def _read_record(self) -> dict[str, Any] | None:
        content = content_of(self.record)
        try:
            return None if content is None else json.loads(content)
        except ValueError:
            raise InputError(f"{self.record} cannot be read: remove it to train from scratch") from None

    def _read_state(self) -> dict[str, Any] | None:
        if not os.path.exists(self.resume):
            return None
        try:
            return torch.load(self.resume, map_location="cpu", weights_only=True)
        except Exception:  # torch's own words advise to load the file unsafely
            raise InputError(f"{self.resume} cannot be read: give {FROM_SCRATCH} to train from scratch") from None

    def _sweep(self) -> None:
        """Remove what a kill has left of files that were being written."""
        folder, name = os.path.split(glob.escape(self.prefix))
        for file in ("resume.pt", "record.json", "best_epoch_*.pt", "epoch-*_*.pt"):
            for path in glob.glob(os.path.join(folder, f".{name}_{file}.*")):
                os.remove(path)

    def _lock(self) -> None:
        """Refuse to write what another process is writing. The kernel frees the lock of a process that was killed.

        A lock of `lockf` is not handed down to workers, which outlive a killed training for some seconds.
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


def better(metric: float, best: float, regression: bool) -> bool:
    """Whether a metric is better than the best so far; what is not a number is never better than one that is."""
    if best != best:
        return metric == metric
    return metric < best if regression else metric > best


def content_of(path: str | Path) -> bytes | None:
    return Path(path).read_bytes() if os.path.exists(path) else None
