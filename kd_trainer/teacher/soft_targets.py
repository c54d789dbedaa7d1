"""What a teacher says of a batch: the same from a live teacher, from memory and from a cache."""

from typing import NamedTuple

import torch


class SoftTargets(NamedTuple):
    """Soft targets of N jets.

    Attributes
    ----------
    logits : (N, K) tensor
    embedding : (N, D) tensor or None
        What the teacher's output layer sees, if it is asked for.
    """

    logits: torch.Tensor
    embedding: torch.Tensor | None = None
