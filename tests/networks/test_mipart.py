"""MIParT: it gives the outputs of the authors, also in its packed form."""

import numpy as np
import pytest
import torch
from helpers import ROOT
from random_jets import jets
from weaver.utils.import_tools import import_module

mipart = import_module(str(ROOT / "networks" / "MIParT.py"))
part = import_module(str(ROOT / "networks" / "ParT.py"))


def network(**kwargs):
    torch.manual_seed(0)
    return mipart.MIParTWrapper(**{"input_dim": 7, "num_classes": 10} | kwargs)


def test_logits_of_the_authors(shared):
    """Key names, strict loading and logits of the reference implementation."""
    state = torch.load(shared / "reference" / "mipart_state.pt", weights_only=True)
    reference = np.load(shared / "reference" / "mipart_io.npz")
    inputs = [torch.tensor(reference[name]) for name in ("points", "features", "lorentz_vectors", "mask")]
    expected = torch.tensor(reference["logits"])
    model = network().eval()
    model.load_state_dict(state)
    assert set(model.state_dict()) == set(state)
    torch.testing.assert_close(model(*inputs), expected, atol=1e-4, rtol=0)
    export = network(for_inference=True).eval()
    export.load_state_dict(state)
    torch.testing.assert_close(export(*inputs), expected.softmax(1), atol=1e-4, rtol=0)


def test_blocks_of_old_checkpoints_in_part(shared):
    """weaver 0.5 scales and orders heads differently; earlier checkpoints must give the same outputs as before."""
    state = torch.load(shared / "reference" / "mipart_state.pt", weights_only=True)
    block = {k.removeprefix("mod.blocks2.0."): v for k, v in state.items() if k.startswith("mod.blocks2.0.")}
    old = network().eval().mod.blocks2[0]
    old.load_state_dict(block)
    new = part.ParTWrapper(
        input_dim=7, num_classes=10, embed_dims=[64], pair_embed_dims=[8], num_layers=1, num_cls_layers=1
    ).eval()
    full = {k: v for k, v in new.state_dict().items() if not k.startswith("mod.blocks.0.")}
    full |= {f"mod.blocks.0.{k}": v for k, v in block.items()}
    given = {k: v.clone() for k, v in full.items()}
    new.load_state_dict(full)
    assert all(torch.equal(full[k], given[k]) for k in given)  # the user's tensors stay as they are
    torch.manual_seed(2)
    x, bias = torch.randn(3, 12, 64), torch.randn(3, 8, 12, 12)
    mask = torch.ones(3, 12, dtype=torch.bool)
    expected = old(x, mipart.Padded(mask), [bias])
    torch.testing.assert_close(new.mod.blocks[0](x, padding_mask=~mask, attn_mask=bias), expected, atol=1e-5, rtol=1e-5)
    again = new.state_dict()  # of this weaver: loads as it is
    new.load_state_dict(again)
    torch.testing.assert_close(new.mod.blocks[0](x, padding_mask=~mask, attn_mask=bias), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pairs", [(40, 40), (10**6, 10**6)])
@pytest.mark.parametrize("options", [{}, {"embed_dims": [16, 32], "pair_embed_dims": [8, 16]}])
def test_packed_is_padded(monkeypatch, pairs, options):
    """The values do not depend on the groups or the order of the jets, also for jets with no or one particle."""
    monkeypatch.setattr(mipart, "PAIRS", pairs)
    inputs = jets([7, 0, 30, 1, 12, 2, 30, 5])
    model, plain = network(**options).eval(), network(**options, for_inference=True).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(model(*inputs).softmax(1), plain(*inputs), atol=1e-5, rtol=1e-4)


def test_gradients_are_those_of_the_plain_form(monkeypatch):
    monkeypatch.setattr(mipart, "PAIRS", (300, 300))
    inputs = jets([7, 30, 1, 12])
    grads = []
    for packed in (True, False):
        model = network(dropout=0.0).eval()  # batch norms in eval mode: their samples differ by the padding
        if not packed:
            monkeypatch.setattr(mipart, "Packed", lambda mask, _: mipart.Padded(mask))
        model(*inputs).square().sum().backward()
        grads.append({name: p.grad for name, p in model.named_parameters()})
    for name, grad in grads[0].items():
        torch.testing.assert_close(grad, grads[1][name], atol=1e-4, rtol=1e-3, msg=name)


def test_group_sizes():
    counts = [0, 1, 2, 3, 5, 5, 5, 10]
    sizes = mipart.part.group_sizes(counts, 50)
    assert sizes == [5 - 1, 2, 1, 1] and sum(sizes) == len(counts)
    assert mipart.part.group_sizes([100, 100], 50) == [1, 1]  # a jet is never split


def test_dropped_matmul():
    torch.manual_seed(0)
    a, v = torch.ones(4, 50, 50, requires_grad=True), torch.randn(4, 50, 1, requires_grad=True)
    out, kept = mipart.part.DroppedMatmul.apply(a, v, 0.25)
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.02)
    torch.testing.assert_close(out, (a * kept) @ v)
    grad = torch.randn_like(out)
    got = torch.autograd.grad(out, (a, v), grad)
    expected = torch.autograd.grad((a * kept) @ v, (a, v), grad)
    for g, e in zip(got, expected):
        torch.testing.assert_close(g, e)


def test_training_in_half_precision():
    model = network()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(*jets([7, 30, 1, 12])).float().square().sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
