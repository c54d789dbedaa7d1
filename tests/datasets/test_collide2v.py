"""COLLIDE-2V: files in the public layout, jets with the candidates of both views, and errors for wrong files."""

import tracemalloc

import awkward as ak
import collide
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distillation import short
from helpers import ROOT, failure, kd_trainer, script
from weaver.utils.dataset import DataConfig
from weaver_inputs import inputs_of

from kd_trainer import configs
from kd_trainer.datasets import collide2v, conversion, matching
from kd_trainer.datasets.convert import _is_test
from kd_trainer.datasets.provenance import found_in
from kd_trainer.pairing import pair

PROCESS = "tt0123j_5f_ckm_LO_MLM_hadronic"
SUFFIX = "_13TeV-madgraphMLM-pythia8"
NUMBER = 30
COMPONENTS = ("px", "py", "pz", "energy")


def name(process=PROCESS, seed=52000001):
    folder = f"{process}{SUFFIX}"
    return f"{folder}/{folder}-NEVENT10000-RS{seed}.parquet"


def fails(*args):
    return failure("convert", "collide2v", *args)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(events as they are in a file, jets that were made of it, what was printed), with generated particles."""
    folder = tmp_path_factory.mktemp("collide")
    table = collide.write(folder / name(), NUMBER)
    result = kd_trainer("convert", "collide2v", folder, "-o", folder / "out", "--gen")
    (path,) = (folder / "out").rglob("*.parquet")
    assert path == folder / "out" / "train" / name().rpartition("/")[2]
    return ak.from_arrow(table.select([x for x in table.column_names if "Idx" not in x])), path, result.stdout


class TestJets:
    def test_candidates_add_up_to_the_jets_of_each_view(self, made):
        jets = ak.from_parquet(made[1])
        assert len(jets) == 3 * NUMBER  # of four matched jets one has no generated jet
        for prefix in ("", "l1", "gen"):
            px, py, pz, energy = (ak.to_numpy(ak.sum(jets[f"{prefix}part_{x}"], axis=1)) for x in COMPONENTS)
            np.testing.assert_allclose(np.hypot(px, py), jets[f"{prefix}jet_pt"], rtol=0.01)
            np.testing.assert_allclose(np.arcsinh(pz / np.hypot(px, py)), jets[f"{prefix}jet_eta"], atol=0.01)
            away = (np.arctan2(py, px) - jets[f"{prefix}jet_phi"] + np.pi) % (2 * np.pi) - np.pi
            np.testing.assert_allclose(away, 0, atol=0.01)
            mass2 = energy**2 - px**2 - py**2 - pz**2
            np.testing.assert_allclose(np.sqrt(mass2), jets[f"{prefix}jet_mass"], rtol=0.1)
            pt = np.hypot(jets[f"{prefix}part_px"], jets[f"{prefix}part_py"])
            assert ak.all(pt[:, 1:] <= pt[:, :-1])

    def test_the_two_views_of_a_jet(self, made):
        """The candidates belong to the event and view of the jet, and they differ between the views."""
        events, jets = made[0], ak.from_parquet(made[1])
        for prefix, view in collide2v.VIEWS.items():
            stored = events[f"{view}_PUPPIPart_PT"]
            for jet in jets[:10]:
                pt = np.hypot(jet[f"{prefix}part_px"], jet[f"{prefix}part_py"])
                mine = ak.to_numpy(stored[jet.event_number]).astype(float)
                assert all(np.isclose(mine, x, rtol=1e-5).any() for x in pt)
        away = np.hypot(jets.jet_eta - jets.l1jet_eta, (jets.jet_phi - jets.l1jet_phi + np.pi) % (2 * np.pi) - np.pi)
        np.testing.assert_allclose(away, jets.match_dr, atol=1e-4)
        assert ak.all(jets.match_dr < 0.2) and ak.any(jets.jet_pt != jets.l1jet_pt)
        assert sorted(set(jets.event_number.to_list())) == list(range(NUMBER))

    def test_identities_and_tracks(self, made):
        jets = ak.from_parquet(made[1])
        for prefix in collide2v.VIEWS:
            get = {name: ak.flatten(jets[f"{prefix}part_{name}"]) for name in ("charge", "d0val", "dzval", "puppiw")}
            kinds = [ak.flatten(jets[f"{prefix}part_is{kind}"]) for kind in (
                "ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")]  # fmt: skip
            assert ak.all(sum(kinds) == 1)
            assert ak.all((kinds[0] + kinds[3] + kinds[4] == 1) == (get["charge"] != 0))
            neutral = get["charge"] == 0
            assert ak.all(get["d0val"][neutral] == 0) and ak.all(get["dzval"][neutral] == 0)
            assert ak.all(abs(get["dzval"]) < 1) and ak.any(get["dzval"] != 0)  # DZ goes over 50 mm, the vertex is off
            assert ak.all(get["puppiw"] == ak.where(neutral, 0.75, 1))

    def test_labels(self, made):
        jets = ak.from_parquet(made[1])
        flags = [jets[f"label_{name}"] for name in collide2v.FLAVOURS]
        assert ak.all(sum(flags) == 1)
        assert [int(ak.sum(flag)) for flag in flags] == [NUMBER, NUMBER, NUMBER, 0]  # gluons have no generated jet

    def test_report(self, made):
        numbers = {"events": NUMBER, "l1_jets": 5 * NUMBER, "jets": 6 * NUMBER, "matched": 4 * NUMBER}
        found = found_in(made[1])
        assert found["process"] == PROCESS
        assert found["counts"] == numbers | {"empty": 0, "classless": 0, "without_truth": NUMBER}
        row = made[2].splitlines()[-1].split()
        assert row[:9] == [PROCESS, str(NUMBER), str(5 * NUMBER), "20.0", "%", str(6 * NUMBER), "33.3", "%", row[8]]
        assert row[-3:] == ["25.0", "%", str(3 * NUMBER)]

    def test_processes_are_classes(self, tmp_path):
        for process, seed in {PROCESS: 1, "QCD_HT50toInf": 2, "minbias": 3}.items():
            collide.write(tmp_path / name(process), 3, seed)
        args = (*(tmp_path / f"{x}{SUFFIX}" for x in (PROCESS, "QCD_HT50toInf")), "-o", tmp_path / "out")
        args += ("--collection", "AK8", "--classes", ROOT / "train_scripts" / "datasets" / "Collide2V_processes.yaml")
        kd_trainer("convert", "collide2v", *args)
        for path in (tmp_path / "out").rglob("*.parquet"):
            jets = ak.from_parquet(path)
            assert ak.all(jets[f"label_{'QCD' if 'QCD' in path.name else 'top'}"] == 1) and len(jets) == 12
        line = fails(tmp_path / f"minbias{SUFFIX}", *args[2:])
        assert "its process minbias is in 0 classes of --classes, not in exactly one" in line
        (tmp_path / "one.yaml").write_text("a: [x]")
        line = fails(tmp_path / f"minbias{SUFFIX}", *args[2:-1], tmp_path / "one.yaml")
        assert "one.yaml has to define two or more classes, each with a list of processes" in line


class TestMatching:
    def test_each_the_nearest_of_the_other(self):
        """Two events by hand: a pair across phi = pi, two jets near one (the nearer is taken), one too far away."""
        ours = {"Eta": np.array([0.0, 1.0, 1.1, 2.0]), "Phi": np.array([3.1, 0, 0, 1])}
        theirs = {"Eta": np.array([0.0, 1.07, 2.0]), "Phi": np.array([-3.1, 0, 1.3])}
        first, second, distance = matching.pairs(ours, np.array([1, 3]), theirs, np.array([1, 2]), 0.2)
        assert first.tolist() == [0, 2] and second.tolist() == [0, 1]
        np.testing.assert_allclose(distance, [2 * np.pi - 6.2, 0.03], atol=1e-9)

    def test_other_events_do_not_match(self):
        jets = {"Eta": np.zeros(2), "Phi": np.zeros(2)}
        for number, other in (([1, 1, 0], [0, 0, 2]), ([2, 0, 0], [0, 1, 1])):
            assert len(matching.pairs(jets, np.array(number), jets, np.array(other), 0.2)[0]) == 0

    def test_vertices(self):
        event, pt = np.array([0, 0, 0, 2]), np.array([1.0, 1, 3, 2])
        np.testing.assert_array_equal(matching.vertices(event, pt, np.array([9.0, -9, 4, 7]), 3), [4, 0, 7])

    @pytest.mark.parametrize("split, tests", [(0.9, [1, 11]), (0.5, [1, 3, 5, 7, 9, 11]), (1, []), (0.8, [1, 6, 11])])
    def test_files_for_tests(self, split, tests):
        assert [i for i in range(12) if _is_test(i, 1 - split)] == tests


class TestFiles:
    def test_pieces_and_memory(self, tmp_path, monkeypatch):
        """A file of many row groups is read a few events at a time: four times the events take the same memory."""
        small = collide.write(tmp_path / name(seed=1), 40)
        pq.write_table(pa.concat_tables([small] * 4), tmp_path / name(seed=2), row_group_size=20)
        monkeypatch.setattr(collide2v, "EVENTS", 20)
        monkeypatch.setattr(conversion, "ROW_GROUP", 50)
        peaks = []
        for seed in (1, 2):
            tracemalloc.start()
            kd_trainer("convert", "collide2v", tmp_path / name(seed=seed), "-o", tmp_path / str(seed))
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0]
        once, four = (ak.from_parquet(next((tmp_path / x).rglob("*.parquet"))) for x in "12")
        assert len(four) == 4 * len(once) and four.event_number[-1] == 159
        assert four.l1part_px[len(once) :][: len(once)].to_list() == once.l1part_px.to_list()

    def test_train_and_test_and_once_more(self, tmp_path):
        for seed in (1, 2):
            collide.write(tmp_path / name(seed=seed), 3)
        args = ("convert", "collide2v", tmp_path, "-o", tmp_path / "a" / "b")
        kd_trainer(*args)
        found = {path.parent.name: path.stem[-1] for path in (tmp_path / "a" / "b").rglob("*.parquet")}
        assert found == {"train": "1", "test": "2"}
        again = kd_trainer(*args).stdout
        assert "2 files, 2 of them already" in again and "33.3 %" in again  # the report is there without reading again
        assert "made from another input (radius was 0.2, now 0.1)" in fails(*args[2:], "--radius", 0.1)
        collide.write(tmp_path / name(seed=0), 3)
        assert "RS1.parquet was made from other inputs, and now it belongs to test" in fails(*args[2:])

    def test_arguments(self, tmp_path):
        collide.write(tmp_path / name(), 2)
        assert "--radius has to be above 0 and at most 0.4" in fails(tmp_path, "-o", tmp_path, "--radius", 0.5)
        assert "--gen is for collide2v, not for top" in failure("convert", "top", tmp_path, "-o", tmp_path, "--gen")


def shuffled(events):
    """Level-1 jets of other events."""
    views = [{key: values for key, values in event.items() if key.startswith("L1T")} for event in events]
    for event, other in zip(events, views[1:] + views[:1]):
        event |= other


def everywhere(change, *variables, views=("FullReco", "L1T")):
    """A change of variables in all events: of candidates and jets."""

    def apply(events):
        for event in events:
            for key in event:
                if key.startswith(views) and key.rpartition("_")[2] in variables:
                    event[key] = change(np.asarray(event[key]))

    return apply


def degrees(angle):
    return angle * 180 / np.pi


def beyond(events):
    events[1]["L1T_JetPuppiAK4_ConstituentsIdx"][0][0] = 500


def shorter(events):
    events[1]["FullReco_PUPPIPart_DZ"] = events[1]["FullReco_PUPPIPart_DZ"][1:]


def without(*names):
    return lambda events: [event.pop(name) for event in events for name in names]


def not_a_number(events):
    events[1]["L1T_PUPPIPart_PT"][0] = np.nan


def undefined(events):
    for event in events:
        event["FullReco_JetPuppiAK4_Flavor"] *= 0


def no_candidates(events):
    for event in events:
        event["L1T_JetPuppiAK4_ConstituentsIdx"] = [[-1] for _ in event["L1T_JetPuppiAK4_ConstituentsIdx"]]


BAD = {
    "degrees": (everywhere(degrees, "Phi"), "FullReco_JetPuppiAK4_Phi has values up to 17"),
    "rows": (shuffled, "5 of the 150 L1T jets have one of the 180 FullReco jets within Delta R = 0.2: check that "),
    "far": (everywhere(lambda eta: eta + 0.14, "Eta", views=("L1T_Jet", "L1T_PUPPI")),
            "the mean distance of matched jets is 0.1"),
    "nowhere": (everywhere(lambda eta: eta + 20, "Eta", views=("L1T_Jet",)),
                "0 of the 150 L1T jets have one of the 180"),
    "cm": (everywhere(lambda z: z / 10, "DZ", "D0"), "DZ seems to be in cm, give --length-unit cm"),
    "MeV": (everywhere(lambda pt: pt * 300, "PT", views=("L1T_PUPPIPart",)),
            "particles of L1T do not add up to its jets"),
    "beyond": (beyond, "ConstituentsIdx of L1T has indices beyond the particles of the event"),
    "shorter": (shorter, "FullReco_PUPPIPart_DZ does not have as many entries as FullReco_PUPPIPart_PT"),
    "lacks": (without("L1T_PUPPIPart_DZ", "L1T_PUPPIPart_D0"), "lacks L1T_PUPPIPart_D0, L1T_PUPPIPart_DZ"),
    "nan": (not_a_number, "has NaN or infinity in l1part_px of row"),
    "flavour": (undefined, "none of the 120 matched jets can be used: 120 are of no class"),
    "empty": (no_candidates, "none of the 120 matched jets can be used: 120 have no candidates"),
}  # fmt: skip


class TestBad:
    @pytest.mark.parametrize("case", BAD)
    def test_one_line(self, case, tmp_path):
        change, message = BAD[case]
        collide.write(tmp_path / "x" / "a.parquet", NUMBER, change=change)
        line = fails(tmp_path / "x", "-o", tmp_path / "out")
        assert message in line and "x/a.parquet" in line
        assert not list((tmp_path / "out").rglob("*.parquet"))

    def test_centimetres(self, tmp_path):
        collide.write(tmp_path / "x" / "a.parquet", NUMBER, change=BAD["cm"][0])
        collide.write(tmp_path / "x" / "b.parquet", NUMBER)
        line = fails(tmp_path / "x", "-o", tmp_path / "out", "--length-unit", "cm")
        assert "1 of 2 files" in line and "b.parquet" in line and "DZ seems to be in mm, give --length-unit mm" in line
        (path,) = (tmp_path / "out").rglob("a.parquet")
        assert 0.05 < ak.std(ak.from_parquet(path).part_d0val) < 0.2

    def test_malformed(self, tmp_path):
        path = tmp_path / "a.parquet"
        table = collide.write(path, 3)
        content = path.read_bytes()
        for part in (b"", content[: len(content) // 2]):
            path.write_bytes(part)
            assert "a.parquet cannot be read" in fails(path, "-o", tmp_path / "out")
        for change, message in {
            lambda x: pa.nulls(3, pa.string()): "has L1T_PUPPIPart_PT of type string, not lists of numbers",
            lambda x: pa.array([None, *x.to_pylist()[1:]], x.type): "has nulls among its values",
        }.items():
            place = table.column_names.index("L1T_PUPPIPart_PT")
            values = change(table.column(place).combine_chunks())
            pq.write_table(table.set_column(place, "L1T_PUPPIPart_PT", values), path)
            assert message in fails(path, "-o", tmp_path / "out")

    def test_no_truth(self, tmp_path):
        collide.write(tmp_path / "a.parquet", 3, change=without("Gen_Part_PT"))
        assert "a.parquet lacks Gen_Part_PT" in fails(tmp_path, "-o", tmp_path / "out", "--gen")
        kd_trainer("convert", "collide2v", tmp_path, "-o", tmp_path / "out")


def inputs(options, path):
    """What weaver feeds the network for jets of a file: {group: (N, C, P)}."""
    return inputs_of(DataConfig(print_info=False, **options), path)


class TestConfigs:
    @pytest.mark.parametrize("tier", ["offline", "gen"])
    def test_pair_joins_the_candidate_lists_of_one_jet(self, made, tier):
        """The student's inputs are those of its own config, the teacher's those of its own, of other particles."""
        folder = ROOT / "data" / "Collide2V"
        student, teacher = (configs.load(folder / f"Collide2V_{x}.yaml") for x in ("l1", tier))
        both = inputs(pair(student, teacher), made[1])
        ours, theirs = inputs(student, made[1]), inputs(teacher, made[1])
        assert set(both) == {*ours, *(configs.PREFIX + group for group in theirs)}
        for group, values in ours.items():
            np.testing.assert_array_equal(both[group], values)
        for group, values in theirs.items():
            np.testing.assert_array_equal(both[configs.PREFIX + group], values)
        jets = ak.from_parquet(made[1])
        jets = jets[np.abs(jets.l1jet_eta) < 2.4]
        prefix = {"offline": "", "gen": "gen"}[tier]
        total = both["teacher_pf_vectors"] * both["teacher_pf_mask"]
        np.testing.assert_allclose(
            total[:, 0].sum(axis=1), ak.sum(jets[f"{prefix}part_px"], axis=1), rtol=1e-4, atol=1e-2
        )
        level1 = (both["pf_vectors"] * both["pf_mask"])[:, 0].sum(axis=1)
        assert np.abs(level1 - ak.to_numpy(ak.sum(jets.l1part_px, axis=1))).max() < 8  # what is below 2 GeV is not sent
        assert np.abs(level1 - total[:, 0].sum(axis=1)).mean() > 1

    @pytest.mark.parametrize("tier", ["offline", "gen", "l1"])
    def test_all_tiers_see_the_same_jets(self, made, tmp_path, tier):
        """Two jets are left out: one outside of the tracker acceptance, and one without candidates that are sent."""
        jets = ak.from_parquet(made[1])
        assert ak.all(np.abs(jets.l1jet_eta) < 2.4)
        jets["l1jet_eta"] = ak.where(jets.l1jet_eta == jets.l1jet_eta[3], -2.5, jets.l1jet_eta)
        for axis in ("px", "py"):
            jets[f"l1part_{axis}"] = ak.where(np.arange(len(jets)) == 5, 0.01, 1) * jets[f"l1part_{axis}"]
        ak.to_parquet(jets, tmp_path / "x.parquet")
        read = inputs(configs.load(ROOT / "data" / "Collide2V" / f"Collide2V_{tier}.yaml"), tmp_path / "x.parquet")
        assert len(read["pf_mask"]) == len(jets) - 2

    def test_the_student_sees_level_1_alone(self, made, tmp_path):
        jets = ak.from_parquet(made[1])
        changed = jets[[field for field in jets.fields if field.startswith(("l1", "label", "event"))]]
        for field in jets.fields:
            if field not in changed.fields:
                changed[field] = jets[field] * 3 + 1
        ak.to_parquet(changed, tmp_path / "x.parquet")
        student = configs.load(ROOT / "data" / "Collide2V" / "Collide2V_l1.yaml")
        before, after = inputs(student, made[1]), inputs(student, tmp_path / "x.parquet")
        for group in before:
            np.testing.assert_array_equal(before[group], after[group])
            assert np.isfinite(before[group]).all()
        assert before["pf_features"].shape[1:] == (16, 16)


def test_from_files_to_a_report(clone, tmp_path):
    """convert, then every mode of train_kd.sh without further settings but for a small network."""
    for seed in (1, 2):
        collide.write(tmp_path / name(seed=seed), 60, seed)
    folder = clone / "datasets" / "Collide2V"
    kd_trainer("convert", "collide2v", tmp_path, "-o", folder)
    env = {"DATASET": "Collide2V", "TEACHER": "PFN-1k", "STUDENT": "PFN-1k"}
    for mode in ("teacher", "train", "baseline"):
        script(clone / "train_kd.sh", mode, *short(100, 20, 20), cwd=clone, env=env)
    for mode in ("test", "report"):
        script(clone / "train_kd.sh", mode, cwd=clone, env=env)
    text = (clone / "training" / "Collide2V_report" / "report.md").read_text()
    assert "PFN-1k distilled" in text and "teacher" in text and "light" in text
    assert (clone / "training" / "Collide2V_PFN-1k_offline_seed1").is_dir()
