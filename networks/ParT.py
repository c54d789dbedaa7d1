"""Particle Transformer (arXiv 2202.03772), weaver's implementation.

The default is the published network (2.1M parameters); smaller ones by option, for example
`-o num_layers 2 -o embed_dims "[64, 64]"`. Checkpoints of the upstream examples and of Sophon load strictly, and give
the outputs that they gave in the weaver they come from.
`-o num_classes 188` for custom labels without `names`; `-o export_embed True` appends the class-token embedding
to the output, as Sophon does.
"""

import torch
from weaver.nn.model.ParticleTransformer import ParticleTransformer


def interleave_heads(module, state_dict, prefix, *args):
    """Make a checkpoint of weaver < 0.5 give the same outputs in weaver >= 0.5; others stay as they are.

    After scaling its heads by c_attn, the first ParT wrote the H heads of D channels in the order (D, H); weaver 0.5
    has (H, D): it loads such weights without a word and predicts something else. The old order and the scales go into
    the output projection. The two kinds of checkpoint differ in the name of the input projection.
    """
    for key in [key for key in state_dict if key.startswith(prefix) and key.endswith("attn.in_proj_weight")]:
        block = key.removesuffix("attn.in_proj_weight")
        if block + "c_attn" not in state_dict:
            continue
        scales = state_dict[block + "c_attn"]
        for name in ("attn.out_proj.weight", "attn.out_proj.bias"):
            heads = state_dict[block + name].unflatten(0, (len(scales), -1))  # (H, D, ...)
            scaled = heads * scales.view(-1, *[1] * (heads.ndim - 1))
            state_dict[block + name] = scaled.transpose(0, 1).flatten(0, 1)
        state_dict[block + "c_attn"] = torch.ones_like(scales)


class ParTWrapper(torch.nn.Module):
    def __init__(self, export_embed=False, **kwargs):
        super().__init__()
        self.export_embed = export_embed
        self.mod = ParticleTransformer(**kwargs)
        self.register_load_state_dict_pre_hook(interleave_heads)
        if export_embed:
            self.mod.fc.register_forward_pre_hook(self._keep_embedding)

    def _keep_embedding(self, head, inputs):
        (self.embedding,) = inputs

    @torch.jit.ignore
    def no_weight_decay(self):
        return {"mod.cls_token"}

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P), (N, C, P), (N, 4, P) in GeV, (N, 1, P) -> logits (N, K), or (N, K + D) with the embedding."""
        output = self.mod(features, v=lorentz_vectors, mask=mask)
        return torch.cat([output, self.embedding], dim=1) if self.export_embed else output


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dim=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
        pair_input_dim=4,
        use_pre_activation_pair=False,
        embed_dims=[128, 512, 128],
        pair_embed_dims=[64, 64, 64],
        num_heads=8,
        num_layers=8,
        num_cls_layers=2,
        block_params=None,
        cls_block_params={"dropout": 0, "attn_dropout": 0, "activation_dropout": 0},
        fc_params=[],
        activation="gelu",
        trim=True,
        for_inference=False,
    )
    cfg.update(kwargs)
    if cfg["num_classes"] < 2:
        raise ValueError("the data config does not tell the number of classes: give it with -o num_classes")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {**{k: {0: "N", 2: "n_pf"} for k in data_config.input_names}, "softmax": {0: "N"}},
    }
    return ParTWrapper(**cfg), model_info


def get_loss(data_config, **kwargs):
    return torch.nn.CrossEntropyLoss()
