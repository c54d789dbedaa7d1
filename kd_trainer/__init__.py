"""weaver-kd: knowledge distillation for jet taggers inside weaver.

The public interface for notebooks. Each name is imported at its first use:

    Tagger                       scores of jets from a converted student
    load_config, pair            data configs: read one, pair a student's with its teacher's
    load_teacher, SoftTargets    a frozen teacher, and its output for a batch
    DistillationLoss             the loss of a training; soft_target_loss gives its soft-target loss by name
    kd_loss, decoupled_loss, standardised_loss, correlation_loss, mse_loss
    read_prediction              the scores in a prediction file of weaver
    accuracy, auc, discriminant, rejection      figures of merit of scores (N, K)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kd_trainer.configs import load as load_config
    from kd_trainer.deploy.tagger import Tagger
    from kd_trainer.distill.loss import DistillationLoss
    from kd_trainer.distill.losses import (
        correlation_loss,
        decoupled_loss,
        kd_loss,
        mse_loss,
        soft_target_loss,
        standardised_loss,
    )
    from kd_trainer.evaluate.metrics import accuracy, auc, discriminant, rejection
    from kd_trainer.evaluate.predictions import read as read_prediction
    from kd_trainer.pairing import pair
    from kd_trainer.teacher.frozen import load_teacher
    from kd_trainer.teacher.soft_targets import SoftTargets

__all__ = [
    "DistillationLoss", "SoftTargets", "Tagger", "accuracy", "auc", "correlation_loss", "decoupled_loss",
    "discriminant", "kd_loss", "load_config", "load_teacher", "mse_loss", "pair", "read_prediction", "rejection",
    "soft_target_loss", "standardised_loss",
]  # fmt: skip

_MODULES = {
    "deploy.tagger": ("Tagger",),
    "pairing": ("pair",),
    "teacher.frozen": ("load_teacher",),
    "teacher.soft_targets": ("SoftTargets",),
    "distill.loss": ("DistillationLoss",),
    "distill.losses": ("kd_loss", "decoupled_loss", "standardised_loss", "correlation_loss", "mse_loss",
                       "soft_target_loss"),
    "evaluate.metrics": ("accuracy", "auc", "discriminant", "rejection"),
}  # fmt: skip
_PLACES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_PLACES |= {"load_config": ("configs", "load"), "read_prediction": ("evaluate.predictions", "read")}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'kd_trainer' has no attribute '{name}'")
    module, inside = _PLACES[name]
    value = getattr(importlib.import_module(f"kd_trainer.{module}"), inside)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
