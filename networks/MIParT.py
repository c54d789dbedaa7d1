"""More-Interaction Particle Transformer (arXiv 2407.08682), computed without the padding of jets.

Weights have the names of the authors' checkpoints. The default is MIParT; MIParT-L is `-o embed_dims "[128, 512, 128]"
-o pair_embed_dims "[128, 128, 128]"`.

Training and inference skip padded slots. Pair features and their embedding are computed once for each pair of real
particles. Layers that act on single particles process real particles only. For attention, jets are sorted by
multiplicity and divided into groups, and each group is padded to its longest jet. ONNX export (`for_inference`) uses
the usual padded form, which gives the same values.

Needs ParT.py in the same folder, which works in the same way.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from weaver.nn.model.ParticleTransformer import Embed
from weaver.utils.import_tools import import_module

part = import_module(str(Path(__file__).with_name("ParT.py")), "_part")
MASKED, Packed = part.MASKED, part.Packed
PAIRS = 2**15, 2**22  # as in ParT, where a pair has 8 attention weights; here it has 64


class Padded:
    """The padded memory layout of particles, for export. ParT's `Packed` is the other layout, with the same methods.

    x denotes particles, here (N, P, C); xs the same in groups of jets, (G, P, C) each; u pairs, here (N, P, P, C).
    pack: padded inputs -> x. spread and collect: x -> xs -> x. pair_matrices: u -> (G, C, P, P) for each group, with
    MASKED for padded keys. padding: this mask alone, (G, 1, 1, P). jets: (N, ...) -> groups. in_order: groups -> the
    original order of the jets.
    """

    def __init__(self, mask):
        self.mask = mask  # (N, P)
        self.bias = torch.zeros_like(mask, dtype=torch.float).masked_fill(~mask, MASKED)

    def pack(self, x):
        return x

    def pair_features(self, v):
        v = part.particle_kinematics(v)
        return part.pair_features(v[:, :, None], v[:, None, :])  # (N, P, P, 4)

    def pair_matrices(self, u):
        return [u.permute(0, 3, 1, 2) + self.bias[:, None, None, :]]  # (N, C, P, P)

    def spread(self, x):
        return [x]

    def collect(self, xs):
        return xs[0]

    def padding(self):
        return [self.bias[:, None, None, :]]

    def jets(self, x):
        return [x]

    def in_order(self, x):
        return x


class PairEmbed(nn.Module):
    """Pair features -> U1 of D1 channels for more-interaction attention and U2 of D2 channels as attention bias."""

    def __init__(self, dims, num_heads, activation):
        super().__init__()
        self.embed1 = nn.Sequential(nn.BatchNorm1d(4), *self._layers((4, *dims), activation))
        self.embed2 = nn.Sequential(*self._layers((dims[-1], num_heads), activation))

    @staticmethod
    def _layers(dims, activation):
        layers = []
        for a, b in zip(dims[:-1], dims[1:]):
            layers += [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), activation()]
        return layers

    def forward(self, x):
        """(..., 4) -> (..., D1), (..., D2)"""
        u1 = part.pointwise(self.embed1, x.flatten(0, -2))
        u2 = part.pointwise(self.embed2, u1)
        return u1.view(*x.shape[:-1], -1), u2.view(*x.shape[:-1], -1)


class MoreInteraction(nn.Module):
    """Attention whose weights come from U1, one head for each channel: no queries, no keys, no output projection."""

    def __init__(self, dim, num_heads, dropout):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.vv = nn.Linear(dim, dim, bias=False)

    def forward(self, x, layout, weights):
        outputs = []
        for v, a in zip(layout.spread(self.vv(x)), weights):  # (G, P, C), (G, H, P, P)
            v = v.unflatten(2, (self.num_heads, -1)).transpose(1, 2)  # (G, H, P, D)
            mixed = part.dropped_matmul(a, v, self.dropout if self.training else 0.0)
            outputs.append(mixed.transpose(1, 2).flatten(2))
        return layout.collect(outputs)


class SelfAttention(nn.Module):
    """Multi-head attention with U2 as bias."""

    def __init__(self, dim, num_heads, dropout):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.in_proj_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(3 * dim, dim)))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.out_proj.bias)

    def _attend(self, q, k, v, bias):
        q, k, v = (part.heads(x, self.num_heads) for x in (q, k, v))
        return part.attend(q, k, v, bias, self.dropout if self.training else 0.0)  # (G, P, C)

    def forward(self, x, layout, biases):
        qkv = layout.spread(F.linear(x, self.in_proj_weight, self.in_proj_bias))
        outputs = [self._attend(*y.chunk(3, -1), bias) for y, bias in zip(qkv, biases)]
        return self.out_proj(layout.collect(outputs))


class Block(nn.Module):
    """Attention and feed-forward layers with the norms and scales of ParT's blocks (arXiv 2202.03772, 2110.09456)."""

    def __init__(self, attn, dim, ffn_ratio=4, dropout=0.1, activation_dropout=0.1, activation=nn.GELU):
        super().__init__()
        self.attn = attn
        self.pre_attn_norm, self.post_attn_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.pre_fc_norm, self.post_fc_norm = nn.LayerNorm(dim), nn.LayerNorm(ffn_ratio * dim)
        self.fc1, self.fc2 = nn.Linear(dim, ffn_ratio * dim), nn.Linear(ffn_ratio * dim, dim)
        self.act, self.dropout, self.act_dropout = activation(), nn.Dropout(dropout), nn.Dropout(activation_dropout)
        self.c_attn = nn.Parameter(torch.ones(attn.num_heads))
        self.w_resid = nn.Parameter(torch.ones(dim))

    def forward(self, x, layout, pairs):
        return self.feed_forward(x, self.attn(self.pre_attn_norm(x), layout, pairs))

    def feed_forward(self, x, attended):
        # heads are scaled and their channels interleaved, as in the original ParT
        y = attended.unflatten(-1, (self.attn.num_heads, -1)) * self.c_attn[:, None]
        x = x + self.dropout(self.post_attn_norm(y.transpose(-1, -2).flatten(-2)))
        y = self.act_dropout(self.act(self.fc1(self.pre_fc_norm(x))))
        return self.w_resid * x + self.dropout(self.fc2(self.post_fc_norm(y)))


class ClassAttention(SelfAttention):
    """The class token attends to itself and to the particles (arXiv 2103.17239)."""

    def forward(self, token, normed_token, normed, layout, padding):
        """(N, 1, C) twice, particles -> (N, 1, C)"""
        dim = token.shape[-1]
        q = F.linear(token, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
        kv_token, kv = (F.linear(x, self.in_proj_weight[dim:], self.in_proj_bias[dim:]) for x in (normed_token, normed))
        outputs = []
        for query, first, rest, bias in zip(layout.jets(q), layout.jets(kv_token), layout.spread(kv), padding):
            k, v = torch.cat([first, rest], dim=1).chunk(2, -1)
            outputs.append(self._attend(query, k, v, F.pad(bias, (1, 0))))
        return self.out_proj(torch.cat(outputs))


class ClassBlock(Block):
    def forward(self, token, x, layout, padding):
        return self.feed_forward(
            token, self.attn(token, self.pre_attn_norm(token), self.pre_attn_norm(x), layout, padding)
        )


class MIParT(nn.Module):
    def __init__(
        self,
        input_dim,
        num_classes,
        embed_dims=(128, 512, 64),
        pair_embed_dims=(64, 64, 64),
        num_heads=8,
        num_mi_layers=5,
        num_layers=5,
        num_cls_layers=2,
        dropout=0.1,
        fc_params=(),
        activation="gelu",
        for_inference=False,
    ):
        super().__init__()
        self.for_inference = for_inference
        dim, act = embed_dims[-1], {"gelu": nn.GELU, "relu": nn.ReLU}[activation]
        self.embed = Embed(input_dim, embed_dims, activation=activation)
        self.pair_embed = PairEmbed(pair_embed_dims, num_heads, act)

        def block(kind, attention, heads, p):
            return kind(attention(dim, heads, p), dim, dropout=p, activation_dropout=p, activation=act)

        mi_heads = pair_embed_dims[-1]
        self.blocks = nn.ModuleList(block(Block, MoreInteraction, mi_heads, dropout) for _ in range(num_mi_layers))
        self.blocks2 = nn.ModuleList(block(Block, SelfAttention, num_heads, dropout) for _ in range(num_layers))
        self.cls_blocks = nn.ModuleList(block(ClassBlock, ClassAttention, num_heads, 0) for _ in range(num_cls_layers))
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02))
        self.norm = nn.LayerNorm(dim)
        self.fc = nn.Sequential()
        for out_dim, rate in fc_params:
            self.fc.append(nn.Sequential(nn.Linear(dim, out_dim), nn.ReLU(), nn.Dropout(rate)))
            dim = out_dim
        self.fc.append(nn.Linear(dim, num_classes))

    def forward(self, features, vectors, mask):
        mask = mask[:, 0].bool()
        layout = Padded(mask) if self.for_inference else Packed(mask, PAIRS)
        u1, u2 = self.pair_embed(layout.pair_features(layout.pack(vectors.transpose(1, 2))))
        x = layout.pack(features.transpose(1, 2))
        x = self.embed.embed(self.embed.input_bn(x.flatten(0, -2)).view(x.shape))
        weights = [u.softmax(dim=-1) for u in layout.pair_matrices(u1)]
        biases = layout.pair_matrices(u2)
        for block in self.blocks:
            x = block(x, layout, weights)
        for block in self.blocks2:
            x = block(x, layout, biases)
        token, padding = self.cls_token.expand(mask.shape[0], -1, -1), layout.padding()
        for block in self.cls_blocks:
            token = block(token, x, layout, padding)
        logits = self.fc(self.norm(layout.in_order(token).squeeze(1)))
        return logits.softmax(dim=1) if self.for_inference else logits


class MIParTWrapper(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.mod = MIParT(**kwargs)

    @torch.jit.ignore
    def no_weight_decay(self):
        return {"mod.cls_token"}

    def forward(self, points, features, lorentz_vectors, mask):
        """(N, 2, P) unused, (N, C, P), (N, 4, P) in GeV, (N, 1, P) -> logits (N, K)."""
        return self.mod(features, lorentz_vectors, mask)


def get_model(data_config, **kwargs):
    cfg = dict(
        input_dim=len(data_config.input_dicts["pf_features"]),
        num_classes=len(data_config.labels.get("names", data_config.label_value)),
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
    return MIParTWrapper(**cfg), model_info


def get_loss(data_config, **kwargs):
    return nn.CrossEntropyLoss()
