"""The loss object that weaver's loop calls."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn

from kd_trainer.distill.embedding import Matching
from kd_trainer.distill.losses import EMBED_LOSSES, agreement, soft_target_loss
from kd_trainer.distill.schedule import Schedule, Value
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits (N, K) and labels (N,)


class DistillationLoss(nn.Module):
    """(1 - alpha) task loss + alpha soft-target loss + embed_weight embedding loss in training.

    In evaluation it is the task loss alone. What the teacher says of a batch is laid down in `soft_targets` before
    weaver calls the loss, which uses it once: a training batch without soft targets is an error, never a batch trained
    on labels alone.

    Parameters
    ----------
    alpha, temperature : number or schedule
        Weight of the soft targets, 0 to 1, and their temperature, see `Schedule`.
    kd_loss : str
    kd_loss_options : dict
        See `losses.soft_target_loss`.
    embed_weight : float
    embed_loss : str
        Of `losses.EMBED_LOSSES`, see `embedding.Matching`.
    task_loss : callable (logits (N, K), labels (N,)) -> scalar
        The loss on labels; cross-entropy unless the student's network file defines another.
    label_smoothing : float
        Of the cross-entropy in training; the student's network file must not define another.
    needs_teacher : bool
        False for the baseline, trained on labels alone.
    """

    def __init__(
        self,
        *,
        alpha: Value,
        temperature: Value,
        kd_loss: str = "kl",
        kd_loss_options: Mapping[str, float] | None = None,
        embed_weight: float = 0.0,
        embed_loss: str = "cosine",
        task_loss: Loss | None = None,
        label_smoothing: float = 0.0,
        needs_teacher: bool = True,
    ) -> None:
        super().__init__()
        self.alphas = Schedule("kd_alpha", alpha)
        self.temperatures = Schedule("kd_temperature", temperature)
        self.kd_loss, self.kd_loss_options = kd_loss, kd_loss_options
        self.soft_target_loss = soft_target_loss(kd_loss, kd_loss_options)
        self.embed_weight = embed_weight
        self.embed_loss = embed_loss
        self.task_loss = task_loss or nn.CrossEntropyLoss()
        self.label_smoothing = label_smoothing
        self.training_loss = _smoothed(self.task_loss, label_smoothing) if label_smoothing else self.task_loss
        self.needs_teacher = needs_teacher
        self.matching: Matching | None = None
        self.soft_targets: SoftTargets | None = None
        self.sums: dict[str, float] = {}
        self.start_epoch(0)

    def extra_repr(self) -> str:
        return f"alpha={self.alphas}, temperature={self.temperatures}, needs_teacher={self.needs_teacher}"

    def description(self) -> str:
        """What is not the default, and alpha and temperature, for the log."""
        text = f"alpha {self.alphas}, temperature {self.temperatures}"
        if self.kd_loss != "kl":
            text += f", loss {self.kd_loss}" + (f" {self.kd_loss_options}" if self.kd_loss_options else "")
        if self.label_smoothing:
            text += f", label smoothing {self.label_smoothing}"
        if self.embed_weight:
            text += f", embedding loss {self.embed_loss} with weight {self.embed_weight}"
        return text

    def start_epoch(self, epoch: int) -> None:
        """Go into training mode, with the alpha and temperature of the epoch and without the sums of the last."""
        self.train()
        self.alpha, self.temperature = self.alphas(epoch), self.temperatures(epoch)
        self.epoch, self.batch, self.jets, self.sums = epoch, 0, 0, {}

    def means(self) -> dict[str, float]:
        """Means over the jets of the epoch: task loss, and with a teacher the others and the agreement of the two."""
        return {name: total / self.jets for name, total in self.sums.items()}

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
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
            parts = {"task_loss": self.training_loss(logits, labels)}
            loss = parts["task_loss"]
            if self.needs_teacher:
                targets = self._take_soft_targets(logits)
                parts["kd_loss"] = self.soft_target_loss(
                    student_logits=logits, teacher_logits=targets.logits, labels=labels, temperature=self.temperature
                )
                loss = (1 - self.alpha) * loss + self.alpha * parts["kd_loss"]
                if self.embed_weight:
                    if self.matching is None:
                        raise RuntimeError("the student has no projection to the teacher's embedding")
                    parts["embed_loss"] = EMBED_LOSSES[self.embed_loss](self.matching.take(), targets.embedding)
                    loss = loss + self.embed_weight * parts["embed_loss"]
                parts["agreement"] = agreement(logits, targets.logits)
        self._add_up(loss, parts, len(labels))
        return loss

    def _take_soft_targets(self, logits: torch.Tensor) -> SoftTargets:
        """What the teacher says of the batch, in fp32."""
        targets, self.soft_targets = self.soft_targets, None
        if targets is None:
            raise InputError("a training batch came without soft targets: use weaver's training, not --lr-finder")
        if targets.logits.shape != logits.shape:
            jets, classes = targets.logits.shape
            raise InputError(
                f"the teacher gives {classes} classes for {jets} jets, the student {logits.shape[1]} for {len(logits)}"
            )
        embedding = None if targets.embedding is None else targets.embedding.float()
        return SoftTargets(targets.logits.float(), embedding)

    def _add_up(self, loss: torch.Tensor, parts: Mapping[str, torch.Tensor], jets: int) -> None:
        """Add the parts of a batch to the sums; one transfer from the GPU also tells whether the loss is a number."""
        value, *values = torch.stack([loss, *parts.values()]).detach().tolist()
        if not math.isfinite(value):
            raise InputError(
                f"the loss is {value} in epoch {self.epoch}, batch {self.batch}: training stopped; "
                "look for NaN in the inputs (python -m kd_trainer check) or lower --start-lr"
            )
        for name, part in zip(parts, values):
            self.sums[name] = self.sums.get(name, 0.0) + part * jets
        self.jets += jets
        self.batch += 1


def _smoothed(task_loss: Loss, label_smoothing: float) -> Loss:
    if not isinstance(task_loss, nn.CrossEntropyLoss) or task_loss.weight is not None or task_loss.label_smoothing:
        raise InputError("kd_label_smoothing is for cross-entropy, but the student's network file has its own loss")
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
