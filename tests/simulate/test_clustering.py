"""Jets, grooming and matching on events written by hand."""

import awkward as ak
import fastjet
import numpy as np
import pytest

from kd_trainer.datasets.kinematics import wrap
from kd_trainer.simulate.clustering import cluster, n_subjettiness, soft_drop_mass
from kd_trainer.simulate.selection import in_window, match_nearest, match_resonances


def massless(pt, eta, phi, event=0):
    pt, eta, phi, event = np.broadcast_arrays(*(np.atleast_1d(value) for value in (pt, eta, phi, event)))
    columns = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
    return columns | {"event": event}


def jagged(*jets):
    """Columns of several jets, and the numbers of their constituents."""
    names = ("px", "py", "pz", "energy")
    return {name: np.concatenate([jet[name] for jet in jets]) for name in names}, np.array([len(j["px"]) for j in jets])


def test_cluster():
    pt, eta = [100.0, 300.0, 200.0, 550.0, 400.0], [0.1, 0.0, 0.2, -1.0, 1.0]
    event = [0, 0, 0, 0, 2]
    particles = massless(pt, eta, [0.0, 0.1, -0.1, 3.0, 1.0], event)
    jets, members = cluster(particles, 3, 350.0)
    assert sorted(zip(jets["event"].tolist(), jets["count"].tolist(), strict=True)) == [(0, 1), (0, 3), (2, 1)]
    jet = np.split(members, np.cumsum(jets["count"])[:-1])[jets["count"].tolist().index(3)]
    assert jet.tolist() == [1, 2, 0]  # by decreasing pT
    which = jets["count"] == 3
    for name in ("px", "py", "pz", "energy"):
        assert jets[name][which] == pytest.approx(particles[name][:3].sum())


def test_cluster_with_another_radius():
    particles = massless([300.0, 200.0], 0.0, [0.0, 0.6])
    for radius, counts in ((0.4, [1]), (0.8, [2])):
        jets, _ = cluster(particles, 1, 250.0, radius=radius)
        assert jets["count"].tolist() == counts


def test_cluster_without_jets():
    jets, members = cluster(massless(10.0, 0.0, 0.0), 4, 350.0)
    assert len(members) == 0 and all(len(values) == 0 for values in jets.values())


def test_soft_drop_removes_the_soft_prong_only():
    balanced = massless([300.0, 200.0], [0.0, 0.0], [0.0, 0.5])
    soft = massless([490.0, 10.0], [0.0, 0.0], [0.0, 0.5])
    mass = np.sqrt(2 * 300 * 200 * (1 - np.cos(0.5)))
    assert soft_drop_mass(*jagged(balanced, soft)) == pytest.approx([mass, 0], abs=1e-3)


def test_soft_drop_is_that_of_fastjet():
    rng = np.random.default_rng(0)
    jets = [massless(rng.exponential(5, n) + 0.3, *rng.normal(0, 0.25, (2, n))) for n in (1, 2, 30, 60)]
    columns, counts = jagged(*jets)
    lists = ak.unflatten(ak.zip({"E" if name == "energy" else name: x for name, x in columns.items()}), counts)
    tree = fastjet.ClusterSequence(
        ak.Array(lists, with_name="Momentum4D"), fastjet.JetDefinition(fastjet.cambridge_algorithm, 8.0)
    )
    theirs = tree.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=0.8).msoftdrop
    assert soft_drop_mass(columns, counts).tolist() == ak.flatten(theirs, axis=None).to_list()


def test_n_subjettiness_of_prongs():
    two = massless([300.0, 200.0], [0.0, 0.0], [0.0, 0.5])
    three = massless([300.0, 200.0, 100.0], [0.0, 0.0, 0.4], [0.0, 0.5, 0.3])
    taus = n_subjettiness(*jagged(two, three))
    assert taus.shape == (2, 4)
    assert taus[0, 0] > 0.1 and taus[0, 1:] == pytest.approx(0, abs=1e-6)
    assert taus[1, 1] > 0.05 and taus[1, 2:] == pytest.approx(0, abs=1e-6)


def test_window():
    jets = massless([499.0, 501.0, 999.0, 1001.0, 700.0, 700.0], [0, 0, 0, 0, 1.99, -2.01], 0.3)
    assert in_window(jets).tolist() == [False, True, True, False, True, False]


def test_wrap():
    turn = 2 * np.pi
    assert wrap(np.array([0.1, 3.2, -3.2, 6.3])) == pytest.approx([0.1, 3.2 - turn, turn - 3.2, 6.3 - turn])


def test_resonance_is_matched_with_all_its_prongs():
    jets = massless(600.0, [0.5, 0.5, -1.0], [3.1, 3.1, 0.0], [0, 1, 1])
    resonances = {
        "event": np.array([0, 1, 1]),
        "prong_eta": np.array([[0.4, 0.6], [0.5, 1.4], [-1.1, -0.8]]),
        "prong_phi": np.array([[3.0, -3.1], [3.1, 3.1], [0.1, -0.2]]),
    }
    assert match_resonances(jets, resonances).tolist() == [0, -1, 2]


def test_nearest_jet_of_the_same_event():
    jets = massless(600.0, [0.0, 1.0, 0.0], 0.0, [0, 0, 1])
    others = massless(600.0, [0.9, 0.1, 0.0], [0.0, 0.0, 2.0], [0, 0, 1])
    assert match_nearest(jets, others).tolist() == [1, 0, -1]
    nothing = massless([], [], [], [])
    assert match_nearest(jets, nothing).tolist() == [-1, -1, -1]
    assert match_nearest(nothing, jets).tolist() == []
