"""ParticleNet (arXiv 1902.08570): weaver's implementation, in the size published for JetClass (370k parameters).

Checkpoints of the upstream examples load strictly.
"""

import inspect

import torch
from weaver.nn.model.ParticleNet import ParticleNet


class ParticleNetWrapper(torch.nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.mod = ParticleNet(**kwargs)

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P), (N, C, P), (N, 4, P) unused, (N, 1, P) -> logits (N, K)."""
        return self.mod(points, features, mask)


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dims=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
        conv_params=[(16, (64, 64, 64)), (16, (128, 128, 128)), (16, (256, 256, 256))],
        fc_params=[(256, 0.1)],
        use_fusion=False,
        use_fts_bn=True,
        use_counts=True,
        trim=True,
        for_inference=False,
    )
    cfg.update(kwargs)
    for name in {"trim", "use_amp"} - set(inspect.signature(ParticleNet).parameters):
        cfg.pop(name, None)  # weaver 0.4 has no such option
    if cfg["num_classes"] < 2:
        raise ValueError("the data config does not give the number of classes: give it with -o num_classes")
    neighbours, length = max(k for k, _ in cfg["conv_params"]), data_config.input_shapes["pf_features"][2]
    if neighbours >= length:
        raise ValueError(f"{neighbours} neighbours need more than {length} particles: give smaller -o conv_params")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {**{k: {0: "N", 2: "n_pf"} for k in data_config.input_names}, "softmax": {0: "N"}},
    }
    return ParticleNetWrapper(**cfg), model_info


def get_loss(data_config, **kwargs):
    return torch.nn.CrossEntropyLoss()
