"""`simulate collide2v`: the same events in two detectors, with the columns of `convert collide2v`."""

import multiprocessing
import threading

import awkward as ak
import collide
import numpy as np
import pytest
from helpers import ROOT
from toy_events import particles, toy_pool
from weaver.utils.dataset import DataConfig, _load_next

from kd_trainer import configs
from kd_trainer.datasets import storage
from kd_trainer.datasets.collide2v import FLAVOURS, Options, Views
from kd_trainer.datasets.kinematics import directions
from kd_trainer.pairing import pair
from kd_trainer.simulate import cms_card, minimum_bias, phase2, production, puppi
from kd_trainer.simulate import command as simulate
from kd_trainer.simulate.collide2v import flavours
from kd_trainer.simulate.generate import generate
from kd_trainer.simulate.phase2 import LEVEL1, OFFLINE, level1_efficiency, level1_z_resolution, momentum_resolution


@pytest.fixture(scope="module")
def pool():
    """A small pool instead of the one on disk, for the whole module."""
    with pytest.MonkeyPatch.context() as patch:
        made = toy_pool(np.random.default_rng(0))
        patch.setattr(minimum_bias, "load_pool", lambda: made)
        yield made


@pytest.fixture(scope="module")
def jets(pool):
    return ak.concatenate(list(generate("collide2v", "bb", 60, seed=1, pileup=50)))


@pytest.mark.parametrize(
    ("pdg", "pt", "expected"),
    [
        (211, 1.99, 0), (211, 2, 0.59), (321, 4.9, 0.76), (211, 20, 0.92), (211, 300, 0.93), (11, 2.5, 0.42),
        (11, 6, 0.71), (11, 30, 0.89), (13, 1.9, 0), (13, 2.1, 0.93), (13, 9, 0.98), (13, 11, 1),
    ],
)  # fmt: skip
def test_level1_tracks(pdg, pt, expected):
    for eta, there in ((-2.39, 1), (2.41, 0)):
        assert level1_efficiency(np.array([pdg]), np.array([pt]), np.array([eta])) == pytest.approx(expected * there)


def test_level1_measures_worse():
    rng = np.random.default_rng(1)
    pdg, pt, eta, energy = np.full(500, 211), rng.uniform(2, 200, 500), rng.uniform(-2.4, 2.4, 500), np.full(500, 30.0)
    assert LEVEL1.momentum_resolution(pdg, pt, eta) == pytest.approx(2 * momentum_resolution(pdg, pt, eta))
    assert (LEVEL1.ecal_resolution(energy, eta) > OFFLINE.ecal_resolution(energy, eta)).all()
    for worse, better in zip(LEVEL1.impact_parameter_errors(pt, eta), OFFLINE.impact_parameter_errors(pt, eta)):
        assert worse.mean() > 2 * better.mean()
    known = momentum_resolution(pdg[:4], np.array([0.5, 10, 100, 10]), np.array([0, 0.1, 2.3, 1.2]))
    assert known == pytest.approx([0.0046, 0.0050, 0.0215, 0.011])
    assert level1_z_resolution(np.array([1.0, 10.0]), np.array([0.0, 1.0])) == pytest.approx([0.01 * 10**1.5, 0.2])


def test_both_detectors_see_the_same_truth(pool):
    """Hard tracks have nearly the same directions in both views, and `detect` does not modify its input."""
    rng = np.random.default_rng(2)
    true = particles([211, -211, 13], 80.0, [0.3, -0.8, -1.2], [0.1, 2, -1])
    reached, collisions = cms_card.collide(true, 1, 50, rng, pool)
    before = {name: values.copy() for name, values in reached.items()}
    for detector in (OFFLINE, LEVEL1):
        sure = detector._replace(efficiency=lambda pdg, *_: np.ones(len(pdg)))
        seen = cms_card.detect(reached, collisions, np.random.default_rng(3), sure)
        pt, eta, _ = directions(seen)
        assert np.sort(eta[(pt > 60) & (seen["charge"] != 0)]) == pytest.approx([-1.2, -0.8, 0.3], abs=0.001)
    assert all((before[name] == values).all() for name, values in reached.items())


def test_puppi_without_tracks_compares_with_all_particles():
    """Beyond |eta| = 2.5, without charged particles, soft particles are removed and a hard one is kept."""
    rng = np.random.default_rng(4)
    pt = np.append(rng.exponential(0.6, 200) + 0.1, [1.0, 60.0, 70.0])
    eta = np.append(rng.uniform(2.5, 3.0, 200), [0.0, 2.75, 2.80])
    phi = np.append(rng.uniform(-3, 3, 200), [0, 1, 1.02])
    kind = np.array([puppi.NEUTRAL] * 203)
    kind[200] = puppi.PILEUP
    weight = puppi.weights(np.zeros(203, int), pt, eta, phi, 0 * pt, kind, np.array([51]), phase2.LEVEL1_PUPPI)
    assert (weight[:201] == 0).all() and (weight[201:] > 0.9).all()


def test_flavours():
    jet = {"event": np.array([0, 0, 0, 1]), "px": np.full(4, 50.0), "py": np.zeros(4)}
    jet["pz"] = 50 * np.sinh([0.0, 1.0, 2.0, 0.0])
    pt, eta = np.array([60, 12, 30, 40, 9, 80.0]), np.array([0.1, 0.2, 1.0, 1.1, 2.0, 2.6])
    partons = {"event": np.zeros(6, int), "pid": np.array([21, -5, 4, 1, 5, 21]), "px": pt, "py": 0 * pt}
    assert flavours(jet, partons | {"pz": pt * np.sinh(eta)}).tolist() == [5, 4, 0, 0]  # 9 GeV, 0.6 away, other event
    alone = {name: values[:0] for name, values in partons.items()}
    assert flavours(jet, alone | {"pz": np.zeros(0)}).tolist() == [0] * 4


class TestJets:
    def test_columns_of_convert(self, jets, tmp_path):
        path = tmp_path / "a.parquet"
        collide.write(path, 5)
        views = Views(path, Options(gen=True))
        with views.open(path) as (_, chunks):
            events = ak.concatenate(list(chunks(5)))
        converted = views.jets(ak.with_field(events, np.arange(5), "event_number"))
        columns, expected = ([(f.name, f.type) for f in storage.to_table(x).schema] for x in (jets, converted))
        assert columns == expected

    def test_one_jet_in_two_views(self, jets):
        assert len(jets) == 60
        assert ak.all(jets.match_dr < 0.2) and ak.mean(jets.match_dr) < 0.08
        for prefix, low, high in (("", 0.8, 1.3), ("l1", 0.7, 1.2)):
            assert low < np.median(jets[f"{prefix}jet_pt"] / jets.genjet_pt) < high
            px, py = (ak.sum(jets[f"{prefix}part_{x}"], axis=1) for x in ("px", "py"))
            assert ak.to_numpy(np.hypot(px, py)) == pytest.approx(ak.to_numpy(jets[f"{prefix}jet_pt"]), rel=1e-3)
        assert ak.sum(jets.l1jet_nparticles) < 0.8 * ak.sum(jets.jet_nparticles)

    def test_level1_has_no_soft_tracks(self, jets):
        for prefix, soft in (("", True), ("l1", False)):
            track = jets[f"{prefix}part_charge"] != 0
            pt = np.hypot(jets[f"{prefix}part_px"], jets[f"{prefix}part_py"])[track]
            assert (ak.min(pt) < 1) == soft
            assert soft or ak.min(pt) > 1.6  # 2 GeV, smeared

    def test_labels_and_events(self, jets):
        flags = np.array([jets[f"label_{name}"] for name in FLAVOURS])
        assert (flags.sum(axis=0) == 1).all() and flags[0].mean() > 0.4
        number = ak.to_numpy(jets.event_number)
        assert len(np.unique(number)) < len(number) and number.min() >= 0
        for event in np.unique(number)[:10]:  # its jets are different ones
            assert len(np.unique(jets.jet_pt[number == event])) == (number == event).sum()

    def test_data_configs_read_them(self, jets, tmp_path):
        path, folder = tmp_path / "bb_000.parquet", ROOT / "data" / "Collide2V"
        storage.write(path, [storage.to_table(jets)], {})
        options = pair(*(configs.load(folder / f"Collide2V_{tier}.yaml") for tier in ("l1", "offline")))
        config = DataConfig(print_info=False, **options)
        how = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
        table, _ = _load_next(config, [str(path)], None, how)
        inputs = [table["_" + group] for group in config.input_names]
        assert all(len(values) > 50 and np.isfinite(values).all() for values in inputs)


def test_files(pool, tmp_path, monkeypatch):
    """Parts of a file number their events one after the other; the same arguments give the same bytes."""
    shared = {"stop": threading.Event(), "finished": multiprocessing.get_context("spawn").Value("q", 0)}
    monkeypatch.setattr(production, "_shared", shared)
    monkeypatch.setattr(production, "PART", 6)
    arguments = ["collide2v", "-o", str(tmp_path), "--classes", "bb", "--jets", "12", "--pileup", "20"]
    ((path, made),) = simulate.wanted_files(simulate.parse_arguments(arguments)).items()
    assert made["pileup"] == 20 and made["sample"] == "collide2v"
    contents = []
    for _ in range(2):
        parts = [production.make_part(part) for part in production.split("collide2v", made)]
        storage.write(path, parts, made)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    numbers = [part.column("event_number").to_numpy() for part in parts]
    assert len(numbers) == 2
    stored = ak.from_parquet(path).event_number.to_numpy()
    assert stored.tolist() == [*numbers[0], *(numbers[0].max() + 1 + numbers[1])]


def test_pileup_of_collide2v():
    assert simulate.parse_arguments(["collide2v", "-o", "x"]).pileup == 200
    assert simulate.parse_arguments(["jetclass2", "-o", "x"]).pileup == 50
