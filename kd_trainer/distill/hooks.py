"""What `networks/distill.py` hands to weaver.

Weaver takes an AttributeError inside a hook for a missing hook and trains without it, silently. Every hook here is
therefore wrapped in `loud`.
"""

import functools
import random
from pathlib import Path

import numpy as np
import torch
from weaver.utils.import_tools import import_module
from weaver.utils.logger import _logger

from kd_trainer.configs import student_view, teacher_view
from kd_trainer.distill import loop
from kd_trainer.distill.cached import CachedTeacher, reads_cache
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.memory import RememberingTeacher
from kd_trainer.distill.options import split
from kd_trainer.distill.teacher import load_teacher
from kd_trainer.errors import InputError


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
    return _student_module(options).get_model(student_view(data_config), **student_options)


@loud
def get_loss(data_config, **kwargs):
    """The distillation loss around the task loss of the student's network file, if it has one."""
    options, student_options = split(kwargs)
    student = _student_module(options)
    task_loss = student.get_loss(student_view(data_config), **student_options) if hasattr(student, "get_loss") else None
    return DistillationLoss(
        alpha=options.kd_alpha,
        temperature=options.kd_temperature,
        task_loss=task_loss,
        needs_teacher=options.teacher is not None,
    )


@loud
def get_train_fn(data_config, **kwargs):
    """The training function; the teacher is built here, so that a wrong one stops the run before it starts."""
    options, _ = split(kwargs)
    if options.teacher is None:
        return loud(loop.train_fn(None, options.student))
    if "for_inference" in kwargs:
        return None  # ONNX export never trains
    try:
        view = teacher_view(data_config)
    except InputError as error:
        return loud(_refuse_to_train(error))  # a prediction needs no teacher
    if options.kd_cache:
        cached = CachedTeacher(
            data_config,
            paired=options.kd_cache,
            teacher=options.teacher,
            weights=options.teacher_weights,
            options=options.teacher_options,
        )
        return loud(loop.train_fn(cached, options.student, verify=cached.verify))
    if reads_cache(data_config):
        raise InputError("the data config reads the soft targets of a cache: name its paired.yaml with -o kd_cache")
    teacher = load_teacher(options.teacher, options.teacher_weights, view, options.teacher_options)
    if options.kd_memory > 0:
        teacher = RememberingTeacher(teacher, options.kd_memory * 1e6)
    return loud(loop.train_fn(teacher, options.student))


@loud
def get_evaluate_fn(data_config, **kwargs):
    """The evaluation function."""
    split(kwargs)
    return loud(loop.evaluate_fn(data_config.labels.get("names", data_config.label_value)))


def set_seed(seed):
    """Seed what weaver draws from: initialisation and dropout (torch), shuffling and sampling (numpy)."""
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    random.seed(seed + rank)
    np.random.seed(seed + rank)
    torch.manual_seed(seed + rank)


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
