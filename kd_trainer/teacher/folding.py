"""Faster frozen networks: batch normalisations are folded into neighbouring convolutions.

In eval mode, `BatchNorm1d` and `Conv1d` with kernel size 1 are linear maps of the channels at each position. All such
layers between two activations are one matrix product. The pair embedding of ParT consists of these layers alone.
"""

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import nn

ACTIVATIONS = (nn.GELU, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.Sigmoid, nn.Tanh)
WITHOUT_EFFECT = (nn.Identity, nn.Dropout)  # layers without effect in eval mode


class PointwiseLayers(nn.Sequential):
    """Layers that act on the last dimension, applied to the middle dimension: (N, C, L) -> (N, D, L), a view."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


@torch.no_grad()
def folded(model: nn.Module, inputs: Sequence[torch.Tensor]) -> nn.Module:
    """A copy of a network in eval mode that gives the same outputs with fewer operations.

    Each `nn.Sequential` of pointwise layers becomes linear layers and activations. The original network is returned if
    it has no such layers, or if the new network fails or gives other outputs for the inputs of a few jets.
    """
    found: dict[str, list[nn.Module]] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{other}.") for other in found)
        layers = pointwise_layers(module) if name and not inside and type(module) is nn.Sequential else None
        if layers:
            found[name] = layers
    if not found:
        return model
    try:
        candidate = copy.deepcopy(model)
        for name, layers in found.items():
            candidate.set_submodule(name, PointwiseLayers(*layers).requires_grad_(False).eval())
        agree = torch.allclose(candidate(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)
    except Exception:  # the network cannot be copied, or accesses its layers in an unusual way
        agree = False
    return candidate if agree else model


@torch.no_grad()
def pointwise_layers(sequence: nn.Sequential) -> list[nn.Module] | None:
    """Linear layers and activations on (..., C) that replace an `nn.Sequential` on (N, C, L) in eval mode.

    Returns
    -------
    list of torch.nn.Module or None
        None if there are hooks, layers that may not be pointwise, or no convolutions.
    """
    modules = [module for _, module in sequence.named_modules(remove_duplicate=False)]
    leaves = [module for module in modules if type(module) not in (nn.Sequential, *WITHOUT_EFFECT)]
    if any(m._forward_hooks or m._forward_pre_hooks for m in modules) or not all(map(_is_pointwise, leaves)):
        return None
    layers: list[nn.Module] = []
    for activations, neighbours in groupby(leaves, key=lambda leaf: type(leaf) in ACTIVATIONS):
        group = list(neighbours)
        if not activations and not any(type(leaf) is nn.Conv1d for leaf in group):
            return None
        layers += group if activations else [_product(group)]
    return layers if any(isinstance(layer, nn.Linear) for layer in layers) else None


def _is_pointwise(layer: Any) -> bool:
    if type(layer) is nn.Conv1d:
        same_length = layer.stride == (1,) and layer.padding in ((0,), "valid", "same")
        return layer.kernel_size == (1,) and same_length and layer.groups == 1
    return type(layer) in ACTIVATIONS or (type(layer) is nn.BatchNorm1d and layer.running_mean is not None)


def _product(group: Sequence[nn.Module]) -> nn.Linear:
    """One linear layer that replaces consecutive convolutions and batch normalisations."""
    weight, bias = _map_of(group[0])
    for layer in group[1:]:
        matrix, shift = _map_of(layer)
        weight, bias = matrix @ weight, matrix @ bias + shift
    linear = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])  # uses no random numbers
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear


def _map_of(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Matrix (D, C) and shift (D,) of a layer, in double precision."""
    if type(layer) is nn.Conv1d:
        weight = layer.weight[:, :, 0].double()
        return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.double()
    scale = (layer.running_var.double() + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight.double()
    shift = -layer.running_mean.double() * scale
    return scale.diag(), shift + layer.bias.double() if layer.affine else shift
