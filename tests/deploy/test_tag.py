"""Scores in files and in notebooks."""

import awkward as ak
import numpy as np
import pytest
import uproot
from distillation import L1, TEACHER
from helpers import CLASSES, ROOT, failure, kd_trainer, random_jets, scores_of, write_root
from weaver_inputs import exported

from kd_trainer.deploy import reference
from kd_trainer.deploy.command import complete
from kd_trainer.deploy.inputs import NO_PARTICLES, NOT_FINITE_INPUT, NOT_FINITE_SCORE
from kd_trainer.deploy.tagger import Tagger

SCORES = [f"score_label_{name}" for name in CLASSES]


@pytest.fixture
def own_file(val_files, tmp_path):
    """A file of jets, and a function that writes it anew, changed."""

    def write(change):
        ak.to_parquet(change(ak.from_parquet(val_files[0])), tmp_path / "jets.parquet")
        return tmp_path / "jets.parquet"

    return write


def test_scores_are_those_of_torch(model_dir, val_files):
    events = ak.concatenate([ak.from_parquet(path) for path in val_files])
    tagger = Tagger(model_dir, threads=1, batch_size=64)
    table = tagger(events)
    assert table.fields == [*SCORES, "flag"] and len(table) == 160
    model, info = reference.load(tagger.exported.source, tagger.exported.options)
    expected = reference.outputs(model, info, tagger.prepare(events).inputs)
    np.testing.assert_allclose(scores_of(table), expected, atol=1e-5)
    static = Tagger(model_dir, model="model_static.onnx")(events)
    np.testing.assert_allclose(scores_of(static), expected, atol=1e-5)
    assert not ak.any(table.flag)
    assert len(tagger(events[:0])) == 0


def test_parquet(model_dir, val_files, tmp_path):
    output = tmp_path / "new" / "tagged.parquet"
    files = val_files[:2]
    result = kd_trainer("tag", model_dir, *files, "-o", output, "--keep", "jet_p*", "part_px", "--chunk", 7)
    assert result.stdout == f"{output}: 32 jets\n" and "32/32" in result.stderr
    table, events = ak.from_parquet(output), ak.concatenate([ak.from_parquet(path) for path in files])
    assert table.fields == ["jet_phi", "jet_pt", "part_px", *SCORES, "flag"]
    assert ak.array_equal(table.part_px, events.part_px) and ak.all(table.jet_pt == events.jet_pt)
    assert np.array_equal(scores_of(table), scores_of(Tagger(model_dir)(events)))
    assert [path.name for path in output.parent.iterdir()] == ["tagged.parquet"]


def test_root_with_observers_and_labels(model_dir, val_files, tmp_path):
    output = tmp_path / "tagged.root"
    kd_trainer("tag", model_dir, *val_files[:2], "-o", output, "--chunk", 9)
    table = uproot.open(output)["Events"].arrays()
    assert len(table) == 32 and table.fields[-11:] == [*SCORES, "flag"]
    assert {"jet_pt", "jet_tau4", *(f"label_{name}" for name in CLASSES)} < set(table.fields)
    again = tmp_path / "again.parquet"
    kd_trainer("tag", model_dir, *val_files[:2], "-o", again, "--keep")
    assert ak.from_parquet(again).fields == [*SCORES, "flag"]
    np.testing.assert_allclose(scores_of(table), scores_of(ak.from_parquet(again)), atol=1e-6)


def test_lists_in_root(model_dir, val_files, tmp_path):
    kd_trainer("tag", model_dir, val_files[0], "-o", tmp_path / "tagged.root", "--keep", "part_p[xy]", "--chunk", 5)
    events = ak.from_parquet(val_files[0])
    table = uproot.open(tmp_path / "tagged.root")["Events"].arrays(["part_px", "part_py"])
    assert ak.all(table.part_px == events.part_px) and ak.all(table.part_py == events.part_py)


def test_files_of_root(model_dir, tmp_path):
    events = random_jets(30)
    write_root(tmp_path / "jets.root", events)
    kd_trainer("tag", model_dir, tmp_path / "jets.root", "-o", tmp_path / "tagged.parquet", "--chunk", 11)
    table = ak.from_parquet(tmp_path / "tagged.parquet")
    np.testing.assert_allclose(scores_of(table), scores_of(Tagger(model_dir)(events)), atol=1e-6)


def test_jets_nothing_can_be_said_about_are_flagged(model_dir, tmp_path):
    events = random_jets(20)
    pz = ak.to_list(events.part_pz)
    pz[0][0], pz[1] = float("nan"), [float("inf")] * len(pz[1])
    events["part_pz"] = ak.values_astype(ak.Array(pz), "float32")
    events["part_px"], events["part_py"] = (events[k] * (np.arange(20) != 2) for k in ("part_px", "part_py"))
    ak.to_parquet(events, tmp_path / "jets.parquet")
    result = kd_trainer("tag", model_dir, tmp_path / "jets.parquet", "-o", tmp_path / "tagged.parquet")
    table = ak.from_parquet(tmp_path / "tagged.parquet")
    flags, finite = ak.to_numpy(table.flag), np.isfinite(scores_of(table)).all(axis=1)
    assert flags[0] & NOT_FINITE_INPUT and flags[1] & NOT_FINITE_INPUT and flags[2] & NO_PARTICLES
    assert np.array_equal(finite, flags & NOT_FINITE_SCORE == 0)
    assert f"{np.count_nonzero(flags)} of them flagged" in result.stdout


def test_selected_jets_alone(own_dir, tmp_path):
    text = (own_dir / "data_config.yaml").read_text()
    (own_dir / "data_config.yaml").write_text(text.replace("selection: null", "selection: jet_pt > 600", 1))
    ak.to_parquet(random_jets(40), tmp_path / "jets.parquet")
    kd_trainer("tag", own_dir, tmp_path / "jets.parquet", "-o", tmp_path / "all.parquet")
    kd_trainer("tag", own_dir, tmp_path / "jets.parquet", "-o", tmp_path / "some.parquet", "--selected", "--chunk", 20)
    every, some = ak.from_parquet(tmp_path / "all.parquet"), ak.from_parquet(tmp_path / "some.parquet")
    assert len(every) == 40 and len(some) == np.count_nonzero(every.jet_pt > 600) > 0
    assert set(ak.to_list(some.jet_pt)) < set(ak.to_list(every.jet_pt))


def test_embedding(val_files, tmp_path):
    """ParT with `-o export_embed True`, exported as weaver does."""
    options = {**TEACHER, "export_embed": True}
    exported(tmp_path, "ParT", L1, **options)
    complete(tmp_path, L1, reference.describe(ROOT / "networks" / "ParT.py", options, tmp_path / "net.pt"))
    kd_trainer("parity", tmp_path, *val_files)  # passes, although empty jets are NaN
    for name in ("tagged.parquet", "tagged.root"):
        kd_trainer("tag", tmp_path, val_files[0], "-o", tmp_path / name, "--keep")
    table = ak.from_parquet(tmp_path / "tagged.parquet")
    assert table.fields == [*SCORES, "embedding", "flag"] and ak.to_numpy(table.embedding).shape == (16, 16)
    in_root = uproot.open(tmp_path / "tagged.root")["Events"]["embedding"].array(library="np")
    np.testing.assert_allclose(in_root, ak.to_numpy(table.embedding), atol=1e-6)


def test_missing_branch(model_dir, own_file, tmp_path):
    path = own_file(lambda x: ak.without_field(x, "part_charge"))
    assert failure("tag", model_dir, path, "-o", tmp_path / "o.parquet").endswith("jets.parquet lacks part_charge")
    assert not (tmp_path / "o.parquet").exists()


def test_no_jets(model_dir, own_file, tmp_path):
    path = own_file(lambda x: x[:0])
    assert failure("tag", model_dir, path, "-o", tmp_path / "o.parquet").endswith("has no jets")


def test_file_that_cannot_be_read(model_dir, val_files, tmp_path):
    (tmp_path / "jets.parquet").write_bytes(val_files[0].read_bytes()[:1000])
    line = failure("tag", model_dir, val_files[0], tmp_path / "jets.parquet", "-o", tmp_path / "o.parquet")
    assert "jets.parquet cannot be read" in line


def test_failure_leaves_nothing(model_dir, own_file, tmp_path):
    path = own_file(lambda x: ak.with_field(x, x.jet_pt, "part_charge"))
    (tmp_path / "o.root").write_text("the result before")
    line = failure("tag", model_dir, path, "-o", tmp_path / "o.root")
    assert "the inputs cannot be computed from these jets" in line
    assert (tmp_path / "o.root").read_text() == "the result before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["jets.parquet", "o.root"]


def test_missing_values_do_not_fit_into_root(model_dir, own_file, tmp_path):
    path = own_file(lambda x: ak.with_field(x, ak.mask(x.jet_pt, np.arange(len(x)) > 3), "weight"))
    line = failure("tag", model_dir, path, "-o", tmp_path / "o.root", "--keep", "weight")
    assert "weight has missing values, which a ROOT file cannot store" in line
    kd_trainer("tag", model_dir, path, "-o", tmp_path / "o.parquet", "--keep", "weight", "--chunk", 3)
    assert ak.sum(ak.is_none(ak.from_parquet(tmp_path / "o.parquet").weight)) == 4


def test_files_with_other_types(model_dir, val_files, tmp_path):
    first, second, third = (tmp_path / f"{i}.parquet" for i in range(3))
    jets = ak.from_parquet(val_files[0])
    for path, run in ((first, np.int32(5)), (second, np.float64(7)), (third, np.float64(7.5))):
        ak.to_parquet(ak.with_field(jets, np.full(len(jets), run), "run"), path)
    kd_trainer("tag", model_dir, first, second, "-o", tmp_path / "o.parquet", "--keep", "run")
    assert ak.to_list(ak.from_parquet(tmp_path / "o.parquet").run) == [5] * len(jets) + [7] * len(jets)
    for name, text in {"no.parquet": "run is double, which does not fit the int32 of earlier files",
                       "no.root": "run is float64, but int32 in earlier files"}.items():  # fmt: skip
        line = failure("tag", model_dir, first, third, "-o", tmp_path / name, "--keep", "run")
        assert f"{third}: {text}" in line and not (tmp_path / name).exists()


@pytest.mark.parametrize(("options", "text"), [
    (["-o", "scores.txt"], "the output has to be .parquet or .root"),
    (["-o", "o.root", "--keep", "jet_nothing"], "--keep jet_nothing: there is no such branch"),
    (["-o", "o.root", "--chunk", 0], "--chunk has to be at least 1"),
    (["-o", "o.root", "--model", "other.onnx"], "other.onnx: export the model first"),
])  # fmt: skip
def test_wrong_arguments(model_dir, val_files, tmp_path, monkeypatch, options, text):
    monkeypatch.chdir(tmp_path)
    assert text in failure("tag", model_dir, val_files[0], *options)
    assert list(tmp_path.iterdir()) == []


def test_output_over_input(model_dir, val_files):
    assert "is one of the input files" in failure("tag", model_dir, val_files[0], "-o", val_files[0])
