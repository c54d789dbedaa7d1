"""Events of Delphes in Python and in C++: the same variables, and the branches of Sophon's analyser."""

import json
import shutil
import subprocess

import awkward as ak
import delphes as by_hand
import numpy as np
import pytest
import uproot
from helpers import ROOT, failure, kd_trainer, run
from weaver_inputs import exported

from kd_trainer import configs
from kd_trainer.datasets import delphes
from kd_trainer.deploy import reference
from kd_trainer.deploy.command import complete
from kd_trainer.deploy.inputs import NO_PARTICLES, input_view, prepare
from kd_trainer.deploy.model_dir import expected_preprocess
from kd_trainer.deploy.tagger import Tagger

CONFIG = ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"


@pytest.fixture(scope="module")
def sophon(tmp_path_factory):
    """A network with 188 scores and an embedding, exported as weaver does."""
    folder = tmp_path_factory.mktemp("sophon")
    options = {"phi_dims": [16, 16], "rho_dims": [8], "export_embed": True}
    exported(folder, "PFN", CONFIG, **options)
    complete(folder, CONFIG, reference.describe(ROOT / "networks" / "PFN.py", options, folder / "net.pt"))
    return folder


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program beside this file, built with the headers that are shipped."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if not compiler:
        pytest.skip("there is no C++ compiler on this machine")
    path = tmp_path_factory.mktemp("build") / "candidates"
    flags = ("-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{ROOT / 'train_scripts' / 'cpp'}")
    run(compiler, *flags, ROOT / "tests" / "deploy" / "candidates.cpp", "-o", path)
    return path


def as_text(events):
    """Jets with all their candidates, as the C++ program reads them."""
    lines = []
    for event in events:
        members = ["PT", "Eta", "Phi", "Mass", "Charge", "PID", "D0", "ErrorD0", "DZ", "ErrorDZ"]
        columns = [event[f"cand_{name}"].to_list() for name in members]
        for jet, places in enumerate(event.jet_Constituents.to_list()):
            axis = [event[f"jet_{name}"][jet] for name in members[:4]]
            lines.append([*axis, event.vertex_z[0], len(places)])
            lines += [[column[i] for column in columns] for i in places]
    return "\n".join(" ".join(f"{x:.9g}" for x in line) for line in lines)


def read(path):
    """All events of a file; those made by hand if it is None."""
    if path is None:
        return by_hand.events()
    with delphes.Reader(path, delphes.Options()).open(path) as (_, chunks):
        (events,) = chunks(10)
    return ak.with_field(events, np.arange(len(events)), "event_number")


@pytest.fixture(scope="module", params=["by hand", "delphes_file"])
def events(request):
    return read(None if request.param == "by hand" else request.getfixturevalue("delphes_file"))


@pytest.mark.parametrize("dataset", ["JetClassII", "JetClass"])
@pytest.mark.parametrize("tier", ["full", "kin", "hlt", "l1"])
def test_inputs_in_cpp_are_those_of_python(program, events, dataset, tier, tmp_path):
    options = configs.load(ROOT / "data" / dataset / f"{dataset}_{tier}.yaml")
    jets = delphes.Reader(tmp_path / "x.root", delphes.Options()).jets(events)
    expected = prepare(jets, input_view(options)).inputs
    preprocess = expected_preprocess(options)
    (tmp_path / "preprocess.json").write_text(json.dumps(preprocess))
    command = [str(program), str(tmp_path / "preprocess.json"), tier]
    output = subprocess.run(command, input=as_text(events), capture_output=True, text=True, check=True).stdout
    lines = [np.array(line.split(), dtype=float) for line in output.splitlines()]
    names = preprocess["input_names"]
    assert len(lines) == len(names) * len(jets)
    filled = jets.jet_nparticles.to_numpy() > 0
    for i, name in enumerate(names):
        found = np.stack(lines[i :: len(names)]).reshape(expected[name].shape)
        np.testing.assert_allclose(found[filled], expected[name][filled], rtol=1e-5, atol=1e-5, err_msg=name)


def test_unknown_tier(program, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps(expected_preprocess(configs.load(CONFIG))))
    result = subprocess.run([program, tmp_path / "p.json", "l1trk"], capture_output=True, text=True)
    assert result.stderr == "candidates: no variables for the tier l1trk; valid are full, kinpid, kin, hlt, l1\n"


def test_branches_are_those_of_the_analyser(sophon, delphes_file, tmp_path):
    result = kd_trainer("tag", sophon, delphes_file, "-o", tmp_path / "scored.root")
    assert result.stdout == f"{tmp_path / 'scored.root'}: 22 jets\n" and "10/10" in result.stderr
    tree = uproot.open(tmp_path / "scored.root")["tree"]
    analyser = ["jet_pt", *(f"jet_probs_{i}" for i in range(188)), *(f"jet_hidneurons_{i}" for i in range(8))]
    assert tree.num_entries == 10 and tree.keys()[: 2 + 188 + 8] == ["njet", *analyser]
    table = tree.arrays()
    assert ak.num(table.jet_pt).to_list() == [3, 2, 2, 2, 3, 2, 2, 2, 2, 2]
    jets = delphes.Reader(delphes_file, delphes.Options()).jets(read(delphes_file))
    scores = Tagger(sophon)(jets)
    for name in ("jet_pt", "jet_tau3"):
        assert np.array_equal(ak.flatten(table[name]), jets[name])
    for i, name in enumerate(scores.fields[:188]):
        assert np.allclose(ak.flatten(table[name]), scores[name], atol=1e-6)
        assert ak.array_equal(table[f"jet_probs_{i}"], table[name])
    assert np.allclose(ak.flatten(table.jet_hidneurons_3), scores.embedding[:, 3], atol=1e-5)


def test_parquet_pieces_and_selection(sophon, delphes_file, tmp_path):
    files = [delphes_file, delphes_file]
    kd_trainer("tag", sophon, *files, "--delphes", "-o", tmp_path / "all.parquet", "--chunk", 3, "--keep", "jet_sd*")
    kd_trainer("tag", sophon, delphes_file, "--selected", "-o", tmp_path / "some.parquet", "--keep")
    every, some = ak.from_parquet(tmp_path / "all.parquet"), ak.from_parquet(tmp_path / "some.parquet")
    assert len(every) == 20 and ak.array_equal(every.score_X_bb[:10], every.score_X_bb[10:])
    assert "jet_sdmass" in every.fields and "jet_sdmass" not in some.fields
    assert len(some) == 10 and ak.num(some.jet_pt).to_list() == [2, 2, 2, 2, 3, 1, 1, 2, 2, 2]


def test_jets_without_particles_are_flagged(sophon, tmp_path):
    jets = delphes.Reader(tmp_path / "x.root", delphes.Options()).jets(by_hand.events())
    assert Tagger(sophon)(jets).flag.to_list() == [0, 0, 0, 0, 0, NO_PARTICLES, 0]


def test_errors(sophon, delphes_file, tmp_path):
    def fails(*args):
        line = failure("tag", sophon, *args, "-o", tmp_path / "o.root")
        assert not list(tmp_path.glob("*o.root*"))
        return line.removeprefix("kd_trainer tag: ")

    assert "the 1118 constituents of JetAK8 are 16 ParticleFlowCandidate, " in fails(delphes_file, "--jets", "JetAK8")
    assert "has no jets JetCHS: its jets are GenJet, " in fails(delphes_file, "--jets", "JetCHS")
    by_hand.write(tmp_path / "empty.root", entries=0)
    assert fails(tmp_path / "empty.root") == f"{tmp_path}/empty.root has no events: its tree Delphes is empty"
    (tmp_path / "cut.root").write_bytes(delphes_file.read_bytes()[:1_290_000])
    assert f"{tmp_path}/cut.root cannot be read: " in fails(delphes_file, tmp_path / "cut.root")
    assert fails(delphes_file, "--keep", "part_px") == "--keep part_px: there is no such branch in all of the files"
    ak.to_parquet(ak.Array({"jet_pt": [1.0]}), tmp_path / "jets.parquet")
    assert fails(tmp_path / "jets.parquet", "--eta", "momentum") == "--eta is for Delphes files"
    assert "not a ROOT file" in fails(tmp_path / "jets.parquet", "--delphes")
