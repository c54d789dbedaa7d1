"""`simulate jetclass2`: the 188 labels, the grid of masses, jets of every family of decays, files."""

import itertools
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from kd_trainer.datasets import storage
from kd_trainer.errors import InputError
from kd_trainer.simulate import command as simulate
from kd_trainer.simulate import grids, jetclass2, truth
from kd_trainer.simulate.events import flatten
from kd_trainer.simulate.generate import lines, shuffled, start
from kd_trainer.simulate.labels import NAMES, qcd_label, resonance_label
from kd_trainer.simulate.selection import match_once
from kd_trainer.simulate.veto import IsotropicPair

CONFIG = Path(__file__).parents[2] / "data" / "JetClassII" / "JetClassII_full.yaml"
PUBLIC = Path(__file__).parents[3] / "shared" / "data" / "real" / "JetClassII_example.parquet"
IN, OUT = 0.3, 1.2  # pseudorapidity: distance to the axis of the jet
TAU = {"tauh": (16, 211), "taue": (16, -11, 12), "taum": (16, -13, 14)}
JET = {"event": np.array([0]), "px": np.array([400.0]), "py": np.array([0.0]), "pz": np.array([0.0])}
NEUTRAL, CHARGED = grids.GROUPS["Res2P"].kinds
(PAIR_OF_Y,), (DIJETS,) = grids.GROUPS["Res34P"].kinds, grids.GROUPS["QCD"].kinds


def record(*entries, pt=100.0):
    """An event of particles (pid, mother, eta), or (pid, mother, eta, status), after the entry of the whole event."""
    rows = [(90, 0, 0.0, -11), *((*entry, -22)[:4] for entry in entries)]
    pid, mother, eta, status = (np.array(values) for values in zip(*rows, strict=True))
    columns = {"pid": pid, "mother": mother, "status": status, "first": np.zeros(len(pid), int)}
    momentum = {"px": np.full(len(pid), pt), "py": np.zeros(len(pid)), "pz": pt * np.sinh(eta)}
    return columns | momentum | {"event": np.zeros(len(pid), int)}


def two(*prongs):
    """X and its copy, which decays to prongs (pid, eta), taus as (name, eta, eta of the first of their products)."""
    return record((25, 0, IN), (25, 1, IN), *_prongs(prongs, 2, 3))


def four(first, second, pids=(35, 35)):
    """X to YY; each Y has a copy."""
    ys = [(pids[0], 1, IN), (pids[0], 2, IN), (pids[1], 1, IN), (pids[1], 4, IN)]
    products = _prongs(first, 3, 6)
    return record((25, 0, IN), *ys, *products, *_prongs(second, 5, 6 + len(products)))


def _prongs(prongs, mother, place):
    """The products of a particle and those of their taus; `place` is where the first of them will be."""
    rows, taus = [], []
    for i, (name, eta, *first) in enumerate(prongs):
        rows.append(((-15 if i else 15) if name in TAU else name, mother, eta))
        if name in TAU:
            etas = (*first, *[eta] * 3)
            taus += [(pid, place + i, etas[j]) for j, pid in enumerate(TAU[name])]
    return rows + taus


def name_of(columns, qcd=False):
    """The name of the label of a jet along the x axis, None if it is not kept."""
    found = truth.match(JET, columns, qcd)
    return NAMES[found.label[0]] if len(found.label) else None


class TestLabels:
    def test_names_of_the_data_config(self):
        assert list(NAMES) == yaml.safe_load(CONFIG.read_text())["labels"]["names"]

    def test_every_decay_has_a_label_and_every_label_a_decay(self):
        def letters(pair):
            kinds = [truth.LETTERS.get(abs(pid), "v") for pid in pair if abs(pid) != 15]
            ways = (
                [["tauh", "taue"], ["tauh", "taum"], ["tauh", "tauh"]]
                if pair == (15, -15)
                else [["tauh"], ["taue"], ["taum"]]
            )
            return [kinds + taus for taus in ways] if -15 in pair else [kinds]

        def ways(table):
            return [way for _, pair in table for way in letters(pair)]

        found = {resonance_label("X", way) for way in ways([*grids.NEUTRAL, *grids.CHARGED])}
        for table in (grids.NEUTRAL, grids.CHARGED_Y):
            hadronic = [way for way in ways(table) if set(way) <= set("bcsqg")]
            for first, second in itertools.product(hadronic, ways(table)):
                found.add(resonance_label("X_YY", first + second))
                if "v" in second:
                    continue
                for left in range(4 if set(second) <= set("bcsqgem") else 2):  # both taus have to be there
                    found.add(resonance_label("X_YY", [*(first + second)[:left], *(first + second)[left + 1 :]]))
        assert found == set(range(161))

    def test_without_a_label(self):
        with pytest.raises(ValueError, match="JetClass-II has no label for X_YY_bbbe"):
            resonance_label("X_YY", "bbbe")

    @pytest.mark.parametrize(
        ("flavours", "name"),
        [("", "light"), ("qqq", "light"), ("sqcb", "bcs"), ("bbbccc", "bbcc"), ("sss", "ss"), ("bbccss", "bbccss")],
    )
    def test_qcd(self, flavours, name):
        assert NAMES[qcd_label(flavours)] == f"QCD_{name}"


class TestRules:
    """One jet and one X; `IN` is within the matching distance, `OUT` is not."""

    @pytest.mark.parametrize(
        ("prongs", "name"),
        [
            ([(5, IN), (-5, IN)], "X_bb"),
            ([(5, IN), (-5, OUT)], None),
            ([(2, IN), (-3, IN)], "X_sq"),
            ([(13, IN), (-13, IN)], "X_mm"),
            ([("tauh", IN, OUT), ("tauh", IN, OUT)], "X_tauhtauh"),  # a hadronic tau is matched by itself
            ([("taue", OUT, IN), ("tauh", IN, IN)], "X_tauhtaue"),  # a leptonic one by its neutrino
            ([("taum", IN, OUT), ("tauh", IN, IN)], None),
            ([("taue", IN, IN), ("taum", IN, IN)], None),
        ],
    )
    def test_two_prongs(self, prongs, name):
        assert name_of(two(*prongs)) == name

    @pytest.mark.parametrize(
        ("first", "second", "name"),
        [
            ([(5, IN), (-5, IN)], [(4, IN), (-4, IN)], "bbcc"),
            ([(5, IN), (-5, IN)], [(5, IN), (-5, OUT)], "bbb"),
            ([(5, IN), (-5, IN)], [(5, OUT), (-5, OUT)], None),
            ([(5, IN), (-5, IN)], [(11, IN), (-11, OUT)], "bbe"),
            ([(5, IN), (-5, OUT)], [(11, IN), (-11, IN)], "bee"),
            ([(11, IN), (-11, IN)], [(5, IN), (-5, IN)], "bbee"),  # the hadronic one is first
            ([(11, IN), (-11, IN)], [(13, IN), (-13, IN)], None),
            ([(21, IN), (21, OUT)], [("tauh", IN, IN), ("taum", IN, IN)], "gtauhtaum"),
            ([(5, IN), (-5, IN)], [("tauh", IN, IN), ("tauh", OUT, IN)], None),  # both taus or none
            ([(5, IN), (-5, IN)], [("taue", IN, IN), ("taue", IN, IN)], None),
            ([(1, IN), (-2, IN)], [(2, IN), (-1, IN)], "qqqq"),
        ],
    )
    def test_neutral_pairs(self, first, second, name):
        assert name_of(four(first, second)) == (name and f"X_YY_{name}")

    @pytest.mark.parametrize(
        ("first", "second", "name"),
        [
            ([(4, IN), (-5, IN)], [(-4, IN), (5, IN)], "bbcc"),
            ([(4, IN), (-5, IN)], [(12, OUT), (-11, IN)], "bcev"),  # the neutrino comes with its lepton
            ([(4, IN), (-5, IN)], [(12, IN), (-11, OUT)], None),
            ([(4, OUT), (-5, IN)], [(12, IN), (-11, IN)], None),
            ([(16, IN), ("tauh", IN, OUT)], [(-4, IN), (3, IN)], "cstauhv"),
            ([(4, IN), (-3, IN)], [(16, IN), ("taum", OUT, IN)], "cstaumv"),
            ([(4, IN), (-3, IN)], [(16, IN), ("taum", IN, OUT)], None),
            ([(14, IN), (-13, IN)], [(16, IN), ("tauh", IN, IN)], None),
        ],
    )
    def test_charged_pairs(self, first, second, name):
        assert name_of(four(first, second, (37, -37))) == (name and f"X_YY_{name}")

    def test_order_of_the_particles(self):
        columns = four([(14, IN), (-13, IN)], [(-4, IN), (3, IN)], (37, -37))
        found = truth.match(JET, columns, qcd=False)
        assert columns["pid"][found.particle].tolist() == [25, -37, 37, -4, 3, -13, 14]
        assert found.kind.tolist() == [0, 1, 1, 2, 2, 2, 2] and found.counts.tolist() == [7]
        columns = two(("tauh", IN, IN), ("taue", IN, IN))
        found = truth.match(JET, columns, qcd=False)
        assert columns["pid"][found.particle].tolist() == [25, 15, -15, 16, 211, 16, -11, 12]
        assert found.kind.tolist() == [0, 2, 2, 3, 3, 3, 3, 3]

    def test_first_resonance_with_a_label_decides(self):
        columns = record((25, 0, OUT), (5, 1, OUT), (-5, 1, OUT), (36, 0, IN), (4, 4, IN), (-4, 4, IN))
        assert name_of(columns) == "X_cc"

    def test_resonance_of_charge_alone_is_x(self):
        assert name_of(record((37, 0, IN), (4, 1, IN), (-5, 1, IN))) == "X_bc"

    def test_three_daughters_are_an_error(self):
        with pytest.raises(ValueError, match="PDG id 25 has 3 daughters instead of two"):
            name_of(two((5, IN), (-5, IN), (21, IN)))

    def test_quarks_before_hadronisation(self):
        quarks = [(5, 0, IN, -71), (-5, 0, OUT, -71), (4, 0, IN, -71), (21, 0, IN, -71), (3, 0, IN, -51)]
        assert name_of(record(*quarks), qcd=True) == "QCD_bc"
        assert name_of(record(*quarks, pt=9.9), qcd=True) == "QCD_light"

    def test_particle_level_jets_are_used_once(self):
        jets = {"event": np.array([0, 0, 1]), "px": np.array([300.0, 500.0, 400.0]), "py": np.zeros(3)}
        jets["pz"] = jets["px"] * np.sinh([0.5, 0.0, 0.0])
        others = {name: values[1:2] for name, values in jets.items()}
        assert match_once(jets, others).tolist() == [-1, 0, -1]  # the harder jet has it


def jets_of(name, kind, events, *values, seed=1):
    """All jets of some events of one line of the grid."""
    pythia = start((*grids.line(kind, *values), f"Random:seed = {seed}"))
    return jetclass2.make_jets(pythia.nextBatch(events), name, np.random.default_rng(seed), 0)


@pytest.fixture(scope="module")
def neutral():
    return jets_of("Res2P", NEUTRAL, 50, 600.0, 100.0)


@pytest.fixture(scope="module")
def charged():
    return jets_of("Res2P", CHARGED, 30, 800.0, 200.0)


@pytest.fixture(scope="module")
def pairs():
    return jets_of("Res34P", PAIR_OF_Y, 90, 600.0, 230.0, 92.0)


@pytest.fixture(scope="module")
def dijets():
    return jets_of("QCD", DIJETS, 20, 400.0)


def truth_of(jets, kind):
    """pid and mass of the particles of a kind, and their distance to the jet: awkward arrays."""
    chosen = jets[f"aux_genpart_{kind}"]
    deta = jets.aux_genpart_eta - jets.jet_eta
    dphi = (jets.aux_genpart_phi - jets.jet_phi + np.pi) % (2 * np.pi) - np.pi
    return jets.aux_genpart_pid[chosen], jets.aux_genpart_mass[chosen], np.hypot(deta, dphi)[chosen]


def prongs_of(pids):
    """Sorted letters of quarks, gluons, electrons and muons; tau for a tau and nothing for neutrinos."""
    letters = [("tau" if abs(pid) == 15 else truth.LETTERS.get(abs(pid), "")) for pid in pids]
    return sorted(letter for letter in letters if letter)


def shown(label):
    """The same for the name of a label."""
    prongs = NAMES[label].rpartition("_")[2]
    for tau in TAU:
        prongs = prongs.replace(tau, "T")
    return sorted("tau" if letter == "T" else letter for letter in prongs if letter != "v")


class TestJets:
    def test_schema_of_the_public_file(self, neutral, pairs, dijets):
        if not PUBLIC.exists():
            pytest.skip("the public file is not here")
        public = pq.read_schema(PUBLIC)
        for jets in (neutral, pairs, dijets):
            schema = storage.to_table(jets).schema
            assert set(schema.names) == set(public.names)
            assert [field.name for field in public if schema.field(field.name) != field] == []
            for name in schema.names:
                assert ak.all(np.isfinite(jets[name])), name

    def test_selection(self, neutral, pairs, dijets):
        for jets in (neutral, pairs, dijets):
            assert ak.all(jets.jet_pt > 200) and ak.all(abs(jets.jet_eta) < 2.5)
            there = jets.genjet_pt > 0
            assert np.mean(there) > 0.97 and ak.all(jets.genjet_pt[there] > 200)
            assert ak.all(ak.num(jets.genpart_px) == jets.genjet_nparticles)
            assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)

    @pytest.mark.parametrize("label", range(15))
    def test_two_prongs(self, neutral, charged, label):
        jets = ak.concatenate([neutral, charged])
        jets = jets[jets.jet_label == label]
        assert len(jets) > 0
        pid, mass, _ = truth_of(jets, "isResX")
        assert ak.all(ak.num(pid) == 1)
        charges = {37} if label in (4, 5, 6, 7, 8) else {25, 37} if label == 3 else {25}
        assert set(abs(ak.flatten(pid)).to_list()) == charges
        expected = np.where(abs(ak.flatten(pid)) == 37, 200.0, 100.0)
        assert ak.to_numpy(ak.flatten(mass)) == pytest.approx(expected, abs=0.2)
        pid, _, distance = truth_of(jets, "isResDecayProd")
        assert all(prongs_of(pids) == shown(label) for pids in pid.tolist())
        if label < 12:
            assert ak.all(distance < 0.8)
        assert not ak.any(jets.aux_genpart_isResY) and not ak.any(jets.aux_genpart_isQcdParton)
        assert ak.all(ak.any(jets.aux_genpart_isTauDecayProd, axis=1) == (label >= 12))

    @pytest.mark.parametrize("family", ["hadronic", "ll", "tautau", "lv", "tauv"])
    def test_four_prongs(self, pairs, family):
        """Both Y have their mass, the products in the jet are those of the label, and all others are outside."""
        pid = truth_of(pairs, "isResDecayProd")[0].tolist()
        leptons = [tuple(sorted({abs(i) for i in pids if 11 <= abs(i) <= 16})) for pids in pid]
        families = {
            "hadronic": [()],
            "ll": [(11,), (13,)],
            "tautau": [(15,)],
            "lv": [(11, 12), (13, 14)],
            "tauv": [(15, 16)],
        }
        jets = pairs[[lepton in families[family] for lepton in leptons]]
        assert len(jets) > 0
        assert ak.to_numpy(ak.flatten(truth_of(jets, "isResX")[1])) == pytest.approx(230, abs=0.2)
        y, mass, _ = truth_of(jets, "isResY")
        assert ak.all(ak.num(y) == 2) and ak.all((abs(y) == 37) | (y == 35)) and ak.all(ak.sum(y, axis=1) % 35 == 0)
        assert np.median(ak.flatten(mass)) == pytest.approx(92, abs=1.5)
        pid, _, distance = truth_of(jets, "isResDecayProd")
        assert ak.all(ak.num(pid) == 4)
        for label, pids, far in zip(jets.jet_label, pid.tolist(), (distance > 0.8).tolist(), strict=True):
            assert NAMES[label].startswith("X_YY_")
            inside = [i for i, away in zip(pids, far, strict=True) if not away or abs(i) == 15]
            assert prongs_of(inside) == shown(label)

    def test_width_of_y(self, pairs):
        mass = ak.to_numpy(ak.flatten(truth_of(pairs, "isResY")[1]))
        low, high = np.percentile(mass, [25, 75])
        assert high - low == pytest.approx(
            0.022 * 92, rel=0.4
        )  # the quartiles of a Breit-Wigner curve are its width apart

    def test_quarks_of_qcd_jets(self, dijets):
        pid, _, distance = truth_of(dijets, "isQcdParton")
        assert ak.all(distance < 0.8) and ak.all(abs(pid) <= 5) and ak.all(dijets.jet_label >= 161)
        assert ak.all(ak.all(dijets.aux_genpart_isQcdParton, axis=1))
        for label, pids in zip(dijets.jet_label, pid.tolist(), strict=True):
            assert label == qcd_label(truth.LETTERS[abs(i)] for i in pids)


class TestGrid:
    def test_lines(self):
        rng = np.random.default_rng(3)
        for group in grids.GROUPS.values():
            kinds = set()
            for _ in range(60):
                line = grids.draw(group, rng)
                settings = dict(text.split(" = ") for text in line.settings if "addChannel" not in text)
                assert line.pt_min == float(settings["PhaseSpace:pTHatMin"])
                kinds.add(next(key for key in settings if "ffbar2" in key or key.startswith("HardQCD")))
                assert 100 <= float(settings["PhaseSpace:pTHatMin"]) <= 5000
                masses = [float(settings[f"{pid}:m0"]) for pid in (25, 36) if f"{pid}:m0" in settings]
                assert all(15 <= mass <= 500 and mass % 5 == 0 for mass in masses)
                if "35:m0" in settings:
                    ratio = float(settings["35:m0"]) / masses[0]
                    assert 0.25 < ratio < 0.85 and settings["35:m0"] == settings["37:m0"]
                    assert float(settings["35:mWidth"]) == pytest.approx(0.022 * float(settings["35:m0"]))
            assert len(kinds) == len(group.kinds)

    def test_sizes_of_the_grids(self):
        assert len(grids.X_MASSES) == 98 and len(grids.PT_MINS) == 50 and len(grids.QCD_PT_MINS) == 200
        for table in (grids.NEUTRAL, grids.CHARGED, grids.CHARGED_Y, grids.PAIRS_OF_Y):
            assert sum(probability for probability, _ in table) == pytest.approx(1, abs=1e-5)

    def test_lowest_masses(self):
        pythia = start((*grids.line(PAIR_OF_Y, 200.0, 15.0, 4.0), "Random:seed = 1"))
        assert len(pythia.nextBatch(3)) == 3


def test_scalars_with_given_decays_need_no_widths():
    kind = grids.GROUPS["Res34P"].kinds[0]
    settings = (*grids.line(kind, 500.0, 300.0, 120.0), *grids.unused(kind), "Random:seed = 7")
    first, second = (start(settings, generic=ids).nextBatch(2).prt for ids in ((), grids.SCALAR_IDS))
    assert first.id.to_list() == second.id.to_list() and first.p.px.to_list() == second.p.px.to_list()


def test_pairs_are_isotropic():
    """Within a slice of the mass of the pair cos(theta) is flat; A H alone has sin(theta)^2."""
    veto = IsotropicPair(60.0, 3)
    bare = ("PartonLevel:MPI = off", "PartonLevel:ISR = off", "PartonLevel:FSR = off", "HadronLevel:all = off")
    pythia = start((*grids.line(PAIR_OF_Y, 60.0, 100.0, 40.0), "Random:seed = 1", *bare), veto)
    record = flatten(pythia.nextBatch(2000))
    pair = np.flatnonzero((np.abs(record["status"]) == 22) & np.isin(record["pid"], truth.X[:2])).reshape(-1, 2)
    total = {name: record[name][pair].sum(axis=1) for name in ("pz", "energy")}
    beta = total["pz"] / total["energy"]
    pz = (record["pz"][pair[:, 0]] - beta * record["energy"][pair[:, 0]]) / np.sqrt(1 - beta**2)
    pt = np.hypot(record["px"][pair[:, 0]], record["py"][pair[:, 0]])
    momentum = np.hypot(pt, pz)
    cosine = (np.abs(pz) / momentum)[momentum > 100]  # pT > 60 GeV holds everything up to 0.8
    cosine = cosine[cosine < 0.8]
    assert len(cosine) > 300 and np.mean(cosine) == pytest.approx(0.4, abs=4 * 0.23 / np.sqrt(len(cosine)))


class TestFiles:
    ARGUMENTS = ("--classes", "QCD", "--jets", "9", "--pileup", "0", "--workers", "1")

    def test_names_settings_and_resuming(self, tmp_path, capsys):
        assert simulate.main(["jetclass2", "-o", str(tmp_path), *self.ARGUMENTS]) == 0
        assert [path.name for path in tmp_path.iterdir()] == ["QCD_0000.parquet"]
        stored = storage.read_settings(tmp_path / "QCD_0000.parquet")
        assert stored["sample"] == "jetclass2" and stored["pileup"] == 0
        assert stored["pythia"][0]["line"] == list(grids.line(DIJETS, 100.0))
        assert simulate.main(["jetclass2", "-o", str(tmp_path), *self.ARGUMENTS]) == 0
        assert "1 of them already" in capsys.readouterr().out
        with pytest.raises(InputError, match=r"QCD_0000.parquet was made with other settings \(pileup\)"):
            simulate.main(["jetclass2", "-o", str(tmp_path), *self.ARGUMENTS[:4]])

    def test_same_seed_gives_the_same_jets(self, monkeypatch):
        monkeypatch.setattr(grids, "EVENTS", 4)
        first, again = (ak.concatenate(list(lines("QCD", 5, seed=4, part=2))) for _ in range(2))
        assert len(first) >= 5 and first.part_px.to_list() == again.part_px.to_list()
        mixed = shuffled(first, "QCD", 5, 4, 0, 2).jet_pt.to_list()
        assert len(mixed) == 5 and set(mixed) <= set(first.jet_pt.to_list())

    def test_tree(self, tmp_path, dijets):
        storage.write(tmp_path / "QCD_0000.root", [storage.to_table(dijets)], {})
        from weaver.utils.data.fileio import _read_files

        names = ["jet_label", "part_px", "genpart_pid", "aux_genpart_pid", "aux_genpart_isQcdParton"]
        read = _read_files([str(tmp_path / "QCD_0000.root")], names)
        assert all(read[name].to_list() == dijets[name].to_list() for name in names)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["jetclass", "--pileup", "3"], "--pileup has no effect on jetclass, which has no pile-up; only jetclass2"),
            (["jetclass2", "--pileup", "-1"], "--pileup cannot be negative, but is -1"),
            (["jetclass2", "--classes", "Hbb"], "unknown class 'Hbb'; valid are: Res2P, Res34P, QCD"),
        ],
    )
    def test_wrong_arguments(self, tmp_path, arguments, message):
        with pytest.raises(InputError, match=message):
            simulate.main([*arguments, "-o", str(tmp_path)])
