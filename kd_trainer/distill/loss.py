"""Distillation losses: pure functions, and the loss object that weaver's loop calls."""

import torch
import torch.nn.functional as F
from torch import nn

from kd_trainer.errors import InputError


def kd_loss(*, student_logits, teacher_logits, temperature):
    """Hinton's soft-target loss T^2 KL(teacher || student) of softmax(logits / T), mean over jets (arXiv 1503.02531).

    Parameters
    ----------
    student_logits, teacher_logits : (N, K) tensors
    temperature : float
        T > 0; the factor T^2 keeps the size of the gradient independent of T.

    Returns
    -------
    scalar tensor
    """
    log_p_student = F.log_softmax(student_logits / temperature, dim=1)
    log_p_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(log_p_student, log_p_teacher, reduction="batchmean", log_target=True)


def agreement(logits, other_logits):
    """Fraction of jets for which two (N, K) tensors of logits have the same largest class."""
    return (logits.argmax(dim=1) == other_logits.argmax(dim=1)).float().mean()


class DistillationLoss(nn.Module):
    """(1 - alpha) task loss + alpha T^2 KL(teacher || student) in training, the task loss alone in evaluation.

    The soft targets of a batch are laid down in `soft_targets` before weaver calls the loss, which uses them once:
    a training batch without soft targets is an error, never a batch trained on labels alone.

    Parameters
    ----------
    alpha : float
        Weight of the soft targets, 0 to 1.
    temperature : float
    task_loss : callable (logits (N, K), labels (N,)) -> scalar
        The loss on labels; cross-entropy unless the student's network file defines another.
    needs_teacher : bool
        False for the baseline, trained on labels alone.
    """

    def __init__(self, *, alpha, temperature, task_loss=None, needs_teacher=True):
        super().__init__()
        self.alpha = alpha
        self.temperature = temperature
        self.task_loss = task_loss or nn.CrossEntropyLoss()
        self.needs_teacher = needs_teacher
        self.soft_targets = None
        self.start_epoch(0)

    def extra_repr(self):
        return f"alpha={self.alpha}, temperature={self.temperature}, needs_teacher={self.needs_teacher}"

    def start_epoch(self, epoch):
        """Go into training mode and forget the sums of the last epoch."""
        self.train()
        self.epoch, self.batch, self.jets, self.sums = epoch, 0, 0, 0.0

    def means(self):
        """Means over the jets of the epoch: task loss, and with a teacher KD loss and agreement of the two."""
        names = ("task_loss", "kd_loss", "agreement") if self.needs_teacher else ("task_loss",)
        return dict(zip(names, (self.sums / max(self.jets, 1)).tolist())) if self.jets else {}

    def forward(self, logits, labels):
        """Scalar loss of logits (N, K) and labels (N,).

        Raises
        ------
        InputError
            For a training batch without soft targets or with those of another number of classes, and for a loss
            that is not a finite number.
        """
        if not self.training:
            return self.task_loss(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            task_loss = self.task_loss(logits, labels)
            if self.needs_teacher:
                targets = self._take_soft_targets(logits)
                soft_loss = kd_loss(student_logits=logits, teacher_logits=targets, temperature=self.temperature)
                loss = (1 - self.alpha) * task_loss + self.alpha * soft_loss
                parts = [task_loss, soft_loss, agreement(logits, targets)]
            else:
                loss, parts = task_loss, [task_loss]
        if not torch.isfinite(loss):
            raise InputError(
                f"the loss is {loss.item()} in epoch {self.epoch}, batch {self.batch}: training stopped; "
                "look for NaN in the inputs (python -m kd_trainer check) or lower --start-lr"
            )
        self.sums = self.sums + torch.stack(parts).detach() * len(labels)
        self.jets += len(labels)
        self.batch += 1
        return loss

    def _take_soft_targets(self, logits):
        targets, self.soft_targets = self.soft_targets, None
        if targets is None:
            raise InputError("a training batch came without soft targets: use weaver's training, not --lr-finder")
        if targets.shape != logits.shape:
            raise InputError(
                f"the teacher gives {targets.shape[1]} classes for {len(targets)} jets, "
                f"the student {logits.shape[1]} for {len(logits)}"
            )
        return targets.float()
