"""The YAML of a study, read and checked: which taggers are trained, on what, and how often."""

import itertools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kd_trainer.errors import InputError
from kd_trainer.study import scripts
from kd_trainer.study.variables import expand

KEYS = {
    "study": ("title", "dataset", "defaults", "settings", "simulate", "samples", "weaver", "models", "students",
              "tiers", "seeds", "teachers", "arms", "baseline", "ceiling", "background", "names", "latency", "report"),
    "model": ("model", "weaver", "settings"),
    "teacher": ("model", "tier", "seeds", "sample", "weights", "config", "classes", "weaver", "settings"),
    "arm": ("teacher", "labelled", "options", "grid", "students", "tiers", "seeds", "samples", "weaver", "settings"),
}  # fmt: skip
NEEDED = ("dataset", "students", "tiers", "seeds", "arms", "baseline")
LISTS = ("students", "tiers", "seeds", "samples")


class Model(NamedTuple):
    """A model of train_scripts/models in a study, and what its trainings are told besides what is there."""

    script: scripts.Script
    name: str  # of the file in train_scripts/models
    arguments: tuple  # of weaver
    settings: dict  # of train_kd.sh


class Teacher(NamedTuple):
    """One trained tagger, or an ensemble of several seeds. What is None is that of the student."""

    model: str | None
    tier: str | None
    sample: str | None
    seeds: tuple
    weights: str | None  # an existing checkpoint; then nothing is trained
    config: str | None  # its own data config, if that is none of the dataset's
    classes: str | None  # YAML with its classes for each of the student's
    arguments: tuple = ()  # of weaver, for its trainings
    settings: dict = {}  # of train_kd.sh


class Cell(NamedTuple):
    """A student in an arm, trained with several seeds."""

    student: str
    tier: str
    sample: str
    arm: str
    teacher: str | None
    options: dict  # of networks/distill.py
    seeds: tuple
    point: dict  # those of the options that come from a grid
    labelled: bool = True  # whether the labels of the training and validation jets are read
    arguments: tuple = ()  # of weaver
    settings: dict = {}  # of train_kd.sh


class Plan(NamedTuple):
    """A study. `cells` are the students; teachers are in `teachers`."""

    path: str  # of the YAML
    variables: dict  # and their values
    title: str
    dataset: scripts.Dataset
    datadir: str
    settings: dict  # of train_kd.sh in every step
    simulate: dict  # folder in `datadir`: arguments of `kd_trainer simulate`, one or several
    samples: dict  # name: patterns of training files
    own_samples: bool  # whether they are those of the dataset
    arguments: tuple  # of every training
    extra: tuple  # the same, of the command line: they override
    models: dict  # name: Model
    teachers: dict  # name: Teacher
    cells: list
    baseline: str  # the arm on labels alone
    ceiling: str | None  # the teacher that a student is measured against
    background: str | None  # class to reject
    names: str  # what the names of runs begin with
    comment: str  # and end with
    latency: tuple | None  # arguments of ./train_kd.sh latency
    report: tuple | None  # those of ./train_kd.sh report; None for the tables of `kd_trainer study`

    @property
    def name(self) -> str:
        """Name of the study, that of its file."""
        return Path(self.path).stem

    def config(self, tier: str) -> str:
        """Path of the data config of a tier."""
        return f"{self.dataset.config}_{tier}.yaml"


class _Loader(yaml.SafeLoader):
    """YAML in which a name that is given twice is an error; it would otherwise hide the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(name) for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)


def read(path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """Read a study.

    Parameters
    ----------
    path : path of the YAML
    environment : values of its variables, before its own `defaults`
    arguments : of weaver, for every training, after those of the study

    Raises
    ------
    InputError
        Naming the file and the entry that is wrong.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no study {path}")
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
        return parse(content, path, environment, arguments)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"study {path} is not valid YAML: {' '.join(str(error).split())}") from None
    except InputError as error:
        raise InputError(f"study {path}: {error}") from None


def parse(content: dict, path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """A Plan from the content of the YAML; see docs/results.md for what its entries mean."""
    _check("study", "the study", content)
    for key in NEEDED:
        if key not in content:
            raise InputError(f"the study lacks the entry '{key}'")
    defaults = {str(key): str(value) for key, value in _dict(content, "defaults", "the study").items()}
    defaults = {"DATADIR": f"datasets/{content['dataset']}", "COMMENT": ""} | defaults
    variables = defaults | {key: value for key, value in environment.items() if value}
    content = expand({key: entry for key, entry in content.items() if key != "defaults"}, variables)
    settings = _settings(content, "the study")
    simulate = {folder: _commands(entry) for folder, entry in _named(content, "simulate").items()}
    for folder in simulate:  # the description of a dataset looks which folders there are
        Path(variables["DATADIR"], folder).mkdir(parents=True, exist_ok=True)
    dataset = scripts.dataset(content["dataset"], settings | {"DATADIR": variables["DATADIR"]})
    samples = _samples(content, dataset)
    lists = {key: _list(content.get(key), "the study", key) for key in LISTS[:3]} | {"samples": list(samples)[:1]}
    arms = _named(content, "arms")
    parts = [(name, part) for name, entry in arms.items() for part in (entry if isinstance(entry, list) else [entry])]
    cells = [cell for name, part in parts for cell in _cells(name, part, lists)]
    teachers = {name: _teacher(name, entry) for name, entry in _named(content, "teachers").items()}
    plan = Plan(
        path=str(path),
        variables={key: variables[key] for key in defaults if variables[key]},
        title=str(content.get("title", "")),
        dataset=dataset,
        datadir=variables["DATADIR"],
        settings=settings,
        simulate=simulate,
        samples=samples,
        own_samples="samples" not in content,
        arguments=_arguments(content, "weaver", "the study"),
        extra=tuple(arguments),
        models=_models(content, cells, teachers),
        teachers=teachers,
        cells=cells,
        baseline=content["baseline"],
        ceiling=content.get("ceiling"),
        background=content.get("background"),
        names=str(content.get("names", f"study_{Path(path).stem}{variables['COMMENT']}/")),
        comment=variables["COMMENT"] if "names" in content else "",
        latency=_arguments(content, "latency", "the study") if "latency" in content else None,
        report=_arguments(content, "report", "the study") if "report" in content else None,
    )
    _check_references(plan, arms)
    return plan


def _check(kind: str, where: str, entry: Any) -> None:
    """Raise InputError unless `entry` is a mapping with entries of its kind and no others."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} has to be a mapping with {', '.join(KEYS[kind])}")
    for name in entry:
        if name not in KEYS[kind]:
            raise InputError(f"{where}: unknown entry '{name}'; valid are: {', '.join(KEYS[kind])}")


def _named(content: dict, key: str) -> dict[str, Any]:
    entries = content.get(key) or {}
    if not isinstance(entries, dict):
        raise InputError(f"{key} has to be a mapping from names")
    return {str(name): {} if entry is None else entry for name, entry in entries.items()}


def _list(values: Any, where: str, key: str) -> list:
    values = values.split() if isinstance(values, str) else values  # as a variable gives them
    if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
        raise InputError(f"{where}: {key} has to be a list, not empty and without repetitions")
    if key != "seeds":
        return [str(value) for value in values]
    if not all(str(seed).isdigit() for seed in values):
        raise InputError(f"{where}: seeds are whole numbers")
    return [int(seed) for seed in values]


def _samples(content: dict, dataset: scripts.Dataset) -> dict[str, list[str]]:
    samples = content.get("samples", {"all": list(dataset.train)})
    if not isinstance(samples, dict) or not samples:
        raise InputError("samples has to name them: {all: [patterns]}, the first is that of the teachers")
    for name, patterns in samples.items():
        if not isinstance(patterns, list) or not patterns:
            raise InputError(f"samples: {name} has to be a list of files, as for weaver's --data-train")
    return {str(name): [str(pattern) for pattern in patterns] for name, patterns in samples.items()}


def _commands(entry: str | list) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(shlex.split(str(text))) for text in (entry if isinstance(entry, list) else [entry]))


def _arguments(entry: dict, key: str, where: str) -> tuple[str, ...]:
    text = str(entry.get(key) or "")
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InputError(f"{where}: '{text}' cannot be split into arguments: {error}") from None


def _dict(entry: dict, key: str, where: str) -> dict:
    value = entry.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} has to be a mapping")
    return value


def _settings(entry: dict, where: str) -> dict[str, str]:
    """Settings of train_kd.sh; one that is a variable without a value is none."""
    return {str(key): str(value) for key, value in _dict(entry, "settings", where).items() if str(value)}


def _models(content: dict, cells: list[Cell], teachers: dict[str, Teacher]) -> dict[str, Model]:
    """The models that a study uses, with what it says of them: {name: Model}."""
    told = _named(content, "models")
    used = [cell.student for cell in cells] + [teacher.model for teacher in teachers.values() if teacher.model]
    models = {}
    for name in dict.fromkeys([*told, *used]):
        entry = told.get(name, {})
        entry = {"weaver": entry} if isinstance(entry, str) else entry
        where = f"model {name}"
        _check("model", where, entry)
        script = str(entry.get("model", name))
        arguments = _arguments(entry, "weaver", where)
        models[name] = Model(scripts.model(script), script, arguments, _settings(entry, where))
    return models


def _teacher(name: str, entry: dict) -> Teacher:
    where = f"teacher {name}"
    _check("teacher", where, entry)
    model, tier, sample, weights, config, classes = (
        str(entry[key]) if entry.get(key) else None
        for key in ("model", "tier", "sample", "weights", "config", "classes")
    )
    if weights and not (model and (tier or config)):
        raise InputError(f"{where}: weights go with a model and a tier or config")
    if (config or classes) and not weights:
        raise InputError(f"{where}: a data config or classes of its own go with weights")
    seeds = tuple(_list(entry.get("seeds", [1]), where, "seeds"))
    more = _arguments(entry, "weaver", where), _settings(entry, where)
    return Teacher(model, tier, sample, seeds, weights, config, classes, *more)


def _cells(name: str, entry: dict, defaults: dict[str, list]) -> list[Cell]:
    """The students of an arm, and of each point of its grid: list of Cell."""
    where = f"arm {name}"
    _check("arm", where, entry)
    labelled = entry.get("labelled", True)
    if not isinstance(labelled, bool):
        raise InputError(f"{where}: labelled is {labelled!r}: it must be true or false")
    lists = [_list(entry[key], where, key) if key in entry else defaults[key] for key in LISTS]
    students, tiers, seeds, samples = lists
    grid = {key: _list(values, where, f"grid: {key}") and values for key, values in _dict(entry, "grid", where).items()}
    more = labelled, _arguments(entry, "weaver", where), _settings(entry, where)
    cells = []
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values))
        arm = ", ".join([name, *(f"{key} {value}" for key, value in point.items())])
        options = _dict(entry, "options", where) | point
        for student, tier, sample in itertools.product(students, tiers, samples):
            cells.append(Cell(student, tier, sample, arm, entry.get("teacher"), options, tuple(seeds), point, *more))
    return cells


def _check_references(plan: Plan, arms: dict) -> None:
    """Raise InputError for a name that stands for nothing, or a comparison that cannot be made."""
    known = {"sample": plan.samples, "teacher": plan.teachers, "arm": arms}

    def need(kind: str, name: str | None, where: str) -> None:
        if name is not None and name not in known[kind]:
            raise InputError(f"{where}: unknown {kind} '{name}'; there are: {', '.join(known[kind]) or 'none'}")

    for name, teacher in plan.teachers.items():
        need("sample", teacher.sample, f"teacher {name}")
    for cell in plan.cells:
        need("sample", cell.sample, f"arm {cell.arm}")
        need("teacher", cell.teacher, f"arm {cell.arm}")
    need("arm", plan.baseline, "baseline")
    need("teacher", plan.ceiling, "ceiling")
    _check_comparisons(plan)
    for tier in {cell.tier for cell in plan.cells} | {t.tier for t in plan.teachers.values() if t.tier}:
        if not Path(plan.config(tier)).is_file():
            raise InputError(f"tier {tier}: there is no data config {plan.config(tier)}")


def _check_comparisons(plan: Plan) -> None:
    slugs: dict[str, str] = {}
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


def slug(name: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^\w.+=]+", "-", name).strip("-")
