"""Quantisation-aware training: the rounding is that of the quantised model, and nothing else changes."""

import numpy as np
import onnx
import pytest
import torch
from distillation import L1, TEACHER
from helpers import ROOT
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

from kd_trainer.deploy import session

quantised = import_module(str(ROOT / "networks" / "quantised.py"))
INPUTS = {"pf_points": 2, "pf_features": 13, "pf_vectors": 4, "pf_mask": 1}


@pytest.fixture(scope="module")
def config():
    return DataConfig.load(str(L1), load_observers=False)


def networks(config, name, **options):
    """The plain network and the rounded one, with the same weights."""
    path = ROOT / "networks" / f"{name}.py"
    torch.manual_seed(0)
    plain, info = import_module(str(path)).get_model(config, for_inference=True)
    aware, _ = quantised.get_model(config, network=str(path), **options)
    aware.load_state_dict(plain.state_dict())  # strictly
    plain.load_state_dict(aware.state_dict())
    return plain.eval(), aware.eval(), info


def jets(number=300):
    torch.manual_seed(1)
    inputs = {name: torch.randn(number, channels, 16) for name, channels in INPUTS.items()}
    inputs["pf_mask"] = (torch.arange(16) < torch.randint(1, 17, (number, 1))).float()[:, None]
    return inputs


@pytest.mark.parametrize("name", ["dense", "PFN", "InteractionNet"])
def test_rounding_is_that_of_the_quantised_model(config, tmp_path, name, bits=4):
    """Scores are those of ONNX Runtime to a part of what the rounding changes; ranges are found in different ways."""
    from kd_trainer.deploy import int8

    plain, aware, info = networks(config, name, weight_bits=bits)
    inputs = jets()
    arrays = {k: x.numpy() for k, x in inputs.items()}
    torch.onnx.export(plain, tuple(inputs.values()), tmp_path / "model.onnx", opset_version=15, dynamo=False,
                      **{k: info[k] for k in ("input_names", "output_names", "dynamic_axes")})  # fmt: skip
    used = [x.name for x in session.open_session(tmp_path / "model.onnx").get_inputs()]
    int8.quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", arrays, used, bits)
    low = session.run(session.open_session(tmp_path / "int8.onnx"), arrays)
    with torch.no_grad():
        expected, ours = plain(*inputs.values()).numpy(), aware(*inputs.values()).softmax(1).numpy()
    assert np.abs(ours - low).mean() < 0.4 * np.abs(expected - low).mean()
    stored = {x.name: onnx.numpy_helper.to_array(x) for x in onnx.load(tmp_path / "int8.onnx").graph.initializer}
    weight, scale = (stored[f"mod.fc.{'5.' * (name == 'dense')}weight_{x}"] for x in ("quantized", "scale"))
    assert np.abs(weight).max() == 2 ** (bits - 1) - 1
    rounded = quantised.round_weights(aware.state_dict()[f"mod.fc.{'5.' * (name == 'dense')}weight"], bits)
    np.testing.assert_allclose(rounded.numpy(), weight * scale[:, None], rtol=1e-6)


def test_levels():
    weight = torch.tensor([[0.5, -1.0, 0.1], [2.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
    found = quantised.round_weights(weight, 3)  # 3 levels either side
    assert torch.allclose(found, torch.tensor([[2 / 3, -1, 0], [2, 0, 0], [0, 0, 0]]), atol=1e-6)
    x = torch.tensor([-1.0, 0.0, 0.4, 2.0])
    assert torch.allclose(quantised.round_activations(x, 2), torch.tensor([-1.0, 0.0, 0.0, 2.0]))
    assert torch.equal(quantised.round_activations(torch.zeros(3), 8), torch.zeros(3))
    assert torch.allclose(quantised.round_activations(torch.tensor([3.0, 4.0]), 1), torch.tensor([4.0, 4.0]))


def test_gradients_pass():
    layer = torch.nn.Linear(4, 3)
    x = torch.randn(5, 4)
    layer(x).sum().backward()
    expected, layer.weight.grad = layer.weight.grad.clone(), None
    quantised.rounded(torch.nn.Sequential(layer))[0](x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, quantised.round_activations(x, 8).sum(0).expand(3, 4))
    torch.testing.assert_close(layer.weight.grad, expected, atol=0.1, rtol=0)


def test_convolutions_too(config):
    model, _ = quantised.get_model(config, network=str(ROOT / "networks" / "ParticleNet.py"), conv_params=[(3, (4,))])
    kinds = {type(module).__name__ for module in model.modules()}
    assert {"RoundedLinear", "RoundedConv2d", "RoundedConv1d"} & kinds >= {"RoundedLinear", "RoundedConv2d"}
    assert model(*jets(4).values()).shape == (4, 10)


def test_export_is_the_plain_network(config):
    model, _ = quantised.get_model(config, network=str(ROOT / "networks" / "dense.py"), for_inference=True)
    assert not any(type(module).__name__.startswith("Rounded") for module in model.modules())


@pytest.mark.parametrize(("options", "text"), [
    ({}, "no network is given"),
    ({"network": "no.py"}, "the network file no.py does not exist"),
    ({"network": "networks/dense.py", "weight_bits": 9}, "weight_bits is 9: it must be a whole number from 2 to 8"),
    ({"network": "networks/dense.py", "activation_bits": 2.5}, "activation_bits is 2.5"),
])  # fmt: skip
def test_wrong_options(config, options, text):
    with pytest.raises(ValueError, match=text):
        quantised.get_model(config, **options)


def test_attention_is_refused(config):
    part, _ = import_module(str(ROOT / "networks" / "ParT.py")).get_model(config, **TEACHER)
    mipart, _ = import_module(str(ROOT / "networks" / "MIParT.py")).get_model(config)
    for model in (part, mipart, torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.MultiheadAttention(4, 2))):
        with pytest.raises(ValueError, match="the network has attention, whose products the 8-bit model rounds"):
            quantised.rounded(model)


def test_nothing_to_quantise():
    with pytest.raises(ValueError, match="no linear layer"):
        quantised.rounded(torch.nn.ReLU())
