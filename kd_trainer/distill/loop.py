"""Distillation inside weaver's own training loop. Only the loader is wrapped; the loop does not change.

weaver's loader --X{pf_*, teacher_pf_*}, y--> StudentView: teacher_* -> Teacher -> soft targets on the loss
                                                           X{pf_*}, y -> weaver's train_classification
"""

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from weaver.utils.logger import _logger
from weaver.utils.nn.tools import evaluate_classification, train_classification, unwrap_model

from kd_trainer.classes import is_unlabelled
from kd_trainer.configs import PREFIX, has_teacher, student_view
from kd_trainer.distill.averaging import averaging
from kd_trainer.distill.embedding import matching_of, student_parameters
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.mixture import LABELLED
from kd_trainer.errors import InputError
from kd_trainer.evaluate.monitor import epoch_metrics
from kd_trainer.teacher.memory import RememberingTeacher
from kd_trainer.teacher.prefetch import with_soft_targets
from kd_trainer.teacher.soft_targets import SoftTargets, SoftTargetSource
from kd_trainer.weaver_hooks import Loader, training_of

TeacherFor = Callable[[Loader], SoftTargetSource]


class StudentView:
    """A weaver loader without the teacher's inputs, for the student.

    Jets without labels get the most likely class of the teacher as label, so weaver's accuracy is the agreement with
    the teacher.

    Parameters
    ----------
    loader : DataLoader
        With a paired data config or the student's own, or a `Mixture` of two loaders.
    deposit : callable of SoftTargets and a (N,) bool tensor
        Called for each batch before the student gets it, with its soft targets and a mask of the jets with labels.
    steps : int or None
        Batches of an epoch; None for all batches of the loader. Weaver gives 0 if there are fewer jets than a batch,
        and then takes one batch.
    """

    def __init__(
        self,
        loader: Loader,
        teacher: SoftTargetSource | None = None,
        device: torch.device | None = None,
        deposit: Callable[[SoftTargets, torch.Tensor], None] = lambda targets, labelled: None,
        steps: int | None = None,
    ) -> None:
        self.loader = loader
        self.teacher = teacher
        self.device = device or torch.device("cpu")
        self.deposit = deposit
        self.steps = None if steps is None else max(1, steps)
        self.dataset = SimpleNamespace(config=student_view(loader.dataset.config))

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Any]]:
        if self.teacher is None:
            for X, y, Z in self.loader:
                yield _of_student(X), y, Z
            return
        unlabelled = is_unlabelled(self.dataset.config.labels)
        for (X, y, Z), targets in with_soft_targets(islice(self.loader, self.steps), self.teacher, self.device):
            labelled = y.pop(LABELLED, torch.full((len(targets.logits),), not unlabelled))
            self.deposit(targets, labelled)
            if not labelled.all():
                guess, known = targets.logits.argmax(dim=1), labelled.to(targets.logits.device)
                y = {name: torch.where(known, label.to(guess), guess) for name, label in y.items()}
            yield _of_student(X), y, Z


def _of_student(X: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: values for name, values in X.items() if not name.startswith(PREFIX)}


def train_fn(teacher: SoftTargetSource | None, student_name: str, ema: float = 0.0) -> Callable[..., None]:
    """The function that trains an epoch: weaver's own, with soft targets from the teacher.

    Parameters
    ----------
    teacher : callable (X, device) -> SoftTargets, or None
        None trains on labels alone; the loss must have `needs_teacher` False.
    student_name : str
        Name for the log.
    ema : float
        Decay of the moving average of the student's weights, see `averaging`; 0 for no average.
    """
    train_epoch = averaging(train_classification, ema) if ema else train_classification
    averaged = f"; the weights are averaged with decay {ema}" if ema else ""
    begun: list[bool] = []

    def train(model: nn.Module, loss_func: DistillationLoss, *args: Any, **kwargs: Any) -> None:
        *weavers, loader, dev, epoch = args  # `weavers`: optimiser and scheduler
        if not begun:
            loss_func.matching = matching_of(model)
            loss_func.penalty = getattr(unwrap_model(model), "penalty", None)
            _logger.info("%s%s", introduction(model, loss_func, teacher, student_name), averaged, color="bold")
            keep_memory(kwargs["extra_args"], "training", teacher, dev)
            begun.append(True)

        def deposit(targets: SoftTargets, labelled: torch.Tensor) -> None:
            loss_func.soft_targets, loss_func.labelled = targets, labelled

        loss_func.start_epoch(epoch)
        view = StudentView(loader, teacher, dev, deposit, kwargs.get("steps_per_epoch"))
        train_epoch(model, loss_func, *weavers, view, dev, epoch, **kwargs)
        report(loss_func, epoch, kwargs.get("tb_helper"))

    return train


def keep_memory(extra_args: dict[str, Any], use: str, teacher: SoftTargetSource | None, device: torch.device) -> None:
    """On a CPU, save the remembered soft targets of a teacher with the training.

    The last digit of a jet's soft targets depends on its batch. Without the saved values a resumed training would end
    with slightly different weights.
    """  # fmt: skip
    training = training_of(extra_args)
    if training is not None and device.type == "cpu" and isinstance(teacher, RememberingTeacher):
        training.keep(f"soft targets of {use}", teacher)


def evaluate_fn(names: Sequence[str], teacher_for: TeacherFor) -> Callable[..., Any]:
    """The evaluation function: weaver's own, with the plain task loss and the student's inputs.

    Parameters
    ----------
    names : the classes; if there are many, a few rejections replace weaver's metrics.
    teacher_for : callable loader -> callable (X, device) -> SoftTargets
        Gives the teacher that replaces missing labels, see `StudentView`.
    """
    # by loader; weaver deletes loaders
    teachers: weakref.WeakKeyDictionary[Loader, SoftTargetSource | None] = weakref.WeakKeyDictionary()

    def evaluate(
        model: nn.Module, test_loader: Loader, dev: torch.device, epoch: int, for_training: bool = True, **kwargs: Any
    ) -> Any:
        if test_loader not in teachers:
            teachers[test_loader] = _instead_of_labels(test_loader, for_training, teacher_for)
            if for_training:
                keep_memory(kwargs["extra_args"], "validation", teachers[test_loader], dev)
        if "loss_func" in kwargs:
            kwargs["loss_func"].eval()
        metrics = epoch_metrics(names, for_training=for_training, epoch=epoch, tb_helper=kwargs.get("tb_helper"))
        view = StudentView(test_loader, teachers[test_loader], dev, steps=kwargs.get("steps_per_epoch"))
        return evaluate_classification(model, view, dev, epoch, for_training, **metrics, **kwargs)

    return evaluate


def _instead_of_labels(loader: Loader, for_training: bool, teacher_for: TeacherFor) -> SoftTargetSource | None:
    """The teacher for a loader without labels; None for other loaders and for predictions, which need no labels."""
    if not is_unlabelled(loader.dataset.config.labels):
        return None
    if for_training:
        return teacher_for(loader)
    _logger.warning("The data config has no labels: accuracy and metrics of this test have no meaning")
    return None


def check_setup(extra_args: dict[str, Any]) -> None:
    """Check everything that a training needs before its first batch; InputError says what is wrong."""
    if extra_args["args"].regression_mode:
        raise InputError("distillation is for classification: run weaver without --regression-mode")
    config = extra_args["val_loader"].dataset.config
    if is_unlabelled(config.labels) and not has_teacher(config):
        raise InputError(
            "the data config of the validation has neither labels nor inputs for the teacher: "
            "give --data-config-val paired.yaml, or the student's data config with labels"
        )


def introduction(
    model: nn.Module, loss_func: DistillationLoss, teacher: SoftTargetSource | None, student_name: str
) -> str:
    """The line of the log that describes teacher, student and loss."""
    student = f"student {student_name} ({student_parameters(model):,} parameters)"
    if teacher is None:
        smoothing = f", smoothed by {loss_func.label_smoothing}" if loss_func.label_smoothing else ""
        return f"No teacher (kd_alpha 0): {student} is trained on labels alone{smoothing}"
    return f"Teacher {teacher.description} teaches {student}, {loss_func.description()}"


def report(loss_func: DistillationLoss, epoch: int, tb_helper: Any) -> None:
    """Log the means of an epoch, and its alpha and temperature."""
    means = loss_func.means()
    settings = {"alpha": loss_func.alpha, "temperature": loss_func.temperature} if loss_func.needs_teacher else {}
    texts = [f"{name} {value:.5f}" for name, value in means.items()] + [f"{k} {v:g}" for k, v in settings.items()]
    _logger.info("Epoch #%d distillation: %s", epoch, ", ".join(texts))
    if tb_helper:
        tb_helper.write_scalars([(f"KD/{name} (epoch)", value, epoch) for name, value in (means | settings).items()])
