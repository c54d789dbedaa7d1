"""What `networks/distill.py` hands to weaver."""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from torch import nn
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer.augment.features import Inputs
from kd_trainer.augment.views import Views
from kd_trainer.cache.cached_teacher import CachedTeacher, reads_cache
from kd_trainer.cache.origin import Blend, Source, read_blend
from kd_trainer.classes import is_unlabelled, names_of
from kd_trainer.configs import has_teacher, load, student_view, teacher_view
from kd_trainer.digests import canonical
from kd_trainer.distill import loop
from kd_trainer.distill.embedding import attach
from kd_trainer.distill.loop import Verify
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.losses import check_classes
from kd_trainer.distill.mixture import UNLABELLED, Mixture, mixed
from kd_trainer.distill.options import EMBEDDING_WITH_CACHE, Options
from kd_trainer.distill.relations import RELATIONAL
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.teacher.ensemble import load_ensemble
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
    """The student, as its own network file builds it from its own inputs."""
    module = _student_module(options)
    seed_network(options.seed)
    student, model_info = module.get_model(student_view(data_config), **student_options)
    if options.pretrained is not None and "for_inference" not in student_options:
        take_over(student, options.pretrained)  # a training that goes on loads its own weights after this
        _logger.info("The student %s begins with the weights %s", options.student, options.pretrained)
    if options.kd_embed_weight and "for_inference" not in student_options and has_teacher(data_config):
        if reads_cache(data_config):
            raise InputError(EMBEDDING_WITH_CACHE)
        attach(student, None if options.kd_embed_loss in RELATIONAL else _width_of_teacher(data_config, options))
    return student, model_info


@hook(Options)
def get_loss(data_config: DataConfig, options: Options, student_options: dict[str, Any]) -> DistillationLoss:
    """The distillation loss around the task loss of the student's network file, if it has one."""
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
    """The training function; the teacher is built here, so that a wrong one stops the run before it starts."""
    if "for_inference" in student_options:
        return None  # ONNX export never trains
    try:
        _check_training(data_config, options)
        views = _views(data_config, options)
    except InputError as error:
        return loud(_refuse_to_train(error))  # a prediction needs neither teacher nor labels
    teacher, verify = _soft_targets(data_config, options) if options.taught else (None, None)
    looks = {"train": verify, UNLABELLED: _verify_unlabelled(options)}
    check = functools.partial(_check_setup, options, {name: look for name, look in looks.items() if look})
    train = loop.train_fn(teacher, options.student, options.kd_ema, views)
    return trains(train, check, functools.partial(_with_unlabelled, options))


@hook(Options)
def get_evaluate_fn(data_config: DataConfig, options: Options, student_options: dict[str, Any]) -> Callable[..., Any]:
    """The evaluation function."""

    def teacher_for(loader: Loader) -> SoftTargetSource:
        config = loader.dataset.config
        if not reads_cache(config):
            teacher, _ = _soft_targets(config, options.asked_live())
            return teacher
        teacher, verify = _soft_targets(config, options)
        if verify:
            verify(files_of(loader))
        return teacher

    return evaluates(loop.evaluate_fn(names_of(data_config.labels) or data_config.label_value, teacher_for))


init_opt = init_opt_of(Options)


def _check_training(data_config: DataConfig, options: Options) -> None:
    if is_unlabelled(data_config.labels) and min(Schedule("kd_alpha", options.kd_alpha).values()) < 1:
        raise InputError("the data config has no labels, so that all is learnt from a teacher: give -o kd_alpha 1.0")
    if options.taught:
        teacher_view(data_config)


def _views(data_config: DataConfig, options: Options) -> Views | None:
    """What augments the student's inputs in training, None if nothing does."""
    return Views(Inputs(student_view(data_config), options.aug_followers), options) if options.describe() else None


def _check_setup(
    options: Options, verify: dict[str, Verify], train_loader: Loader | Mixture, extra_args: dict[str, Any]
) -> None:
    loop.check_setup(verify, train_loader, extra_args)
    config = extra_args["val_loader"].dataset.config
    if options.blended and is_unlabelled(config.labels) and not reads_cache(config):
        raise InputError(
            "a blend has no teacher that could stand in for the labels of the validation: "
            "give --data-config-val the student's data config with labels"
        )


def _soft_targets(data_config: DataConfig, options: Options) -> tuple[SoftTargetSource, Verify | None]:
    """What gives the soft targets, and a function that looks at the training files for it, or None."""
    if options.kd_cache:
        cached = CachedTeacher(data_config, _origin(options.kd_cache, options))
        return cached, cached.verify
    if reads_cache(data_config):
        raise InputError("the data config reads the soft targets of a cache: name its paired.yaml with -o kd_cache")
    ensemble = load_ensemble(options.teachers(), data_config, options.kd_ensemble, options.kd_embed_weight > 0)
    return (RememberingTeacher(ensemble, options.kd_memory * 1e6) if options.kd_memory > 0 else ensemble), None


def _with_unlabelled(options: Options, loader: Loader, args: argparse.Namespace) -> Loader | Mixture:
    """Weaver's training loader, with the jets without labels if there are some."""
    if not options.kd_unlabelled:
        return loader
    return mixed(
        loader,
        args,
        files=as_list(options.kd_unlabelled),
        config=str(options.kd_unlabelled_config),
        fraction=options.kd_unlabelled_fraction,
    )


def _verify_unlabelled(options: Options) -> Verify | None:
    """What looks at the cache of the jets without labels."""
    if not options.kd_unlabelled_cache:
        return None
    config = DataConfig(print_info=False, **load(str(options.kd_unlabelled_config)))
    if options.blended:
        _check_blends(read_blend(str(options.kd_cache)), read_blend(options.kd_unlabelled_cache))
    as_cache = dataclasses.replace(options, kd_cache=options.kd_unlabelled_cache)
    return _soft_targets(config, as_cache)[1]


def _width_of_teacher(data_config: DataConfig, options: Options) -> int:
    (teacher,) = options.teachers()
    network, _ = build_teacher(teacher.network, teacher_view(data_config), teacher.options)
    return output_layer(network, "the teacher")[1].in_features


def _check_blends(first: Blend, second: Blend) -> None:
    """Raise InputError unless the jets with labels and those without have the same teachers, with the same weights."""
    ours, theirs = ([(one.weight, one.fingerprint["teacher"]) for one in blend.members] for blend in (first, second))
    if canonical(ours) != canonical(theirs):
        raise InputError(f"{first.name} and {second.name} are blends of other teachers, or with other weights")


def _origin(kd_cache: str, options: Options) -> Source | Blend:
    return read_blend(kd_cache) if options.blended else Source(kd_cache, options.teachers(), options.kd_ensemble)


def _student_module(options: Options) -> ModuleType:
    module = load_network(options.student, "the student's ")
    own = [name for name in ("get_train_fn", "get_evaluate_fn", "init_opt") if hasattr(module, name)]
    if own:
        raise InputError(f"the student {options.student} brings its own {', '.join(own)}: it cannot be distilled")
    return module


def _refuse_to_train(error: InputError) -> Callable[..., None]:
    def train(*args: Any, **kwargs: Any) -> None:
        raise error

    return train
