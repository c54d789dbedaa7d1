"""ParT on real particles and pairs: it agrees with weaver's own network."""

import pytest
import torch
from helpers import ROOT
from random_jets import jets
from weaver.nn.model import ParticleTransformer as weaver_part
from weaver.utils.import_tools import import_module

part = import_module(str(ROOT / "networks" / "ParT.py"))
NO_DROPOUT = {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0}
SMALL = {
    "input_dim": 7, "num_classes": 10, "pair_input_dim": 4, "embed_dims": [16, 32], "pair_embed_dims": [8, 8],
    "num_heads": 4, "num_layers": 2, "num_cls_layers": 2, "fc_params": [(16, 0)], "activation": "gelu", "trim": False,
    "block_params": NO_DROPOUT,
}  # fmt: skip


def network(**options):
    """A network with random scales; they are initialised to 1."""
    torch.manual_seed(0)
    model = part.ParTWrapper(**{**SMALL, **options})
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model


def step(model, inputs):
    """Logits, gradients and state after one step of training or evaluation."""
    logits = model(*inputs)
    torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 10).backward()
    return logits.detach(), {name: p.grad for name, p in model.named_parameters()}, model.state_dict()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pairs", [40, 300, 10**6])
@pytest.mark.parametrize("options", [{}, {"use_pre_activation_pair": True, "block_params": {
    **NO_DROPOUT, "scale_fc": False, "scale_attn": False, "scale_heads": False, "scale_resids": False}}])  # fmt: skip
def test_outputs_gradients_and_statistics_are_those_of_weaver(monkeypatch, training, pairs, options):
    """For any groups; the input norm includes the padding, which has non-zero values as in weaver's mode `wrap`."""
    monkeypatch.setattr(part, "PAIRS", (pairs, pairs))
    inputs = jets([7, 12, 30, 1, 2, 30, 5])
    packed, plain = network(**options).train(training), network(**options, packed=False).train(training)
    assert type(packed.mod) is part.ParticleTransformer and type(plain.mod) is weaver_part.ParticleTransformer
    assert list(packed.state_dict()) == list(plain.state_dict())
    (logits, grads, state), (expected, expected_grads, expected_state) = step(packed, inputs), step(plain, inputs)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    for name, grad in expected_grads.items():
        close = (grads[name] - grad).norm() <= 1e-4 * grad.norm() + 1e-6  # biases before norms have none but rounding
        assert close, name
    for name, value in expected_state.items():
        torch.testing.assert_close(state[name], value, atol=1e-5, rtol=1e-5, msg=name)


def test_jets_do_not_see_each_other_and_may_be_empty():
    model = network().eval()
    inputs = jets([7, 0, 30, 1, 0])
    with torch.no_grad():
        together = model(*inputs)
        alone = torch.cat([model(*jet) for jet in zip(*(x.split(1) for x in inputs))])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together[1], together[4])
    _, grads, _ = step(model.train(), inputs)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    model = network(block_params=None).train()
    with torch.autocast("cpu", dtype=dtype):
        loss = model(*jets([7, 0, 30, 1, 12])).float().square().sum()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_dropout():
    torch.manual_seed(0)
    layer, x = torch.nn.Dropout(0.25), torch.ones(1000, 7, requires_grad=True)
    y = part.dropout(x, layer)
    assert (y != 0).float().mean().item() == pytest.approx(0.75, abs=0.02) and y.max().item() == pytest.approx(4 / 3)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], y.detach())
    assert part.dropout(x, layer.eval()) is x
    means = torch.stack([network(block_params=None)(*jets([9] * 4))[:, 0].mean() for _ in range(2)])
    assert means[0] == means[1]  # a seed, the same numbers


@pytest.mark.parametrize(
    "options",
    [{"for_inference": True}, {"compile_model": True}, {"version": 2}, {"num_cls_layers": 0}, {"pair_input_dim": 3},
     {"pair_embed_dims": None}, {"block_params": {"drop_path_rate": 0.1}}, {"remove_self_pair": True}],
)  # fmt: skip
def test_other_variants_run_as_weaver_does(options):
    model = part.ParTWrapper(**{**SMALL, **options})
    assert type(model.mod) is weaver_part.ParticleTransformer
    assert model.eval()(*jets([7, 12])).shape == (2, 10)


def test_compiled():
    model, inputs = network().eval(), jets([7, 1, 12])
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend="eager")(*inputs), model(*inputs), atol=1e-5, rtol=1e-5)
