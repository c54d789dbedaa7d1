"""A training that goes on where it was stopped: what is kept of it, and what is found of it.

init_opt  --> `open_training`: is there an earlier one of the same recipe? network, optimiser, scheduler from there
train     --> `start_epoch`: jets and random numbers of this epoch
evaluate  --> `end_epoch`: metric, best epoch; <prefix>_resume.pt, after the last epoch <prefix>_record.json
"""

import argparse
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from weaver.utils.logger import _logger
from weaver.utils.nn.tools import unwrap_model

from kd_trainer.digests import sha256
from kd_trainer.errors import InputError
from kd_trainer.files import replacing, write_json
from kd_trainer.weaver_hooks import seeds, state
from kd_trainer.weaver_hooks.earlier import Earlier, Found, better, content_of
from kd_trainer.weaver_hooks.hook import HookOptions
from kd_trainer.weaver_hooks.recipe import recipe_of, versions
from kd_trainer.weaver_hooks.streams import Follower

ATTRIBUTE = "kd_training"  # of weaver's arguments, which all hooks see
USES = ("train", "val")


class Metric(float):
    """The metric of an epoch for weaver, whose question whether it is better than the best gets our answer.

    Weaver forgets the best metric of what came before an interruption. Only weaver may compare it.
    """

    is_best: bool

    def __new__(cls, value: float, is_best: bool) -> "Metric":
        metric = super().__new__(cls, value)
        metric.is_best = is_best
        return metric

    def __gt__(self, other: object) -> bool:
        return self.is_best

    __lt__ = __gt__


class Training:
    """One training and its files.

    Parameters
    ----------
    args : of weaver
    options : HookOptions
    given : dict
        All options of the network file.
    """

    def __init__(self, args: argparse.Namespace, options: HookOptions, given: dict[str, Any]) -> None:
        self.args = args
        self.seed: Any = options.seed  # a number from `take` on
        self.recipe = recipe_of(args, given)
        self.earlier = Earlier(
            args.model_prefix, self.recipe, restart=options.restart, load_epoch=args.load_epoch,
            regression=args.regression_mode,
        )  # fmt: skip
        self.metrics: dict[int, float] = {}
        self.best_epoch: int | None = None
        self.best: bytes | None = None  # the checkpoint of the best epoch
        self.followers: dict[str, Follower] = {}
        self.kept: dict[str, Any] = {}  # what hooks want kept, by name
        self.found = Found("new")
        self.scaler = None
        self.begun = False

    def find(self) -> None:
        """Look for an earlier training; weaver is to begin with the epoch that follows its last one."""
        kind = seeds.from_first(self.earlier.find() if seeds.rank() == 0 else "")
        self.found = self.earlier.load(kind)

    def take(self, model: nn.Module, opt: Any, scheduler: Any) -> None:
        """Network, optimiser and scheduler of weaver, which go on from what was found."""
        self.model, self.opt, self.scheduler = model, opt, scheduler
        found, saved = self.found, self.found.state or {}
        if self.seed is None:
            self.seed = saved.get("seed", seeds.seed_in_use())
            _logger.info("The seed of this training is %d", self.seed)
        self.metrics, self.best_epoch, self.best = dict(found.metrics), found.best_epoch, found.best
        if found.kind == "by hand":
            self._take_by_hand(saved)
        elif found.kind == "go on":
            state.put_into(model, saved["model"])
            state.put_into_optimizer(opt, saved["optimizer"])
            if scheduler is not None:
                scheduler.load_state_dict(saved["scheduler"])
            self.kept = saved["kept"]
            best = "" if self.best_epoch is None else f"; the best is epoch {self.best_epoch}"
            _logger.info("Going on after epoch %d%s", found.epoch, best, color="bold")
        elif found.kind == "done":
            self._finish()
            _logger.info("All epochs are trained already: %s", self.earlier.record, color="bold")

    def _take_by_hand(self, saved: dict[str, Any]) -> None:
        if saved.get("epoch") == self.found.epoch:
            state.put_into(self.model, saved["model"])
        elif dict(self.model.named_parameters()).keys() - self.model.state_dict().keys():
            raise InputError(
                f"--load-epoch {self.found.epoch}: the checkpoint of this epoch lacks the projection to the teacher's "
                "embedding: go on from the last epoch, without --load-epoch, or train from scratch"
            )

    def keep(self, name: str, thing: Any) -> None:
        """Keep the state of something with a `state_dict` with that of the training; first give it what was kept."""
        if name in self.kept:
            thing.load_state_dict(self.kept[name])
        self.kept[name] = thing

    def start_epoch(self, epoch: int, loaders: dict[str, Any], scaler: Any) -> None:
        """Draw anew; before the first epoch of this process look at the files, and repair those of the training."""
        if not self.begun:
            self.begun = True
            self._follow(epoch, loaders)
            self.scaler = scaler
            if self.found.kind == "go on" and self.found.state and scaler is not None:
                scaler.load_state_dict(self.found.state["scaler"])
            if seeds.rank() == 0:
                self._begin(epoch)
            self.found = Found("begun")
        seeds.seed_epoch(self.seed, epoch)

    def _follow(self, epoch: int, loaders: Any) -> None:
        self.loaders: list[dict[str, Any]] = [{}] * seeds.world_size()  # where they were at the end of the epoch before
        if self.found.state and self.found.state["epoch"] == epoch - 1:
            self.loaders = self.found.state["loaders"]
        saved = self.loaders[seeds.rank()]
        for number, use in enumerate(USES):
            key = (self.seed, seeds.rank(), number)
            self.followers[use] = Follower(loaders[use], key, epoch, saved.get(use))

    def _begin(self, epoch: int) -> None:
        if self.found.kind == "new":
            self.earlier.remove()
        elif self.found.kind == "by hand":
            self._save(epoch - 1, self.loaders)  # with the metrics, which the record has so far
            Path(self.earlier.record).unlink(missing_ok=True)
        self._repair(epoch - 1)

    def _repair(self, epoch: int) -> None:
        """The best checkpoint, and that of the last epoch, if a kill or the workflow engine has removed them."""
        self._write_best()
        path = f"{self.args.model_prefix}_epoch-{epoch}_state.pt"
        if epoch >= 0 and not os.path.exists(path):
            torch.save(self.model.state_dict(), path)

    def _write_best(self) -> None:
        if self.best is not None and content_of(self.earlier.best) != self.best:
            with replacing(self.earlier.best) as temporary:
                temporary.write_bytes(self.best)

    def end_epoch(self, epoch: int, metric: float | None) -> float | None:
        """Keep an epoch that is complete; returns the metric for weaver.

        Without validation there is no metric; the epoch's checkpoint is then written here, before weaver does it.
        """
        is_best = False
        if metric is not None:
            self.metrics[epoch] = metric = float(metric)
            is_best = self.best_epoch is None or better(
                metric, self.metrics[self.best_epoch], self.args.regression_mode
            )
            self.best_epoch = epoch if is_best else self.best_epoch
        places = {use: follower.places() for use, follower in self.followers.items()}
        loaders = seeds.from_all(places)
        if seeds.rank() == 0:
            if metric is None:
                self._write_epoch(epoch)
            if is_best:
                self.best = content_of(f"{self.args.model_prefix}_epoch-{epoch}_state.pt")
            self._save(epoch, loaders)
            self._write_best()
            if self.best_epoch is not None:
                self._say(epoch, self.best_epoch)
            if epoch == self.args.num_epochs - 1:
                self._complete()
                self._finish()
        return None if metric is None else Metric(metric, is_best)

    def _write_epoch(self, epoch: int) -> None:
        for kind, content in (("state", unwrap_model(self.model)), ("optimizer", self.opt)):
            torch.save(content.state_dict(), f"{self.args.model_prefix}_epoch-{epoch}_{kind}.pt")

    def _say(self, epoch: int, best: int) -> None:
        _logger.info("Epoch #%d: the best so far is epoch %d with %.5f", epoch, best, self.metrics[best])

    def _save(self, epoch: int, loaders: Any) -> None:
        content = {
            "epoch": epoch,
            "recipe": self.recipe,
            "seed": self.seed,
            "metrics": self.metrics,
            "best_epoch": self.best_epoch,
            "best": None if self.best is None else torch.frombuffer(bytearray(self.best), dtype=torch.uint8),
            "model": {name: tensor.detach() for name, tensor in state.tensors_of(self.model).items()},
            "optimizer": state.of_optimizer(self.opt),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "loaders": loaders,
            "kept": {k: v if isinstance(v, dict) else v.state_dict() for k, v in self.kept.items()},
        }
        torch.save(content, self.earlier.resume)

    def _complete(self) -> None:
        write_json(self.earlier.record, {
            "recipe": self.recipe,
            "seed": self.seed,
            "epochs": self.args.num_epochs,
            "metrics": {str(epoch): value if math.isfinite(value) else str(value)
                        for epoch, value in self.metrics.items()},
            "best_epoch": self.best_epoch,
            "sha256": None if self.best is None else sha256(self.earlier.best),
            "versions": versions(),
        })  # fmt: skip

    def _finish(self) -> None:
        """What a kill may have left to do after the record was written."""
        if seeds.rank() == 0:
            self._write_best()
            Path(self.earlier.resume).unlink(missing_ok=True)
            self.earlier.unlock()
