"""Random numbers of a training: functions of its seed, the epoch and the process, never of what happened before."""

import random
import secrets
import threading
from typing import TypeVar

import numpy as np
import torch
from torch import distributed

T = TypeVar("T")
DRAWING = threading.Lock()  # numpy's random numbers belong to the process, weaver draws them in threads


def rank() -> int:
    """The number of this process among those of a training with DDP."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def from_first(value: T) -> T:
    """What the first process has, in all of them."""
    box = [value]
    if world_size() > 1:
        distributed.broadcast_object_list(box)
    return box[0]


def from_all(value: T) -> list[T]:
    """What every process has, by its number."""
    values = [value] * world_size()
    if world_size() > 1:
        distributed.all_gather_object(values, value)
    return values


def set_seed(seed: int) -> None:
    """Seed python, numpy and torch."""
    random.seed(seed)
    with DRAWING:
        np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def seed_network(seed: int | None) -> None:
    """Before a network is built: each process of DDP differs; without a seed one is drawn."""
    set_seed((from_first(secrets.randbelow(2**31)) if seed is None else seed) + rank())


def seed_in_use() -> int:
    """The seed of `seed_network`."""
    return from_first((torch.initial_seed() - rank()) % 2**32)


def seed_epoch(seed: int, epoch: int) -> None:
    """Before an epoch: dropout and augmentations begin anew."""
    set_seed(int(np.random.SeedSequence((seed, rank(), epoch)).generate_state(1, np.uint64)[0]) >> 1)
