"""Tier l1trk: inputs of candidates at known positions of the Level-1 grid, and the smearing of their tracks."""

import awkward as ak
import numpy as np
import pytest
from helpers import random_jets
from weaver_inputs import data_config, fed

from kd_trainer.deploy.inputs import variables

SPECIES = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
FLAGS = ["Photon", "ElectronPlus", "ElectronMinus", "MuonPlus", "MuonMinus", "NeutralHadron", "ChargedHadronPlus",
         "ChargedHadronMinus"]  # fmt: skip
MASSES = [0, 0.005, 0.005, 0.105, 0.105, 0.5, 0.13, 0.13]  # GeV
MASS, FIRST_FLAG, Z0, DXY = 5, 6, 14, 15  # places among the features
JETCLASSES = pytest.mark.parametrize("dataset", ["JetClass", "JetClassII"])


@pytest.fixture(scope="module")
def grid():
    """(N, 16) candidates, hardest first: places on the grid in GeV and rad, species, charge, lengths in mm."""
    rng, shape = np.random.default_rng(7), (600, 16)
    kind, sign = rng.integers(0, 5, shape), rng.choice([-1, 1], shape)
    return {
        "pt": -np.sort(-rng.integers(9, 200, shape), axis=1) * 0.25,
        "eta": rng.integers(-600, 600, shape) * (np.pi / 720),
        "phi": rng.integers(-719, 720, shape) * (np.pi / 720),
        "kind": kind,
        "charge": np.where((kind == 1) | (kind == 2), 0, sign),
        "d0val": rng.uniform(-20, 20, shape),
        "dzval": rng.uniform(-20, 20, shape),
    }


def jets_of(grid, **changes):
    """Jets with such candidates; what else the data configs read is as in any jets."""
    new = {**grid, **changes}
    parts = {name: new[name] for name in ("charge", "d0val", "dzval")}
    parts |= {"px": new["pt"] * np.cos(new["phi"]), "py": new["pt"] * np.sin(new["phi"])}
    parts |= {"pz": new["pt"] * np.sinh(new["eta"]), "energy": new["pt"] * np.cosh(new["eta"])}
    parts |= {f"is{name}": new["kind"] == i for i, name in enumerate(SPECIES)}
    other = random_jets(len(new["pt"]), 2)
    fields = {name: other[name] for name in other.fields if not name.startswith("part_")}
    fields |= {f"part_{name}": ak.from_regular(ak.Array(values)) for name, values in parts.items()}
    return ak.zip(fields, depth_limit=1)


@pytest.fixture
def inputs(tmp_path):
    """Function of jets and a dataset: what weaver feeds the network of the tier, {group: (N, C, 16)}."""
    return lambda jets, dataset: fed(jets, data_config(dataset, "l1trk"), tmp_path)


@pytest.fixture
def lengths(inputs):
    """Function of jets and a dataset: z0 and dxy in steps, (2, N, 16)."""
    return lambda jets, dataset: inputs(jets, dataset)["pf_features"][:, [Z0, DXY]].transpose(1, 0, 2) * 10.0


def smearing(grid):
    """(N, 16) each: two numbers from a normal distribution, sigma of z0 and of dxy in mm."""
    table, _ = variables(jets_of(grid), data_config("JetClass", "l1trk"))
    radius, angle, z0, dxy = (ak.to_numpy(table[f"cand_{x}"]) for x in ("radius", "angle", "z0_sigma", "dxy_sigma"))
    return radius * np.cos(angle), radius * np.sin(angle), z0, dxy


@JETCLASSES
def test_identities_and_masses_by_identity(dataset, grid, inputs):
    got = inputs(jets_of(grid), dataset)["pf_features"]
    inside, kind, charge = np.abs(grid["eta"]) < 2.4, grid["kind"], grid["charge"]
    track = inside & (charge != 0)
    name = np.array(SPECIES)[kind]
    name = np.where((name == "ChargedHadron") & ~track, "NeutralHadron", name)
    name = np.where((name == "Electron") & ~track, "Photon", name)
    signed = ~np.isin(name, ["NeutralHadron", "Photon"])
    name = np.char.add(name, np.where(signed, np.where(charge > 0, "Plus", "Minus"), ""))
    index = np.array([FLAGS.index(x) for x in name.ravel()]).reshape(name.shape)
    np.testing.assert_array_equal(got[:, FIRST_FLAG:Z0].argmax(axis=1), index)
    assert (got[:, FIRST_FLAG:Z0].sum(axis=1) == 1).all() and (~inside & (charge != 0)).sum() > 100
    np.testing.assert_allclose(got[:, MASS], np.array(MASSES)[index], rtol=1e-6)
    assert not got[:, Z0:].transpose(0, 2, 1)[~track].any() and got[:, Z0:].transpose(0, 2, 1)[track].any()


@JETCLASSES
def test_what_the_tier_does_not_resolve_changes_no_input(dataset, grid, inputs):
    """Momenta within a cell of the grid, energies, and the lengths of what has no track."""
    rng = np.random.default_rng(8)
    shift = {name: grid[name] + rng.uniform(-0.4, 0.4, grid[name].shape) * step
             for name, step in (("pt", 0.25), ("eta", np.pi / 720), ("phi", np.pi / 720))}  # fmt: skip
    trackless = (grid["charge"] == 0) | (np.abs(grid["eta"]) > 2.401)
    shift |= {name: np.where(trackless, 5.0, grid[name]) for name in ("d0val", "dzval")}
    jets = jets_of(grid, **shift)
    jets["part_energy"] = jets.part_energy * 1.1
    before, after = inputs(jets_of(grid), dataset), inputs(jets, dataset)
    for group in before:
        np.testing.assert_array_equal(before[group], after[group], err_msg=group)


@JETCLASSES
def test_lengths_are_integers_in_their_range(dataset, grid, lengths):
    track = (grid["charge"] != 0) & (np.abs(grid["eta"]) < 2.4)
    before = lengths(jets_of(grid), dataset)
    np.testing.assert_allclose(before, np.round(before), atol=1e-4)
    # two steps more of d0 and dz: CMS's dxy has the opposite sign; noise does not depend on them
    after = lengths(jets_of(grid, d0val=grid["d0val"] + 1.0, dzval=grid["dzval"] + 1.0), dataset)
    np.testing.assert_allclose(after - before, [track * 2.0, track * -2.0], atol=1e-4)
    # a thousandth of a step is resolved by one candidate in a thousand
    after = lengths(jets_of(grid, d0val=grid["d0val"] + 5e-4, dzval=grid["dzval"] + 5e-4), dataset)
    assert (after != before).sum() < 0.005 * track.sum()
    far = lengths(jets_of(grid, d0val=grid["d0val"] * 0 - 1e3, dzval=grid["dzval"] * 0 - 1e3), dataset)
    assert set(np.round(far[0][track])) == {-511} and set(np.round(far[1][track])) == {127}


def test_smearing_is_normal_and_rests_on_the_place_on_the_grid_alone(grid):
    first, second, _, _ = smearing(grid)
    count = first.size
    neighbour = smearing({**grid, "pt": grid["pt"] + 0.25})[0]
    for x in (first, second):
        assert abs(x.mean()) < 4 / count**0.5 and abs((x**2).mean() - 1) < 4 * (2 / count) ** 0.5
        assert abs((x**4).mean() - 3) < 4 * (96 / count) ** 0.5 and abs((x**3).mean()) < 4 * (15 / count) ** 0.5
        for y in (grid["pt"], grid["eta"], np.abs(grid["eta"]), grid["phi"], grid["charge"], grid["d0val"]):
            assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4 / count**0.5
    for x, y in ((first, second), (first**2, second**2), (first, neighbour), (first[:, 1:], first[:, :-1])):
        assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4 / x.size**0.5
    other = smearing({**grid, "d0val": -grid["d0val"], "dzval": grid["dzval"] * 2, "charge": -grid["charge"]})
    np.testing.assert_array_equal(other[:2], [first, second])


def test_resolutions_are_those_that_are_told(grid, lengths):
    """Residuals of smeared lengths: mean 0, variance that of the resolution and of a step, for either sign."""
    _, _, *sigmas = smearing(grid)
    pt, eta = grid["pt"], np.abs(grid["eta"])
    z0 = 10 * np.where(pt < 10, 1 - 0.8 * np.log10(pt), 0.2) * 10 ** (0.5 * eta + 1.5) / 1000
    np.testing.assert_allclose(sigmas[0], z0, rtol=1e-4)
    np.testing.assert_allclose(sigmas[1] ** 2, 0.1**2 + (0.65 * pt**-0.62) ** 2 * np.cosh(eta), rtol=1e-4)
    track = (grid["charge"] != 0) & (eta < 2.4)
    steps = lengths(jets_of(grid), "JetClass")
    for found, true, sigma in ((steps[0], grid["dzval"], sigmas[0]), (steps[1], -grid["d0val"], sigmas[1])):
        for chosen in (track & (true > 0), track & (true < 0)):
            residual, variance = (found * 0.5 - true)[chosen], (sigma**2 + 0.5**2 / 12)[chosen]
            pull, count = residual / variance**0.5, chosen.sum()
            assert abs(pull.mean()) < 4 / count**0.5 and abs((pull**2).mean() - 1) < 4 * (2 / count) ** 0.5
