"""Random numbers of a training: what weaver draws from, which has no seed of its own."""

import random

import numpy as np
import torch


def set_seed(seed):
    """Seed initialisation and dropout (torch), shuffling and sampling (numpy); each process of DDP differs."""
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    random.seed(seed + rank)
    np.random.seed(seed + rank)
    torch.manual_seed(seed + rank)


def go_on(load_epoch):
    """After `--load-epoch`: the seed would give the random numbers of epoch 0 again, and of a large sample its jets."""
    if load_epoch is not None:
        set_seed((torch.initial_seed() + 1_000_003 * (load_epoch + 1)) % 2**32)
