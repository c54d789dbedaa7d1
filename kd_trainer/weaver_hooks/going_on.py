"""Hooks of resumable trainings: weaver's `init_opt`, and train and evaluate functions that save each epoch."""

import argparse
import functools
import importlib
import pickle
from collections.abc import Callable
from typing import Any

from torch import nn

from kd_trainer.errors import InputError
from kd_trainer.machine import keep_freed_memory
from kd_trainer.weaver_hooks import seeds
from kd_trainer.weaver_hooks.hook import HookOptions, check_arguments, loud, options_in
from kd_trainer.weaver_hooks.inputs import Gather, Loader, check_files, gather, loaders_of
from kd_trainer.weaver_hooks.labels import check_classes
from kd_trainer.weaver_hooks.reading import in_worker, read_whole
from kd_trainer.weaver_hooks.training import Training
from kd_trainer.weaver_hooks.whole import write_whole

ATTRIBUTE = "kd_training"  # attribute of weaver's arguments, which all hooks can read


def training_of(extra_args: dict[str, Any]) -> Training | None:
    """The `Training` in weaver's arguments; None if weaver does not use our `init_opt`."""
    return getattr(extra_args["args"], ATTRIBUTE, None)


def init_opt_of(
    kind: type[HookOptions], own: Callable[[Any], Callable[..., Any] | None] = lambda options: None
) -> Callable[..., Any]:
    """The hook `init_opt`: creates weaver's optimiser and scheduler and restores the state of an earlier training.

    `own` gives the `init_opt` of the network file for the hook's options, or None if the file has none.
    """
    check_arguments(kind)  # at this moment weaver imports the network file

    @loud
    def init_opt(args: argparse.Namespace, model: nn.Module, **optimizer_options: Any) -> tuple[Any, Any]:
        given = options_in(args)
        options, _ = kind.split(given)
        build = own(options) or importlib.import_module("weaver.train").init_opt
        if "train" not in args.run_mode or args.lr_finder is not None or not args.model_prefix:
            return build(args, model, **optimizer_options)
        write_whole()
        training = Training(args, options, given)
        if training.found.kind != "by hand":
            args.load_epoch = None
        try:
            opt, scheduler = build(args, model, **optimizer_options)
        except (RuntimeError, ValueError, OSError, EOFError, pickle.UnpicklingError):  # torch advises to load unsafely
            if args.load_epoch is None:
                raise
            raise InputError(
                f"--load-epoch {args.load_epoch}: {args.model_prefix}_epoch-{args.load_epoch}_*.pt cannot be loaded: "
                "it is truncated, or belongs to another network or optimizer"
            ) from None
        training.take(model, opt, scheduler)
        args.load_epoch = training.found.epoch
        setattr(args, ATTRIBUTE, training)
        return opt, scheduler

    return init_opt


def trains(
    train: Callable[..., None],
    check: Callable[[Loader, dict[str, Any]], None] = lambda train_loader, extra_args: None,
    feed: Callable[[Loader, Loader, argparse.Namespace], Loader] = lambda train_loader, val_loader, args: train_loader,
    *,
    labelled: bool = True,
) -> Callable[..., None]:
    """Make the training function for weaver from a function that trains one epoch.

    `check` checks the requirements of the training before files of an earlier one are removed. `feed` makes the loader
    to train with from weaver's training and validation loaders, before these start; `loaders_of` gives its parts.
    `labelled` says whether the training learns from labels; then every class must have jets.
    """
    fed: list[Loader] = []

    @functools.wraps(train)
    def wrapped(*args: Any, extra_args: dict[str, Any], **kwargs: Any) -> None:
        *before, weavers, dev, epoch = args  # before: model, loss, optimiser, scheduler
        training, validation, weaver_args = training_of(extra_args), extra_args["val_loader"], extra_args["args"]
        if first := not fed:
            keep_freed_memory()
            fed.append(feed(weavers, validation, weaver_args))
        (loader,) = fed
        loaders = loaders_of(loader)
        if first:
            for part in loaders.values():
                look_at(part, "training")
            look_at(validation, "validation")
            check(loader, extra_args)
            if labelled and not weaver_args.regression_mode and seeds.rank() == 0:
                given = options_in(weaver_args)
                check_classes(loaders["train"], allowed=given.get("allow_missing_classes", False))
        if training:
            training.start_epoch(epoch, {**loaders, "val": validation}, kwargs.get("grad_scaler"))
        train(*before, loader, dev, epoch, extra_args=extra_args, **kwargs)
        if training and "val" not in weaver_args.run_mode:
            training.end_epoch(epoch, None)

    return loud(wrapped)


def reads_whole(train: Callable[..., None]) -> Callable[..., None]:
    """Make a training function of weaver read whole files, or stop."""

    @functools.wraps(train)
    def wrapped(
        model: nn.Module, loss: Any, opt: Any, scheduler: Any, loader: Loader, *args: Any, **kwargs: Any
    ) -> None:
        look_at(loader, "training")
        train(model, loss, opt, scheduler, loader, *args, **kwargs)

    return loud(wrapped)


def evaluates(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    """Make the evaluation function for weaver from a function that returns the metric of an epoch.

    The function of a network file, such as Sophon.py, may be wrapped already.
    """
    if hasattr(evaluate, "goes_on"):
        return evaluate

    @functools.wraps(evaluate)
    def wrapped(
        model: nn.Module, loader: Loader, dev: Any, epoch: int, for_training: bool = True, **kwargs: Any
    ) -> Any:
        look_at(loader, "validation" if for_training else "test")
        metric = evaluate(model, loader, dev, epoch, for_training, **kwargs)
        training = training_of(kwargs["extra_args"]) if for_training else None
        return training.end_epoch(epoch, metric) if training else metric

    wrapped.__dict__["goes_on"] = True
    return loud(wrapped)


def look_at(loader: Loader, use: str) -> None:
    """Before the first batch: check the files, and make the loader read whole files and collate batches in one step."""
    if not isinstance(loader.collate_fn, Gather):
        rows = check_files(loader, use)
        read_whole(rows)
        loader.worker_init_fn = functools.partial(in_worker, rows)
        gather(loader)  # workers copy these settings when they start
