"""Dense network on the features of the leading particles, in the order of the data config.

`-o hidden_dims "()"` is logistic regression, the simplest student. `-o export_embed True` appends the last hidden
layer to the output.
"""

import copy

import torch
from torch import nn


class Dense(nn.Module):
    def __init__(self, input_dim, num_classes, num_particles, hidden_dims, dropout=0.0, export_embed=False,
                 for_inference=False):  # fmt: skip
        super().__init__()
        self.num_particles = num_particles
        layers = [nn.Flatten()]
        dims = (input_dim * num_particles, *hidden_dims)
        for in_dim, out_dim in zip(dims[:-1], dims[1:]):
            layers += [nn.Linear(in_dim, out_dim), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.fc = nn.Sequential(*layers, nn.Linear(dims[-1], num_classes))
        self.export_embed = export_embed
        self.for_inference = for_inference

    def leading(self, features, mask):
        """(N, C, num_particles), zero in padded slots, which repeat particles and must not count"""
        return (features * mask)[:, :, : self.num_particles]

    def forward(self, features, mask):
        x = self.fc[:-1](self.leading(features, mask))  # (N, D)
        logits = self.fc[-1](x)  # (N, K)
        output = logits.softmax(dim=1) if self.for_inference else logits
        return torch.cat([output, x], dim=1) if self.export_embed else output


class Firmware(nn.Module):
    """The layers alone, for FPGA tools: features (N, C * num_particles) of the leading particles -> logits (N, K)."""

    bits = ()  # no further inputs, see networks/firmware.py

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.Sequential(*(layer for layer in layers if not isinstance(layer, (nn.Flatten, nn.Dropout))))

    def forward(self, features):
        return self.layers(features)


class DenseWrapper(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.mod = Dense(**kwargs)

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P) unused, (N, C, P), (N, 4, P) unused, (N, 1, P) -> logits (N, K)."""
        return self.mod(features, mask)


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dim=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
        num_particles=min(16, data_config.input_shapes["pf_features"][2]),
        hidden_dims=(128, 64),
        dropout=0.0,
        for_inference=False,
    )
    cfg.update((k, v) for k, v in kwargs.items() if k not in ("use_amp", "compile_model"))
    if cfg["num_classes"] < 2:
        raise ValueError("the data config does not give the number of classes: give it with -o num_classes")
    length = data_config.input_shapes["pf_features"][2]
    if cfg["num_particles"] > length:
        raise ValueError(f"num_particles {cfg['num_particles']} exceeds the {length} particles of the data config")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        # the number of particles is part of this network, so only the batch is dynamic
        "dynamic_axes": {k: {0: "N"} for k in (*data_config.input_names, "softmax")},
    }
    return DenseWrapper(**cfg), model_info


def get_firmware(model, units):
    """The network as FPGA tools take it, and a function that makes its inputs from those of the model.

    Its features are those of the model, each multiplied with its entry of `units` (C,).
    """
    dense = model.mod
    network = Firmware(copy.deepcopy(dense.fc))
    first = next(layer for layer in network.layers if isinstance(layer, nn.Linear))
    first.weight.data /= units.repeat_interleave(dense.num_particles)
    return network, lambda points, features, vectors, mask: (dense.leading(features, mask).flatten(1),)


def get_loss(data_config, **kwargs):
    return torch.nn.CrossEntropyLoss()
