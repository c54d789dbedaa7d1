"""Inputs of augmented jets, compared with weaver's inputs of jets that were augmented before weaver read them."""

import awkward as ak
import numpy as np
import pytest
import torch
from helpers import random_jets
from weaver.utils.dataset import DataConfig

from kd_trainer.augment import transforms
from kd_trainer.augment.constituents import axis
from kd_trainer.augment.features import Inputs
from kd_trainer.augment.views import Views
from kd_trainer.datasets.layouts import top_jets
from kd_trainer.errors import InputError
from kd_trainer.pretrain.options import Options

TIERS = {
    "JetClass": ("full", "kinpid", "kin", "hlt", "l1", "l1trk"),
    "JetClassII": ("full", "kinpid", "kin", "hlt", "l1", "l1trk"),
    "TopLandscape": ("kin", "hlt", "l1"),
    "QuarkGluon": ("kinpidplus", "kinpid", "kin", "hlt", "l1"),
    "LHCJets": ("kin", "kin8"),
}
OFF = {f"aug_{name}": 0.0 for name in ("rotation", "translation", "distortion", "splitting")}


@pytest.mark.parametrize("dataset, tier", [(d, t) for d, tiers in TIERS.items() for t in tiers])
def test_no_augmentation_changes_nothing(dataset, tier, read, load_config):
    config = load_config(dataset, tier)
    X = read(random_jets(), config)
    views = Views(Inputs(config), Options("x", **OFF))(X)
    assert len(views) == 2
    for view in views:
        assert view.keys() == X.keys()
        for group in X:
            assert view[group].dtype == X[group].dtype
            torch.testing.assert_close(view[group], X[group], rtol=1e-5, atol=1e-5)


def hard_jets():
    """Jets of which every tier keeps all particles: fewer than 16, above 20 GeV."""
    jets = random_jets(number=80)
    parts = [name for name in jets.fields if name.startswith("part_")]
    keep = np.hypot(jets.part_px, jets.part_py) > 20
    keep = keep & (ak.local_index(keep) < 40)
    for name in parts:
        jets[name] = jets[name][keep][:, :15]
    return jets[ak.num(jets.part_px) > 1]


def coordinates(jets):
    pt = np.hypot(jets.part_px, jets.part_py)
    mass2 = jets.part_energy**2 - pt**2 - jets.part_pz**2
    return pt, np.arcsinh(jets.part_pz / pt), np.arctan2(jets.part_py, jets.part_px), np.maximum(mass2, 0)


def with_momenta(jets, pt, eta, phi, mass2):
    jets = ak.copy(jets)
    jets["part_px"], jets["part_py"], jets["part_pz"] = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    jets["part_energy"] = np.sqrt((pt * np.cosh(eta)) ** 2 + mass2)
    return jets


def as_double(jets):
    for name in ("part_px", "part_py", "part_pz", "part_energy"):
        jets[name] = ak.values_astype(jets[name], "float64")
    return jets


@pytest.mark.parametrize("dataset", ["JetClass", "JetClassII"])
def test_moved_jets_have_the_inputs_of_jets_that_were_moved_in_the_file(dataset, read, load_config):
    config = load_config(dataset, "hlt")
    jets = as_double(hard_jets())
    rng = np.random.default_rng(2)
    deta, dphi = rng.uniform(-2, 2, (2, len(jets), 1))  # many jets cross eta = 0
    pt, eta, phi, mass2 = coordinates(jets)
    moved = with_momenta(jets, pt, eta + deta, phi + dphi, mass2)

    inputs, X = Inputs(config), read(jets, config)
    before = inputs.constituents(X)
    view = inputs.view(X, before, transforms.translate(before, torch.tensor(deta), torch.tensor(dphi)))
    for group, values in read(moved, config).items():
        torch.testing.assert_close(view[group], values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dataset", ["JetClass", "JetClassII"])
def test_split_jets_have_the_inputs_of_jets_that_were_split_in_the_file(dataset, read, load_config):
    config = load_config(dataset, "hlt")
    jets = as_double(hard_jets())
    hardest_first = ak.argsort(np.hypot(jets.part_px, jets.part_py), axis=1, ascending=False)
    for name in jets.fields:
        if name.startswith("part_"):
            jets[name] = jets[name][hardest_first]
    halves = ak.copy(jets)
    for name in jets.fields:
        if name.startswith("part_"):  # the hardest particle becomes two, with 40 and 60 % of the momentum
            momentum = name in ("part_px", "part_py", "part_pz", "part_energy")
            first, rest = jets[name][:, :1], jets[name][:, 1:]
            pair = [first * 0.6, first * 0.4] if momentum else [first, first]
            halves[name] = ak.concatenate([*pair, rest], axis=1)

    inputs, X = Inputs(config), read(jets, config)
    before = inputs.constituents(X)
    order = torch.arange(before.pt.shape[1]).expand(before.pt.shape).double()
    counts = before.mask.sum(dim=1, keepdim=True)
    after = transforms.split(before, order=order, share=torch.full(order.shape, 0.6), fraction=1.01 / counts)
    view = inputs.view(X, before, transforms.refill(transforms.by_decreasing_pt(after)))
    for group, values in read(halves, config).items():
        torch.testing.assert_close(view[group], values, rtol=1e-4, atol=1e-4)


def test_stored_jet_quantities_are_those_of_the_changed_jet(read, load_config):
    """Jets that were shifted, rotated about their axis and distorted before the dataset was made."""
    config = load_config("TopLandscape", "kin")
    jets = as_double(hard_jets())
    rng = np.random.default_rng(3)
    deta, dphi, angle = rng.uniform(-2, 2, (3, len(jets), 1))
    noise = ak.unflatten(rng.normal(size=ak.sum(ak.num(jets.part_px))), ak.num(jets.part_px))

    def dataset(jets):
        momenta = {name: jets[f"part_{name}"] for name in ("px", "py", "pz", "energy")}
        return read(top_jets(momenta, np.zeros(len(jets))), config)

    hardest_first = ak.argsort(np.hypot(jets.part_px, jets.part_py), axis=1, ascending=False, stable=True)
    for name in ("part_px", "part_py", "part_pz", "part_energy"):
        jets[name] = jets[name][hardest_first]
    pt, eta, phi, mass2 = coordinates(jets)
    px, py, pz = (ak.sum(jets[f"part_{name}"], axis=1) for name in ("px", "py", "pz"))
    axis_eta, axis_phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    x, y = eta - axis_eta, (phi - axis_phi + np.pi) % (2 * np.pi) - np.pi
    cos, sin = np.cos(angle), np.sin(angle)
    eta = axis_eta + cos * x - sin * y + deta + noise / pt
    phi = axis_phi + sin * x + cos * y + dphi - noise / pt
    changed_in_file = dataset(with_momenta(jets, pt, eta, phi, mass2))

    inputs, X = Inputs(config), dataset(jets)
    before = inputs.constituents(X)
    padded = torch.from_numpy(ak.to_numpy(ak.fill_none(ak.pad_none(noise, 128), 0.0)))
    after = transforms.rotate(before, torch.tensor(angle))
    after = transforms.distort(after, eta_noise=padded, phi_noise=-padded, strength=1.0, pt_min=0.1)
    after = transforms.refill(transforms.translate(after, torch.tensor(deta), torch.tensor(dphi)))
    view = inputs.view(X, before, after)
    for group, values in changed_in_file.items():
        torch.testing.assert_close(view[group], values, rtol=2e-4, atol=2e-4)


def test_stored_jets_move_with_their_particles(read, load_config):
    """With jet quantities from the file, a translation changes momenta, and nothing relative to the jet."""
    config = load_config("JetClass", "full")
    inputs, X = Inputs(config), read(random_jets(), config)
    before = inputs.constituents(X)
    view = inputs.view(X, before, transforms.translate(before, torch.full((40, 1), 0.01), torch.full((40, 1), 1.0)))
    names = config.input_dicts["pf_features"]
    for index, name in enumerate(names):
        change = (view["pf_features"][:, index] - X["pf_features"][:, index]).abs().max()
        assert change < (0.05 if name in ("part_e_log", "part_logerel", "part_deta", "part_deltaR") else 1e-3), name
    assert (view["pf_vectors"][:, :2] - X["pf_vectors"][:, :2]).abs().max() > 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_angles_of_jets_that_cross_the_middle(mirrored, read, load_config):
    """With and without the sign change of deta at negative eta in the file."""
    config, jets = load_config("JetClass", "kin"), as_double(hard_jets())
    _, eta, _, _ = coordinates(jets)
    px, py, pz = (ak.sum(jets[f"part_{name}"], axis=1) for name in ("px", "py", "pz"))
    jet_eta = np.arcsinh(pz / np.hypot(px, py))
    jets["part_deta"] = (eta - jet_eta) * (np.sign(jet_eta) if mirrored else 1)
    inputs, X = Inputs(config), read(jets, config)
    before = inputs.constituents(X)
    old = axis(before).eta
    after = transforms.translate(before, -2 * old, torch.zeros_like(old))
    new = axis(after).eta
    assert (old * new < 0).float().mean() > 0.9
    expected = (after.eta - new) * (new.sign() if mirrored else 1)
    found = inputs.view(X, before, after)["pf_points"][:, 0].double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_views_differ_and_keep_identities(read, load_config):
    config = load_config("JetClass", "full")
    X = read(random_jets(), config)
    every = dict(aug_smearing=0.1, aug_dropping=0.5, aug_boost=0.3)
    torch.manual_seed(1)
    views = Views(Inputs(config), Options("x", **every))
    first, second = views(X)
    assert not torch.equal(first["pf_features"], second["pf_features"])
    index = config.input_dicts["pf_features"].index("part_isChargedHadron")
    for view in (first, second):
        assert all(torch.isfinite(values).all() for values in view.values())
        flags = view["pf_features"][:, index : index + 5]
        assert set(flags.unique().tolist()) == {0.0, 1.0} and (flags.sum(dim=1) == 1).all()
        counts = view["pf_mask"].sum(dim=2, keepdim=True).long()
        slots = torch.arange(128).expand(40, 1, 128)
        assert torch.equal(view["pf_mask"], (slots < counts).float())
        wrapped = (slots % counts).expand(-1, 4, -1)
        assert torch.equal(view["pf_vectors"], view["pf_vectors"].gather(2, wrapped))
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    a, b = (views(X, generator=generator) for generator in generators)
    assert all(torch.equal(a[1][group], b[1][group]) for group in X)


@pytest.mark.parametrize("dataset", ["JetClass", "JetClassII"])
def test_momenta_of_the_level_1_tagger_are_those_of_the_augmented_particles(dataset, read, load_config):
    config = load_config(dataset, "l1trk")
    X = read(hard_jets(), config)
    view, _ = Views(Inputs(config), Options("x", **{**OFF, "aug_smearing": 0.1, "aug_splitting": 0.3}))(X)
    px, py = (view["pf_vectors"][:, i].double() for i in (0, 1))
    pt, real = torch.hypot(px, py), view["pf_mask"][:, 0].bool()
    jet_pt = torch.hypot((px * real).sum(1), (py * real).sum(1))[:, None]
    found = view["pf_features"].double()
    assert not torch.equal(view["pf_features"], X["pf_features"])
    for index, expected in enumerate((pt * 0.01, pt / jet_pt, (torch.log(pt) - 1.7) * 0.7)):
        torch.testing.assert_close(found[:, index][real], expected[real], rtol=1e-4, atol=1e-4)


def changed(config, **changes):
    options = {"inputs": {name: dict(spec) for name, spec in config.options["inputs"].items()}, "labels": config.labels}
    for group, spec in changes.items():
        if spec is None:
            del options["inputs"][group]
        else:
            options["inputs"][group] = {**options["inputs"].get(group, {}), **spec}
    return DataConfig(print_info=False, **options)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"pf_vectors": None}, "augmentation needs four-momenta"),
        ({"pf_vectors": {"vars": [["part_px", None], ["part_py", None], ["part_pz", None]]}}, "needs four-momenta"),
        ({"pf_mask": None}, "no pf_mask"),
        ({"pf_points": None, "pf_features": {"vars": [["part_pt_log", None]]}}, "needs directions"),
        ({"pf_features": {"vars": [["part_pt_log", None], ["part_kt", None]]}}, "augmentation on part_kt is not known"),
        ({"sv_features": {"length": 5, "vars": [["sv_charge", None]]}}, "input groups of one length"),
    ],
)
def test_configs_that_cannot_be_augmented(changes, message, load_config):
    with pytest.raises(InputError, match=message):
        Inputs(changed(load_config("JetClass", "kin"), **changes))


def test_a_named_variable_follows_its_particle(load_config):
    config = changed(load_config("JetClass", "kin"), pf_features={"vars": [["part_deta", None], ["part_puppi", None]]})
    with pytest.raises(InputError, match="part_puppi"):
        Inputs(config)
    Inputs(config, followers=["part_puppi"])
