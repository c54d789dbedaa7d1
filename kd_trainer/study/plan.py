"""The YAML of a study, read and checked: which taggers are trained, on what, and how often."""

import itertools
import os
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import yaml

from kd_trainer.errors import InputError

KEYS = {
    "study": ("title", "data", "weaver", "networks", "students", "tiers", "seeds", "teachers", "arms", "baseline",
              "ceiling", "background"),
    "data": ("config", "train", "val", "test"),
    "network": ("network", "options", "training", "distillation"),
    "teacher": ("network", "tier", "seeds", "sample", "weights", "config", "classes"),
    "arm": ("teacher", "labelled", "options", "grid", "students", "tiers", "seeds", "samples"),
}  # fmt: skip
NEEDED = {
    "study": ("data", "networks", "students", "tiers", "seeds", "arms", "baseline"),
    "data": ("config", "train", "val", "test"),
    "network": ("network",),
    "teacher": (),
    "arm": (),
}
LISTS = ("students", "tiers", "seeds", "samples")


class Network(NamedTuple):
    """A network file and how it is trained."""

    file: str
    options: dict  # of the network, as weaver's -o
    training: tuple  # arguments of weaver
    distillation: dict  # options of networks/distill.py for this student, unless an arm says otherwise


class Teacher(NamedTuple):
    """One trained tagger, or an ensemble of several seeds. What is None is that of the student."""

    network: str | None
    tier: str | None
    sample: str | None
    seeds: tuple
    weights: str | None  # an existing checkpoint; then nothing is trained
    config: str | None  # its own data config, if that is none of the study's
    classes: str | None  # YAML with its classes for each of the student's


class Cell(NamedTuple):
    """A student in an arm, trained with several seeds."""

    student: str
    tier: str
    sample: str
    arm: str
    teacher: str | None
    options: dict
    seeds: tuple
    point: dict  # those of the options that come from a grid
    labelled: bool = True  # whether the labels of the training and validation jets are read


class Plan(NamedTuple):
    """A study. `cells` are the students; teachers are in `teachers`."""

    title: str
    data_config: str  # + _<tier>.yaml
    samples: dict  # name: patterns of training files
    val: list
    test: list
    weaver: tuple  # arguments of every training
    networks: dict  # name: Network
    teachers: dict  # name: Teacher
    cells: list
    baseline: str  # the arm on labels alone
    ceiling: str | None  # the teacher that a student is measured against
    background: str | None  # class to reject

    def config(self, tier):
        """Path of the data config of a tier."""
        return f"{self.data_config}_{tier}.yaml"


class _Loader(yaml.SafeLoader):
    """YAML in which a name that is given twice is an error; it would otherwise hide the first."""

    def construct_mapping(self, node, deep=False):
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(name) for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)


def read(path):
    """Read a study.

    Returns
    -------
    Plan

    Raises
    ------
    InputError
        Naming the file and the entry that is wrong.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no study {path}")
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
        return parse(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"study {path} is not valid YAML: {' '.join(str(error).split())}") from None
    except InputError as error:
        raise InputError(f"study {path}: {error}") from None


def parse(content):
    """A Plan from the content of the YAML; see docs/results.md for what its entries mean."""
    _check("study", "the study", content)
    _check("data", "data", content["data"])
    samples = content["data"]["train"]
    if not isinstance(samples, dict) or not samples:
        raise InputError("data: train has to name samples: {all: [patterns]}, the first is that of the teachers")
    networks = {name: _network(name, entry) for name, entry in _named(content, "networks").items()}
    teachers = {name: _teacher(name, entry) for name, entry in _named(content, "teachers").items()}
    defaults = {key: _list(content.get(key), "the study", key) for key in LISTS[:3]} | {"samples": list(samples)[:1]}
    arms = _named(content, "arms")
    parts = [(name, part) for name, entry in arms.items() for part in (entry if isinstance(entry, list) else [entry])]
    cells = [cell for name, part in parts for cell in _cells(name, part, defaults)]
    plan = Plan(
        title=str(content.get("title", "")),
        data_config=_path(content["data"]["config"]),
        samples={str(name): _patterns(patterns, f"train: {name}") for name, patterns in samples.items()},
        val=_patterns(content["data"]["val"], "val"),
        test=_patterns(content["data"]["test"], "test"),
        weaver=_arguments(content.get("weaver", ""), "the study"),
        networks=networks,
        teachers=teachers,
        cells=cells,
        baseline=content["baseline"],
        ceiling=content.get("ceiling"),
        background=content.get("background"),
    )
    _check_references(plan, arms)
    return plan


def _check(kind, where, entry):
    """Raise InputError unless `entry` is a mapping with the entries of its kind and no others."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} has to be a mapping with {', '.join(KEYS[kind])}")
    for name in entry:
        if name not in KEYS[kind]:
            raise InputError(f"{where}: unknown entry '{name}'; valid are: {', '.join(KEYS[kind])}")
    for name in NEEDED[kind]:
        if name not in entry:
            raise InputError(f"{where} lacks the entry '{name}'")


def _named(content, key):
    entries = content.get(key) or {}
    if not isinstance(entries, dict):
        raise InputError(f"{key} has to be a mapping from names")
    return {str(name): {} if entry is None else entry for name, entry in entries.items()}


def _list(values, where, key):
    if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
        raise InputError(f"{where}: {key} has to be a list, not empty and without repetitions")
    if key == "seeds" and not all(isinstance(seed, int) for seed in values):
        raise InputError(f"{where}: seeds are whole numbers")
    return values if key == "seeds" else [str(value) for value in values]


def _path(text):
    path = os.path.expandvars(str(text))
    if "$" in path:
        raise InputError(f"{text}: set that variable in the environment")
    return path


def _patterns(patterns, where):
    if not isinstance(patterns, list) or not patterns:
        raise InputError(f"data: {where} has to be a list of files, as for weaver's --data-train")
    return [_path(pattern) for pattern in patterns]


def _arguments(text, where):
    try:
        return tuple(shlex.split(str(text)))
    except ValueError as error:
        raise InputError(f"{where}: '{text}' cannot be split into arguments of weaver: {error}") from None


def _dict(entry, key, where):
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} has to be a mapping")
    return value


def _network(name, entry):
    where = f"network {name}"
    _check("network", where, entry)
    options, distillation = (_dict(entry, key, where) for key in ("options", "distillation"))
    return Network(_path(entry["network"]), options, _arguments(entry.get("training", ""), where), distillation)


def _teacher(name, entry):
    where = f"teacher {name}"
    _check("teacher", where, entry)
    paths = (_path(entry[key]) if entry.get(key) else None for key in ("weights", "config", "classes"))
    weights, config, classes = paths
    if weights and not (entry.get("network") and (entry.get("tier") or config)):
        raise InputError(f"{where}: weights go with a network and a tier or config")
    if (config or classes) and not weights:
        raise InputError(f"{where}: a data config or classes of its own go with weights")
    seeds = tuple(_list(entry.get("seeds", [1]), where, "seeds"))
    return Teacher(entry.get("network"), entry.get("tier"), entry.get("sample"), seeds, weights, config, classes)


def _cells(name, entry, defaults):
    """The students of an arm, and of each point of its grid: list of Cell."""
    where = f"arm {name}"
    _check("arm", where, entry)
    labelled = entry.get("labelled", True)
    if not isinstance(labelled, bool):
        raise InputError(f"{where}: labelled is {labelled!r}: it must be true or false")
    lists = [_list(entry[key], where, key) if key in entry else defaults[key] for key in LISTS]
    students, tiers, seeds, samples = lists
    grid = {key: _list(values, where, f"grid: {key}") and values for key, values in _dict(entry, "grid", where).items()}
    cells = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values))
        arm = ", ".join([name, *(f"{key} {value}" for key, value in point.items())])
        options = _dict(entry, "options", where) | point
        for student, tier, sample in itertools.product(students, tiers, samples):
            cells.append(Cell(student, tier, sample, arm, entry.get("teacher"), options, tuple(seeds), point, labelled))
    return cells


def _check_references(plan, arms):
    """Raise InputError for a name that stands for nothing, or a comparison that cannot be made."""
    known = {"network": plan.networks, "sample": plan.samples, "teacher": plan.teachers, "arm": arms}

    def need(kind, name, where):
        if name is not None and name not in known[kind]:
            raise InputError(f"{where}: unknown {kind} '{name}'; there are: {', '.join(known[kind]) or 'none'}")

    for name, network in plan.networks.items():
        if not Path(network.file).is_file():
            raise InputError(f"network {name}: there is no file {network.file}")
    for name, teacher in plan.teachers.items():
        need("network", teacher.network, f"teacher {name}")
        need("sample", teacher.sample, f"teacher {name}")
    for cell in plan.cells:
        where = f"arm {cell.arm}"
        need("network", cell.student, where)
        need("sample", cell.sample, where)
        need("teacher", cell.teacher, where)
    need("arm", plan.baseline, "baseline")
    need("teacher", plan.ceiling, "ceiling")
    _check_comparisons(plan)
    for tier in {cell.tier for cell in plan.cells} | {t.tier for t in plan.teachers.values() if t.tier}:
        if not Path(plan.config(tier)).is_file():
            raise InputError(f"tier {tier}: there is no data config {plan.config(tier)}")


def _check_comparisons(plan):
    slugs = {}
    for cell in plan.cells:
        if slugs.setdefault(slug(cell.arm), cell.arm) != cell.arm:
            raise InputError(f"arms {slugs[slug(cell.arm)]} and {cell.arm} would be in one folder, {slug(cell.arm)}")
    for i, cell in enumerate(plan.cells):
        if cell[:4] in (other[:4] for other in plan.cells[:i]):
            raise InputError(f"arm {cell.arm}: {cell.student}, {cell.tier} inputs, sample {cell.sample}: twice")
    twins = {cell[:3]: cell for cell in plan.cells if cell.arm == plan.baseline}
    for cell in plan.cells:
        twin = twins.get(cell[:3])
        if cell.arm == plan.baseline and (cell.teacher or cell.options):
            raise InputError(f"arm {cell.arm} is the baseline, on labels alone: it has neither teacher nor options")
        if twin is None or set(cell.seeds) - set(twin.seeds):
            raise InputError(
                f"arm {cell.arm}: {cell.student} on {cell.tier} inputs, sample {cell.sample}, has no twin with the "
                f"same seeds in the baseline {plan.baseline}"
            )
        alpha = cell.options.get("kd_alpha", 0 if cell.teacher is None else None)
        if cell.teacher is None and alpha != 0:
            raise InputError(f"arm {cell.arm}: kd_alpha is {alpha}, but there is no teacher")
        if not cell.labelled and alpha != 1:
            raise InputError(f"arm {cell.arm}: without labels all is learnt from a teacher: name it, and kd_alpha: 1.0")


def slug(name):
    """A name as a part of a path."""
    return re.sub(r"[^\w.+=]+", "-", name).strip("-")
