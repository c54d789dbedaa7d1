"""Reading and writing of weaver's data configs, and what student, teacher and cache read of a paired one.

A paired config has the input groups and variables of a teacher with the prefix `teacher_`, see `pairing`.
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from weaver.utils.dataset import DataConfig

from kd_trainer import classes, expressions
from kd_trainer.definitions import circle_in, needed_by
from kd_trainer.errors import InputError, one_line
from kd_trainer.files import read_yaml, write_text

Options = dict[str, Any]  # the content of a data config's YAML file

PREFIX = "teacher_"
SECTIONS = {
    dict: ("inputs", "labels", "new_variables", "preprocess", "weights", "bucketing", "branch_magic", "file_magic"),
    list: ("observers", "monitor_variables"),
    str: ("treename", "selection", "test_time_selection"),
}
KINDS = {dict: "a mapping from names", list: "a list", str: "a text"}
STORED = "stored"  # in `preprocess`: the student's inputs, of which the files store some as arrays


def load(path: str | Path) -> Options:
    """Options of a data config, with the values that weaver has computed (`<config>.<md5>.auto.yaml`) if they exist.

    Raises
    ------
    InputError
        If the file is missing, is not a data config, or has a forbidden expression, see `expressions`.
    """
    options = read_yaml(path, "data config")
    auto = Path(path).with_suffix(f".{hashlib.md5(Path(path).read_bytes()).hexdigest()}.auto.yaml")
    if auto.is_file():
        path, options = auto, read_yaml(auto, "data config")
    if not isinstance(options, dict) or not options.get("inputs") or not options.get("labels"):
        raise InputError(f"{path} is not a weaver data config: it has no inputs or no labels")
    trouble = next(_misshapen(options), "")
    if trouble:
        raise InputError(f"data config {path}: {trouble}")
    expressions.check(options, path)
    try:
        circle = circle_in(options.get("new_variables") or {})  # weaver would resolve it for ever
        if circle:
            raise InputError(
                f"data config {path}: `new_variables` goes in a circle ({' -> '.join(circle)}): give these variables "
                "other names than the branches that they are computed from"
            )
        config = DataConfig(print_info=False, **copy.deepcopy(options))
        if not all(isinstance(name, str) for name in config.train_load_branches | config.test_load_branches):
            raise TypeError("a branch must be a name")
    except InputError:
        raise
    except Exception as error:  # weaver relies on the content in many ways, and raises various types
        text = f"{type(error).__name__} {one_line(error)}"
        raise InputError(f"data config {path} cannot be used by weaver: {text}") from None
    return options


def _misshapen(options: Options) -> Iterator[str]:
    """Descriptions of the entries of a data config that have a wrong type."""
    for kind, sections in SECTIONS.items():
        for section in sections:
            if not isinstance(options.get(section), kind | None):
                yield f"`{section}` must be {KINDS[kind]}"
    for section in ("inputs", "new_variables"):
        for name in options.get(section) or ():
            if not isinstance(name, str):
                yield f"{name!r} in `{section}` must be a name"
    for name in [*(options.get("observers") or ()), *(options.get("monitor_variables") or ())]:
        if not isinstance(name, str):
            yield f"{name!r} in `observers` or `monitor_variables` must be a name"
    if not isinstance((options.get("preprocess") or {}).get("params"), dict | None):
        yield "`params` in `preprocess` must be a mapping from names"
    for group, spec in options["inputs"].items():
        if not isinstance(spec, dict) or not isinstance(spec.get("vars"), list) or not spec["vars"]:
            yield f"the group {group} in `inputs` must be a mapping with a list `vars`"
        elif not isinstance(spec.get("length", 0), int | None):
            yield f"`length` of the group {group} in `inputs` must be a whole number"
        elif not all(isinstance(v, str) or isinstance(v, list) and v and isinstance(v[0], str) for v in spec["vars"]):
            yield f"`vars` of the group {group} in `inputs` must be a list of names, or of lists that begin with a name"
    labels = options["labels"]
    if not isinstance(labels.get("value"), list if labels.get("type") == "simple" else dict):
        yield "`labels` needs a `type`, simple or custom, and a `value`: a list of branches, or a mapping from names"
    elif not all(isinstance(name, str) for name in labels["value"]):
        yield "`value` in `labels` must hold names"
    if not isinstance(labels.get("names"), list | None):
        yield "`names` in `labels` must be a list"


def student_view(config: DataConfig) -> DataConfig:
    """The DataConfig without the teacher's input groups, as the student, its checkpoint and its export use it."""
    return without_teacher(DataConfig(print_info=False, **defined(config.options)))


def without_teacher(config: DataConfig) -> DataConfig:
    """The DataConfig without the teacher's input groups; if files store the student's inputs, it reads them there."""
    return _restrict(config, _student_groups(config.inputs), labels=classes.of_student(config.labels))


def _student_groups(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec for name, spec in inputs.items() if not name.startswith(PREFIX)}


def teacher_view(config: DataConfig) -> DataConfig:
    """The DataConfig of the teacher inside a paired one, under the teacher's own names.

    Raises
    ------
    InputError
        If the config holds no teacher inputs.
    """
    return _restrict(config, _teacher_groups(config), strip=PREFIX, labels=classes.of_teacher(config.labels))


def teacher_inputs(config: DataConfig) -> DataConfig:
    """The DataConfig that reads the teacher's inputs of a paired config, under their prefixed names, and the labels."""
    return _restrict(config, _teacher_groups(config), observers=[], monitor_variables=[])


def inputs_to_store(config: DataConfig) -> DataConfig:
    """The DataConfig that makes those inputs of the student that a cache stores as arrays, and the labels."""
    groups = {name: config.inputs[name] for name in stored_groups(stored(config.options))}
    return _restrict(config, groups, observers=[], monitor_variables=[])


def has_teacher(config: DataConfig) -> bool:
    """Whether a DataConfig has inputs for a teacher, or reads its soft targets."""
    return any(name.startswith(PREFIX) for name in config.inputs)


def _teacher_groups(config: DataConfig) -> dict[str, Any]:
    inputs = {k: v for k, v in config.inputs.items() if k.startswith(PREFIX)}
    if not inputs:
        raise InputError(
            "the data config has no inputs for the teacher: "
            "write a paired config with `python -m kd_trainer pair --student CFG --teacher CFG -o DIR`"
        )
    return inputs


def _restrict(config: DataConfig, inputs: Mapping[str, Any], strip: str = "", **changes: Any) -> DataConfig:
    options = {**copy.deepcopy(config.options), **changes}
    options["inputs"] = {
        group.removeprefix(strip): {**spec, "vars": [[v[0].removeprefix(strip), *v[1:]] for v in variables_of(spec)]}
        for group, spec in inputs.items()
    }
    kept = {v[0] for spec in inputs.values() for v in variables_of(spec)}
    params = options["preprocess"].get("params")
    if params is not None:
        options["preprocess"]["params"] = {k.removeprefix(strip): v for k, v in params.items() if k in kept}
    return DataConfig(print_info=False, **options)


def variables_of(spec: Mapping[str, Any]) -> list[list[Any]]:
    """The variables of an input group, each [name, further entries ...]."""
    return [v if isinstance(v, list) else [v] for v in spec["vars"]]


def standardisation(options: Options, whose: str) -> dict[str, Any]:
    """The parameters of all inputs by name; InputError if they have not been computed yet."""
    config = DataConfig(print_info=False, **copy.deepcopy(options))
    if config._missing_standardization_info:
        raise InputError(
            f"the {whose}'s data config asks for automatic standardisation that has not been computed: "
            "run make_weight with that config first"
        )
    return config.preprocess_params


def complete(options: Options) -> Options:
    """Options of a student's config with the defaults of omitted sections, as `pair` writes them."""
    preprocess = {"method": "manual", "params": standardisation(options, "student")}
    return {**options, "new_variables": options.get("new_variables") or {}, "preprocess": preprocess}


def cached(paired: Options, groups: Mapping[str, Any]) -> Options:
    """Options of the config that reads the student's inputs and the soft targets from the files of a cache.

    They are made of the paired config of the cache and the input groups of the soft targets, named with the prefix.
    """
    config = copy.deepcopy(paired)
    for section in (config["new_variables"], config["inputs"], config["preprocess"]["params"]):
        for name in [name for name in section if name.startswith(PREFIX)]:
            del section[name]
    config["inputs"].update(groups)
    config["preprocess"]["params"].update(
        DataConfig(print_info=False, inputs=groups, labels=config["labels"]).preprocess_params
    )
    for key in ("treename", "branch_magic", "file_magic"):  # they describe the input files of the cache
        config.pop(key, None)
    return config


def stored(options: Options) -> Options:
    """Options of the config that reads the student's inputs from files that store them as arrays.

    An input group stays as it is if one of its variables draws random numbers or differs between training and
    evaluation.
    """
    student, params = _student_groups(options["inputs"]), options["preprocess"]["params"]
    kept = {name: spec for name, spec in options["inputs"].items() if name not in student or _changes(spec, options)}
    names = {v[0] for spec in kept.values() for v in variables_of(spec)}
    return {
        **options,
        "inputs": kept,
        "preprocess": {
            **options["preprocess"],
            "params": {name: value for name, value in params.items() if name in names},
            STORED: {"inputs": student, "params": {k: v for k, v in params.items() if not k.startswith(PREFIX)}},
        },
    }


def _changes(spec: Mapping[str, Any], options: Options) -> bool:
    """Whether a jet can have different values of an input group."""
    definitions = options.get("new_variables") or {}
    needed, others = needed_by([v[0] for v in variables_of(spec)], definitions)
    return "aux_training_" in others or any("random" in str(definitions[name]) for name in needed)


def stored_groups(options: Options) -> list[str]:
    """Names of the input groups that a config of `stored` reads as arrays; other configs have none."""
    return [name for name in options["preprocess"].get(STORED, {}).get("inputs", {}) if name not in options["inputs"]]


def defined(options: Options) -> Options:
    """The reverse of `stored`; options of other configs do not change."""
    preprocess = dict(options.get("preprocess") or {})
    if STORED not in preprocess:
        return options
    student = preprocess.pop(STORED)
    preprocess["params"] = {**student["params"], **preprocess["params"]}
    return {**options, "inputs": {**student["inputs"], **options["inputs"]}, "preprocess": preprocess}


def write(options: Options, path: str | Path, header: str) -> None:
    """Write a data config atomically: a reader finds the whole file or no file."""
    text = yaml.safe_dump(options, sort_keys=False)
    write_text(path, f"# {header}; made by kd_trainer, do not edit\n{text}")
