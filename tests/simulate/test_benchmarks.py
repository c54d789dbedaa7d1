"""`simulate top`, `qg` and `lhcjet`: physics of small samples, settings, files, wrong input."""

import awkward as ak
import numpy as np
import pytest
from weaver.utils.data.fileio import _read_files

from kd_trainer.datasets import storage
from kd_trainer.datasets.layouts import quark_gluon_jets, top_jets
from kd_trainer.errors import InputError
from kd_trainer.simulate import command as simulate
from kd_trainer.simulate import production
from kd_trainer.simulate.benchmarks import Window
from kd_trainer.simulate.clustering import cluster, n_subjettiness, soft_drop_mass
from kd_trainer.simulate.detector import reconstruct
from kd_trainer.simulate.events import flatten, stable_particles
from kd_trainer.simulate.generate import generate, start_pythias
from kd_trainer.simulate.lhc_jets import leading_in_window
from kd_trainer.simulate.samples import SAMPLES, STREAMS
from kd_trainer.simulate.top import hardest_in_window, with_itself
from kd_trainer.simulate.towers import energy_flow

JETS = {"qg": 40, "top": 60, "lhcjet": 60}
VISIBLE = {22, 11, 13, 211, 321, 130, 2112, 2212}


def make(folder, sample):
    arguments = ["-o", str(folder), "--jets", str(JETS[sample]), "--seed", "7", "--workers", "2"]
    assert simulate.main([sample, *arguments]) == 0
    return {path.name: ak.from_parquet(path) for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {sample: tmp_path_factory.mktemp(sample) for sample in ("top", "qg")}


@pytest.fixture(scope="module")
def qg(folders):
    return make(folders["qg"], "qg")


@pytest.fixture(scope="module")
def top(folders):
    return make(folders["top"], "top")


@pytest.fixture(scope="module")
def lhc(tmp_path_factory):
    return make(tmp_path_factory.mktemp("lhcjet"), "lhcjet")


def momentum(jets):
    return np.sqrt(jets.part_px**2 + jets.part_py**2 + jets.part_pz**2)


class TestQuarkGluon:
    def test_columns_and_labels(self, qg):
        assert list(qg) == ["gluon_000.parquet", "quark_000.parquet"]
        for name, label in (("quark", 1), ("gluon", 0)):
            jets = qg[f"{name}_000.parquet"]
            assert len(jets) == JETS["qg"] and ak.all(jets.label == label)
            assert {"part_px", "part_deta", "part_isPhoton", "part_charge", "jet_mass", "label"} <= set(jets.fields)

    def test_window_and_particles(self, qg):
        jets = ak.concatenate(list(qg.values()))
        assert ak.all((jets.jet_pt > 499.99) & (jets.jet_pt < 550.01) & (abs(jets.jet_eta) < 1.75))
        assert ak.min(jets.jet_pt) < 510 and ak.max(jets.jet_pt) > 535
        pid = np.unique(np.abs(ak.to_numpy(ak.flatten(jets.part_pid)))).astype(int).tolist()
        assert set(pid) <= VISIBLE and {22, 211, 130, 2212} <= set(pid)
        assert ak.to_numpy(ak.flatten(jets.part_energy / momentum(jets))) == pytest.approx(1, rel=1e-5)
        assert ak.max(np.hypot(jets.part_deta, jets.part_dphi)) < 0.8

    def test_quarks_are_narrower(self, qg):
        quark, gluon = qg["quark_000.parquet"], qg["gluon_000.parquet"]
        assert 27 < np.mean(quark.jet_nparticles) < 42
        assert 45 < np.mean(gluon.jet_nparticles) < 62
        assert 20 < np.mean(quark.jet_mass) < np.mean(gluon.jet_mass) < 65

    def test_hard_process(self):
        """Light quarks or gluons, and the veto leaves events with a hard jet."""
        for name, expected in (("quark", {1, 2, 3}), ("gluon", {21})):
            ((pythia, _),) = start_pythias("qg", name)
            batch = pythia.nextBatch(20)
            record = flatten(batch)
            hard = (np.abs(record["status"]) == 23) & ~np.isin(np.abs(record["pid"]), (12, 14, 16))
            assert set(np.abs(record["pid"][hard]).tolist()) <= expected
            jets, _ = cluster(stable_particles(record), len(batch), 350.0, radius=0.6)
            assert len(set(jets["event"].tolist())) > 0.8 * len(batch)


class TestTop:
    def test_columns_and_labels(self, top):
        assert list(top) == ["QCD_000.parquet", "top_000.parquet"]
        for name, label in (("top", 1), ("QCD", 0)):
            jets = top[f"{name}_000.parquet"]
            assert len(jets) == JETS["top"] and ak.all(jets.label == label)
            assert "part_pid" not in jets.fields

    def test_window_and_constituents(self, top):
        jets = ak.concatenate(list(top.values()))
        assert ak.all((jets.jet_pt > 549.99) & (jets.jet_pt < 650.01) & (abs(jets.jet_eta) < 2))
        pt = np.hypot(jets.part_px, jets.part_py)
        assert ak.all(pt[:, 1:] <= pt[:, :-1]) and ak.max(ak.num(pt)) <= 200
        assert ak.to_numpy(ak.flatten(jets.part_energy / momentum(jets))) == pytest.approx(1, rel=1e-5)

    def test_tops_have_a_mass_and_three_prongs(self, top):
        parts, median = {}, {}
        for name in ("top", "QCD"):
            jets = top[f"{name}_000.parquet"]
            columns = {x: ak.to_numpy(ak.flatten(jets[f"part_{x}"])) for x in ("px", "py", "pz", "energy")}
            parts = columns, ak.to_numpy(ak.num(jets.part_px))
            tau = n_subjettiness(*parts)
            tau32 = np.median(tau[:, 2] / np.maximum(tau[:, 1], 1e-6))
            median[name] = np.median(jets.jet_mass), np.median(soft_drop_mass(*parts)), tau32
        assert median["top"][0] == pytest.approx(176, abs=8) and median["top"][1] == pytest.approx(171, abs=9)
        assert median["QCD"][0] < 120 and median["QCD"][1] < 80
        assert median["top"][2] + 0.1 < median["QCD"][2]
        assert np.mean(top["top_000.parquet"].jet_nparticles) > np.mean(top["QCD_000.parquet"].jet_nparticles)

    def test_only_the_hardest_jet_of_an_event(self):
        pt, eta = np.array([600.0, 590.0, 640.0, 700.0, 600.0, 600.0]), np.array([0.1, 0.1, 1.9, 3.0, 0.1, -2.1])
        jets = {"event": np.array([0, 0, 1, 3, 3, 4]), "px": pt, "py": 0 * pt, "pz": pt * np.sinh(eta)}
        assert hardest_in_window(jets).tolist() == [True, False, True, False, False, False]
        assert hardest_in_window({name: values[:0] for name, values in jets.items()}).tolist() == []

    def test_the_top_itself_is_matched(self):
        tops = {"eta": np.array([0.7]), "phi": np.array([1.0])}
        tops |= {"prong_eta": np.array([[0.1, 0.2, 0.3]]), "prong_phi": np.zeros((1, 3))}
        columns = with_itself(tops)
        assert columns["prong_eta"].tolist() == [[0.1, 0.2, 0.3, 0.7]]
        assert columns["prong_phi"].tolist() == [[0.0, 0.0, 0.0, 1.0]]


class TestLHCJets:
    def test_columns_and_labels(self, lhc, top):
        """The columns of converted public files, which are those of top jets."""
        for label, name in enumerate("gqWZt"):
            jets = lhc[f"{name}_000.parquet"]
            assert len(jets) == JETS["lhcjet"] and ak.all(jets.label == label)
            assert jets.fields == top["top_000.parquet"].fields

    def test_window(self, lhc):
        jets = ak.concatenate(list(lhc.values()))
        assert ak.all((jets.jet_pt > 799) & (jets.jet_pt < 1601) & (abs(jets.jet_eta) < 2.01))
        assert 980 < np.median(jets.jet_pt) < 1020 and ak.max(jets.jet_nparticles) <= 150

    def test_masses_and_multiplicities(self, lhc):
        mass, number = (
            {name: float(statistic(lhc[f"{name}_000.parquet"][column])) for name in "gqWZt"}
            for statistic, column in ((np.median, "jet_mass"), (np.mean, "jet_nparticles"))
        )
        assert [mass[name] for name in "WZt"] == pytest.approx([92, 101, 186], rel=0.05)
        assert number["g"] > number["t"] > number["q"] > number["Z"] > number["W"] > 25

    def test_the_two_hardest_jets_of_an_event(self):
        pt, event = np.array([900.0, 850.0, 820.0, 790.0, 1000.0]), np.array([0, 0, 0, 1, 1])
        jets = {"event": event, "px": pt, "py": 0 * pt, "pz": np.array([0, 0, 0, 0, 5000.0])}
        assert leading_in_window(jets).tolist() == [True, True, False, False, False]
        assert leading_in_window({name: values[:0] for name, values in jets.items()}).tolist() == []


def test_towers_merge_neighbours_of_one_kind():
    rng, angle = np.random.default_rng(1), 2e-3 * np.arange(6)
    pid = np.array([22, 22, 22, 211, 211, 13])
    true = {"event": np.zeros(6, int), "pid": pid, "px": 50 * np.cos(angle), "py": 50 * np.sin(angle)}
    true |= {"pz": np.full(6, 0.5), "energy": np.full(6, 50.01), "x": np.zeros(6), "y": np.zeros(6), "z": np.zeros(6)}
    true = {name: np.concatenate([values, values]) for name, values in true.items()}
    true["event"][6:] = 2
    seen = reconstruct(true, rng)
    flow = energy_flow(seen)
    assert flow["event"].tolist() == sorted(flow["event"])
    assert flow["energy"] == pytest.approx(np.sqrt(flow["px"] ** 2 + flow["py"] ** 2 + flow["pz"] ** 2))
    for name in ("px", "py", "pz"):
        assert flow[name].sum() == pytest.approx(seen[name].sum())
    tracks = (seen["charge"] != 0).sum()
    assert len(flow["px"]) <= tracks + 4  # in each event one tower of photons and one of neutral hadrons at most


class TestFiles:
    def test_metadata(self, qg, folders):
        stored = storage.read_settings(folders["qg"] / "quark_000.parquet")
        assert stored["sample"] == "qg" and stored["class"] == "quark" and len(stored["pythia_seeds"]) == 1
        assert {"Beams:eCM = 14000.", "PDFinProcess:nQuarkIn = 3"} <= set(stored["pythia"][0])
        assert Window(**stored["veto"]) == SAMPLES["qg"].window

    def test_same_seed_gives_the_same_jets(self, top):
        """In this process and in those that made the file."""
        jets = ak.concatenate(list(generate("top", "QCD", JETS["top"], seed=7)))
        assert jets.to_list() == ak.without_field(top["QCD_000.parquet"], "event_number").to_list()

    def test_other_seed_or_part_gives_other_jets(self):
        first, again, other, part = (
            ak.concatenate(list(generate("qg", "quark", 2, seed=seed, part=part))).jet_pt.to_list()
            for seed, part in ((1, 0), (1, 0), (2, 0), (1, 1))
        )
        assert first == again and not set(first) & {*other, *part}

    def test_complete_files_are_kept(self, top, folders, capsys):
        assert simulate.main(["top", "-o", str(folders["top"]), "--jets", str(JETS["top"]), "--seed", "7"]) == 0
        assert "2 files, 2 of them already" in capsys.readouterr().out

    def test_sample_is_not_mixed_with_another(self, top, folders):
        with pytest.raises(InputError, match=r"QCD_000.parquet was made with other settings \(pythia, pythia_seeds"):
            simulate.main(["-o", str(folders["top"]), "--jets", str(JETS["top"]), "--seed", "7", "--classes", "QCD"])

    @pytest.mark.parametrize("layout", ["top", "qg"])
    def test_root(self, tmp_path, layout):
        if layout == "top":
            momenta = {name: ak.Array([[3.0, 4.0], [5.0]]) for name in ("px", "py", "pz")}
            jets = top_jets(momenta | {"energy": ak.Array([[6.0, 7.0], [9.0]])}, [1, 0])
        else:
            columns = {name: ak.Array([[3.0, 4.0], [0.5]]) for name in ("pt", "y", "phi")}
            jets = quark_gluon_jets(columns | {"pid": ak.Array([[22, -11], [211]])}, [1, 0])
        path = tmp_path / "x.root"
        storage.write(path, [storage.to_table(jets)], {"class": layout})
        read = _read_files([str(path)], jets.fields)
        for name in jets.fields:
            assert ak.to_list(read[name]) == ak.to_list(jets[name])


class TestInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["top", "--classes", "Hbb"], "unknown class 'Hbb'; valid are: top, QCD$"),
            (["--classes", "quark", "--jets-of", "gluon=3"], "unknown class 'quark'; valid are: QCD, Hbb"),
            (["qg", "--jets-of", "QCD=3"], "unknown class 'QCD'; valid are: quark, gluon$"),
        ],
    )
    def test_class_of_another_sample(self, tmp_path, arguments, message):
        with pytest.raises(InputError, match=message):
            simulate.main([*arguments, "-o", str(tmp_path / "new"), "--jets", "5"])
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("sample", ["top", "qg"])
    def test_sample_before_or_after_the_options(self, tmp_path, sample):
        options = ["-o", str(tmp_path), "--jets", "5"]
        for arguments in ([sample, *options], [*options, sample]):
            args = simulate.parse_arguments(arguments)
            assert args.sample == sample and args.classes == list(SAMPLES[sample].processes)
        assert simulate.parse_arguments(options).sample == "jetclass"

    def test_unknown_sample(self, tmp_path, capsys):
        with pytest.raises(SystemExit):
            simulate.main(["tops", "-o", str(tmp_path)])
        assert "invalid choice: 'tops'" in capsys.readouterr().err


def test_streams_of_random_numbers_are_those_of_the_first_release():
    """New entries may be appended to the list; any other change gives other jets for the same seed."""
    assert [name for sample, name in STREAMS if sample == "jetclass"] == [name for _, name in STREAMS[:10]]
    assert STREAMS[10:14] == [("top", "top"), ("top", "QCD"), ("qg", "quark"), ("qg", "gluon")]
    assert STREAMS[-5:] == [("lhcjet", name) for name in "gqWZt"]


def test_parts_know_their_sample():
    parts = production.split("qg", {"class": "gluon", "file": 1, "jets": production.PART + 1, "seed": 5})
    assert [(part.sample, part.name, part.jets) for part in parts] == [("qg", "gluon", 500), ("qg", "gluon", 1)]
