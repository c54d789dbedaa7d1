"""Quantisation-aware training: another network whose linear layers and convolutions round as they will with 8 bits.

    -o network "'networks/dense.py'"      the network file; all other options go to it

Rounded are the weights (symmetric, one scale a channel, `-o weight_bits 7`) and what goes in and comes out
(`-o activation_bits 8`, range of the batch), as in a model of `python -m kd_trainer quantise` (arXiv 1712.05877).
Gradients pass the rounding as if it were not there. Nothing is added to the network: checkpoints load strictly into the
plain one and from it (`--load-model-weights`), and ONNX export gives the plain one. With a teacher:

    weaver -n networks/distill.py -o student "'networks/quantised.py'" -o network "'networks/dense.py'" ...
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from weaver.utils.import_tools import import_module


def round_weights(weight, bits):
    """Weights on 2^bits - 1 levels around 0, as many above as below, with one scale for each output channel."""
    highest = 2 ** (bits - 1) - 1
    scale = weight.detach().flatten(1).abs().amax(dim=1).clamp(min=1e-12) / highest
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -highest, highest)


def round_activations(x, bits):
    """A tensor on 2^bits levels between its smallest and its largest number; one of the levels is 0."""
    highest = 2**bits - 1
    low, high = x.detach().aminmax()
    scale = (high.clamp(min=0) - low.clamp(max=0)).clamp(min=1e-12) / highest
    zero = (-low.clamp(max=0) / scale).round().to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, highest)


class RoundedLinear(nn.Linear):
    """nn.Linear; with a particle axis its bias is added after the rounding, as ONNX has it (MatMul, Add)."""

    def forward(self, x):
        weight, x = round_weights(self.weight, self.weight_bits), round_activations(x, self.activation_bits)
        if x.dim() == 2:
            return round_activations(F.linear(x, weight, self.bias), self.activation_bits)
        product = round_activations(F.linear(x, weight), self.activation_bits)
        return product if self.bias is None else product + self.bias


class RoundedConv(nn.modules.conv._ConvNd):
    def forward(self, x):
        weight, x = round_weights(self.weight, self.weight_bits), round_activations(x, self.activation_bits)
        return round_activations(self._conv_forward(x, weight, self.bias), self.activation_bits)


class RoundedConv1d(RoundedConv, nn.Conv1d):
    pass


class RoundedConv2d(RoundedConv, nn.Conv2d):
    pass


ROUNDED = {nn.Linear: RoundedLinear, nn.Conv1d: RoundedConv1d, nn.Conv2d: RoundedConv2d}


def rounded(model, weight_bits=7, activation_bits=8):
    """The model itself, its layers changed in place: same parameters, same names."""
    layers = [module for module in model.modules() if type(module) in ROUNDED]
    if not layers:
        raise ValueError("the network has no linear layer and no convolution: there is nothing to quantise")
    if any("in_proj" in name for name, _ in model.named_parameters()):  # of torch, of weaver's ParT, of MIParT
        raise ValueError(
            "the network has attention, whose products the 8-bit model rounds, but which cannot be rounded here: "
            "take another network, or quantise without this fine-tuning"
        )
    for layer in layers:
        layer.__class__ = ROUNDED[type(layer)]
        layer.weight_bits, layer.activation_bits = weight_bits, activation_bits
    return model


def plain_network(path):
    if path is None:
        raise ValueError("no network is given: name the file to quantise with -o network \"'networks/dense.py'\"")
    if not Path(path).is_file():
        raise ValueError(f"the network file {path} does not exist")
    return import_module(str(path), "_plain_network")


def get_model(data_config, network=None, weight_bits=7, activation_bits=8, **kwargs):
    for name, bits in {"weight_bits": weight_bits, "activation_bits": activation_bits}.items():
        if not (isinstance(bits, int) and 2 <= bits <= 8):
            raise ValueError(f"{name} is {bits}: it must be a whole number from 2 to 8")
    model, info = plain_network(network).get_model(data_config, **kwargs)
    return (model if kwargs.get("for_inference") else rounded(model, weight_bits, activation_bits)), info


def get_loss(data_config, network=None, weight_bits=7, activation_bits=8, **kwargs):
    module = plain_network(network)
    return module.get_loss(data_config, **kwargs) if hasattr(module, "get_loss") else nn.CrossEntropyLoss()
