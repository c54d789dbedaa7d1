import numpy as np
import onnxruntime
import pytest
import torch
from weaver_inputs import data_config, export
from weaver_inputs import network as make

NETWORKS = ("ParT", "MIParT", "ParticleNet", "InteractionNet", "PFN", "dense")
TINY = {"conv_params": [(4, (8, 8))], "fc_params": [(8, 0.1)]}  # ParticleNet for the 16 particles of l1


def build(network, tier="full", dataset="JetClass", **options):
    torch.manual_seed(0)
    model, info = make(network, data_config(dataset, tier), **options)
    return model.eval(), info


def batch(info, counts=(5, 11, 16), seed=0):
    """Inputs with some padded particles."""
    torch.manual_seed(seed)
    X = {name: torch.randn(len(counts), *shape[1:]) for name, shape in info["input_shapes"].items()}
    p3 = X["pf_vectors"][:, :3]
    X["pf_vectors"][:, 3] = (p3.square().sum(dim=1) + 0.02).sqrt()
    for i, count in enumerate(counts):
        X["pf_mask"][i] = torch.arange(X["pf_mask"].shape[-1]) < count
    return X


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dataset, classes", [("JetClass", 10), ("JetClassII", 188)])
def test_logits_and_model_info(network, dataset, classes):
    model, info = build(network, "l1", dataset, **(TINY if network == "ParticleNet" else {}))
    assert set(info) == {"input_names", "input_shapes", "output_names", "dynamic_axes"}
    assert info["input_names"] == ["pf_points", "pf_features", "pf_vectors", "pf_mask"]
    assert model(*batch(info).values()).shape == (3, classes)


@pytest.mark.parametrize("network", NETWORKS)
def test_padding_does_not_matter(network):
    model, info = build(network, "full")
    X = batch(info, counts=(20, 40, 90))
    before = model(*X.values())
    padding = ~X["pf_mask"].bool()
    for name in ("pf_points", "pf_features", "pf_vectors"):
        X[name] = torch.where(padding, X[name].roll(1, dims=-1) + 0.5, X[name])
    torch.testing.assert_close(model(*X.values()), before)


@pytest.mark.parametrize("network", ["ParT", "MIParT", "ParticleNet", "InteractionNet", "PFN"])
def test_order_of_particles_does_not_matter(network):
    model, info = build(network, "full")
    X = batch(info, counts=(20, 40, 90))
    permutation = torch.randperm(128)
    permuted = [x[:, :, permutation] for x in X.values()]
    torch.testing.assert_close(model(*permuted), model(*X.values()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_softmax_for_inference_only(network):
    logits_model, info = build(network)
    inference_model, _ = build(network, for_inference=True)
    inference_model.load_state_dict(logits_model.state_dict())
    X = batch(info, counts=(30, 60, 128)).values()
    torch.testing.assert_close(inference_model(*X), logits_model(*X).softmax(dim=1), rtol=1e-4, atol=1e-6)


def test_published_sizes():
    sizes = {network: sum(p.numel() for p in build(network, "kin")[0].parameters()) for network in NETWORKS}
    assert sizes["ParT"] == pytest.approx(2.14e6, rel=0.01)  # arXiv 2202.03772
    assert sizes["ParticleNet"] == pytest.approx(370e3, rel=0.01)
    mipart = build("MIParT", "kin", num_classes=2)[0]
    assert sum(p.numel() for p in mipart.parameters()) == 657_014


def test_part_embedding():
    plain, info = build("ParT", fc_params=[(16, 0.1)])
    embedding, _ = build("ParT", fc_params=[(16, 0.1)], export_embed=True)
    embedding.load_state_dict(plain.state_dict())
    X = batch(info).values()
    output = embedding(*X)
    assert output.shape == (3, 10 + 128)
    torch.testing.assert_close(output[:, :10], plain(*X))
    torch.testing.assert_close(plain.mod.fc(output[:, 10:]), plain(*X))


def test_dense_without_hidden_layer_is_logistic_regression():
    model, info = build("dense", "l1", hidden_dims=())
    assert sum(p.numel() for p in model.parameters()) == 16 * 13 * 10 + 10
    a, b = batch(info, seed=1), batch(info, seed=2)
    middle = {k: (a[k] + b[k]) / 2 for k in a} | {"pf_mask": a["pf_mask"]}
    torch.testing.assert_close(model(*middle.values()), (model(*a.values()) + model(*b.values())) / 2)


def test_default_student_is_small():
    assert sum(p.numel() for p in build("PFN", "l1")[0].parameters()) < 50_000


def test_published_particlenet_loads_strictly(shared):
    model, _ = build("ParticleNet", "kin")
    state = torch.load(shared / "real" / "ParticleNet_kin.pt", map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=True)


@pytest.mark.parametrize(
    "network, options, message",
    [
        ("dense", {"num_particles": 40}, "num_particles 40 exceeds the 16 particles"),
        ("ParticleNet", {}, "16 neighbours need more than 16 particles"),
        *((network, {"num_classes": 1}, "give it with -o num_classes") for network in NETWORKS),
    ],
)
def test_wrong_options(network, options, message):
    with pytest.raises(ValueError, match=message):
        build(network, "l1", **options)


@pytest.mark.parametrize("network", NETWORKS)
def test_onnx(network, tmp_path):
    model, info = build(network, "l1", for_inference=True, **(TINY if network == "ParticleNet" else {}))
    export(tmp_path / "model.onnx", model, info)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [i.name for i in session.get_inputs()]
    for counts in ((16,), (3, 9, 16, 7)):
        X = batch(info, counts=counts, seed=4)
        got = session.run(None, {name: X[name].numpy() for name in names})[0]
        np.testing.assert_allclose(got, model(*X.values()).detach().numpy(), atol=1e-5)
