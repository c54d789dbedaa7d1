"""The YAML of a study, read and checked: which taggers are trained, on what, and how often."""

import itertools
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from kd_trainer.errors import InputError
from kd_trainer.study import scripts
from kd_trainer.study.variables import expand

NEEDED = ("dataset", "students", "tiers", "seeds", "arms", "baseline")
LISTS = ("students", "tiers", "seeds", "samples")


def _text(value: Any, where: str) -> str:
    return str(value)


def _words(value: Any, where: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(str(value)))
    except ValueError as error:
        raise InputError(f"{where}: '{value}' cannot be split into arguments: {error}") from None


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} has to be a mapping from names")
    return {str(name): {} if entry is None else entry for name, entry in value.items()}


def _settings(value: Any, where: str) -> dict[str, str]:
    """Settings of train_kd.sh; one that is a variable without a value is none."""
    return {name: str(text) for name, text in _map(value, where).items() if str(text)}


def _list(value: Any, where: str) -> list:
    values = value.split() if isinstance(value, str) else value  # as a variable gives them
    if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
        raise InputError(f"{where} has to be a list, not empty and without repetitions")
    return values


def _names(value: Any, where: str) -> list[str]:
    return [str(name) for name in _list(value, where)]


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    seeds = _names(value, where)
    if not all(map(str.isdigit, seeds)):
        raise InputError(f"{where} are whole numbers")
    return tuple(map(int, seeds))


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where} is {value!r}: it must be true or false")
    return value


READERS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "study": {
        "title": _text, "dataset": _text, "settings": _settings, "simulate": _map, "samples": _map, "weaver": _words,
        "models": _map, "students": _names, "tiers": _names, "seeds": _seeds, "teachers": _map, "arms": _map,
        "baseline": _text, "ceiling": _text, "background": _text, "names": _text, "latency": _words, "report": _words,
    },
    "model": {"model": _text, "weaver": _words, "settings": _settings},
    "teacher": {
        "model": _text, "tier": _text, "sample": _text, "seeds": _seeds, "weights": _text, "config": _text,
        "classes": _text, "weaver": _words, "settings": _settings,
    },
    "arm": {
        "teacher": _text, "labelled": _bool, "options": _map, "grid": _map, "students": _names, "tiers": _names,
        "seeds": _seeds, "samples": _names, "weaver": _words, "settings": _settings,
    },
}  # fmt: skip


def _read(kind: str, where: str, entry: Any) -> dict[str, Any]:
    """A mapping of the YAML, each entry read as READERS say, and no others."""
    known = READERS[kind]
    if not isinstance(entry, dict):
        raise InputError(f"{where} has to be a mapping with {', '.join(known)}")
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: unknown entry '{key}'; valid are: {', '.join(known)}")
    return {key: known[key](value, f"{where}: {key}") for key, value in entry.items() if value is not None}


class Model(NamedTuple):
    """A model of train_scripts/models in a study, and what its trainings are told besides what is there."""

    script: scripts.Script
    weaver: tuple = ()  # arguments
    settings: dict = {}  # of train_kd.sh

    @property
    def name(self) -> str:
        """Of its file in train_scripts/models."""
        return Path(self.script.path).stem


class Teacher(NamedTuple):
    """One trained tagger, or an ensemble of several seeds. What is empty is that of the student."""

    model: str = ""
    tier: str = ""
    sample: str = ""  # or the first of the study for a teacher with a model of its own
    seeds: tuple = (1,)
    weights: str = ""  # an existing checkpoint; then nothing is trained
    config: str = ""  # its own data config, if that is none of the dataset's
    classes: str = ""  # YAML with its classes for each of the student's
    weaver: tuple = ()  # arguments, for its trainings
    settings: dict = {}  # of train_kd.sh


class Cell(NamedTuple):
    """A student in an arm, trained with several seeds; with one of them it is one training."""

    student: str
    tier: str
    sample: str
    arm: str  # '' for a teacher that is no student of the study
    seeds: tuple
    teacher: str | None = None
    options: dict = {}  # of networks/distill.py
    point: dict = {}  # those of the options that come from a grid
    labelled: bool = True  # whether the labels of the training and validation jets are read
    weaver: tuple = ()  # arguments
    settings: dict = {}  # of train_kd.sh

    @property
    def runs(self) -> "list[Cell]":
        """Its trainings: one a seed."""
        return [self._replace(seeds=(seed,)) for seed in self.seeds]

    @property
    def seed(self) -> int:
        """That of one training."""
        return self.seeds[0]


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
    weaver: tuple  # arguments of every training
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


def parse(content: Any, path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """A Plan from the content of the YAML; see docs/results.md for what its entries mean."""
    content = _map(content, "the study")
    for key in NEEDED:
        if key not in content:
            raise InputError(f"the study lacks the entry '{key}'")
    defaults = {"DATADIR": f"datasets/{content['dataset']}", "COMMENT": ""}
    defaults |= {key: str(value) for key, value in _map(content.pop("defaults", {}), "defaults").items()}
    variables = defaults | {key: value for key, value in environment.items() if value}
    study = _read("study", "the study", expand(content, variables))
    settings, datadir = study.get("settings", {}), variables["DATADIR"]
    simulate = {
        folder: tuple(_words(text, f"simulate: {folder}") for text in (entry if isinstance(entry, list) else [entry]))
        for folder, entry in study.get("simulate", {}).items()
    }
    for folder in simulate:  # the description of a dataset looks which folders there are
        Path(datadir, folder).mkdir(parents=True, exist_ok=True)
    dataset = scripts.dataset(study["dataset"], settings | {"DATADIR": datadir})
    samples = study.get("samples") or {"all": list(dataset.train)}  # the first is that of the teachers
    samples = {name: _names(patterns, f"samples: {name}") for name, patterns in samples.items()}
    lists = {key: study[key] for key in LISTS[:3]} | {"samples": list(samples)[:1]}
    parts = [(name, part) for name, entry in study["arms"].items()
             for part in (entry if isinstance(entry, list) else [entry])]  # fmt: skip
    cells = [cell for name, part in parts for cell in _cells(name, part, lists)]
    teachers = {name: _teacher(name, entry) for name, entry in study.get("teachers", {}).items()}
    models = study.get("models", {})
    used = [*models, *(cell.student for cell in cells), *(of.model for of in teachers.values() if of.model)]
    plan = Plan(
        path=str(path),
        variables={key: variables[key] for key in defaults if variables[key]},
        title=study.get("title", ""),
        dataset=dataset,
        datadir=datadir,
        settings=settings,
        simulate=simulate,
        samples=samples,
        own_samples="samples" not in study,
        weaver=study.get("weaver", ()),
        extra=tuple(arguments),
        models={name: _model(name, models.get(name, {})) for name in dict.fromkeys(used)},
        teachers=teachers,
        cells=cells,
        baseline=study["baseline"],
        ceiling=study.get("ceiling"),
        background=study.get("background"),
        names=study.get("names", f"study_{Path(path).stem}{variables['COMMENT']}/"),
        comment=variables["COMMENT"] if "names" in study else "",
        latency=study.get("latency"),
        report=study.get("report"),
    )
    _check_references(plan, study["arms"])
    return plan


def _model(name: str, entry: dict | str) -> Model:
    told = _read("model", f"model {name}", {"weaver": entry} if isinstance(entry, str) else entry)
    return Model(scripts.model(told.pop("model", name)), **told)


def _teacher(name: str, entry: dict) -> Teacher:
    of = Teacher(**_read("teacher", f"teacher {name}", entry))
    if of.weights and not (of.model and (of.tier or of.config)):
        raise InputError(f"teacher {name}: weights go with a model and a tier or config")
    if (of.config or of.classes) and not of.weights:
        raise InputError(f"teacher {name}: a data config or classes of its own go with weights")
    return of


def _cells(name: str, entry: dict, defaults: dict[str, Any]) -> list[Cell]:
    """The students of an arm, and of each point of its grid: list of Cell."""
    told = _read("arm", f"arm {name}", entry)
    students, tiers, seeds, samples = (told.pop(key, defaults[key]) for key in LISTS)
    options, grid = told.pop("options", {}), told.pop("grid", {})
    cells = []
    for values in itertools.product(*(_list(values, f"arm {name}: grid: {key}") for key, values in grid.items())):
        point = dict(zip(grid, values))
        arm = ", ".join([name, *(f"{key} {value}" for key, value in point.items())])
        for student, tier, sample in itertools.product(students, tiers, samples):
            cells.append(Cell(student, tier, sample, arm, seeds, options=options | point, point=point, **told))
    return cells


def _check_references(plan: Plan, arms: dict) -> None:
    """Raise InputError for a name that stands for nothing, or a comparison that cannot be made."""
    known = {"sample": plan.samples, "teacher": plan.teachers, "arm": arms}

    def need(kind: str, name: str | None, where: str) -> None:
        if name is not None and name not in known[kind]:
            raise InputError(f"{where}: unknown {kind} '{name}'; there are: {', '.join(known[kind]) or 'none'}")

    for name, of in plan.teachers.items():
        need("sample", of.sample or None, f"teacher {name}")
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
