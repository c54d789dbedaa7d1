"""Reading of prediction files as weaver writes them, and every way in which they can be wrong."""

import numpy as np
import pytest

from kd_trainer.errors import InputError
from kd_trainer.evaluate import predictions

LABELS = np.arange(60) % 10


@pytest.fixture
def scores(toy):
    return toy(LABELS, 2.0, 1)


@pytest.mark.parametrize("kind", ["root", "parquet"])
@pytest.mark.parametrize("label_name", ["_label_", "truth_label"])
def test_reads_what_weaver_writes(tmp_path, write, scores, kind, label_name):
    jet_pt = np.linspace(500, 1000, 60)
    found = predictions.read(write(tmp_path / f"p.{kind}", LABELS, scores, label_name=label_name, jet_pt=jet_pt))
    assert np.array_equal(found.scores, scores)
    assert np.array_equal(found.labels, LABELS)
    assert np.allclose(found.jet_pt, jet_pt)
    assert found.label_name == label_name
    if kind == "root" and label_name == "_label_":
        assert found.names[:2] == ["label_QCD", "label_Hbb"]
    else:
        assert found.names is None


def test_a_label_stored_as_float_is_a_class_number(tmp_path, write, scores):
    found = predictions.read(write(tmp_path / "p.parquet", LABELS.astype("f4"), scores, label_name="truth_label"))
    assert found.labels.dtype == int
    with pytest.raises(InputError, match="the label truth_label is not one class number a jet"):
        predictions.read(write(tmp_path / "q.parquet", LABELS + 0.5, scores, label_name="truth_label"))


def test_without_observers_there_is_no_jet_pt(tmp_path, write, scores):
    assert predictions.read(write(tmp_path / "p.root", LABELS, scores)).jet_pt is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:, :1].copy(), "expected scores"),
        (lambda s: np.where(s > 0.5, np.nan, s), "not probabilities"),
        (lambda s: np.log(s), "not probabilities"),
        (lambda s: s[:, :7].copy(), "_label_ runs from 0 to 9, but there are scores of 7 classes"),
    ],
)
def test_scores_that_are_none(tmp_path, write, scores, change, message):
    path = write(tmp_path / "p.parquet", LABELS, change(scores))
    with pytest.raises(InputError, match=message) as error:
        predictions.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_files_that_weaver_did_not_write(tmp_path, kind):
    import awkward as ak
    import uproot

    path = tmp_path / f"p.{kind}"
    with pytest.raises(InputError, match=f"p.{kind} is not there"):
        predictions.read(path)
    path.write_bytes(b"cut short")
    with pytest.raises(InputError, match=f"p.{kind} cannot be read"):
        predictions.read(path)
    if kind == "root":
        with uproot.recreate(path) as file:
            file.mktree("Events", {"jet_pt": "float64"}).extend({"jet_pt": np.arange(3.0)})
    else:
        ak.to_parquet(ak.Array({"jet_pt": np.arange(3.0)}), path)
    with pytest.raises(InputError, match="not a prediction file of weaver"):
        predictions.read(path)


def test_other_extensions(tmp_path):
    with pytest.raises(InputError, match="end in .root or .parquet"):
        predictions.read(tmp_path / "p.npz")


def test_same_jets(tmp_path, write, scores):
    jet_pt = np.linspace(500, 1000, 60)
    first = predictions.read(write(tmp_path / "a.root", LABELS, scores, jet_pt=jet_pt))
    predictions.check_same_jets(first, predictions.read(write(tmp_path / "b.parquet", LABELS, scores)))
    shuffled = jet_pt.copy()
    shuffled[[7, 17]] = shuffled[[17, 7]]  # two jets of one class
    for path, arguments, message in (
        ("c.root", (np.roll(LABELS, 1), scores), "the first to differ is jet 0"),
        ("d.root", (LABELS, scores, shuffled), "the first to differ is jet 7"),
        ("e.parquet", (LABELS[:50], scores[:50]), r"differ in jets x classes, \(60, 10\) and \(50, 10\)"),
    ):
        labels, probabilities, *pt = arguments
        other = predictions.read(write(tmp_path / path, labels, probabilities, jet_pt=pt[0] if pt else None))
        with pytest.raises(InputError, match=message) as error:
            predictions.check_same_jets(first, other)
        assert first.path in str(error.value) and other.path in str(error.value)


def test_class_order_must_agree(tmp_path, write, scores):
    names = [f"label_{i}" for i in range(10)]
    first = predictions.read(write(tmp_path / "a.root", LABELS, scores, classes=names))
    second = predictions.read(write(tmp_path / "b.root", LABELS, scores, classes=names[::-1]))
    with pytest.raises(InputError, match="a different order or under different names"):
        predictions.check_same_jets(first, second)


def test_class_names(tmp_path, write, scores):
    named = predictions.read(write(tmp_path / "a.root", LABELS, scores))
    nameless = predictions.read(write(tmp_path / "b.parquet", LABELS, scores))
    assert predictions.class_names([nameless, named])[-2:] == ["Tbqq", "Tbl"]
    with pytest.raises(InputError, match="b.parquet holds no class names: give the --data-config of the test run"):
        predictions.class_names([nameless])
    config = tmp_path / "config.yaml"
    inputs = "inputs: {pf_features: {length: 2, vars: [[a, null]]}}\n"
    config.write_text(inputs + f"labels: {{type: simple, value: {named.names}}}")
    assert predictions.class_names([nameless], config)[:2] == ["QCD", "Hbb"]
    config.write_text(inputs + f"labels: {{type: simple, value: {named.names[::-1]}}}")
    with pytest.raises(InputError, match="config.yaml and .*a.root have their classes in a different order"):
        predictions.class_names([nameless, named], config)
    config.write_text(inputs + "labels: {type: custom, value: {truth_label: jet_label}, names: [a, b, c]}")
    with pytest.raises(InputError, match="b.parquet has scores of 10 classes, --data-config .* names 3"):
        predictions.class_names([nameless], config)


def test_sidecar(tmp_path, write_sidecar):
    paths = [tmp_path / "a.root", tmp_path / "b.root"]
    assert predictions.sidecar(paths) == {}
    write_sidecar(paths[1])
    assert predictions.sidecar(paths)["flops"] == 150848
    write_sidecar(paths[0], parameters=1)
    with pytest.raises(InputError, match="b.model.json has another number of parameters"):
        predictions.sidecar(paths)
    (tmp_path / "a.model.json").write_text('{"name": "PFN"}')
    with pytest.raises(InputError, match="a.model.json is not from `kd_trainer complexity`"):
        predictions.sidecar(paths)
