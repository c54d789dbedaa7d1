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
    assert list(found.observers) == ["jet_pt"] and np.allclose(found.observers["jet_pt"], jet_pt)
    assert found.label_name == label_name
    if kind == "root" and label_name == "_label_":
        assert found.names[:2] == ["label_QCD", "label_Hbb"]
    else:
        assert found.names is None


def test_a_label_stored_as_float_is_a_class_number(tmp_path, write, scores):
    found = predictions.read(write(tmp_path / "p.parquet", LABELS.astype("f4"), scores, label_name="truth_label"))
    assert found.labels.dtype == int
    with pytest.raises(InputError, match="the label truth_label is not one class number for each jet"):
        predictions.read(write(tmp_path / "q.parquet", LABELS + 0.5, scores, label_name="truth_label"))


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_observers_are_all_numbers_of_a_jet(tmp_path, write, scores, kind):
    assert predictions.read(write(tmp_path / f"p.{kind}", LABELS, scores)).observers == {}
    more = {"event": np.arange(60) + 2**40, "pair": np.zeros((60, 2)), "real": LABELS > 3}
    found = predictions.read(write(tmp_path / f"q.{kind}", LABELS, scores, **more)).observers
    assert set(found) == {"event", "real"} and found["event"][0] == 2**40 and found["real"].dtype == bool


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
    assert not predictions.check_same_jets(first, predictions.read(write(tmp_path / "b.parquet", LABELS, scores)))
    assert predictions.check_same_jets(first, first)
    shuffled = jet_pt.copy()
    shuffled[[7, 17]] = shuffled[[17, 7]]  # two jets of one class
    for path, arguments, message in (
        ("c.root", (np.roll(LABELS, 1), scores), r"the first to differ is jet 0 \(label\)"),
        ("d.root", (LABELS, scores, shuffled), r"the first to differ is jet 7 \(jet_pt\)"),
        ("e.parquet", (LABELS[:50], scores[:50]), r"differ in jets x classes, \(60, 10\) and \(50, 10\)"),
    ):
        labels, probabilities, *pt = arguments
        other = predictions.read(write(tmp_path / path, labels, probabilities, jet_pt=pt[0] if pt else None))
        with pytest.raises(InputError, match=message) as error:
            predictions.check_same_jets(first, other)
        assert first.path in str(error.value) and other.path in str(error.value)


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        (np.arange(60), np.arange(60), True),
        (np.arange(60) + 0.1, (np.arange(60) + 0.1).astype("f4"), True),  # as stored in another format
        (np.where(LABELS, np.arange(60), np.nan), np.where(LABELS, np.arange(60), np.nan), True),
        (np.arange(60) + 2**30, np.arange(60)[::-1] + 2**30, None),  # integers are compared exactly
        (np.arange(60.0), np.where(LABELS, np.arange(60.0), np.nan), None),
        (np.ones(60), np.ones(60), False),
        (np.full(60, np.nan), np.full(60, np.nan), False),
        (LABELS * 0.5, LABELS * 0.5, False),  # says no more than the labels
        (np.arange(60) == 7, np.arange(60) == 7, False),
    ],
)
def test_what_tells_other_jets_with_equal_labels(scores, mine, theirs, told):
    first, second = (predictions.Prediction("a", None, scores, LABELS, "_label_", {"x": x}) for x in (mine, theirs))
    if told is None:
        with pytest.raises(InputError, match=r"do not hold the same jets, the first to differ is jet \d \(x\)"):
            predictions.check_same_jets(first, second)
    else:
        assert predictions.check_same_jets(first, second) is told


def test_the_prediction_with_most_observers_is_the_reference(scores):
    event = np.arange(60)
    a, b, c = (
        predictions.Prediction(name, None, scores, LABELS, "_label_", observers)
        for name, observers in (("a", {}), ("b", {"event": event}), ("c", {"event": event[::-1]}))
    )
    assert predictions.check_all_same_jets([a]) == predictions.check_all_same_jets([b, b]) == ""
    caveat = predictions.check_all_same_jets([a, b])
    assert caveat.startswith("Caution: only the number and the labels of the jets in a could be compared with b.")
    with pytest.raises(InputError, match="b and c do not hold the same jets"):
        predictions.check_all_same_jets([a, b, c])


def rewrite(source, target, order, **changes):
    """A copy of a ROOT file with its branches in another order, some of them with other content."""
    import uproot

    with uproot.open(source) as file:
        columns = file["Events"].arrays(library="np")
    columns = {name: columns[changes.get(name, name)] for name in order(list(columns))}
    with uproot.recreate(target) as file:
        file.mktree("Events", {name: column.dtype for name, column in columns.items()}).extend(columns)
    return target


def test_scores_are_read_by_name(tmp_path, write, scores):
    path = write(tmp_path / "a.root", LABELS, scores)
    moved = rewrite(path, tmp_path / "b.root", lambda names: [*reversed(names[1:20:2]), *names[0:20:2], "_label_"])
    found = predictions.read(moved)
    assert np.array_equal(found.scores, scores) and found.names == predictions.read(path).names
    renamed = {"label_QCD": "label_Hbb", "label_Hbb": "label_QCD"}
    for target, order, changes, name in (("c.root", sorted, {}, "H4q"), ("d.root", list, renamed, "QCD")):
        other = rewrite(path, tmp_path / target, order, **changes)
        with pytest.raises(InputError, match=f"{target}: the column label_{name} is not class 0 of _label_; were the"):
            predictions.read(other)


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


def test_the_sidecar_names_the_classes(tmp_path, write, write_sidecar, scores):
    names = [f"label_{i}" for i in range(10)]
    paths = [write(tmp_path / f"{name}.parquet", LABELS, scores) for name in "ab"]
    write_sidecar(paths[0], classes=names)
    write_sidecar(paths[1], classes=[names[1], names[0], *names[2:]])
    first, second = map(predictions.read, paths)
    assert predictions.class_names([first]) == list("0123456789")
    with pytest.raises(InputError, match="a.parquet and .*b.parquet have their classes in a different order"):
        predictions.check_same_jets(first, second)
    write_sidecar(paths[1], classes=[1, 2])
    with pytest.raises(InputError, match="b.model.json is not from `kd_trainer complexity`"):
        predictions.read(paths[1])


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
