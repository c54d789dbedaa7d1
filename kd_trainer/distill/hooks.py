"""The hooks of `networks/distill.py`."""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer.cache.cached_teacher import CachedTeacher, reads_cache
from kd_trainer.cache.origin import CONFIG, read_source
from kd_trainer.classes import is_unlabelled, names_of
from kd_trainer.configs import has_teacher, student_view, teacher_view
from kd_trainer.digests import canonical
from kd_trainer.distill import loop
from kd_trainer.distill.embedding import attach
from kd_trainer.distill.loaders import cached, from_cache, groups_of
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.losses import check_classes
from kd_trainer.distill.mixture import Mixture, mixed
from kd_trainer.distill.options import EMBEDDING_WITH_CACHE, Options
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.teacher.ensemble import Ensemble, load_ensemble
from kd_trainer.teacher.frozen import build_teacher
from kd_trainer.teacher.memory import RememberingTeacher
from kd_trainer.teacher.soft_targets import SoftTargetSource
from kd_trainer.weaver_hooks import (
    Loader,
    as_list,
    evaluates,
    files_of,
    hook,
    init_opt_of,
    load_network,
    loud,
    output_layer,
    seed_network,
    take_over,
    trains,
)


@hook(Options)
def get_model(
    data_config: DataConfig, options: Options, student_options: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """The student, built by its own network file for its own inputs."""
    module = _student_module(options)
    seed_network(options.seed)
    student, model_info = module.get_model(student_view(data_config), **student_options)
    if options.pretrained is not None and "for_inference" not in student_options:
        take_over(student, options.pretrained)  # a resumed training loads its own weights later
        _logger.info("The student %s starts from the weights %s", options.student, options.pretrained)
    if options.kd_embed_weight and "for_inference" not in student_options and has_teacher(data_config):
        if reads_cache(data_config):
            raise InputError(EMBEDDING_WITH_CACHE)
        attach(student, _width_of_teacher(data_config, options))
    return student, model_info


@hook(Options)
def get_loss(data_config: DataConfig, options: Options, student_options: dict[str, Any]) -> DistillationLoss:
    """The distillation loss, with the task loss of the student's network file if it has one."""
    student = _student_module(options)
    task_loss = student.get_loss(student_view(data_config), **student_options) if hasattr(student, "get_loss") else None
    if options.taught:
        check_classes(options.kd_loss, student_options.get("num_classes", len(names_of(data_config.labels))))
    return DistillationLoss(
        alpha=options.kd_alpha,
        temperature=options.kd_temperature,
        kd_loss=options.kd_loss,
        kd_loss_options=options.kd_loss_options,
        embed_weight=options.kd_embed_weight,
        embed_loss=options.kd_embed_loss,
        task_loss=task_loss,
        label_smoothing=options.kd_label_smoothing,
        needs_teacher=options.taught,
    )


@hook(Options)
def get_train_fn(
    data_config: DataConfig, options: Options, student_options: dict[str, Any]
) -> Callable[..., None] | None:
    """The training function; it builds the teacher here, so that a wrong teacher stops the run before it starts."""
    if "for_inference" in student_options:
        return None  # ONNX export never trains
    try:
        _check_training(data_config, options)
    except InputError as error:
        return loud(_refuse_to_train(error))  # raised later, because a prediction needs neither teacher nor labels
    teacher = _soft_targets(data_config, options) if options.taught else None
    train = loop.train_fn(teacher, options.student, options.kd_ema)
    return trains(train, functools.partial(_check_setup, options), functools.partial(_feed, options, teacher))


@hook(Options)
def get_evaluate_fn(data_config: DataConfig, options: Options, student_options: dict[str, Any]) -> Callable[..., Any]:
    """The evaluation function."""

    def teacher_for(loader: Loader) -> SoftTargetSource:
        config = loader.dataset.config
        if not reads_cache(config):
            return _live(config, options)
        teacher = _cached(options)
        teacher.verify(files_of(loader))
        return teacher

    return evaluates(loop.evaluate_fn(names_of(data_config.labels) or data_config.label_value, teacher_for))


init_opt = init_opt_of(Options)


def _check_training(data_config: DataConfig, options: Options) -> None:
    if is_unlabelled(data_config.labels) and min(Schedule("kd_alpha", options.kd_alpha).values()) < 1:
        raise InputError("the data config has no labels, so the teacher is the only source: give -o kd_alpha 1.0")
    if options.taught and not options.kd_cache:
        teacher_view(data_config)


def _check_setup(options: Options, train_loader: Loader | Mixture, extra_args: dict[str, Any]) -> None:
    loop.check_setup(extra_args)
    config = extra_args["val_loader"].dataset.config
    if options.blended and is_unlabelled(config.labels) and not reads_cache(config):
        raise InputError(
            "a blend has no teacher that could replace the labels of the validation jets: "
            "give the student's data config with labels as --data-config-val"
        )


def _soft_targets(data_config: DataConfig, options: Options) -> SoftTargetSource:
    """The source of the soft targets of a training: a cache, or the teachers themselves."""
    if options.kd_cache:
        return _cached(options)
    if reads_cache(data_config):
        raise InputError("the data config reads soft targets from a cache: name its folder with -o kd_cache")
    ensemble = _live(data_config, options)
    return RememberingTeacher(ensemble, options.kd_memory * 1e6) if options.kd_memory > 0 else ensemble


def _live(data_config: DataConfig, options: Options) -> Ensemble:
    """The teachers of the options, or else those of the cache."""
    if options.teacher is None:
        source = read_source(Path(str(options.kd_cache)))
        return load_ensemble(source.teachers, data_config, source.ensemble)
    return load_ensemble(options.teachers(), data_config, options.kd_ensemble, options.kd_embed_weight > 0)


def _cached(options: Options, unlabelled: bool = False) -> CachedTeacher:
    """The soft targets of a cache, which must come from the teachers of the options, if these name any."""
    folder = Path(str(options.kd_unlabelled_cache if unlabelled else options.kd_cache))
    if options.teacher is None:
        return CachedTeacher(folder)
    source = read_source(folder)
    return CachedTeacher(folder, dataclasses.replace(source, teachers=options.teachers(), ensemble=options.kd_ensemble))


def _feed(
    options: Options, teacher: SoftTargetSource | None, loader: Loader, validation: Loader, args: argparse.Namespace
) -> Loader | Mixture:
    """The loader that replaces weaver's for training: it reads the files of the cache, and the jets without labels."""
    if isinstance(teacher, CachedTeacher):
        loader = from_cache(loader, validation, args, teacher)
    if not options.kd_unlabelled:
        return loader
    files, config = groups_of(as_list(options.kd_unlabelled), args.local_rank), str(options.kd_unlabelled_config)
    if isinstance(teacher, CachedTeacher):
        without = _cached(options, unlabelled=True)
        _check_same_teachers(teacher, without)
        files, config = cached(files, without), str(without.folder / CONFIG)
    return mixed(loader, args, files=files, config=config, fraction=options.kd_unlabelled_fraction)


def _width_of_teacher(data_config: DataConfig, options: Options) -> int:
    (teacher,) = options.teachers()
    network, _ = build_teacher(teacher.network, teacher_view(data_config), teacher.options)
    return output_layer(network, "the teacher")[1].in_features


def _check_same_teachers(ours: CachedTeacher, theirs: CachedTeacher) -> None:
    """Raise InputError unless the jets with and without labels have the same teachers, with the same weights."""
    one, other = (_teachers_of(teacher.made_of) for teacher in (ours, theirs))
    if canonical(one) != canonical(other):
        raise InputError(f"the soft targets in {ours.folder} and {theirs.folder} come from different teachers: "
                         "give two caches of the same teacher")  # fmt: skip


def _teachers_of(made_of: dict[str, Any]) -> list[Any]:
    members = made_of.get("members", {"1": made_of}).values()
    return [(member.get("weight"), member["teacher"]) for member in members]


def _student_module(options: Options) -> ModuleType:
    module = load_network(options.student, "the student's ")
    own = [name for name in ("get_train_fn", "get_evaluate_fn", "init_opt") if hasattr(module, name)]
    if own:
        raise InputError(f"the student {options.student} defines its own {', '.join(own)}: it cannot be distilled")
    return module


def _refuse_to_train(error: InputError) -> Callable[..., None]:
    def train(*args: Any, **kwargs: Any) -> None:
        raise error

    return train
