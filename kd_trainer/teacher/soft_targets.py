"""Soft targets of a batch, in the same form from a teacher, from memory and from a cache."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import torch

Inputs = Mapping[str, torch.Tensor]  # (N, ...) by the name of the input group


class SoftTargets(NamedTuple):
    """Soft targets of N jets.

    Attributes
    ----------
    logits : (N, K) tensor
    embedding : (N, D) tensor or None
        Input of the teacher's output layer, if it is requested.
    """

    logits: torch.Tensor
    embedding: torch.Tensor | None = None


class SoftTargetSource(Protocol):
    """A source of soft targets: a teacher, an ensemble, a `RememberingTeacher` or a cache."""

    description: str

    def __call__(self, X: Inputs, device: torch.device | str) -> SoftTargets:
        """Soft targets in fp32 for a batch X of a paired loader, on `device`."""
