"""Reading an event record: a top decay written by hand, and events from Pythia."""

import awkward as ak
import numpy as np
import pytest

from kd_trainer.datasets.kinematics import rapidity
from kd_trainer.simulate.events import resonances, stable_particles

# pid, status and mother in a record with a top quark, its copy, W and b, a copy of the W, its quarks, and a gluon
TOP = [(90, -11, 0), (6, -22, 0), (6, -62, 1), (24, -22, 2), (5, -23, 2), (24, -52, 3)]
TOP += [(1, -23, 5), (-2, -23, 5), (21, 51, 4)]


def record(*events):
    entries = [entry for event in events for entry in event]
    pid, status, mother = np.array(entries).T
    counts = np.array([len(event) for event in events])
    rng = np.random.default_rng(0)
    columns = {"pid": pid, "status": status, "mother": mother, "energy": np.full(len(pid), 100.0)}
    columns |= {name: rng.normal(0, 50, len(pid)) for name in ("px", "py", "pz")}
    columns["event"] = np.repeat(np.arange(len(events)), counts)
    columns["first"] = np.repeat(np.cumsum(counts) - counts, counts)
    return columns


def test_decay_products_of_a_top_are_found_through_copies():
    columns = record(TOP, TOP)
    found = resonances(columns, (6,), 3)
    assert found["event"].tolist() == [0, 1]
    assert found["pid"].tolist() == [6, 6]
    pt = np.hypot(columns["px"], columns["py"])
    assert found["pt"] == pytest.approx(pt[[2, 2 + len(TOP)]])  # the copy that decays
    phi = np.arctan2(columns["py"], columns["px"])
    assert np.sort(found["prong_phi"][1]) == pytest.approx(np.sort(phi[len(TOP) + np.array([4, 6, 7])]))


def test_neutrino_is_no_prong():
    leptonic = [*TOP[:6], (-11, 23, 5), (12, 23, 5)]
    assert resonances(record(leptonic), (6,), 2)["prong_eta"].shape == (1, 2)
    assert resonances(record(leptonic), (6,), 3)["prong_eta"].shape == (0, 3)


def test_no_resonance():
    assert len(resonances(record([(90, -11, 0), (21, -23, 0)]), (25, 36), 2)["event"]) == 0


def test_stable_particles_are_visible_and_within_reach():
    columns = record([(211, 83, 0), (12, 83, 0), (22, -83, 0), (22, 91, 0), (130, 83, 0)])
    columns["pz"][4] = 1e5
    assert stable_particles(columns)["pid"].tolist() == [211, 22]


def test_rapidity():
    y, transverse_mass = np.array([-1.5, 0.0, 2.0]), np.array([0.2, 1.0, 500.0])
    particles = {"pz": transverse_mass * np.sinh(y), "energy": transverse_mass * np.cosh(y)}
    assert rapidity(particles) == pytest.approx(y)


def test_record_of_pythia_conserves_momentum():
    from kd_trainer.simulate.events import flatten
    from kd_trainer.simulate.generate import start_pythias

    ((pythia, _),) = start_pythias("jetclass", "Wqq")
    batch = pythia.nextBatch(3)
    columns = flatten(batch)
    final = columns["status"] > 0
    for name, total in (("px", 0), ("py", 0), ("pz", 0), ("energy", 13000)):
        sums = np.bincount(columns["event"][final], columns[name][final])
        assert sums == pytest.approx(total, abs=0.01)
    assert len(columns["pid"]) == ak.sum(ak.num(batch.prt.id))
    long_lived = (np.abs(columns["pid"]) == 211) & (np.hypot(columns["x"], columns["y"]) > 1)
    assert long_lived.any()  # pions from strange hadrons
    path = np.sqrt(columns["x"] ** 2 + columns["y"] ** 2 + columns["z"] ** 2)
    assert (path <= columns["t"] * 299792458e3 * (1 + 1e-9) + 1e-9).all()
