"""What an earlier training has left beside a model prefix, and what becomes of it."""

import fcntl
import glob
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import torch
from weaver.utils.logger import _logger

from kd_trainer.directories import make_directory
from kd_trainer.errors import InputError, one_line
from kd_trainer.weaver_hooks.recipe import changes, refuse


class Found(NamedTuple):
    """What there is to go on from.

    Attributes
    ----------
    kind : str
        "new": nothing, or nothing that is wanted; "go on": the state of an epoch; "done": the complete training;
        "by hand": the epoch of weaver's --load-epoch, of which weaver reads the checkpoint.
    epoch : int or None
        The last one that is complete.
    state : dict or None
        As `Training` has saved it.
    metrics : dict of epoch -> float
    best_epoch : int or None
    best : bytes or None
        The checkpoint of that epoch.
    """

    kind: str
    epoch: int | None = None
    state: dict[str, Any] | None = None
    metrics: dict[int, float] = {}
    best_epoch: int | None = None
    best: bytes | None = None


class Earlier:
    """The files of a training.

    Parameters
    ----------
    prefix : str
        Of weaver's checkpoints.
    recipe : dict
        Of the training that is wanted.
    restart : str
        Of `hook.RESTARTS`.
    load_epoch : int or None
        As given to weaver by hand.
    regression : bool
        Whether the least metric is the best.
    """

    def __init__(
        self, prefix: str, recipe: dict[str, Any], *, restart: str, load_epoch: int | None, regression: bool
    ) -> None:
        self.prefix, self.recipe = prefix, recipe
        self.restart, self.load_epoch, self.regression = restart, load_epoch, regression
        self.resume, self.record, self.best = (f"{prefix}_{name}" for name in
                                               ("resume.pt", "record.json", "best_epoch_state.pt"))  # fmt: skip
        self.lock: TextIO | None = None

    def find(self) -> str:
        """The kind of what there is, see `Found`; the first process asks, and has the files to itself from then on.

        Raises
        ------
        InputError
            If it is another training and nothing says what to do with it.
        """
        self._lock()
        self._sweep()
        if self.restart == "yes":
            if self.load_epoch is not None:
                raise InputError("restart 'yes' begins from scratch, --load-epoch does not: give one of them")
            return "new"
        record, saved = self._read_record(), self._read_state()
        different = {path: changes(found["recipe"], self.recipe)
                     for path, found in ((self.record, record), (self.resume, saved)) if found}  # fmt: skip
        if record and not different[self.record]:
            kind = self._of_complete(record, saved, different)
        elif saved and not different[self.resume]:
            kind = "go on"
        elif self.load_epoch is not None:
            kind = "by hand"
        else:
            kind = self._of_another(record, saved, different)
        return kind

    def _of_complete(self, record: dict[str, Any], saved: dict[str, Any] | None, different: Mapping[str, str]) -> str:
        """The kind for a record of this training: its best checkpoint has to be there."""
        if record["sha256"] is None or _sha256_of(content_of(self.best)) == record["sha256"]:
            return "done"
        if os.path.exists(self.best) and self.restart == "no":
            raise InputError(
                f"{self.best} is not the checkpoint that {self.record} names: put that back, or give "
                "-o restart \"'yes'\" (RESTART=yes) to train from scratch"
            )
        if _sha256_of(content_of(self._checkpoint(record["best_epoch"]))) == record["sha256"]:
            return "done"
        if saved and not different[self.resume]:
            return "go on"
        _logger.warning("%s is gone: training from scratch", self.best)
        return "new"

    def _of_another(
        self, record: dict[str, Any] | None, saved: dict[str, Any] | None, different: Mapping[str, str]
    ) -> str:
        """The kind for what is there of another training."""
        if self.restart == "changed":
            for path, text in different.items():
                _logger.info("Training from scratch: %s is of other settings (%s)", path, text)
            return "new"
        if saved:
            raise refuse(self.resume, f"epoch {saved['epoch']} of a training", different[self.resume])
        if record:
            raise refuse(self.record, f"the result of {record['epochs']} epochs", different[self.record])
        if os.path.exists(self.best):
            raise InputError(
                f"{self.best} is there without {self.record}: it was trained in another way; give -o restart \"'yes'\" "
                "(RESTART=yes) to replace it, or another --model-prefix"
            )
        return "new"

    def load(self, kind: str) -> Found:
        """What was found, in every process."""
        record, saved = self._read_record(), self._read_state()
        if kind == "go on" and saved:
            best = None if saved["best"] is None else saved["best"].numpy().tobytes()
            return Found(kind, saved["epoch"], saved, saved["metrics"], saved["best_epoch"], best)
        if kind == "by hand" and self.load_epoch is not None:
            return self._by_hand(self.load_epoch, record, saved)
        if kind == "done" and record:
            best = content_of(self.best) or content_of(self._checkpoint(record["best_epoch"]))
            return Found(kind, record["epochs"] - 1, None, {}, record["best_epoch"], best)
        return Found(kind)

    def _by_hand(self, last: int, record: dict[str, Any] | None, saved: dict[str, Any] | None) -> Found:
        """The epoch of --load-epoch, with the best one up to it."""
        if not os.path.exists(self._checkpoint(last)):
            raise InputError(f"--load-epoch {last}: there is no {self._checkpoint(last)}")
        earlier = saved or record or {"metrics": {}}
        metrics = {int(epoch): float(value) for epoch, value in earlier["metrics"].items()}
        metrics = {epoch: value for epoch, value in metrics.items() if epoch <= last}
        if not metrics:
            _logger.warning("Nothing is known of the metrics up to epoch %d: the best epoch will be one after it",
                            last)  # fmt: skip
            return Found("by hand", last, saved)
        best_epoch = next(iter(metrics))
        for epoch, value in metrics.items():
            best_epoch = epoch if better(value, metrics[best_epoch], self.regression) else best_epoch
        if saved and saved["best_epoch"] == best_epoch:
            best = saved["best"].numpy().tobytes()
        elif record and record["best_epoch"] == best_epoch and _sha256_of(content_of(self.best)) == record["sha256"]:
            best = content_of(self.best)
        else:
            best = content_of(self._checkpoint(best_epoch))
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
        if content is None:
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise InputError(f"{self.record} cannot be read: remove it to train from scratch") from None

    def _read_state(self) -> dict[str, Any] | None:
        if not os.path.exists(self.resume):
            return None
        try:
            return torch.load(self.resume, map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(
                f"{self.resume} cannot be read ({one_line(error)}): give -o restart \"'yes'\" (RESTART=yes) "
                "to train from scratch"
            ) from None

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
        self.lock = open(os.path.join(folder, f".{name}.lock"), "a")  # noqa: SIM115  open as long as the process
        try:
            fcntl.lockf(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise InputError(f"{self.prefix} is being trained by another process: wait for it or stop it") from None
        except OSError:
            pass  # a file system without locks

    def unlock(self) -> None:
        """Let others have the files: the training is complete."""
        if self.lock:
            self.lock.close()


def better(metric: float, best: float, regression: bool) -> bool:
    """Whether a metric is better than the best so far; what is not a number is never better than one that is."""
    if best != best:
        return metric == metric
    return metric < best if regression else metric > best


def content_of(path: str | Path) -> bytes | None:
    return Path(path).read_bytes() if os.path.exists(path) else None


def _sha256_of(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
