"""A resumable training: saving and restoring its state.

init_opt  --> `Training`, `take`: restore network, optimiser and scheduler of an earlier training with the same recipe
train     --> `start_epoch`: set jets and random numbers of this epoch
evaluate  --> `end_epoch`: metric, best epoch; write <prefix>_resume.pt, after the last epoch <prefix>_record.json
"""

import argparse
import math
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn
from weaver.utils.logger import _logger
from weaver.utils.nn.optimizer.lookahead import Lookahead
from weaver.utils.nn.tools import unwrap_model

from kd_trainer.digests import sha256
from kd_trainer.errors import InputError
from kd_trainer.files import replacing, write_json
from kd_trainer.weaver_hooks import seeds
from kd_trainer.weaver_hooks.earlier import Earlier, Found, better, content_of
from kd_trainer.weaver_hooks.hook import HookOptions
from kd_trainer.weaver_hooks.inputs import Loader
from kd_trainer.weaver_hooks.recipe import recipe_of
from kd_trainer.weaver_hooks.streams import Follower

USES = ("train", "val", "unlabelled")  # uses of loaders; the index is a part of the loader's seed
PACKAGES = ("weaver-core", "torch", "numpy", "weaver-kd")  # packages whose versions are recorded


class Metric(float):
    """The metric of an epoch, whose comparison with weaver's best metric gives our own answer.

    After an interruption weaver does not know the best metric so far. Only weaver may compare this object.
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
    """A training with weaver's arguments, and its files; weaver starts after epoch `found.epoch`."""

    def __init__(self, args: argparse.Namespace, options: HookOptions, given: dict[str, Any]) -> None:
        self.args = args
        self.seed: Any = options.seed  # a number after `take`
        self.recipe = recipe_of(args, given, options.PATTERNS)
        self.earlier = Earlier(
            args.model_prefix, self.recipe, restart=options.restart, load_epoch=args.load_epoch,
            regression=args.regression_mode,
        )  # fmt: skip
        self.found = seeds.from_first(self.earlier.find() if seeds.rank() == 0 else Found("new"))
        self.metrics, self.best_epoch, self.best = dict(self.found.metrics), self.found.best_epoch, self.found.best
        self.followers: dict[str, Follower] = {}  # of the loaders, after the start of the first epoch
        self.kept: dict[str, Any] = {}  # objects of hooks that are saved with the training, by name

    def take(self, model: nn.Module, opt: Any, scheduler: Any) -> None:
        """Restore the state of an earlier training in weaver's network, optimiser and scheduler."""
        self.model, self.opt, self.scheduler = model, opt, scheduler
        found, saved = self.found, self.found.state or {}
        if self.seed is None:
            self.seed = saved.get("seed", seeds.seed_in_use())
            _logger.info("The seed of this training is %d", self.seed)
        if saved and saved["epoch"] == found.epoch:
            _put_into(model, saved["model"])
        elif found.kind == "by hand" and dict(model.named_parameters()).keys() - model.state_dict().keys():
            raise InputError(
                f"--load-epoch {found.epoch}: the checkpoint of this epoch lacks the projection to the teacher's "
                "embedding: continue from the last epoch, without --load-epoch, or train from scratch"
            )
        if found.kind == "go on":
            _put_into_optimizer(opt, saved["optimizer"])
            if scheduler is not None:
                scheduler.load_state_dict(saved["scheduler"])
            self.kept = saved["kept"]
            best = "" if self.best_epoch is None else f"; the best is epoch {self.best_epoch}"
            _logger.info("Continuing after epoch %d%s", found.epoch, best, color="bold")
        elif found.kind == "done":
            self._finish()
            _logger.info("All epochs are already trained: %s", self.earlier.record, color="bold")

    def keep(self, name: str, thing: Any) -> None:
        """Save the `state_dict` of an object with the training, and restore it now if there is a saved one."""
        if name in self.kept:
            thing.load_state_dict(self.kept[name])
        self.kept[name] = thing

    def start_epoch(self, epoch: int, loaders: dict[str, Loader], scaler: Any) -> None:
        """Set the random numbers of the epoch, for `loaders` by use.

        Before the first epoch of this process, check the input files and repair the files of the training.
        """
        if not self.followers:
            self._begin(epoch, loaders, scaler)
        seeds.seed_epoch(self.seed, epoch)

    def _begin(self, epoch: int, loaders: dict[str, Loader], scaler: Any) -> None:
        found, saved = self.found, self.found.state or {}
        self.scaler = scaler
        if found.kind == "go on" and scaler is not None:
            scaler.load_state_dict(saved["scaler"])
        places = saved["loaders"] if saved and saved["epoch"] == epoch - 1 else [{}] * seeds.world_size()
        for use, loader in loaders.items():
            key = (self.seed, seeds.rank(), USES.index(use))
            self.followers[use] = Follower(loader, key, epoch, places[seeds.rank()].get(use))
        if seeds.rank() == 0:
            if found.kind == "new":
                self.earlier.remove()
            elif found.kind == "by hand":
                self._save(epoch - 1, places)  # it gets the metrics, which so far are in the record
                Path(self.earlier.record).unlink(missing_ok=True)
            self.earlier.remove_after(epoch - 1)
            self._write_best()  # a kill or the workflow engine may have removed the best and the last checkpoint
            if epoch > 0 and not os.path.exists(self.earlier.checkpoint(epoch - 1)):
                torch.save(self.model.state_dict(), self.earlier.checkpoint(epoch - 1))
        self.found = Found("begun")  # frees the loaded state

    def end_epoch(self, epoch: int, metric: float | None) -> float | None:
        """Save a complete epoch; returns the metric for weaver.

        Without validation there is no metric, and this method writes the checkpoint of the epoch before weaver does.
        """
        is_best = False
        if metric is not None:
            self.metrics[epoch] = metric = float(metric)
            best = None if self.best_epoch is None else self.metrics[self.best_epoch]
            last_counts = getattr(unwrap_model(self.model), "last_epoch_counts", False)
            is_best = best is None or last_counts or better(metric, best, self.args.regression_mode)
            self.best_epoch = epoch if is_best else self.best_epoch
        places = seeds.from_all({use: follower.places() for use, follower in self.followers.items()})
        if seeds.rank() == 0:
            if metric is None:
                for kind, content in (("state", unwrap_model(self.model)), ("optimizer", self.opt)):
                    torch.save(content.state_dict(), self.earlier.checkpoint(epoch, kind))
            if is_best:
                self.best = content_of(self.earlier.checkpoint(epoch))
            self._save(epoch, places)
            self._write_best()
            if self.best_epoch is not None:
                _logger.info("Epoch #%d: the best epoch so far is %d with %.5f",
                             epoch, self.best_epoch, self.metrics[self.best_epoch])  # fmt: skip
            if epoch == self.args.num_epochs - 1:
                self._complete()
                self._finish()
        return None if metric is None else Metric(metric, is_best)

    def _write_best(self) -> None:
        if self.best is not None and content_of(self.earlier.best) != self.best:
            with replacing(self.earlier.best) as temporary:
                temporary.write_bytes(self.best)

    def _save(self, epoch: int, places: list[dict[str, Any]]) -> None:
        content = {
            "epoch": epoch,
            "recipe": self.recipe,
            "seed": self.seed,
            "metrics": self.metrics,
            "best_epoch": self.best_epoch,
            "best": None if self.best is None else torch.frombuffer(bytearray(self.best), dtype=torch.uint8),
            "model": {name: tensor.detach() for name, tensor in _tensors_of(self.model).items()},
            "optimizer": _of_optimizer(self.opt),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "loaders": places,
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
            "versions": {package: version(package) for package in PACKAGES},
        })  # fmt: skip

    def _finish(self) -> None:
        """Finish a training after its record is written, also if a kill interrupted this, and unlock the files."""
        if seeds.rank() == 0:
            self._write_best()
            Path(self.earlier.resume).unlink(missing_ok=True)
            self.earlier.lock.close()


def _tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers, including those that are not in a checkpoint, such as the projection of KD."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def _put_into(model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    tensors = _tensors_of(model)
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in saved.items()}:
        raise InputError("the saved training belongs to another network")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def _slow_weights(opt: Lookahead) -> list[torch.Tensor]:
    return [opt.state[p]["cached_params"] for group in opt.param_groups for p in group["params"]]


def _of_optimizer(opt: Any) -> dict[str, Any]:
    """State of the optimiser; for Lookahead (ranger) with slow weights and counter, which its state dict lacks."""
    more = {"slow": _slow_weights(opt), "counter": opt.step_counter} if isinstance(opt, Lookahead) else {}
    return {"inner": opt.state_dict(), **more}


def _put_into_optimizer(opt: Any, state: dict[str, Any]) -> None:
    opt.load_state_dict(state["inner"])
    if isinstance(opt, Lookahead):
        for tensor, slow in zip(_slow_weights(opt), state["slow"], strict=True):
            tensor.copy_(slow)
        opt.step_counter = state["counter"]
