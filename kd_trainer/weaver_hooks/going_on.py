"""Hooks of a training that goes on: weaver's `init_opt`, and train and evaluate functions that keep each epoch."""

import argparse
import functools
import importlib
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from weaver.utils.logger import _logger

from kd_trainer.weaver_hooks.hook import HookOptions, loud, options_in
from kd_trainer.weaver_hooks.inputs import Loader, check_files, collate
from kd_trainer.weaver_hooks.training import ATTRIBUTE, USES, Training
from kd_trainer.weaver_hooks.whole import write_whole


def training_of(extra_args: dict[str, Any]) -> Training | None:
    """The `Training` that weaver's arguments hold; None if weaver was not given our `init_opt`."""
    return getattr(extra_args["args"], ATTRIBUTE, None)


def init_opt_of(
    kind: type[HookOptions], own: Callable[[Any], Callable[..., Any] | None] = lambda options: None
) -> Callable[..., Any]:
    """The hook `init_opt`: weaver's optimiser and scheduler, and the network, as an earlier training has left them.

    Parameters
    ----------
    kind : type of the hook's options
    own : callable of these
        The `init_opt` of the network file, None if it has none.
    """

    @loud
    def init_opt(args: argparse.Namespace, model: nn.Module, **optimizer_options: Any) -> tuple[Any, Any]:
        given = options_in(args)
        options, _ = kind.split(given)
        build = own(options) or importlib.import_module("weaver.train").init_opt
        if "train" not in args.run_mode or args.lr_finder is not None or not args.model_prefix:
            return build(args, model, **optimizer_options)
        write_whole()
        training = Training(args, options, given)
        training.find()
        if training.found.kind != "by hand":
            args.load_epoch = None
        opt, scheduler = build(args, model, **optimizer_options)
        training.take(model, opt, scheduler)
        args.load_epoch = training.found.epoch
        setattr(args, ATTRIBUTE, training)
        return opt, scheduler

    return init_opt


def trains(
    train: Callable[..., None], check: Callable[[Loader, dict[str, Any]], None] = lambda train_loader, extra_args: None
) -> Callable[..., None]:
    """Make the training function that weaver gets of one that trains an epoch.

    `check` looks at what the training needs, before anything of an earlier one is removed. A function of a network
    file may have been made so already.
    """
    if hasattr(train, "goes_on"):
        return train
    looked_at: list[bool] = []

    @functools.wraps(train)
    def wrapped(
        model: nn.Module,
        loss_func: nn.Module,
        opt: torch.optim.Optimizer,
        scheduler: Any,
        train_loader: Loader,
        dev: torch.device,
        epoch: int,
        *,
        extra_args: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        loaders = dict(zip(USES, (train_loader, extra_args.get("val_loader"))))
        if not looked_at:
            for loader, use in zip(loaders.values(), ("training", "validation")):
                if loader is not None:
                    check_files(loader, use)
                    loader.collate_fn = collate  # its workers take it over when they start
            check(train_loader, extra_args)
            looked_at.append(True)
        training = training_of(extra_args)
        if training is None:
            _logger.warning("The network file has no init_opt: an interrupted training will not go on")
        else:
            training.start_epoch(epoch, loaders, kwargs.get("grad_scaler"))
        train(model, loss_func, opt, scheduler, train_loader, dev, epoch, extra_args=extra_args, **kwargs)
        if training is not None and "val" not in extra_args["args"].run_mode:
            training.end_epoch(epoch, None)

    wrapped.__dict__["goes_on"] = True
    return loud(wrapped)


def evaluates(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Make the evaluation function that weaver gets of one that returns the metric of an epoch, see `trains`."""
    if hasattr(evaluate, "goes_on"):
        return evaluate
    looked_at: weakref.WeakSet = weakref.WeakSet()  # loaders, which weaver deletes

    @functools.wraps(evaluate)
    def wrapped(
        model: nn.Module,
        test_loader: Loader,
        dev: torch.device,
        epoch: int,
        for_training: bool = True,
        *,
        extra_args: dict[str, Any],
        **kwargs: Any,
    ) -> Any:
        training = training_of(extra_args) if for_training else None
        if training is None and test_loader not in looked_at:
            check_files(test_loader, "validation" if for_training else "test")
            test_loader.collate_fn = collate
            looked_at.add(test_loader)
        metric = evaluate(model, test_loader, dev, epoch, for_training, extra_args=extra_args, **kwargs)
        return metric if training is None else training.end_epoch(epoch, metric)

    wrapped.__dict__["goes_on"] = True
    return loud(wrapped)
