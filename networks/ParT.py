"""Particle Transformer (arXiv 2202.03772): the weights and values of weaver, computed without the padding of jets.

The default is the published network (2.1M parameters). Options make it smaller, for example
`-o num_layers 2 -o embed_dims "[64, 64]"`. Checkpoints of the upstream examples and of Sophon load strictly and give
the same outputs as in the version of weaver that they were trained with. Give `-o num_classes 188` for custom labels
without `names`. `-o export_embed True` appends the class-token embedding to the output, as in Sophon.

The modules are those of weaver's ParticleTransformer; only the forward pass is different. Pair features are computed
once for each pair of real particles. Layers that act on single particles process real particles only. For attention,
jets are sorted by multiplicity and divided into groups, and each group is padded to its longest jet. Weaver's trimmer,
which cuts the longest jets in training, is not used. Export (`for_inference`), `--compile`, weaver 0.4, other variants
of the network and `-o packed False` use weaver's own forward pass.
"""

import torch
import torch.nn.functional as F
from torch import nn
from weaver.nn.model import ParticleTransformer as weaver_part

PAIRS = 2**16, 2**22  # largest number of particle pairs in a group: on a CPU (fits into its cache), on a GPU
EPS = 1e-8
MASKED = -1e9  # with -inf, a jet without particles would give NaN
OPTIONS = {  # options with which the network can run packed
    "input_dim", "num_classes", "pair_input_dim", "use_pre_activation_pair", "embed_dims", "pair_embed_dims",
    "num_heads", "num_layers", "num_cls_layers", "block_params", "cls_block_params", "fc_params", "activation", "trim",
    "for_inference", "use_amp", "weight_init", "fix_init",
}  # fmt: skip
BLOCK_OPTIONS = {"dropout", "attn_dropout", "activation_dropout", "ffn_ratio", "scale_fc", "scale_attn", "scale_heads",
                 "scale_resids"}  # fmt: skip


def pair_features(i, j):
    """ln kT, ln z, ln Delta and ln m^2 of pairs (arXiv 2202.03772, eq. 3).

    i, j: (..., 7) of the two particles, from `particle_kinematics`, with shapes that broadcast -> (..., 4)
    """
    pt_i, pt_j = i[..., 4], j[..., 4]
    dphi = torch.remainder(i[..., 6] - j[..., 6] + torch.pi, 2 * torch.pi) - torch.pi
    delta = ((i[..., 5] - j[..., 5]).square() + dphi.square()).sqrt()
    softer = torch.minimum(pt_i, pt_j)
    p = i[..., :4] + j[..., :4]
    mass2 = p[..., 3].square() - p[..., :3].square().sum(-1)
    kt, z = softer * delta, softer / (pt_i + pt_j).clamp(min=EPS)
    return torch.stack([kt, z, delta, mass2], dim=-1).clamp(min=EPS).log()


def particle_kinematics(v):
    """(..., 4) px, py, pz, E -> (..., 7) with pT, rapidity and phi appended."""
    px, py, pz, energy = v.unbind(-1)
    rapidity = 0.5 * torch.log(1 + 2 * pz / (energy - pz).clamp(min=1e-20))
    return torch.cat([v, torch.stack([(px * px + py * py).sqrt(), rapidity, torch.atan2(py, px)], dim=-1)], dim=-1)


def group_sizes(counts, pairs):
    """Numbers of jets in groups of at most `pairs` padded pairs, for jets that are sorted by multiplicity."""
    sizes = [0]
    for count in counts:
        if sizes[-1] and (sizes[-1] + 1) * count**2 > pairs:
            sizes.append(0)
        sizes[-1] += 1
    return sizes


class Group:
    """A group of G jets, padded to the length P of the longest one.

    Parameters
    ----------
    starts, counts : (G,) index of the first particle of each jet in the list of all particles, and number of particles
    """

    def __init__(self, starts, counts):
        self.shape = len(counts), max(int(counts[-1]), 1)
        slot = torch.arange(self.shape[1], device=counts.device)
        real = slot < counts[:, None]  # (G, P)
        self.slots = real.flatten().nonzero().squeeze(1)
        self.bias = torch.zeros(self.shape, device=counts.device).masked_fill_(~real, MASKED)
        jet, i, j = (real[:, :, None] & (slot <= slot[:, None])).nonzero(as_tuple=True)  # each pair once
        self.i, self.j = starts[jet] + i, starts[jet] + j
        first = jet * self.shape[1] ** 2
        self.cells = first + i * self.shape[1] + j, first + j * self.shape[1] + i

    def pad(self, x):
        """Particles of the group, from the list -> (G, P, C)"""
        y = x.new_zeros(self.shape[0] * self.shape[1], x.shape[1]).index_copy(0, self.slots, x)
        return y.view(*self.shape, -1)

    def matrix(self, u):
        """Pairs of the group, from the list -> symmetric (G, C, P, P), with MASKED for padded keys"""
        jets, particles = self.shape
        y = u.new_zeros(jets * particles**2, u.shape[1])
        for cells in self.cells:
            y = y.index_copy(0, cells, u)
        bias = F.pad(self.bias[:, 1:], (1, 0))  # key 0 stays unmasked: MASKED is -inf in half precision
        return (y.view(jets, particles, particles, -1).permute(0, 3, 1, 2) + bias[:, None, None, :]).contiguous()


class Packed:
    """The real particles of all jets in one list, x (T, C), and each of their pairs once, u (M, C).

    Jets are sorted by multiplicity. Attention processes them in groups, each padded to its longest jet.
    """

    def __init__(self, mask, pairs):
        counts = mask.sum(1)
        self.order = counts.argsort()
        jet, slot = mask[self.order].nonzero(as_tuple=True)
        self.particles = self.order[jet], slot  # original jet and slot of each particle
        counts = counts[self.order]
        self.sizes = group_sizes(counts.tolist(), pairs[mask.is_cuda])
        starts = counts.cumsum(0) - counts
        self.groups = [Group(*group) for group in zip(starts.split(self.sizes), counts.split(self.sizes))]
        self.i = torch.cat([group.i for group in self.groups])
        self.j = torch.cat([group.j for group in self.groups])

    def pack(self, x):
        return x[self.particles]  # (T, C)

    def pair_features(self, v):
        v = particle_kinematics(v)
        return pair_features(v[self.i], v[self.j])  # (M, 4)

    def pair_matrices(self, u):
        parts = u.split([len(group.i) for group in self.groups])
        return [group.matrix(part) for group, part in zip(self.groups, parts)]

    def spread(self, x):
        parts = x.split([len(group.slots) for group in self.groups])
        return [group.pad(part) for group, part in zip(self.groups, parts)]

    def collect(self, xs):
        return torch.cat([x.flatten(0, 1)[group.slots] for group, x in zip(self.groups, xs)])

    def padding(self):
        return [group.bias[:, None, None, :] for group in self.groups]

    def jets(self, x):
        return x.split(self.sizes)

    def in_order(self, x):
        return x[self.order.argsort()]


def rounded(p):
    """The dropout probability that `kept` uses for p: the nearest multiple of 1/256."""
    return round(256 * p) / 256


def kept(x, p):
    """int8 tensor with the shape of x: 0 with probability p, otherwise 1.

    It draws one random byte for each element. Torch's dropout draws a whole number for each, which takes a third of the
    training time on a CPU.
    """
    numbers = torch.empty((x.numel() + 7) // 8, dtype=torch.long, device=x.device).random_(-(2**63), None)
    return (numbers.view(torch.uint8)[: x.numel()].view(x.shape) >= 256 * rounded(p)).view(torch.int8)


class Dropped(torch.autograd.Function):
    """dropout(x, p) that stores one byte for each element for the backward pass."""

    @staticmethod
    def forward(ctx, x, p):
        mask = kept(x, p)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - rounded(p))
        return (x * mask).mul_(ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        return (grad * ctx.saved_tensors[0]).mul_(ctx.scale), None


def dropout(x, layer):
    """A faster form of `nn.Dropout`."""
    return Dropped.apply(x, layer.p) if layer.training and layer.p else x


class DroppedMatmul(torch.autograd.Function):
    """dropout(a, p) @ v without the factor 1 / (1 - p); stores one byte for each element of `a` for backward."""

    @staticmethod
    def forward(a, v, p):
        mask = kept(a, p)
        return (a * mask) @ v, mask

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, v, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(a, v, output[1])

    @staticmethod
    def backward(ctx, grad, _):
        a, v, mask = ctx.saved_tensors
        grad = grad.to(a.dtype)  # under autocast the product is in half precision
        return (grad @ v.transpose(-1, -2)).mul_(mask), (a * mask).transpose(-1, -2) @ grad, None


def dropped_matmul(a, v, p):
    """dropout(a, p) @ v"""
    return DroppedMatmul.apply(a, v.to(a.dtype) / (1 - rounded(p)), p)[0] if p else a @ v


def attend(q, k, v, bias, p=0.0):
    """Attention with bias and dropout: (G, H, Q, D), (G, H, P, D) twice, (G, H or 1, Q or 1, P) -> (G, Q, H D)."""
    bias = bias.to(q.dtype)
    if q.is_cuda or torch.jit.is_tracing():  # tracing happens in MIParT's export
        x = F.scaled_dot_product_attention(q, k, v, bias, p)
    else:  # on a CPU torch's kernel is slower for jets, and gives no gradient for the bias
        shape = *q.shape[:3], k.shape[2]
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        bias = bias.expand(shape).flatten(0, 1)
        weights = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5).softmax(dim=-1)
        x = dropped_matmul(weights, v, p).unflatten(0, shape[:2])
    return x.transpose(1, 2).flatten(2)


def heads(x, number):
    """(..., P, C) -> (..., H, P, D)"""
    return x.unflatten(-1, (number, -1)).transpose(-2, -3)


def pointwise(layers, x):
    """Apply a sequence of pointwise layers, made for (1, C, L), to x (L, C): a kernel of size 1 is a linear layer."""
    if layers.training:  # torch's batch norm sums (L, C) row by row: for 300,000 rows the error of the logits is 1e-3
        return layers(x.t()[None])[0].t()
    for layer in layers:
        x = F.linear(x, layer.weight[:, :, 0], layer.bias) if isinstance(layer, nn.Conv1d) else layer(x)
    return x


class ParticleTransformer(weaver_part.ParticleTransformer):
    """Weaver's network on real particles, x (T, C), and real pairs, u (M, C)."""

    def forward(self, features, v, mask):
        layout = Packed(mask[:, 0].bool(), PAIRS)
        x = self.embed.embed(layout.pack(self.embed.input_bn(features).transpose(1, 2)))  # the norm includes padding
        u = pointwise(self.pair_embed.embed, layout.pair_features(layout.pack(v.transpose(1, 2))))
        biases, padding = layout.pair_matrices(u), layout.padding()
        for block in self.blocks:
            x = self._feed_forward(block, x, self._attention(block, x, layout, biases))
        token = self.cls_token[0].expand(len(mask), -1)  # (N, C)
        for block in self.cls_blocks:
            token = self._feed_forward(block, token, self._class_attention(block, token, x, layout, padding))
        return self.fc(self.norm(layout.in_order(token)))

    @staticmethod
    def _attention(block, x, layout, biases):
        p = block.attn.dropout if block.training else 0.0
        outputs = []
        for qkv, bias in zip(layout.spread(block.attn.in_proj(block.pre_attn_norm(x))), biases):
            qkv = qkv.unflatten(2, (3, block.num_heads, -1)).permute(2, 0, 3, 1, 4).contiguous()  # (3, G, H, P, D)
            outputs.append(attend(*qkv, bias, p))
        return layout.collect(outputs)

    @staticmethod
    def _class_attention(block, token, x, layout, padding):
        """The class token attends to itself and to the particles (arXiv 2103.17239): (N, C), (T, C) -> (N, C)."""
        p = block.attn.dropout if block.training else 0.0
        wq, wkv = block.attn.in_proj.weight.tensor_split([token.shape[1]])
        bq, bkv = block.attn.in_proj.bias.tensor_split([token.shape[1]])
        first, rest = (F.linear(block.pre_attn_norm(y), wkv, bkv) for y in (token, x))
        groups = layout.jets(F.linear(token, wq, bq)), layout.jets(first), layout.spread(rest), padding
        outputs = []
        for query, own, others, bias in zip(*groups):
            kv = torch.cat([own[:, None], others], dim=1).chunk(2, -1)
            q, k, v = (heads(y, block.num_heads) for y in (query[:, None], *kv))
            outputs.append(attend(q, k, v, F.pad(bias, (1, 0)), p))
        return torch.cat(outputs).squeeze(1)

    @staticmethod
    def _feed_forward(block, x, attended):
        """The rest of a block after the products of its attention: (T, C) twice -> (T, C)."""
        y = block.attn.out_proj(attended)
        if block.c_attn is not None:
            y = (y.unflatten(-1, (block.num_heads, -1)) * block.c_attn[:, None]).flatten(-2)
        x = x + dropout(block.post_attn_norm(y), block.dropout)
        y = dropout(block.act(block.fc1(block.pre_fc_norm(x))), block.act_dropout)
        y = dropout(block.fc2(block.post_fc_norm(y)), block.dropout)
        return y + (x if block.w_resid is None else block.w_resid * x)


def interleave_heads(module, state_dict, prefix, *args):
    """Convert a checkpoint of weaver < 0.5, so that it gives the same outputs in weaver >= 0.5; others do not change.

    After the scaling with c_attn, weaver < 0.5 orders the H heads of D channels as (D, H), weaver 0.5 as (H, D). Weaver
    0.5 loads old weights without a warning, but gives other outputs. This hook moves the old order and the scales into
    the output projection. It recognises old checkpoints by the name of the input projection.
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


def can_be_packed(for_inference=False, **options):
    """Whether `ParticleTransformer` of this file supports these options: the published network, in any size."""
    blocks = {**(options.get("block_params") or {}), **(options.get("cls_block_params") or {})}
    needed = (options.get(name) for name in ("embed_dims", "pair_embed_dims", "num_cls_layers"))
    return (
        hasattr(weaver_part, "Attention")  # weaver 0.5
        and not for_inference
        and set(options) <= OPTIONS
        and set(blocks) <= BLOCK_OPTIONS
        and all(needed)
        and (options.get("pair_input_dim"), options.get("activation")) in {(4, "gelu"), (4, "relu")}
        and options.get("fc_params") is not None
    )


class ParTWrapper(torch.nn.Module):
    def __init__(self, export_embed=False, packed=True, **kwargs):
        super().__init__()
        self.export_embed = export_embed
        packed = packed and can_be_packed(**kwargs)
        self.mod = (ParticleTransformer if packed else weaver_part.ParticleTransformer)(**kwargs)
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
        raise ValueError("the data config does not give the number of classes: give it with -o num_classes")
    model_info = {
        "input_names": list(data_config.input_names),
        "input_shapes": {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()},
        "output_names": ["softmax"],
        "dynamic_axes": {**{k: {0: "N", 2: "n_pf"} for k in data_config.input_names}, "softmax": {0: "N"}},
    }
    return ParTWrapper(**cfg), model_info


def get_loss(data_config, **kwargs):
    return torch.nn.CrossEntropyLoss()
