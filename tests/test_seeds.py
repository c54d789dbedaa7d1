"""Random numbers of a training."""

import torch

from kd_trainer import seeds


def numbers(load_epoch):
    seeds.set_seed(4)
    seeds.go_on(load_epoch)
    return torch.rand(3).tolist()


def test_a_resumed_training_does_not_begin_again():
    assert numbers(None) == numbers(None) and numbers(2) == numbers(2)
    assert len({tuple(numbers(epoch)) for epoch in (None, 0, 1, 2)}) == 4
