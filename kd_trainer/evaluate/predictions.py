"""Reading of weaver's prediction files (ROOT or parquet), and the check that they contain the same jets."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.classes import names_of, shown
from kd_trainer.errors import InputError
from kd_trainer.files import from_json, reading

SIMPLE_LABEL = "_label_"  # weaver's name of the label of type `simple`
SIDECAR_KEYS = {"name": str, "network": str, "options": dict, "data_config": str, "parameters": int, "flops": int,
                "particles": int}  # fmt: skip
NUMERIC = "iufb"  # kinds of dtypes of observers that are compared


class Prediction(NamedTuple):
    """One prediction file. `names` is None if neither the file nor its sidecar contains the names of the classes."""

    path: str
    names: list[str] | None
    scores: np.ndarray  # (N, K) probabilities
    labels: np.ndarray  # (N,)
    label_name: str
    observers: Mapping[str, np.ndarray]  # {name: (N,)}: all other numbers of each jet in the file


# names of the classes, scores, labels, name of the label, observers
Columns = tuple[list[str] | None, np.ndarray, np.ndarray, str, dict[str, np.ndarray]]


def _columns_of_root(path: str | Path) -> Columns:
    """Columns written by `save_root`: one score branch for each class with simple labels, else an array `output`."""
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
        columns = [key for key in fields if _is_number(tree[key].interpretation) and key not in {*wanted, *names}]
        arrays = tree.arrays(list({*wanted, label_name, *columns}), library="np")
        labels = arrays[label_name]
        for number, name in enumerate(names if labels.dtype != object else []):
            if (tree[name].array(library="np") != (labels == number)).any():
                reason = "were the columns of the classes renamed or reordered?"
                raise InputError(f"{path}: the column {name} is not class {number} of {label_name}; {reason}")
    scores = np.stack([arrays[name] for name in wanted], axis=1) if names else arrays["output"]
    return names or None, scores, labels, label_name, {key: arrays[key] for key in columns if key != label_name}


def _is_number(interpretation: Any) -> bool:
    """Whether a branch has one number for each jet, from uproot's interpretation."""
    dtype = getattr(interpretation, "to_dtype", None)  # None for strings, lists and objects
    return dtype is not None and not dtype.shape and dtype.kind in NUMERIC


def _columns_of_parquet(path: str | Path) -> Columns:
    """Columns written by `save_parquet`: `scores` without class names."""
    import awkward as ak
    import pyarrow.parquet
    from pyarrow.types import is_boolean, is_floating, is_integer

    schema = pyarrow.parquet.read_schema(path)
    fields = schema.names
    if "scores" not in fields:
        raise InputError(f"{path} has no column 'scores': not a prediction file of weaver")
    label_name = _label_after(path, fields, "scores")
    numbers = [f.name for f in schema if is_boolean(f.type) or is_floating(f.type) or is_integer(f.type)]
    array = ak.from_parquet(path, columns=list({"scores", label_name, *numbers}))
    try:
        columns = {name: ak.to_numpy(array[name]) for name in array.fields}
    except ValueError:
        raise InputError(f"{path}: the scores are not one list of K numbers for each jet") from None
    observers = {key: columns[key] for key in numbers if key != label_name}
    return None, columns["scores"], columns[label_name], label_name, observers


def _label_after(path: str | Path, fields: Sequence[str], scores: str) -> str:
    """Name of the label column: weaver writes the labels directly after the scores, then the observers."""
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
        If the file is missing or not written by weaver, or if its scores are not probabilities.
    """
    readers = {".root": _columns_of_root, ".parquet": _columns_of_parquet}
    if Path(path).suffix not in readers:
        raise InputError(f"{path}: prediction files end in .root or .parquet")
    if not Path(path).is_file():
        raise InputError(f"{path} is not there")
    with reading(path):
        names, scores, labels, label_name, observers = readers[Path(path).suffix](path)
    if len(labels) == 0:
        raise InputError(f"{path} holds no jets")
    if not {scores.dtype.kind, labels.dtype.kind} <= set("fiub"):
        raise InputError(f"{path}: scores and labels ({label_name}) must be numbers, equally many for each jet")
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise InputError(f"{path}: expected scores (N, K) of a classifier, got {scores.shape}")
    if labels.ndim != 1 or (labels != labels.astype(int)).any():
        raise InputError(f"{path}: the label {label_name} is not one class number for each jet")
    labels = labels.astype(int)  # weaver keeps the type of the input files, which may be float
    if not np.isfinite(scores).all() or scores.min() < 0:
        raise InputError(f"{path}: the scores are not probabilities (NaN, infinite or negative ones among them)")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        found = f"{labels.min()} to {labels.max()}"
        raise InputError(f"{path}: {label_name} runs from {found}, but there are scores of {scores.shape[1]} classes")
    return Prediction(str(path), names or _beside(path).get("classes"), scores, labels, label_name, observers)


def _differ(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N,) mask of jets for which two columns differ: integers exactly, others by more than their precision."""
    if "f" not in first.dtype.kind + second.dtype.kind:
        return first != second
    return ~np.isclose(first, second, rtol=1e-5, atol=0, equal_nan=True)


def _tells_apart(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether most values (N,) differ from that of another jet of the same class, unlike constants and labels."""
    of_class = np.zeros(labels.max() + 1, values.dtype)
    of_class[labels] = values
    return bool(_differ(values, of_class[labels]).mean() > 0.5)


def check_same_jets(first: Prediction, second: Prediction) -> bool:
    """Compare the labels and all common observers of two predictions, jet by jet.

    Returns
    -------
    bool
        Whether an observer distinguishes the jets of a class. If not, the files may have other jets with equal labels.

    Raises
    ------
    InputError
        If the files have different jets, the same jets in another order, or different classes.
    """
    advice = "predict with all models on the same test files, in one order (same --data-test and --num-workers)"
    both = f"{first.path} and {second.path}"
    if first.names and second.names and first.names != second.names:
        raise InputError(f"{both} have their classes in a different order or under different names")
    if first.scores.shape != second.scores.shape:
        raise InputError(f"{both} differ in jets x classes, {first.scores.shape} and {second.scores.shape}: {advice}")
    shared = [name for name in first.observers if name in second.observers]
    columns = {name: (first.observers[name], second.observers[name]) for name in shared}
    for name, pair in {"label": (first.labels, second.labels), **columns}.items():
        differ = _differ(*pair)
        if differ.any():
            where = f"the first to differ is jet {np.argmax(differ)} ({name})"
            raise InputError(f"{both} do not hold the same jets, {where}: {advice}")
    return any(_tells_apart(first.observers[name], first.labels) for name in shared)


def check_all_same_jets(predictions: Sequence[Prediction]) -> str:
    """`check_same_jets` of all with the one with most observers; a sentence on unverified files, or ''."""
    reference = max(predictions, key=lambda prediction: len(prediction.observers))
    unknown = [p.path for p in predictions if not check_same_jets(reference, p) and p is not reference]
    if not unknown:
        return ""
    return (
        f"Caution: only the number and the labels of the jets in {', '.join(unknown)} could be compared with "
        f"{reference.path}. Ratios and their uncertainties need the same jets. Name `observers` (jet_pt) in the data "
        "configs: they are compared jet by jet."
    )


def class_names(predictions: Sequence[Prediction], data_config: str | Path | None = None) -> list[str]:
    """Names of the K classes as shown, from the data config or from the first file that contains them."""
    found = {p.path: p.names for p in predictions if p.names}
    if data_config:
        from kd_trainer import configs  # imports torch, which most reports do not need

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


def _beside(path: str | Path) -> dict[str, Any]:
    """The output of `complexity` beside a prediction file (`pred.root` -> `pred.model.json`), or {}."""
    beside = Path(path).with_suffix(".model.json")
    if not beside.is_file():
        return {}
    try:
        content = from_json(beside.read_text(encoding="utf-8"))
        classes = content.get("classes")
        if classes is not None and not all(isinstance(name, str) for name in classes):
            raise TypeError(f"classes is {classes!r}")
        for key, kind in SIDECAR_KEYS.items():
            if not isinstance(content[key], kind):
                raise TypeError(f"{key} is {content[key]!r}")
        return {**{key: content[key] for key in SIDECAR_KEYS}, "classes": classes}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{beside} is not from `kd_trainer complexity` ({error!r}): write it again") from error


def sidecar(paths: Iterable[str | Path]) -> dict[str, Any]:
    """The output of `complexity` for a model, from the files beside the predictions of its seeds, or {}."""
    found: dict[str, Any] = {}
    for path in paths:
        content = _beside(path)
        if found and content and content["parameters"] != found["parameters"]:
            beside = Path(path).with_suffix(".model.json")
            raise InputError(f"{beside} has another number of parameters than the other seeds: give seeds of one model")
        found = content or found
    return found
