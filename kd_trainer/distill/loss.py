"""The loss object that weaver's loop calls."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from kd_trainer.distill.embedding import Matching
from kd_trainer.distill.losses import EMBED_LOSSES, agreement, soft_target_loss
from kd_trainer.distill.schedule import Schedule, Value
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits (N, K) and labels (N,)
Part = tuple[str, torch.Tensor, int]  # name, mean, number of jets


class DistillationLoss(nn.Module):
    """The loss of a distillation, as weaver's loop calls it.

    For a jet with a label it is (1 - alpha) task loss + alpha soft-target loss, for a jet without a label the
    soft-target loss; the mean over the jets of a batch is taken. embed_weight times the embedding loss is added, and
    the student's `penalty` if it has one, such as the firmware size of networks/firmware.py. In evaluation it is the
    task loss alone. Before weaver calls the loss, the loader stores the soft targets of the batch in `soft_targets` and
    the mask of jets with labels in `labelled`. The loss uses them once: a training batch without soft targets is an
    error, and is never trained on labels alone.

    Parameters
    ----------
    alpha, temperature : number or schedule
        Weight of the soft targets, 0 to 1, and their temperature, see `Schedule`.
    kd_loss : str
    kd_loss_options : dict
        See `losses.soft_target_loss`.
    embed_weight : float
    embed_loss : str
        A name in `losses.EMBED_LOSSES`, see `embedding.Matching`.
    task_loss : callable (logits (N, K), labels (N,)) -> scalar
        The loss on labels; cross-entropy unless the student's network file defines another loss.
    label_smoothing : float
        Label smoothing of the cross-entropy in training; not allowed with a loss of the student's network file.
    needs_teacher : bool
        False for the baseline, which is trained on labels alone.
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
        self.penalty: Callable[[int], tuple[str, torch.Tensor]] | None = None  # of the student's network in an epoch
        self.soft_targets: SoftTargets | None = None
        self.labelled: torch.Tensor | None = None  # (N,) bool, on the CPU, for the same batch; None: all have labels
        self.start_epoch(0)

    def extra_repr(self) -> str:
        return f"alpha={self.alphas}, temperature={self.temperatures}, needs_teacher={self.needs_teacher}"

    def description(self) -> str:
        """Alpha, temperature and all settings that are not the default, for the log."""
        text = f"alpha {self.alphas}, temperature {self.temperatures}"
        if self.kd_loss != "kl":
            text += f", loss {self.kd_loss}" + (f" {self.kd_loss_options}" if self.kd_loss_options else "")
        if self.label_smoothing:
            text += f", label smoothing {self.label_smoothing}"
        if self.embed_weight:
            text += f", embedding loss {self.embed_loss} with weight {self.embed_weight}"
        return text

    def start_epoch(self, epoch: int) -> None:
        """Go into training mode, set alpha and temperature of the epoch, and reset the sums."""
        self.train()
        self.alpha, self.temperature = self.alphas(epoch), self.temperatures(epoch)
        self.epoch, self.batch = epoch, 0
        self.sums: dict[str, float] = {}
        self.jets: dict[str, int] = {}

    def means(self) -> dict[str, float]:
        """Means over the jets of the epoch: the task loss of jets with labels; with a teacher also the other losses and
        the agreement of student and teacher.
        """  # fmt: skip
        return {name: total / self.jets[name] for name, total in self.sums.items()}

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Scalar loss of logits (N, K) and labels (N,).

        Raises
        ------
        InputError
            For a training batch without soft targets or with another number of classes, and for a loss that is not
            finite.
        """
        if not self.training:
            return self.task_loss(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            if self.needs_teacher:
                loss, parts = self._taught(logits, labels)
            else:
                loss = self.training_loss(logits, labels)
                parts = [("task_loss", loss, len(labels))]
            if self.penalty is not None:
                name, penalty = self.penalty(self.epoch)
                loss = loss + penalty
                parts.append((name, penalty, len(labels)))
        self._add_up(loss, parts)
        return loss

    def _taught(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, list[Part]]:
        """The loss with a teacher, and its parts."""
        (theirs, embedding), labelled = self._take_soft_targets(logits)
        loss, parts = logits.new_zeros(()), []
        for has_label, rows in _kinds(labelled, logits.device):
            of_kind = logits[rows]
            jets = len(of_kind)
            part = self.soft_target_loss(
                student_logits=of_kind, teacher_logits=theirs[rows], labels=labels[rows], temperature=self.temperature
            )
            parts.append(("kd_loss", part, jets))
            if has_label:
                hard = self.training_loss(of_kind, labels[rows])
                parts.insert(0, ("task_loss", hard, jets))
                part = (1 - self.alpha) * hard + self.alpha * part
            loss = loss + jets / len(labels) * part
        if self.embed_weight:
            if self.matching is None:
                raise RuntimeError("the student has no projection to the teacher's embedding")
            distance = EMBED_LOSSES[self.embed_loss](self.matching.take(), embedding)
            loss = loss + self.embed_weight * distance
            parts.append(("embed_loss", distance, len(labels)))
        return loss, [*parts, ("agreement", agreement(logits, theirs), len(labels))]

    def _take_soft_targets(self, logits: torch.Tensor) -> tuple[SoftTargets, torch.Tensor]:
        """The soft targets of the batch, in fp32, and the mask of its jets with labels."""
        targets, self.soft_targets = self.soft_targets, None
        labelled, self.labelled = self.labelled, None
        if targets is None:
            raise InputError("a training batch has no soft targets: use weaver's training, not --lr-finder")
        if targets.logits.shape != logits.shape:
            jets, classes = targets.logits.shape
            raise InputError(
                f"the teacher gives {classes} classes for {jets} jets, the student {logits.shape[1]} for {len(logits)}"
            )
        labelled = torch.ones(len(logits), dtype=torch.bool) if labelled is None else labelled
        if len(labelled) != len(logits):
            raise InputError(f"labels are marked for {len(labelled)} jets, but the batch has {len(logits)}")
        embedding = None if targets.embedding is None else targets.embedding.float()
        return SoftTargets(targets.logits.float(), embedding), labelled

    def _add_up(self, loss: torch.Tensor, parts: Sequence[Part]) -> None:
        """Add the parts of a batch to the sums; the same transfer from the GPU checks that the loss is finite."""
        value, *values = torch.stack([loss, *(part for _, part, _ in parts)]).detach().tolist()
        if not math.isfinite(value):
            raise InputError(
                f"the loss is {value} in epoch {self.epoch}, batch {self.batch}: training stopped; "
                "look for NaN in the inputs (python -m kd_trainer check) or lower --start-lr"
            )
        for (name, _, jets), mean in zip(parts, values):
            self.sums[name] = self.sums.get(name, 0.0) + mean * jets
            self.jets[name] = self.jets.get(name, 0) + jets
        self.batch += 1


def _kinds(labelled: torch.Tensor, device: torch.device) -> list[tuple[bool, Any]]:
    """(has labels, rows) for the jets with labels and those without, as far as the batch has any."""
    if labelled.all() or not labelled.any():
        return [(bool(labelled[0]), slice(None))]
    return [(kind, (labelled == kind).nonzero()[:, 0].to(device, non_blocking=True)) for kind in (True, False)]


def _smoothed(task_loss: Loss, label_smoothing: float) -> Loss:
    if not isinstance(task_loss, nn.CrossEntropyLoss) or task_loss.weight is not None or task_loss.label_smoothing:
        raise InputError("kd_label_smoothing is for cross-entropy, but the student's network file has its own loss")
    return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
