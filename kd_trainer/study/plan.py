"""The YAML of a study, read and checked: which taggers are trained, on what, and how often."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kd_trainer.errors import InputError
from kd_trainer.files import read_yaml
from kd_trainer.study import entries, scripts
from kd_trainer.study.variables import expand

NEEDED = ("dataset", "students", "tiers", "seeds", "arms", "baseline")
LISTS = ("students", "tiers", "seeds", "samples")
SAME = "same"  # sample of a teacher: that of its student


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
    sample: str = ""  # or the first of the study for a teacher with a model of its own; SAME
    seeds: tuple = (1,)
    weights: str = ""  # an existing checkpoint; then nothing is trained
    config: str = ""  # its own data config, if that is none of the dataset's
    classes: str = ""  # YAML with its classes for each of the student's
    arm: str = ""  # it is the student of that arm
    blend: tuple = ()  # or several of the teachers, as (name, weight)
    weaver: tuple = ()  # arguments, for its trainings
    settings: dict = {}  # of train_kd.sh


class Pretraining(NamedTuple):
    """A contrastive training of a student's own model and tier, on the jets of a sample without their labels."""

    sample: str
    seeds: tuple = (1,)  # a training with one of them begins with that one, others with the first
    weaver: tuple = ()  # arguments
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
    unlabelled: str = ""  # sample that is learnt from without labels besides
    pretrained: str = ""  # the pre-training that it begins from
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
    pretrainings: dict  # name: Pretraining
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
    content = read_yaml(path, "study", entries.Loader)
    try:
        return parse(content, path, environment, arguments)
    except InputError as error:
        raise InputError(f"study {path}: {error}") from None


def parse(content: Any, path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """A Plan from the content of the YAML; see docs/howto/studies.md for what its entries mean."""
    content = entries.mapping(content, "the study")
    for key in NEEDED:
        if key not in content:
            raise InputError(f"the study lacks the entry '{key}'")
    defaults = {"DATADIR": f"datasets/{content['dataset']}", "COMMENT": ""}
    defaults |= {key: str(value) for key, value in entries.mapping(content.pop("defaults", {}), "defaults").items()}
    variables = defaults | {key: value for key, value in environment.items() if value}
    study = entries.read("study", "the study", expand(content, variables))
    settings, datadir = study.get("settings", {}), variables["DATADIR"]
    simulate = {
        folder: tuple(entries.words(text, f"simulate: {folder}") for text in _parts(entry))
        for folder, entry in study.get("simulate", {}).items()
    }
    for folder in simulate:  # the description of a dataset looks which folders there are
        Path(datadir, folder).mkdir(parents=True, exist_ok=True)
    dataset = scripts.dataset(study["dataset"], settings | {"DATADIR": datadir})
    samples = study.get("samples") or {"all": list(dataset.train)}  # the first is that of the teachers
    samples = {name: entries.names(patterns, f"samples: {name}") for name, patterns in samples.items()}
    lists = {key: study[key] for key in LISTS[:3]} | {"samples": list(samples)[:1]}
    parts = [(name, part) for name, entry in study["arms"].items() for part in _parts(entry)]
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
        pretrainings={name: _pretraining(name, of) for name, of in study.get("pretrainings", {}).items()},
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


def _parts(entry: Any) -> list:
    return entry if isinstance(entry, list) else [entry]


def _model(name: str, entry: dict | str) -> Model:
    told = entries.read("model", f"model {name}", {"weaver": entry} if isinstance(entry, str) else entry)
    return Model(scripts.model(told.pop("model", name)), **told)


def _pretraining(name: str, entry: dict) -> Pretraining:
    told = entries.read("pretraining", f"pretraining {name}", entry)
    if "sample" not in told:
        raise InputError(f"pretraining {name}: name the sample that it learns from")
    return Pretraining(**told)


def _teacher(name: str, entry: dict) -> Teacher:
    of = Teacher(**entries.read("teacher", f"teacher {name}", entry))
    if of.weights and not (of.model and (of.tier or of.config)):
        raise InputError(f"teacher {name}: weights go with a model and a tier or config")
    if (of.config or of.classes) and not of.weights:
        raise InputError(f"teacher {name}: a data config or classes of its own go with weights")
    if of.arm and not of.model:
        raise InputError(f"teacher {name}: it is a student of the arm {of.arm}: say which with model")
    if of.blend and of != Teacher(blend=of.blend):
        raise InputError(f"teacher {name}: a blend is made of other teachers: it has no entry besides")
    return of


def _cells(name: str, entry: dict, defaults: dict[str, Any]) -> list[Cell]:
    """The students of an arm, and of each point of its grid: list of Cell."""
    told = entries.read("arm", f"arm {name}", entry)
    students, tiers, seeds, samples = (told.pop(key, defaults[key]) for key in LISTS)
    options, grid, unlabelled = told.pop("options", {}), told.pop("grid", {}), told.pop("unlabelled", [""])
    scanned = [entries.several(values, f"arm {name}: grid: {key}") for key, values in grid.items()]
    cells = []
    for more, *values in itertools.product(unlabelled, *scanned):
        point = dict(zip(grid, values))
        varied = [f"{more} without labels"] if isinstance(entry.get("unlabelled"), list) else []  # of a scan
        arm = ", ".join([name, *varied, *(f"{key} {value}" for key, value in point.items())])
        told |= {"unlabelled": more, "options": options | point, "point": point}
        cells += [Cell(*of, arm, seeds, **told) for of in itertools.product(students, tiers, samples)]
    return cells


def _check_references(plan: Plan, arms: dict) -> None:
    """Raise InputError for a name that stands for nothing, or a comparison that cannot be made."""
    known = {"sample": plan.samples, "teacher": plan.teachers, "arm": arms, "pretraining": plan.pretrainings}

    def need(kind: str, name: str | None, where: str) -> None:
        if name and name not in known[kind]:
            raise InputError(f"{where}: unknown {kind} '{name}'; there are: {', '.join(known[kind]) or 'none'}")

    for name, of in plan.teachers.items():
        need("sample", "" if of.sample == SAME else of.sample, f"teacher {name}")
        need("arm", of.arm, f"teacher {name}")
        for member, _ in of.blend:
            need("teacher", member, f"teacher {name}")
            if plan.teachers[member].blend:
                raise InputError(f"teacher {name}: {member} is a blend itself: name its members")
    for name, before in plan.pretrainings.items():
        need("sample", before.sample, f"pretraining {name}")
    for cell in plan.cells:
        need("sample", cell.sample, f"arm {cell.arm}")
        need("sample", cell.unlabelled, f"arm {cell.arm}")
        need("teacher", cell.teacher, f"arm {cell.arm}")
        need("pretraining", cell.pretrained, f"arm {cell.arm}")
    need("arm", plan.baseline, "baseline")
    need("teacher", plan.ceiling, "ceiling")
    if plan.ceiling and plan.teachers[plan.ceiling].blend:
        raise InputError(f"ceiling: {plan.ceiling} is a blend, which is no tagger: name one of its teachers")
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
        if cell.arm == plan.baseline and (cell.teacher or cell.options or cell.pretrained):
            raise InputError(
                f"arm {cell.arm} is the baseline, on labels alone: it has neither teacher nor options nor pretrained"
            )
        if twin is None or set(cell.seeds) - set(twin.seeds):
            raise InputError(
                f"arm {cell.arm}: {cell.student} on {cell.tier} inputs, sample {cell.sample}, has no twin with the "
                f"same seeds in the baseline {plan.baseline}"
            )
        alpha = cell.options.get("kd_alpha", 0 if cell.teacher is None else None)
        if cell.teacher is None and alpha != 0:
            raise InputError(f"arm {cell.arm}: kd_alpha is {alpha}, but there is no teacher")
        if cell.pretrained and cell.teacher is None and any(name.startswith("kd_") for name in cell.options):
            raise InputError(f"arm {cell.arm}: fine-tuned without a teacher it has no options kd_*")
        if cell.unlabelled and (cell.teacher is None or not cell.labelled):
            raise InputError(f"arm {cell.arm}: unlabelled jets are for a teacher, besides jets with labels")
        if not cell.labelled and alpha != 1:
            raise InputError(f"arm {cell.arm}: without labels all is learnt from a teacher: name it, and kd_alpha: 1.0")
        if not cell.labelled and plan.teachers[str(cell.teacher)].blend:
            raise InputError(f"arm {cell.arm}: a blend cannot stand in for the labels of the validation")


def slug(name: str) -> str:
    """A name as a part of a path."""
    return re.sub(r"[^\w.+=]+", "-", name).strip("-")
