"""Random numbers of a training, which depend only on its seed, the epoch and the process."""

import random
import secrets
import threading
from typing import TypeVar

import numpy as np
import torch
from torch import distributed

T = TypeVar("T")
DRAWING = threading.Lock()  # numpy's global generator belongs to the process, and weaver uses it in threads


def rank() -> int:
    """The rank of this process in a training with DDP."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes that train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def from_first(value: T) -> T:
    """The value of the first process, in all processes."""
    box = [value]
    if world_size() > 1:
        distributed.broadcast_object_list(box)
    return box[0]


def from_all(value: T) -> list[T]:
    """The values of all processes, by rank."""
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
    """Set the seed before a network is built, different in each DDP process; without a seed a random one is drawn."""
    set_seed((from_first(secrets.randbelow(2**31)) if seed is None else seed) + rank())


def seed_in_use() -> int:
    """The seed that `seed_network` has set."""
    return from_first((torch.initial_seed() - rank()) % 2**32)


def seed_epoch(seed: int, epoch: int) -> None:
    """Set the seed before an epoch, for dropout and augmentations."""
    set_seed(int(np.random.SeedSequence((seed, rank(), epoch)).generate_state(1, np.uint64)[0]) >> 1)
