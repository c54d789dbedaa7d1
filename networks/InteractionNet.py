"""Interaction network for triggers whose cost is linear in the number of particles.

Each particle interacts only with the mean over all particles, as in JEDI-linear (arXiv 2508.15468). A layer maps x_i to
relu(A x_i + B mean_j x_j). P particles cost P small dense layers; the network does not form pairs.
`-o export_embed True` appends the last hidden layer to the output.
"""

import torch
from torch import nn


class Interaction(nn.Module):
    """relu(A x_i + B mean_j x_j)"""

    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.own, self.others = nn.Linear(in_dim, out_dim), nn.Linear(in_dim, out_dim, bias=False)

    def forward(self, x, mask, counts):
        mean = (x * mask).sum(dim=1, keepdim=True) / counts  # (N, 1, D)
        return torch.relu(self.own(x) + self.others(mean))  # (N, P, D)


class InteractionNet(nn.Module):
    def __init__(self, input_dim, num_classes, dims, rho_dims, export_embed=False, for_inference=False):
        super().__init__()
        self.input_bn = nn.BatchNorm1d(input_dim)
        self.layers = nn.ModuleList(Interaction(a, b) for a, b in zip((input_dim, *dims), dims))
        rho, dim = [], dims[-1]
        for out_dim in rho_dims:
            rho += [nn.Linear(dim, out_dim), nn.ReLU()]
            dim = out_dim
        self.rho = nn.Sequential(*rho)
        self.fc = nn.Linear(dim, num_classes)
        self.export_embed = export_embed
        self.for_inference = for_inference

    def forward(self, features, mask):
        x, mask = self.input_bn(features).transpose(1, 2), mask.transpose(1, 2)  # (N, P, C), (N, P, 1)
        counts = mask.sum(dim=1, keepdim=True).clamp(min=1)
        for layer in self.layers:
            x = layer(x, mask, counts)
        x = self.rho((x * mask).sum(dim=1))  # (N, D): the sum keeps the multiplicity
        logits = self.fc(x)  # (N, K)
        output = logits.softmax(dim=1) if self.for_inference else logits
        return torch.cat([output, x], dim=1) if self.export_embed else output


def fold(norm, linear, units):
    """One linear layer that does what a batch normalisation in eval mode and the linear layer after it do.

    It takes features that are multiplied with `units` (C,).
    """
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = linear.weight @ (norm.bias - scale * norm.running_mean)
    folded = nn.Linear(linear.in_features, linear.out_features)
    folded.weight.data = (linear.weight * scale / units).detach()
    folded.bias.data = (shift if linear.bias is None else shift + linear.bias).detach()
    return folded


class Firmware(nn.Module):
    """The layers alone, for FPGA tools.

    Features (N, P, C), mask (N, P, 1), 1 / number of particles (N, 1) -> logits (N, K).
    """

    bits = ((0, 1, 0), (0, 1, 8))  # (sign, integer, fraction) of mask and 1 / number, see networks/firmware.py

    def __init__(self, own, others, rho):
        super().__init__()
        self.own, self.others, self.rho = nn.ModuleList(own), nn.ModuleList(others), nn.Sequential(*rho)
        self.summed = nn.ModuleList(nn.Identity() for _ in range(len(own) + 1))  # firmware rounds here, before the sums

    def forward(self, features, mask, share):
        x = features
        for i in range(len(self.own)):
            mean = (self.summed[i](x) * mask).sum(dim=1) * share
            x = torch.relu(self.own[i](x) + self.others[i](mean).unsqueeze(1))
        return self.rho((self.summed[-1](x) * mask).sum(dim=1))


class InteractionNetWrapper(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.mod = InteractionNet(**kwargs)

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P) unused, (N, C, P), (N, 4, P) unused, (N, 1, P) -> logits (N, K)."""
        return self.mod(features, mask)


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dim=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
        dims=(64, 64),
        rho_dims=(64,),
    )
    cfg.update(kwargs)
    if cfg["num_classes"] < 2:
        raise ValueError("the data config does not give the number of classes: give it with -o num_classes")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {**{k: {0: "N", 2: "n_pf"} for k in data_config.input_names}, "softmax": {0: "N"}},
    }
    return InteractionNetWrapper(**cfg), model_info


def get_firmware(model, units):
    """The network as FPGA tools take it, and a function that makes its inputs from those of the model.

    Its features are those of the model, each multiplied with its entry of `units` (C,).
    The first layer takes features that are not normalised; the normalisation is in its weights. Its mean over the
    particles of a jet without any is that of the shift alone, which nothing sees: no particle counts.
    """
    net = model.mod
    first, *layers = net.layers
    own = [fold(net.input_bn, first.own, units), *(layer.own for layer in layers)]
    others = [fold(net.input_bn, first.others, units), *(layer.others for layer in layers)]

    def inputs(points, features, vectors, mask):
        counts = mask.sum(dim=2).clamp(min=1)  # (N, 1)
        return features.transpose(1, 2), mask.transpose(1, 2), 1 / counts

    return Firmware(own, others, [*net.rho, net.fc]), inputs


def get_loss(data_config, **kwargs):
    return nn.CrossEntropyLoss()
