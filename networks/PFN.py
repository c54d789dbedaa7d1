"""Particle Flow Network, a Deep Sets tagger (arXiv 1810.05165): rho(sum over particles of phi(particle)).

The default is small enough for a trigger; the published size is
`-o phi_dims "(100, 100, 128)" -o rho_dims "(100, 100, 100)"`. `-o export_embed True` appends the last hidden layer
to the output.
"""

import torch
from torch import nn


def mlp(dims, dropout=0.0):
    """Linear layers dims[0] -> ... -> dims[-1], each followed by ReLU and, if it is above 0, dropout."""
    layers = []
    for in_dim, out_dim in zip(dims[:-1], dims[1:]):
        layers += [nn.Linear(in_dim, out_dim), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class DeepSets(nn.Module):
    def __init__(self, input_dim, num_classes, phi_dims, rho_dims, dropout=0.0, export_embed=False,
                 for_inference=False):  # fmt: skip
        super().__init__()
        self.input_bn = nn.BatchNorm1d(input_dim)
        self.phi = mlp((input_dim, *phi_dims))
        self.rho = mlp((phi_dims[-1], *rho_dims), dropout)
        self.fc = nn.Linear((phi_dims[-1], *rho_dims)[-1], num_classes)
        self.export_embed = export_embed
        self.for_inference = for_inference

    def forward(self, features, mask):
        x = self.phi(self.input_bn(features).transpose(1, 2))  # (N, P, D)
        x = (x * mask.transpose(1, 2)).sum(dim=1)  # (N, D): padded slots repeat particles and must not count
        x = self.rho(x)
        logits = self.fc(x)  # (N, K)
        output = logits.softmax(dim=1) if self.for_inference else logits
        return torch.cat([output, x], dim=1) if self.export_embed else output


def fold(norm, linear, units):
    """One linear layer that does what a batch normalisation in eval mode and the linear layer after it do.

    It takes features that are multiplied with `units` (C,).
    """
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = nn.Linear(linear.in_features, linear.out_features)
    folded.weight.data = linear.weight.data * scale.data / units
    folded.bias.data = linear.bias.data + linear.weight.data @ (norm.bias - scale * norm.running_mean).data
    return folded


class Firmware(nn.Module):
    """The layers alone, for FPGA tools: features (N, P, C), mask (N, P, 1) -> logits (N, K)."""

    bits = ((0, 1, 0),)  # (sign, integer, fraction) of the mask, see networks/firmware.py

    def __init__(self, phi, rho):
        super().__init__()
        self.phi, self.rho = nn.Sequential(*phi), nn.Sequential(*(x for x in rho if not isinstance(x, nn.Dropout)))
        self.summed = nn.Identity()  # firmware rounds here, before the sum

    def forward(self, features, mask):
        return self.rho((self.summed(self.phi(features)) * mask).sum(dim=1))


class PFNWrapper(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.mod = DeepSets(**kwargs)

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P) unused, (N, C, P), (N, 4, P) unused, (N, 1, P) -> logits (N, K)."""
        return self.mod(features, mask)


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dim=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
        phi_dims=(64, 64, 64),
        rho_dims=(64, 32),
        dropout=0.0,
        for_inference=False,
    )
    cfg.update((k, v) for k, v in kwargs.items() if k not in ("use_amp", "compile_model"))
    if cfg["num_classes"] < 2:
        raise ValueError("the data config does not give the number of classes: give it with -o num_classes")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {**{k: {0: "N", 2: "n_pf"} for k in data_config.input_names}, "softmax": {0: "N"}},
    }
    return PFNWrapper(**cfg), model_info


def get_firmware(model, units):
    """The network as FPGA tools take it, and a function that makes its inputs from those of the model.

    Its features are those of the model, each multiplied with its entry of `units` (C,).
    """
    net = model.mod
    first, *others = net.phi
    network = Firmware([fold(net.input_bn, first, units), *others], [*net.rho, net.fc])
    return network, lambda points, features, vectors, mask: (features.transpose(1, 2), mask.transpose(1, 2))


def get_loss(data_config, **kwargs):
    return torch.nn.CrossEntropyLoss()
