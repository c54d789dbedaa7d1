"""The state of network, optimiser and scheduler after an epoch, as tensors and plain numbers."""

from typing import Any

import torch
from torch import nn
from weaver.utils.nn.optimizer.lookahead import Lookahead

from kd_trainer.errors import InputError


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers, those included that a network leaves out of its checkpoint, as a projection of KD."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def put_into(model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Give a model the tensors of `tensors_of`; InputError if they are another model's."""
    tensors = tensors_of(model)
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in saved.items()}:
        raise InputError("the saved training is one of another network")
    for name, tensor in tensors.items():
        tensor.copy_(saved[name])


def of_optimizer(opt) -> dict[str, Any]:
    """The optimiser's state; for Lookahead (ranger), whose own state dict lacks them, its slow weights and counter."""
    state = {"inner": opt.state_dict()}
    if isinstance(opt, Lookahead):
        state["slow"] = [opt.state[p]["cached_params"] for group in opt.param_groups for p in group["params"]]
        state["counter"] = opt.step_counter
    return state


def put_into_optimizer(opt, state: dict[str, Any]) -> None:
    """Give an optimiser the state of `of_optimizer`."""
    opt.load_state_dict(state["inner"])
    if isinstance(opt, Lookahead):
        parameters = [p for group in opt.param_groups for p in group["params"]]
        for parameter, slow in zip(parameters, state["slow"], strict=True):
            opt.state[parameter]["cached_params"].copy_(slow)
        opt.step_counter = state["counter"]
