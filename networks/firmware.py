"""Fixed-point version of another network with learned bit widths, for FPGA firmware (HGQ, arXiv 2405.00645; PQuantML).

    -o plain "'networks/PFN.py'"     network file with a get_firmware: dense, PFN, InteractionNet; it gets other options
    -o trained "'net.pt'"            checkpoint of that network to begin with; without it random weights
    -o ebops_weight 1e-6             weight in the loss of the EBOPs, the sum over all products of width times width;
                                     also by epoch, "[(0, 1e-7), (10, 1e-5), (11, 0)]", linear between; at 0 the
                                     widths stay as they are, and the weights are trained alone
    -o input_bits "{'cand_deta': (1, 1, 8)}"   sign, integer and fraction bits of an input, instead of those below

Inputs are rounded to the nearest number of their type and saturate at its ends, so that firmware gets what training
saw. The types are those of the trigger's words:

    variable                            sign, integer, fraction bits               a step
    ..._deta, ..._dphi                  1, 0, 8: offsets from the jet's axis       pi/720, a factor in the first layer
    ..._is<kind>                        0, 1, 0                                    1
    ..._charge                          1, 1, 0                                    1
    standardised by the data config     1, what its clipping needs (3 for 5), 8    1/256
    any other                           1, 1, 8                                    1/256

Every weight has a width of its own, an activation one that all particles of a jet share, so that their
order does not count. Widths of 0 bits prune. Batch normalisation is in the weights of the first layer, dropout is left
out. Activations saturate. Widths begin where jets of random numbers need them.

    weaver -n networks/distill.py -o student "'networks/firmware.py'" -o plain "'networks/PFN.py'" ...
"""

import math
import os
import re
from pathlib import Path

import torch
from torch import nn
from weaver.utils.import_tools import import_module

from kd_trainer.checkpoints import read_weights
from kd_trainer.deploy.firmware import operators_outside
from kd_trainer.distill.schedule import Schedule

WEIGHT_BITS, DATA_BITS, INPUT_BITS = 6, 5, 8  # after the point, to begin with; those of inputs remain
WIDTHS = r"quantizer\._[fi]$"  # names of parameters
ANGLE = math.pi / 720  # a step of eta and phi in the trigger
ENCODED = {  # by the end of their names: bits, and a step in the variable's own unit
    r"_(deta|dphi)$": ((1, 0, INPUT_BITS), ANGLE),
    r"_is[A-Z]\w*$": ((0, 1, 0), 1.0),
    r"_charge$": ((1, 1, 0), 1.0),
}


def pquant():
    os.environ["KERAS_BACKEND"] = "torch"  # PQuantML imports Keras, which is not used here
    try:
        import pquant
    except ImportError:
        raise ValueError("PQuantML is not installed; pip install 'weaver-kd[fpga]'") from None
    return pquant


def settings():
    config = pquant().pdp_config()
    config.pruning_parameters.enable_pruning = False  # widths of 0 bits prune
    found = config.quantization_parameters
    found.use_high_granularity_quantization, found.granularity = True, "per_weight"
    found.overflow_mode_parameters, found.overflow_mode_data, found.hgq_gamma = "WRAP", "SAT", 0.0
    found.default_weight_integer_bits, found.default_weight_fractional_bits = 0, WEIGHT_BITS
    return config


def rounded(x, bits):
    """x rounded to the grid of (sign, integer, fraction) bits, each a number or a tensor like x; it saturates."""
    sign, integer, fraction = (torch.as_tensor(b, dtype=x.dtype, device=x.device) for b in bits)
    step, end = 2.0**-fraction, 2.0**integer
    return ((x / step + 0.5).floor() * step).clamp(-sign * end, end - step)


def input_types(data_config, given):
    """(3, C): sign, integer and fraction bits of the features; (C,): a step of each in the unit of the variable."""
    names = data_config.input_dicts["pf_features"]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(f"input_bits names {unknown[0]}, which is no input: those are {', '.join(names)}")
    bits, steps = zip(*(input_type(data_config.preprocess_params[name], name, given.get(name)) for name in names))
    return torch.tensor(bits, dtype=torch.float32).T, torch.tensor(steps, dtype=torch.float32)


def input_type(params, name, given):
    """(sign, integer, fraction bits) and step of one feature, with the parameters of its standardisation."""
    standardised = params["center"] is not None
    encoded = next((type_ for end, type_ in ENCODED.items() if re.search(end, name)), None)
    if given is None and encoded is not None and not standardised:
        return encoded
    ends = [abs(params[end]) for end in ("min", "max")] if standardised else [2]
    bits = tuple(given or (1, math.ceil(math.log2(max(ends))), INPUT_BITS))
    return bits, 2.0 ** -bits[2]


def quantiser(shape, low, high):
    """A Quantizer of PQuantML for values of a shape (N, ..., C) between low and high, one width for each of C."""
    from pquant.core.torch.hgq_quantizer import HGQQuantizer
    from pquant.quantizer import Quantizer

    class Shared(HGQQuantizer):
        """Its widths keep their shape: expanded to that of the values, as there, they take most of the time."""

        def forward(self, x, training=False):
            out = self._stateless_quantizer(x, self.k, self.i, self.f, training)
            return out if training else torch.where(self.k + self.i + self.f > 0, out, 0.0)

    integer = math.ceil(math.log2(max(-low, high, 2**-DATA_BITS)))
    made = Quantizer(float(low < 0), integer, DATA_BITS, "SAT", "RND", True, is_data=True, granularity="per_weight")
    made.quantizer = Shared(made.quantizer.k0, made.quantizer.i0, made.quantizer.f0, "SAT", "RND", is_data=True)
    made.quantizer.build((*(1 for _ in shape[:-1]), shape[-1]))
    return made


def dense(linear, shape, low, high, config):
    """The PQuantML layer, already built, with the weights of a linear layer."""
    from pquant.layers import PQDense

    made = PQDense(config, linear.in_features, linear.out_features, bias=linear.bias is not None)
    for name in ("weight", "bias"):
        made._parameters.pop(name)  # PQuantML uses _weight and _bias
        if getattr(linear, name) is not None:
            getattr(made, f"_{name}").data.copy_(getattr(linear, name).data)
    made._check_is_built(shape)
    made.input_quantizer, made.input_shape = quantiser(shape, low, high), (1, *shape[1:])
    made.n_parallel = made.parallelization_factor = 1
    made.weight_quantizer.quantizer.build(tuple(made._weight.shape))
    if linear.bias is not None:
        made.bias_quantizer.quantizer.build(tuple(made._bias.shape))
    return made


def quantised(network, inputs):
    """The network with linear layers and inputs of sums in fixed point; `inputs` decide the initial widths."""
    config, seen, hooks = settings(), {}, []
    layers = {k: m for k, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Identity))}
    for name, layer in layers.items():
        hooks.append(layer.register_forward_pre_hook(lambda _, x, name=name: seen.update({name: x[0]})))
    with torch.no_grad():
        network(*inputs)
    for hook in hooks:
        hook.remove()
    for name, layer in layers.items():
        x = seen[name]
        found = (tuple(x.shape), x.min().item(), x.max().item())
        made = dense(layer, *found, config) if isinstance(layer, nn.Linear) else quantiser(*found)
        made.places = math.prod(x.shape[1:-1])  # number of uses for one jet
        network.set_submodule(name, made)
    return network


class FixedPoint(nn.Module):
    """The inputs of the plain network (features, mask, ...) -> logits (N, K), or scores if `for_inference`."""

    last_epoch_counts = True  # for the hooks: it shrinks with each epoch, so that the best accuracy is no criterion

    def __init__(self, model, get_firmware, types, particles, ebops_weight, for_inference):
        super().__init__()
        bits, self.steps = types
        self.units = 2.0 ** -bits[2] / self.steps  # which the features are multiplied with, so that a step is a bit
        network, self.arguments = get_firmware(model.eval(), self.units)
        self.feature_bits, self.ebops_weight, self.for_inference = bits, ebops_weight, for_inference
        bits = bits[:, None, :, None].expand(-1, 1, -1, particles)
        mask = torch.ones(1, 1, particles)
        made = [self.arguments(None, b, None, mask)[0] for b in bits]  # brought into the shape of the features
        self.bits = [made] + [[torch.tensor(float(b)) for b in of] for of in network.bits]
        sigma = 2.0 ** (bits[1] - 2)
        draws = torch.Generator().manual_seed(0)
        features = sigma * torch.randn(1000, *sigma.shape[1:], generator=draws) / self.units[:, None]
        inputs = self.rounded_inputs(None, features, None, mask.expand(1000, -1, -1))
        self.input_shapes = [(1, *x.shape[1:]) for x in inputs]
        self.network = quantised(network.eval(), inputs)

    def rounded_inputs(self, points, features, vectors, mask):
        """The inputs of the firmware: tuple of tensors (N, ...)."""
        features = features * self.units.to(features)[:, None]
        return tuple(map(rounded, self.arguments(points, features, vectors, mask), self.bits))

    def forward(self, points, features, vectors, mask):
        logits = self.network(*self.rounded_inputs(points, features, vectors, mask))
        return logits.softmax(dim=1) if self.for_inference else logits

    def ebops(self):
        """Effective bit operations (EBOPs) for one jet: those of the products, and the bits of all summands."""
        total = torch.zeros(())
        for layer in self.network.modules():
            if hasattr(layer, "ebops"):
                total = total + layer.ebops()
            elif hasattr(layer, "places"):
                total = total + layer.places * (layer.quantizer.k + layer.quantizer.b).sum()
        return total

    def penalty(self, epoch):
        """Name and value of what is added to the loss of a batch in an epoch, which also frees or fixes the widths."""
        weight = self.ebops_weight(epoch)
        for name, parameter in self.named_parameters():
            if re.search(WIDTHS, name):
                parameter.requires_grad_(weight > 0)
        return "ebops", weight * self.ebops()


def get_model(data_config, plain=None, trained=None, ebops_weight=1e-6, input_bits=None, for_inference=False,
              **kwargs):  # fmt: skip
    if plain is None or not Path(plain).is_file():
        raise ValueError(f"the network file is missing ({plain}): name the network for the firmware with "
                         "-o plain \"'networks/PFN.py'\"")
    weights = Schedule("ebops_weight", ebops_weight)
    if min(weights.values()) < 0:
        raise ValueError(f"ebops_weight is {ebops_weight}: it must be 0 or above")
    module = import_module(str(plain), "_plain_network")
    model, info = module.get_model(data_config, **kwargs)
    if not hasattr(module, "get_firmware"):
        raise ValueError(f"{plain} cannot become firmware: it has no get_firmware(model, units), unlike dense, PFN and "
                         f"InteractionNet, and has unsupported operators: {operators_outside(model)}")
    if trained is not None and not for_inference:
        model.load_state_dict(read_weights(trained, "the trained weights"))
    types = input_types(data_config, input_bits or {})
    particles = data_config.input_shapes["pf_features"][2]
    info["dynamic_axes"] = {name: {0: "N"} for name in info["dynamic_axes"]}  # the number of particles is fixed
    return FixedPoint(model, module.get_firmware, types, particles, weights, for_inference), info


def get_loss(data_config, plain=None, trained=None, ebops_weight=1e-6, input_bits=None, **kwargs):
    module = import_module(str(plain), "_plain_network")
    return module.get_loss(data_config, **kwargs) if hasattr(module, "get_loss") else nn.CrossEntropyLoss()
