"""Delphes files: events made by hand, and the public example."""

from pathlib import Path
from types import SimpleNamespace

import awkward as ak
import delphes as by_hand
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import ROOT, failure, kd_trainer

from kd_trainer.datasets import delphes
from kd_trainer.errors import InputError


@pytest.fixture
def events():
    return by_hand.events()


@pytest.fixture(scope="module")
def converted(delphes_file, tmp_path_factory):
    """The file of jets that the public example becomes."""
    folder = tmp_path_factory.mktemp("delphes")
    result = kd_trainer("convert", "delphes", delphes_file, "-o", folder)
    assert "wrote 22 jets\n10 events, 22 jets, 0 of them left out (no particles)\n" in result.stdout
    return folder / "delphes_example.parquet"


class Tree(dict):
    """The part of an uproot tree that is used before its events are read: arrays by name of the branch."""

    def keys(self, recursive):
        return list(dict.fromkeys(name.partition("/")[0] for name in self))

    def __getitem__(self, name):
        return SimpleNamespace(array=lambda entry_start, entry_stop: self.get(name))


def jets_of(events, **options):
    return delphes.Reader(Path("x.root"), delphes.Options(**options)).jets(events)


def fails(*args, folder):
    """The one line of a conversion that fails and leaves nothing, from the name of the file on."""
    line = failure("convert", "delphes", *args, "-o", folder / "out")
    assert not list(folder.glob("out/*"))
    return line.partition(f"{args[-1].parent}/")[2]


def test_places_are_those_of_the_same_event():
    ids = ak.Array([[[7, 3], []], [], [[3], [9, 1 << 24 | 5]]])
    theirs = ak.Array([[1, 3, 7], [9], [5, 3]])
    assert delphes.places(ids, theirs).to_list() == [[[2, 1], []], [], [[1], [-1, 0]]]
    assert delphes.places(ids[:1, :0], theirs[:1]).to_list() == [[]]
    assert delphes.places(ids, theirs[:, :0]).to_list() == [[[-1, -1], []], [], [[-1], [-1, -1]]]


def test_jets_are_those_of_their_candidates(events):
    jets = jets_of(events)
    assert jets.event_number.to_list() == [10, 10, 11, 13, 13, 14, 14]
    assert jets.jet_nparticles.to_list() == [29, 7, 20, 2, 1, 0, 12]  # without the one that has no pT
    flat = [count for counts in by_hand.JETS for count in counts]
    for jet, count, axis in zip(jets, flat, ak.flatten(events.jet_Eta)):
        event = events[int(jet.event_number) - 10]
        order = [i for i in np.argsort(-event.cand_PT[:count]) if event.cand_PT[i] > 0]
        pt, eta, mass = (ak.to_numpy(event[f"cand_{name}"])[order] for name in ("PT", "Eta", "Mass"))
        assert np.allclose(np.hypot(jet.part_px, jet.part_py), pt)
        assert np.allclose(np.arcsinh(jet.part_pz / pt), eta, atol=1e-5)
        assert np.allclose(jet.part_energy, np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2))
        assert np.allclose(jet.part_deta, (eta - axis) * (1 if axis > 0 else -1), atol=1e-6)
        assert np.all(np.abs(jet.part_dphi) <= np.pi)
        dz = ak.to_numpy(event.cand_DZ)[order]
        assert np.allclose(jet.part_dzval, np.where(dz == 0, 0, dz - event.vertex_z[0]), atol=1e-5)
        kinds = sum(jet[f"part_is{name}"].to_numpy() * 1 for name in
                    ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon"))  # fmt: skip
        assert np.all(kinds == 1)
        assert np.all(jet.part_isChargedHadron == (np.abs(ak.to_numpy(event.cand_PID)[order]) == 211))
    p4 = ak.flatten(events["jet_SoftDroppedP4[5]"])[:, 0]
    assert np.allclose(jets.jet_sdmass**2, p4.fE**2 - p4.fP.fX**2 - p4.fP.fY**2 - p4.fP.fZ**2, rtol=1e-5)
    assert np.array_equal(jets.jet_tau2, ak.flatten(events["jet_Tau[5]"])[:, 1])


def test_eta_of_the_momentum(events):
    stored, momentum = jets_of(events), jets_of(events, eta="momentum")
    pt = np.hypot(momentum.part_px, momentum.part_py)
    assert np.allclose(np.sort((momentum.part_pz / pt)[2]), np.sort(events.cand_CtgTheta[1][:20]))
    assert not np.allclose(stored.part_pz[2], momentum.part_pz[2])


def test_what_a_card_does_not_compute(events):
    events["jet_Tau[5]"] = events["jet_Tau[5]"] * 0
    jets = jets_of(events)
    assert np.isnan(jets.jet_tau1).to_numpy().all() and not np.isnan(jets.jet_sdmass).to_numpy().any()
    with pytest.raises(InputError, match="has no tau1 of JetPUPPIAK8: run Delphes with ComputeNsubjettiness true"):
        delphes.Reader(Path("x.root"), delphes.Options()).filled(events)


def test_vertices(events):
    without = ak.without_field(events, "vertex_z")
    with pytest.raises(InputError, match="x.root has no Vertex, but tracks far from z = 0: dz cannot be computed"):
        jets_of(without)
    without["cand_DZ"] = without.cand_DZ * 0.001
    dz = jets_of(without).part_dzval
    assert 0 < np.max(np.abs(ak.flatten(dz))) < 0.04
    events["vertex_z"] = ak.Array([[30.0], [], [], [30.0], [30.0]])
    with pytest.raises(InputError, match="x.root has no Vertex in event 11"):
        jets_of(events)


def test_no_jets(events):
    assert len(jets_of(events[2:3])) == 0


def test_files_without_what_is_needed(tmp_path):
    line = "a.root has no jets JetPUPPIAK8: it has none at all"
    by_hand.write(tmp_path / "a.root")
    assert delphes.is_delphes(tmp_path / "a.root")
    assert fails(tmp_path / "a.root", folder=tmp_path) == line
    by_hand.write(tmp_path / "a.root", entries=0)
    line = "a.root has no events: its tree Delphes is empty"
    assert fails(tmp_path / "a.root", folder=tmp_path) == line
    (tmp_path / "a.root").write_bytes((tmp_path / "a.root").read_bytes()[:300])
    assert "a.root cannot be read: " in fails(tmp_path / "a.root", folder=tmp_path)
    for option in (("--jets", "JetAK8"), ("--eta", "momentum")):
        line = failure("convert", "top", tmp_path, "-o", tmp_path, *option)
        assert f"{option[0]} is for delphes, not for top" in line


def test_numbers_of_the_example(converted, shared):
    """Those of the sheet about the file."""
    jets = ak.from_parquet(converted)
    numbers = [37, 45, 33, 48, 65, 10, 16, 44, 42, 53, 3, 67, 25, 11, 10, 69, 34, 49, 27, 7, 27, 50]
    assert jets.jet_nparticles.to_list() == ak.num(jets.part_px).to_list() == numbers
    assert np.bincount(jets.event_number).tolist() == [3, 2, 2, 2, 3, 2, 2, 2, 2, 2]
    kinds = {"ChargedHadron": 336, "Photon": 324, "NeutralHadron": 96, "Electron": 13, "Muon": 3}
    assert {name: int(ak.sum(jets[f"part_is{name}"])) for name in kinds} == kinds
    first = [1103.319, -0.37488, -0.03517, 71.5761, 0.0700, 0.0398, 0.0259, 0.0225]
    names = ("pt", "eta", "phi", "sdmass", "tau1", "tau2", "tau3", "tau4")
    assert np.allclose([jets[f"jet_{name}"][0] for name in names], first, rtol=1e-5, atol=1e-4)
    assert np.allclose(jets.jet_sdmass[[6, 10, 13]], [416.3843, 84.0842, 0.1396], atol=1e-4)
    schema = pq.read_schema(converted)
    for field in pq.read_schema(shared / "real" / "JetClassII_example.parquet"):
        if field.name.startswith(("part_", "jet_")) and field.name != "jet_label":
            kind = schema.field(field.name).type
            assert getattr(kind, "value_type", kind) == getattr(field.type, "value_type", field.type), field.name


def test_jets_for_the_configs_of_jetclass2(converted, tmp_path):
    """What UNLABELLED and pretrain read."""
    config = ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"
    kd_trainer("unlabelled", "--data-config", config, "-o", tmp_path / "unlabelled.yaml")
    assert "22" in kd_trainer("check", "--all", "--data-config", tmp_path / "unlabelled.yaml", converted).stdout


def test_pieces_and_resumption(delphes_file, converted, monkeypatch):
    monkeypatch.setattr(delphes, "EVENTS", 3)
    reader = delphes.Reader(delphes_file, delphes.Options())
    with reader.open(delphes_file) as (total, chunks):
        pieces = [reader.jets(ak.with_field(events, np.zeros(len(events)), "event_number")) for events in chunks(5000)]
    whole = ak.from_parquet(converted)
    assert total == 10 and len(pieces) == 4
    assert ak.array_equal(ak.concatenate(pieces).part_pz, whole.part_pz, check_parameters=False)
    assert "1 files, 1 of them already" in kd_trainer("convert", "delphes", delphes_file, "-o", converted.parent).stdout
    other = failure("convert", "delphes", delphes_file, "-o", converted.parent, "--eta", "momentum")
    assert "was made from another input (eta was stored, now momentum); give --overwrite" in other


def test_momenta_add_up_with_their_own_eta(delphes_file):
    """The constituents of a PUPPI jet add up to the jet with the eta of the momentum, not with the stored eta."""
    for eta, limit in (("stored", 0.05), ("momentum", 1e-5)):
        reader = delphes.Reader(delphes_file, delphes.Options(eta=eta))
        with reader.open(delphes_file) as (_, chunks):
            (events,) = chunks(10)
            jets = reader.jets(ak.with_field(events, np.arange(10), "event_number"))
        px, py, pz = (ak.sum(jets[f"part_{x}"], axis=1) for x in ("px", "py", "pz"))
        away = np.abs(np.arcsinh(pz / np.hypot(px, py)) - jets.jet_eta)
        assert (limit / 10 if eta == "stored" else 0) < np.max(away) < limit


@pytest.mark.parametrize(
    ("jets", "line"),
    [
        ("JetAK8", "the 1118 constituents of JetAK8 are 16 ParticleFlowCandidate, 1102 that are not in the file; "),
        ("GenJetAK8", "the 1303 constituents of GenJetAK8 are 1303 Particle; "),
    ],
)
def test_other_constituents(delphes_file, tmp_path, jets, line):
    end = "as in JetClass-II they all have to be ParticleFlowCandidate: give --jets "
    found = fails("--jets", jets, delphes_file, folder=tmp_path)
    assert found == f"delphes_example.root: {line}{end}JetPUPPI or JetPUPPIAK8 or JetPUPPIAK15"


def test_towers():
    """The usual cards of CMS and ATLAS write no ParticleFlowCandidate."""
    branches = {
        "Jet/Jet.Constituents": ak.zip({"refs": ak.Array([[[3, 5]], [[8]]])}, depth_limit=2),
        "Jet/Jet.Tau[5]": None,
        "EFlowTrack/EFlowTrack.fUniqueID": ak.Array([[3, 4], []]),
        "EFlowPhoton/EFlowPhoton.fUniqueID": ak.Array([[5], [8]]),
    }
    reader = delphes.Reader(Path("x.root"), delphes.Options("Jet"))
    line = (
        "x.root: the 3 constituents of Jet are 1 EFlowTrack, 2 EFlowPhoton; as in JetClass-II they all have to be "
        "ParticleFlowCandidate: use the Delphes card of JetClass-II"
    )
    with pytest.raises(InputError, match=f"^{line}$"):
        reader._wanted(Tree(branches))


def test_other_jets_and_truncated_files(delphes_file, tmp_path):
    line = fails("--jets", "JetCHS", delphes_file, folder=tmp_path)
    assert line.startswith("delphes_example.root has no jets JetCHS: its jets are GenJet, GenJetAK8, GenJetAK15, Jet, ")
    assert "has no sdmass of JetPUPPI" in fails("--jets", "JetPUPPI", delphes_file, folder=tmp_path)
    for size in (1000, 600_000, 1_290_000):
        (tmp_path / "cut.root").write_bytes(delphes_file.read_bytes()[:size])
        assert "cut.root cannot be read: " in fails(tmp_path / "cut.root", folder=tmp_path)
