"""Reading of weaver's prediction files (ROOT or parquet), and the check that they hold the same jets."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.classes import names_of, shown
from kd_trainer.errors import InputError
from kd_trainer.files import from_json, reading

SIMPLE_LABEL = "_label_"  # weaver's name of the label of type `simple`
SIDECAR_KEYS = {"name": str, "network": str, "options": dict, "data_config": str, "parameters": int, "flops": int,
                "particles": int}  # fmt: skip


class Prediction(NamedTuple):
    """One prediction file. `names` is None for formats that hold none; so is `jet_pt` when not observed."""

    path: str
    names: list[str] | None
    scores: np.ndarray  # (N, K) probabilities
    labels: np.ndarray  # (N,)
    label_name: str
    jet_pt: np.ndarray | None  # (N,) GeV


# names of the classes, scores, labels, name of the label, jet_pt
Columns = tuple[list[str] | None, np.ndarray, np.ndarray, str, np.ndarray | None]


def _columns_of_root(path: str | Path) -> Columns:
    """Branches that `save_root` writes: scores a class for simple labels, an array `output` for custom ones."""
    import uproot

    with uproot.open(path) as file:
        trees = file.keys(filter_classname="TTree", cycle=False)
        if not trees:
            raise InputError(f"{path} holds no tree: not a prediction file of weaver")
        tree = file[trees[0]]
        fields = tree.keys()
        names = [name for name in fields if f"score_{name}" in fields]
        if names:
            wanted, label_name = [f"score_{name}" for name in names], SIMPLE_LABEL
        elif "output" in fields:
            wanted, label_name = ["output"], _label_after(path, fields, "output")
        else:
            raise InputError(f"{path} has neither branches score_<class> nor 'output': not a prediction file of weaver")
        if label_name not in fields:
            raise InputError(f"{path} has no branch '{label_name}': not a prediction file of weaver")
        arrays = tree.arrays([*wanted, label_name, *({"jet_pt"} & set(fields))], library="np")
    scores = np.stack([arrays[name] for name in wanted], axis=1) if names else arrays["output"]
    return names or None, scores, arrays[label_name], label_name, arrays.get("jet_pt")


def _columns_of_parquet(path: str | Path) -> Columns:
    """Columns that `save_parquet` writes: `scores` without class names."""
    import awkward as ak
    import pyarrow.parquet

    fields = pyarrow.parquet.read_schema(path).names
    if "scores" not in fields:
        raise InputError(f"{path} has no column 'scores': not a prediction file of weaver")
    label_name = _label_after(path, fields, "scores")
    array = ak.from_parquet(path, columns=["scores", label_name, *({"jet_pt"} & set(fields))])
    try:
        columns = {name: ak.to_numpy(array[name]) for name in array.fields}
    except ValueError:
        raise InputError(f"{path}: the scores are not one list of K numbers a jet") from None
    return None, columns["scores"], columns[label_name], label_name, columns.get("jet_pt")


def _label_after(path: str | Path, fields: Sequence[str], scores: str) -> str:
    """Name of the true class: weaver writes the labels right after the scores, then the observers."""
    following = fields[fields.index(scores) + 1 :]
    if not following:
        raise InputError(f"{path} has no label after '{scores}': not a prediction file of weaver")
    return SIMPLE_LABEL if SIMPLE_LABEL in following else following[0]


def read(path: str | Path) -> Prediction:
    """Read one prediction file.

    Returns
    -------
    Prediction

    Raises
    ------
    InputError
        When the file is not there, not written by weaver, or its scores are not probabilities.
    """
    readers = {".root": _columns_of_root, ".parquet": _columns_of_parquet}
    if Path(path).suffix not in readers:
        raise InputError(f"{path}: prediction files end in .root or .parquet")
    if not Path(path).is_file():
        raise InputError(f"{path} is not there")
    with reading(path):
        names, scores, labels, label_name, jet_pt = readers[Path(path).suffix](path)
    if len(labels) == 0:
        raise InputError(f"{path} holds no jets")
    if not {scores.dtype.kind, labels.dtype.kind} <= set("fiub"):
        raise InputError(f"{path}: scores and labels ({label_name}) have to be numbers, as many for each jet")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise InputError(f"{path}: expected scores (N, K) of a classifier, got {scores.shape}")
    if labels.ndim != 1 or (labels != labels.astype(int)).any():
        raise InputError(f"{path}: the label {label_name} is not one class number a jet")
    labels = labels.astype(int)  # weaver keeps the type in the input files, a float in some
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise InputError(f"{path}: the scores are not probabilities (NaN, infinite or negative ones among them)")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        found = f"{labels.min()} to {labels.max()}"
        raise InputError(f"{path}: {label_name} runs from {found}, but there are scores of {scores.shape[1]} classes")
    return Prediction(str(path), names, scores, labels, label_name, jet_pt)


def check_same_jets(first: Prediction, second: Prediction) -> None:
    """Raise InputError unless two predictions hold the same jets in the same order (labels and, when there, jet_pt)."""
    advice = "predict with all models on the same test files, in one order (same --data-test and --num-workers)"
    both = f"{first.path} and {second.path}"
    if first.scores.shape != second.scores.shape:
        raise InputError(f"{both} differ in jets x classes, {first.scores.shape} and {second.scores.shape}: {advice}")
    differ = first.labels != second.labels
    if first.jet_pt is not None and second.jet_pt is not None:
        differ = differ | ~np.isclose(first.jet_pt, second.jet_pt, rtol=1e-5)
    if differ.any():
        raise InputError(f"{both} do not hold the same jets, the first to differ is jet {np.argmax(differ)}: {advice}")
    if first.names and second.names and first.names != second.names:
        raise InputError(f"{both} have their classes in a different order or under different names")


def class_names(predictions: Sequence[Prediction], data_config: str | Path | None = None) -> list[str]:
    """Names of the K classes as shown, from the data config or from the first file that holds them."""
    found = {p.path: p.names for p in predictions if p.names}
    if data_config:
        from kd_trainer import configs  # imports torch, which most reports do without

        names = names_of(configs.load(data_config)["labels"])
        found = {f"--data-config {data_config}": names, **found} if names else found
    if not found:
        raise InputError(f"{predictions[0].path} holds no class names: give the --data-config of the test run")
    (origin, names), *others = found.items()
    n_classes = predictions[0].scores.shape[1]
    if len(names) != n_classes:
        raise InputError(f"{predictions[0].path} has scores of {n_classes} classes, {origin} names {len(names)}")
    for other, theirs in others:
        if theirs != names:
            raise InputError(f"{origin} and {other} have their classes in a different order or under different names")
    return [shown(name) for name in names]


def sidecar(paths: Iterable[str | Path]) -> dict[str, Any]:
    """What `complexity` wrote beside prediction files of a model (`pred.root` -> `pred.model.json`), or {}."""
    found: dict[str, Any] = {}
    for path in paths:
        beside = Path(path).with_suffix(".model.json")
        if not beside.is_file():
            continue
        try:
            content = from_json(beside.read_text(encoding="utf-8"))
            content = {key: content[key] for key in SIDECAR_KEYS}
            for key, kind in SIDECAR_KEYS.items():
                if not isinstance(content[key], kind):
                    raise TypeError(f"{key} is {content[key]!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{beside} is not from `kd_trainer complexity` ({error!r}): write it again") from error
        if found and content["parameters"] != found["parameters"]:
            raise InputError(f"{beside} has another number of parameters than its fellows: not seeds of one model")
        found = content
    return found
