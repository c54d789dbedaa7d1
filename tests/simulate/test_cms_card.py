"""The detector of JetClass-II: its tables, the way to the calorimeters, particle flow and pile-up."""

import numpy as np
import pytest
from toy_events import particles, toy_pool

from kd_trainer.simulate import minimum_bias
from kd_trainer.simulate.cms_calorimeter import ECAL, HCAL, ecal_resolution, hcal_resolution
from kd_trainer.simulate.cms_card import CARD, momenta_at_calorimeter, reconstruct
from kd_trainer.simulate.cms_tracks import efficiency, impact_parameter_errors, momentum_resolution
from kd_trainer.simulate.energy_flow import flow
from kd_trainer.simulate.propagation import to_calorimeter


@pytest.fixture
def perfect(monkeypatch):
    """A detector with full efficiency, no resolution, no thresholds; and the primary vertex is at the origin."""
    monkeypatch.setattr(minimum_bias, "draw_vertices", lambda n, rng: np.zeros(n))
    exact, low = (lambda energy, eta: np.zeros(len(energy))), (1e-6, 0.0)
    return CARD._replace(efficiency=lambda pdg, *_: np.ones(len(pdg)), ecal_resolution=exact, hcal_resolution=exact,
                         ecal_threshold=low, hcal_threshold=low)  # fmt: skip


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "expected"),
    [
        (211, 0.1, 0, 0), (211, 0.5, -1.5, 0.70), (211, 5, 1.0, 0.95), (2212, 1.0, 1.6, 0.60), (321, 5, -2.5, 0.85),
        (211, 5, 2.51, 0), (11, 0.5, 0, 0.73), (11, 0.5, 2, 0.50), (11, 50, 0, 0.95), (11, 50, 2, 0.83),
        (11, 150, 0, 0.99), (11, 150, 2, 0.90), (13, 0.5, 0, 0.75), (13, 0.5, 2, 0.70), (13, 900, 0, 0.99),
        (13, 900, 2, 0.98), (13, 2000, 0, 0.99 * np.exp(-0.5)), (13, 2000, 2, 0.98 * np.exp(-0.5)),
    ],
)  # fmt: skip
def test_efficiency(pdg, pt, eta, expected):
    assert efficiency(np.array([pdg]), np.array([pt]), np.array([eta])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("pdg", "eta", "constant", "slope"),
    [
        (211, 0.5, 0.06, 1.3e-3), (211, -1.5, 0.10, 1.7e-3), (321, 2.5, 0.25, 3.1e-3), (11, 0.1, 0.03, 1.3e-3),
        (11, 1.0, 0.05, 1.7e-3), (11, 2.0, 0.15, 3.1e-3), (13, 0.1, 0.01, 1.0e-4), (13, 1.0, 0.015, 1.5e-4),
        (13, 2.0, 0.025, 3.5e-4),
    ],
)  # fmt: skip
def test_momentum_resolution(pdg, eta, constant, slope):
    pt = np.array([0.2, 100.0, 1e5])
    found = momentum_resolution(np.full(3, pdg), pt, np.full(3, eta))
    assert found == pytest.approx(np.minimum(np.sqrt(constant**2 + (slope * pt) ** 2), 1))


@pytest.mark.parametrize(
    ("pt", "eta", "d0", "dz"),
    [
        (0.18, 0.5, 0, 0), (0.2, 0.5, 354.3, 369.3), (0.2227, 0.9, 354.3, 369.3), (0.2228, -0.91, 358, 601),
        (5.0, 2.0, 42.5, 181.6), (6.0, 1.0, 27.7, 60.3), (1000, 0.1, 11, 31.8), (1000, 2.5, 13.7, 85), (10, 2.6, 0, 0),
    ],
)  # fmt: skip
def test_impact_parameter_errors(pt, eta, d0, dz):
    found = impact_parameter_errors(np.array([pt]), np.array([eta]))
    assert np.concatenate(found) == pytest.approx([d0 * 1e-3, dz * 1e-3])


def test_calorimeter_resolutions():
    energy = np.array([10.0, 10.0, 10.0, 10.0])
    shape = np.sqrt(0.08**2 + 0.121 + 0.16)
    eta = np.array([1.0, -2.0, 2.4, 2.7])
    forward = np.sqrt(1.07**2 + 2.08**2 * 10)
    assert ecal_resolution(energy, eta) == pytest.approx(
        [1.64 * shape, 2.16 * shape, (2.16 + 5.6 * 0.16) * shape, forward]
    )
    assert hcal_resolution(energy[:2], np.array([3.0, 3.1])) == pytest.approx([np.sqrt(22.75), np.sqrt(74.59)])


@pytest.mark.parametrize("towers", [ECAL, HCAL])
def test_towers_hold_what_points_to_them(towers):
    rng = np.random.default_rng(0)
    eta, phi = rng.uniform(-3.4, 3.4, 5000), rng.uniform(-np.pi, np.pi, 5000)
    number = towers.find(eta, phi)
    (low_eta, low_phi), (high_eta, high_phi) = (towers.place(number, np.full((2, 5000), edge)) for edge in (0, 1))
    assert ((low_eta <= eta) & (eta <= high_eta) & (low_phi <= phi + 1e-9) & (phi <= high_phi + 1e-9)).all()
    inside = towers.place(number, rng.random((2, 5000)))
    assert (towers.find(*inside) == number).all()


def test_tower_sizes():
    for towers, eta, size in (
        (ECAL, 1.0, (0.0174, 1)),
        (ECAL, 3.0, (0.167, 10)),
        (HCAL, 1.6, (0.087, 5)),
        (HCAL, 2.4, (0.178, 10)),
    ):
        number = towers.find(np.array([eta]), np.array([0.1]))
        (low_eta, low_phi), (high_eta, high_phi) = (towers.place(number, np.full((2, 1), edge)) for edge in (0, 1))
        assert (high_eta - low_eta, np.degrees(high_phi - low_phi)) == (pytest.approx(size[0]), pytest.approx(size[1]))


def test_neutral_particles_reach_the_calorimeter_on_a_straight_line():
    vertex = np.array([[0.0, 0, 100], [0, 0, 100], [300, 400, 0]])
    eta, phi = to_calorimeter(np.full(3, 2.0), np.zeros(3), np.array([2.0, -20, 0]), np.zeros(3), vertex)
    assert np.sinh(eta) == pytest.approx([1390 / 1290, -3000 / 310, 0])
    assert np.sin(phi) == pytest.approx([0, 0, 400 / 1290])


def test_charged_particles_bend():
    """Half a circle of radius R ends at 2 R; with pz = pT / 4 the particle is then at z = pi R / 4."""
    radius = 1290 / 2
    pt = 0.299792458e-3 * 3.8 * radius * (1 + 1e-12)
    for charge in (1, -1):
        eta, phi = to_calorimeter(np.array([pt]), np.zeros(1), np.array([pt / 4]), np.array([charge]), np.zeros((1, 3)))
        assert np.sinh(eta) == pytest.approx(np.pi * radius / 4 / 1290, rel=1e-5)
        assert phi == pytest.approx(-charge * np.pi / 2, abs=1e-5)


def test_curling_particles_reach_the_end():
    pt = np.array([0.2])
    radius = 0.2 / (0.299792458e-3 * 3.8)
    eta, _ = to_calorimeter(pt, 0 * pt, pt, np.ones(1), np.array([[0, 0, -50.0]]))
    assert np.sinh(eta) == pytest.approx(3000 / np.abs(2 * radius * np.sin(3050 / radius / 2)))


def test_straight_and_bent_agree_at_high_momentum():
    rng = np.random.default_rng(1)
    momentum = rng.normal(0, 1e6, (3, 200))
    vertex = rng.uniform(-100, 100, (200, 3))
    straight = to_calorimeter(*momentum, np.zeros(200), vertex)
    for charge in (-1, 1):
        bent = to_calorimeter(*momentum, np.full(200, charge), vertex)
        assert np.abs(np.sin(bent[1] - straight[1])).max() < 1e-3 and np.abs(bent[0] - straight[0]).max() < 1e-3


@pytest.mark.parametrize("pid", [211, 22])
def test_energy_is_conserved_without_smearing(perfect, pid):
    rng = np.random.default_rng(2)
    pids, event = rng.choice([pid, 130], 500), np.sort(rng.integers(0, 10, 500))
    true = particles(pids, rng.exponential(5, 500) + 2, rng.uniform(-2, 2, 500), rng.uniform(-3, 3, 500), event)
    seen = reconstruct(true, 10, 0, rng, detector=perfect)
    tracks = seen["charge"] != 0
    energy = np.where(tracks, np.sqrt(np.hypot(seen["px"], seen["py"]) ** 2 + seen["pz"] ** 2), seen["energy"])
    assert np.bincount(seen["event"], energy) == pytest.approx(np.bincount(true["event"], true["energy"]), rel=2e-3)
    assert (seen["puppi_weight"] == 1).all()


def test_flow_makes_an_excess_a_particle_and_leaves_its_tracks_alone():
    excess, scale = flow(np.array([0, 0, 1]), np.array([20.0, 30.0, 10.0]), np.array([20.0, 0, 10.0]), np.zeros(3),
                         lambda energy: 1e-9 * energy, 1.0, 1.0, np.random.default_rng(0))  # fmt: skip
    assert excess == pytest.approx([30, 0], abs=1e-6) and scale == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(("sigma", "expected"), [(0.0, 0.8), (1e-6, 1.0), (2.0, 0.9)])
def test_flow_rescales_tracks_without_a_significant_excess(sigma, expected, monkeypatch):
    """A tower of 8 GeV measured to 2 GeV behind a track of 10 GeV; exact tracks have no weight in Delphes."""
    monkeypatch.setattr("kd_trainer.simulate.energy_flow.smear_energy", lambda energy, *_: energy)
    excess, scale = flow(np.zeros(1, int), np.array([8.0]), np.array([10.0]), np.array([sigma]),
                         lambda energy: np.full(len(energy), 2.0), 1.0, 1.0, np.random.default_rng(0))  # fmt: skip
    assert excess == [0] and scale == pytest.approx([expected])


def test_tracks_of_faint_towers_vanish():
    """Below 2.25 GeV the energy of a tower is smaller than its resolution, 1.5 GeV sqrt(E)."""
    true = particles(211, np.repeat([1.0, 2.0, 20.0], 500), 0.3, 0.1, np.arange(1500))
    seen = reconstruct(true, 1500, 0, np.random.default_rng(3))
    pt = np.hypot(seen["px"], seen["py"])[seen["isChargedHadron"]]
    kept = np.isclose(pt[:, None], [1.0, 2.0, 20.0]).any(axis=1)  # beside an excess
    assert pt[~kept].min() > 2.2 / np.cosh(0.36) and 0 < kept.mean() < 0.5
    fraction = [np.isin(np.arange(start, start + 500), seen["event"]).mean() for start in (0, 500, 1000)]
    assert fraction[0] < 0.2 < fraction[1] < 0.6 < 0.9 < fraction[2]
    smeared = reconstruct(true, 1500, 0, np.random.default_rng(3), detector=CARD._replace(tower_tracks=False))
    assert np.isin(np.arange(500), smeared["event"]).mean() == pytest.approx(0.7, abs=0.08)  # the efficiency


def test_kinds_masses_and_leptons():
    rng = np.random.default_rng(4)
    true = particles(np.repeat([11, -13, 321, 22, 2112], 400), 30.0, 0.2, rng.uniform(-3, 3, 2000), np.arange(2000))
    seen = reconstruct(true, 2000, 10, rng, pool=toy_pool(rng))
    flags = np.stack([seen[f"is{kind}"] for kind in ("Electron", "Muon", "ChargedHadron", "Photon", "NeutralHadron")])
    assert (flags.sum(axis=0) == 1).all()
    assert (np.diff(seen["event"]) >= 0).all()
    muons = flags[1]
    assert muons.sum() == pytest.approx(396, abs=8)
    assert np.hypot(seen["px"], seen["py"])[muons] == pytest.approx(30)  # PUPPI and the calorimeters leave them alone
    assert (seen["puppi_weight"][flags[0] | muons] == 1).all()
    kaons = flags[2] & (np.hypot(seen["px"], seen["py"]) > 5)
    mass2 = (seen["energy"] ** 2 - seen["px"] ** 2 - seen["py"] ** 2 - seen["pz"] ** 2)[kaons]
    assert np.median(mass2) == pytest.approx(0.49368**2, rel=1e-3)
    neutral = seen["charge"] == 0
    for name in ("d0val", "d0err", "dzval", "dzerr"):
        assert (seen[name][neutral] == 0).all() and (seen[name][kaons] != 0).all()


def test_impact_parameters_are_relative_to_the_primary_vertex():
    seen = reconstruct(particles(13, np.full(1000, 20.0), 0.3, 0.5, np.arange(1000)), 1000, 0, np.random.default_rng(5))
    for name, error in (("d0", 0.0143), ("dz", 0.0316)):
        assert seen[f"{name}err"] == pytest.approx(error)
        assert (seen[f"{name}val"] / error).std() == pytest.approx(1, abs=0.08)
        assert (seen[f"{name}val"] / error).mean() == pytest.approx(0, abs=0.15)


def test_momenta_at_calorimeter():
    seen = reconstruct(particles(13, np.full(200, 0.9), 1.2, 0.5, np.arange(200)), 200, 0, np.random.default_rng(6))
    stored = momenta_at_calorimeter(seen)
    pt = np.hypot(stored["px"], stored["py"])
    assert pt == pytest.approx(0.9)
    assert np.arcsinh(stored["pz"] / pt) == pytest.approx(seen["calorimeter_eta"])
    assert np.std(seen["calorimeter_eta"]) > 0.015 and np.std(seen["pz"]) < 1e-9
    momentum2 = (pt * np.cosh(seen["calorimeter_eta"])) ** 2
    assert stored["energy"] ** 2 - momentum2 == pytest.approx(0.10566**2, rel=1e-6)


def test_vertices_are_spread_along_the_beam():
    z = minimum_bias.draw_vertices(100_000, np.random.default_rng(7))
    assert z.mean() == pytest.approx(0, abs=0.7) and z.std() == pytest.approx(53, rel=0.01)
    assert np.mean(np.abs(z) < 53) == pytest.approx(0.6827, abs=0.005) and np.abs(z).max() < 250


def test_mix_turns_events_around_the_beam():
    rng = np.random.default_rng(8)
    pool = toy_pool(rng, n_events=3, size=5)
    pool["x"], pool["y"] = pool["px"] * 2, pool["py"] * 2
    mixed = minimum_bias.mix(pool, np.array([2, 0, 1]), np.array([10.0, 20.0, 30.0]), rng)
    assert mixed["event"].tolist() == [0] * 10 + [2] * 5
    assert mixed["z"].tolist() == [10.0] * 5 + [20.0] * 5 + [30.0] * 5
    pt = np.hypot(mixed["px"], mixed["py"]).reshape(3, 5)
    original = np.hypot(pool["px"], pool["py"]).reshape(3, 5)
    assert all(any(np.allclose(event, other) for other in original) for event in pt)
    assert mixed["x"] == pytest.approx(2 * mixed["px"]) and mixed["y"] == pytest.approx(2 * mixed["py"])
    assert not np.isin(mixed["px"], pool["px"]).any()


def test_charged_pileup_is_removed_unless_it_starts_at_the_primary_vertex(perfect, monkeypatch):
    rng = np.random.default_rng(9)
    pool = toy_pool(rng)
    hard = particles([211, -211], 20.0, 0.3, 0.1)
    counts = []
    for z in (0.05, 0.15):  # mm
        vertices = iter([np.zeros(1), None])
        monkeypatch.setattr(
            minimum_bias,
            "draw_vertices",
            lambda n, _, v=vertices, z=z: np.full(n, z) if next(v) is None else np.zeros(n),
        )
        seen = reconstruct(hard, 1, 20, np.random.default_rng(9), pool=pool, detector=perfect)
        counts.append((seen["charge"] != 0).sum())
    assert counts[0] > 100 and counts[1] == 2


def test_puppi_takes_pileup_out_of_jets():
    rng = np.random.default_rng(10)
    n = 40 * 100
    true = particles(np.tile([211, -211, 22, 22], n // 4), rng.exponential(10, n) + 1, rng.normal(0.5, 0.1, n),
                     rng.normal(1, 0.1, n), np.repeat(np.arange(100), 40))  # fmt: skip
    pool = toy_pool(rng)
    alone, mixed = (reconstruct(true, 100, pileup, rng, pool=pool) for pileup in (0, 50))
    sums = [np.hypot(seen["px"], seen["py"]).sum() for seen in (alone, mixed)]
    assert sums[1] == pytest.approx(sums[0], rel=0.2)
    assert (alone["puppi_weight"] == 1).all() and (mixed["puppi_weight"] > 0).all()


def test_the_same_seed_gives_the_same_candidates():
    pool = toy_pool(np.random.default_rng(11))
    true = particles([211, 22, -211], 20.0, [0.3, 0.4, 0.5], 0.1)
    first, second = (reconstruct(true, 1, 50, np.random.default_rng(12), pool=pool) for _ in range(2))
    assert all((first[name] == second[name]).all() for name in first)


def test_pool_is_made_once_and_reproducible(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    quick = tuple(line.replace("inelastic", "nonDiffractive") for line in minimum_bias.SETTINGS)  # starts faster
    monkeypatch.setattr(minimum_bias, "SETTINGS", quick)
    minimum_bias.load_pool.cache_clear()
    pool = minimum_bias.load_pool(20)
    (path,) = tmp_path.rglob("*.*")
    assert path == minimum_bias.pool_path(20) and "making 20 minimum-bias events" in capsys.readouterr().out
    minimum_bias.load_pool.cache_clear()
    again, made = minimum_bias.load_pool(20), minimum_bias.make_pool(20)
    assert capsys.readouterr().out == ""
    minimum_bias.load_pool.cache_clear()
    for name, values in pool.items():
        assert values.tobytes() == again[name].tobytes() == made[name].astype(values.dtype).tobytes()
    assert pool["first"][-1] == len(pool["pid"]) > 500
    assert np.abs(np.arcsinh(pool["pz"] / np.hypot(pool["px"], pool["py"]))).max() < 3.7


def test_a_broken_pool_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = minimum_bias.pool_path(20)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing")
    minimum_bias.load_pool.cache_clear()
    with pytest.raises(Exception, match=r"minimum_bias_20.*cannot be read") as error:
        minimum_bias.load_pool(20)
    assert "\n" not in str(error.value)
