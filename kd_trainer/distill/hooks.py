"""What `networks/distill.py` hands to weaver.

Weaver takes an AttributeError inside a hook for a missing hook and trains without it, silently. Every hook here is
therefore wrapped in `loud`.
"""

import dataclasses
import functools
from pathlib import Path

from weaver.utils.import_tools import import_module
from weaver.utils.logger import _logger

from kd_trainer.cache.cached_teacher import CachedTeacher, reads_cache
from kd_trainer.classes import is_unlabelled, names_of
from kd_trainer.configs import has_teacher, student_view, teacher_view
from kd_trainer.distill import loop
from kd_trainer.distill.embedding import attach, output_layer
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.losses import check_classes
from kd_trainer.distill.options import EMBEDDING_WITH_CACHE, split
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.seeds import set_seed
from kd_trainer.teacher.ensemble import load_ensemble
from kd_trainer.teacher.frozen import build_teacher
from kd_trainer.teacher.memory import RememberingTeacher


def loud(hook):
    """Let a wrong input end in one line, and no AttributeError reach weaver."""

    @functools.wraps(hook)
    def wrapped(*args, **kwargs):
        try:
            return hook(*args, **kwargs)
        except InputError as error:
            _logger.error("%s", error)
            raise SystemExit(f"weaver-kd: {error}") from None
        except AttributeError as error:
            raise RuntimeError(f"weaver-kd: {hook.__name__} failed: {error}") from error

    return wrapped


@loud
def get_model(data_config, **kwargs):
    """The student, as its own network file builds it from its own inputs."""
    options, student_options = split(kwargs)
    if options.seed is not None:
        set_seed(options.seed)
    student, model_info = _student_module(options).get_model(student_view(data_config), **student_options)
    if options.kd_embed_weight and "for_inference" not in kwargs and has_teacher(data_config):
        if reads_cache(data_config):
            raise InputError(EMBEDDING_WITH_CACHE)
        (teacher,) = options.teachers()
        network, _ = build_teacher(teacher.network, teacher_view(data_config), teacher.options)
        attach(student, output_layer(network, "the teacher")[1].in_features)
    return student, model_info


@loud
def get_loss(data_config, **kwargs):
    """The distillation loss around the task loss of the student's network file, if it has one."""
    options, student_options = split(kwargs)
    student = _student_module(options)
    task_loss = student.get_loss(student_view(data_config), **student_options) if hasattr(student, "get_loss") else None
    if options.teacher is not None:
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
        needs_teacher=options.teacher is not None,
    )


@loud
def get_train_fn(data_config, **kwargs):
    """The training function; the teacher is built here, so that a wrong one stops the run before it starts."""
    options, _ = split(kwargs)
    if "for_inference" in kwargs:
        return None  # ONNX export never trains
    try:
        _check_training(data_config, options)
    except InputError as error:
        return loud(_refuse_to_train(error))  # a prediction needs neither teacher nor labels
    teacher, verify = _soft_targets(data_config, options) if options.teacher is not None else (None, None)
    return loud(loop.train_fn(teacher, options.student, verify))


@loud
def get_evaluate_fn(data_config, **kwargs):
    """The evaluation function."""
    options, _ = split(kwargs)

    def teacher_for(loader):
        config = loader.dataset.config
        if not reads_cache(config):
            teacher, _ = _soft_targets(config, dataclasses.replace(options, kd_cache=None))
            return teacher
        teacher, verify = _soft_targets(config, options)
        verify(loop.files_of(loader))
        return teacher

    return loud(loop.evaluate_fn(names_of(data_config.labels) or data_config.label_value, teacher_for))


def _check_training(data_config, options):
    if is_unlabelled(data_config.labels) and min(Schedule("kd_alpha", options.kd_alpha).values()) < 1:
        raise InputError("the data config has no labels, so that all is learnt from a teacher: give -o kd_alpha 1.0")
    if options.teacher is not None:
        teacher_view(data_config)


def _soft_targets(data_config, options):
    """What gives the soft targets, and a function that looks at the training files for it, or None."""
    if options.kd_cache:
        cached = CachedTeacher(
            data_config, paired=options.kd_cache, teachers=options.teachers(), ensemble=options.kd_ensemble
        )
        return cached, cached.verify
    if reads_cache(data_config):
        raise InputError("the data config reads the soft targets of a cache: name its paired.yaml with -o kd_cache")
    teacher = load_ensemble(options.teachers(), data_config, options.kd_ensemble, options.kd_embed_weight > 0)
    if options.kd_memory > 0:
        teacher = RememberingTeacher(teacher, options.kd_memory * 1e6)
    return teacher, None


def _student_module(options):
    if not Path(options.student).is_file():
        raise InputError(f"the student's network file {options.student} does not exist")
    module = import_module(options.student, "_student_module")
    own = [name for name in ("get_train_fn", "get_evaluate_fn", "init_opt") if hasattr(module, name)]
    if own:
        raise InputError(f"the student {options.student} brings its own {', '.join(own)}: it cannot be distilled")
    return module


def _refuse_to_train(error):
    def train(*args, **kwargs):
        raise error

    return train
