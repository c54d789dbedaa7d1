"""The particle flow: types of the reconstructed particles, and a perfect detector that returns the true particles."""

import numpy as np
import pytest

from kd_trainer.simulate import detector
from kd_trainer.simulate.detector import charges, reconstruct


def particles(pid, pt, eta, phi, event=None, vertex=(0.0, 0.0, 0.0)):
    pid, pt, eta, phi = np.broadcast_arrays(*(np.atleast_1d(value) for value in (pid, pt, eta, phi)))
    columns = {"pid": pid, "px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns["energy"] = np.hypot(pt * np.cosh(eta), 0.13957 * np.isin(np.abs(pid), (211,)))
    columns |= {axis: np.full(len(pid), value) for axis, value in zip("xyz", vertex, strict=True)}
    return columns | {"event": np.zeros(len(pid), int) if event is None else event}


@pytest.fixture
def perfect(monkeypatch):
    """Full efficiency, no resolution, no thresholds."""
    monkeypatch.setattr(detector, "track_efficiency", lambda pdg, *_: np.ones(len(pdg)))
    monkeypatch.setattr(detector, "momentum_resolution", lambda pt, eta: np.zeros(len(pt)))
    for name in ("ecal_resolution", "hcal_resolution"):
        monkeypatch.setattr(detector, name, lambda energy, eta: np.zeros(len(energy)))
    monkeypatch.setattr(detector, "ECAL_MIN", 0.0)
    monkeypatch.setattr(detector, "HCAL_MIN", 1e-6)


def test_charges():
    pids = [11, -11, 13, -13, 22, 211, -211, 321, -321, 2212, -2212, 130, 2112, -2112]
    assert charges(np.array(pids)).tolist() == [-1, 1, -1, 1, 0, 1, -1, 1, -1, 1, -1, 0, 0, 0]


def test_perfect_detector_conserves_energy(perfect):
    rng = np.random.default_rng(3)
    n = 2000
    event = np.sort(rng.integers(0, 10, n))
    true = particles(rng.choice([211, -211, 22, 130], n), rng.exponential(5, n) + 1, rng.uniform(-2, 2, n),
                     rng.uniform(-np.pi, np.pi, n), event)  # fmt: skip
    seen = reconstruct(true, rng)
    for name, tolerance in (("energy", 1e-9), ("px", 0.02), ("py", 0.02), ("pz", 0.02)):
        sums = [np.bincount(columns["event"], columns[name]) for columns in (true, seen)]
        scale = np.bincount(event, true["energy"])
        assert np.abs(sums[0] - sums[1]).max() < tolerance * scale.min()


def test_perfect_detector_finds_no_neutral_hadron_behind_tracks(perfect):
    seen = reconstruct(particles([211, -211], 20.0, 0.3, [0.1, 0.12]), np.random.default_rng(0))
    assert seen["isChargedHadron"].tolist() == [True, True]


def test_neutral_hadron_is_the_excess_over_the_track(perfect):
    true = particles([211, 130], [20.0, 30.0], 0.3, 0.1)
    seen = reconstruct(true, np.random.default_rng(0))
    assert seen["isNeutralHadron"].sum() == 1
    assert seen["energy"][seen["isNeutralHadron"]] == pytest.approx(true["energy"][1])


def test_photons_of_one_crystal_merge(perfect):
    seen = reconstruct(particles(22, [20.0, 30.0, 5.0], [0.001, 0.002, 0.5], 0.001), np.random.default_rng(0))
    assert sorted(np.round(seen["energy"], 2)) == [pytest.approx(5 * np.cosh(0.5), abs=0.01), 50.0]
    assert seen["isPhoton"].all()


def test_kinds_and_masses():
    rng = np.random.default_rng(4)
    true = particles(np.repeat([11, -13, 321, 22, 2112], 1000), 30.0, 0.2, rng.uniform(-3, 3, 5000), np.arange(5000))
    seen = reconstruct(true, rng)
    flags = np.stack([seen[f"is{kind}"] for kind in ("Electron", "Muon", "ChargedHadron", "Photon", "NeutralHadron")])
    assert (flags.sum(axis=0) == 1).all()
    assert flags.sum(axis=1)[:3] == pytest.approx([950, 990, 940], abs=35)
    mass = np.sqrt(np.maximum(seen["energy"] ** 2 - seen["px"] ** 2 - seen["py"] ** 2 - seen["pz"] ** 2, 0))
    assert mass[flags[1]] == pytest.approx(0.1057, abs=2e-3)
    assert mass[flags[2]] == pytest.approx(0.1396, abs=2e-3)  # a kaon is taken for a pion
    assert mass[flags[3] | flags[4]] == pytest.approx(0, abs=1e-3)
    neutral = seen["charge"] == 0
    assert (neutral == (flags[3] | flags[4])).all()
    for name in ("d0val", "d0err", "dzval", "dzerr"):
        assert (seen[name][neutral] == 0).all() and (seen[name][~neutral] != 0).all()


def test_curling_particles_leave_nothing():
    lost = particles(np.full(500, 211), 0.09, 0.0, 0.1, np.arange(500))
    assert len(reconstruct(lost, np.random.default_rng(5))["px"]) == 0
    assert len(reconstruct(particles([], [], [], []), np.random.default_rng(5))["px"]) == 0


def test_track_born_behind_the_tracker_is_calorimeter_energy():
    late = particles(np.full(200, 211), 50.0, 0.1, 0.5, np.arange(200), (700.0, 0, 0))
    seen = reconstruct(late, np.random.default_rng(5))
    assert seen["isNeutralHadron"].all()
    assert seen["energy"].mean() == pytest.approx(50, rel=0.1)


def test_impact_parameter_pulls_are_normal():
    n, rng = 20_000, np.random.default_rng(6)
    seen = reconstruct(particles(np.full(n, 211), 5.0, 0.1, 0.5, np.arange(n)), rng)
    tracks = seen["isChargedHadron"]
    for name in ("d0", "dz"):
        pull = seen[f"{name}val"][tracks] / seen[f"{name}err"][tracks]
        assert pull.mean() == pytest.approx(0, abs=0.04)
        assert pull.std() == pytest.approx(1, abs=0.03)


def test_jet_energy_resolution_is_that_of_a_particle_flow_detector():
    """A jet of 60 % charged hadrons, 30 % photons and 10 % neutral hadrons is measured to a few per cent.

    The mean is above one: of the fluctuations of the towers behind tracks only the large upward ones are kept.
    """
    rng, jets = np.random.default_rng(7), 1000
    pid = np.tile([211] * 12 + [22] * 12 + [130] * 2, jets)
    pt = np.tile([30.0] * 12 + [15.0] * 12 + [30.0] * 2, jets)
    event = np.repeat(np.arange(jets), 26)
    true = particles(pid, pt, rng.normal(0, 0.15, len(pid)), rng.normal(0, 0.15, len(pid)), event)
    seen = reconstruct(true, rng)
    response = np.bincount(seen["event"], seen["energy"]) / np.bincount(event, true["energy"])
    assert 1.0 < response.mean() < 1.04
    assert 0.02 < response.std() < 0.08
