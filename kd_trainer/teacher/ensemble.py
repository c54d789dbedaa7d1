"""Soft targets of several teachers, and of teachers with other classes than the student's."""

import math
from collections.abc import Iterable, Sequence

import torch
from weaver.utils.dataset import DataConfig

from kd_trainer.classes import columns_of
from kd_trainer.configs import PREFIX, teacher_view
from kd_trainer.teacher.frozen import Teacher, load_teacher
from kd_trainer.teacher.soft_targets import Inputs, SoftTargets
from kd_trainer.teacher.spec import TeacherSpec


def combined(logits: Sequence[torch.Tensor], what: str) -> torch.Tensor:
    """Combine the logits of several teachers to one set (N, K).

    Parameters
    ----------
    logits : list of (N, K) tensors
    what : str
        "probabilities": log of the mean of the probabilities at temperature 1. The temperature of the loss is not used,
        so soft targets do not depend on it. "logits": mean of the logits after subtraction of their mean over classes.
    """
    if what == "logits":
        return torch.stack([z - z.mean(dim=1, keepdim=True) for z in logits]).mean(dim=0)
    return mixture(logits, [1 / len(logits)] * len(logits))


def mixture(logits: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Log of the weighted mean of the probabilities at temperature 1: log sum_k w_k softmax(z_k), (N, K).

    At temperature 1, the gradient of KL(mixture || student) is the weighted sum of the gradients of
    KL(teacher k || student). The logits z_k are (N, K), the weights w_k are above 0 and have the sum 1.
    """
    weighted = [z.log_softmax(dim=1) + math.log(w) for z, w in zip(logits, weights, strict=True)]
    return torch.stack(weighted).logsumexp(dim=0)


def grouped(logits: torch.Tensor, groups: Sequence[Sequence[int]]) -> torch.Tensor:
    """Log-probabilities (N, K) of K groups of columns of logits (N, L), in fp32, normalised over all their columns."""
    exact = (logits.cpu() if logits.device.type == "mps" else logits).double()
    sums = torch.stack([exact[:, columns].logsumexp(dim=1) for columns in groups], dim=1)
    return sums.log_softmax(dim=1).float().to(logits.device)


class Ensemble:
    """Teachers with the same inputs, whose combined output is a distribution over the student's classes.

    For `what` see `combined`. `groups` are the columns of the teachers' logits for each class of the student, see
    `grouped`; None if the classes are the same.
    """

    def __init__(self, teachers: Sequence[Teacher], what: str, groups: Sequence[Sequence[int]] | None) -> None:
        self.teachers = teachers
        self.what = what
        self.groups = groups
        self.input_names = list(dict.fromkeys(name for teacher in teachers for name in teacher.input_names))
        self.description = " and ".join(teacher.description for teacher in teachers)
        if len(teachers) > 1:
            self.description += f"; mean of their {what}"
        if groups:
            self.description += f"; {sum(map(len, groups))} of {teachers[0].classes} classes in {len(groups)} groups"

    def __call__(self, X: Inputs, device: torch.device | str) -> SoftTargets:
        """Soft targets in fp32 for a batch X of a paired loader; a single teacher also gives its embedding."""
        X = {PREFIX + name: X[PREFIX + name].to(device, non_blocking=True) for name in self.input_names}
        outputs = [self._of_one(teacher, X, device) for teacher in self.teachers]
        return outputs[0] if len(outputs) == 1 else SoftTargets(combined([z for z, _ in outputs], self.what))

    def _of_one(self, teacher: Teacher, X: Inputs, device: torch.device | str) -> SoftTargets:
        logits, embedding = teacher(X, device)
        return SoftTargets(grouped(logits, self.groups) if self.groups else logits, embedding)


def load_ensemble(members: Iterable[TeacherSpec], paired: DataConfig, what: str, embedding: bool = False) -> Ensemble:
    """The teachers of a distillation, for `what` see `combined`; `embedding`: whether it is needed, of one teacher."""
    view = teacher_view(paired)
    teachers = [load_teacher(*member[:2], view, member.options, embedding) for member in members]
    return Ensemble(teachers, what, columns_of(paired.labels))
