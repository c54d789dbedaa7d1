"""Reading and checking of the YAML file of a study, which says what taggers are trained, on what, and how often."""

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
SAME = "same"  # sample of a teacher: the sample of its student


class Model(NamedTuple):
    """A model of train_scripts/models in a study, with additional arguments and settings of its trainings."""

    script: scripts.Script
    weaver: tuple = ()  # arguments of weaver
    settings: dict = {}  # settings of train_kd.sh

    @property
    def name(self) -> str:
        """Name of its file in train_scripts/models."""
        return Path(self.script.path).stem


class Teacher(NamedTuple):
    """One trained tagger, or an ensemble of several seeds. Empty fields are those of the student."""

    model: str = ""
    tier: str = ""
    sample: str = ""  # empty: for a teacher with its own model, the first sample of the study; SAME: of the student
    seeds: tuple = (1,)
    weights: str = ""  # an existing checkpoint, which is not trained
    config: str = ""  # its data config, if it is not one of the dataset
    classes: str = ""  # YAML file with its classes for each class of the student
    arm: str = ""  # the teacher is a student of this arm
    blend: tuple = ()  # or a blend of several teachers: (name, weight)
    weaver: tuple = ()  # arguments of weaver for its trainings
    settings: dict = {}  # settings of train_kd.sh


class Pretraining(NamedTuple):
    """A contrastive training of the model and tier of a student, on the jets of a sample without labels."""

    sample: str
    seeds: tuple = (1,)  # a training starts from the pre-training with its own seed if there is one, else the first
    weaver: tuple = ()  # arguments of weaver
    settings: dict = {}  # settings of train_kd.sh


class Cell(NamedTuple):
    """A student in an arm, trained with several seeds. A cell with a single seed describes one training."""

    student: str
    tier: str
    sample: str
    arm: str  # '' for a teacher that is not a student of the study
    seeds: tuple
    teacher: str | None = None
    options: dict = {}  # options of networks/distill.py
    point: dict = {}  # the options that come from a grid
    labelled: bool = True  # whether labels of the training and validation jets are used
    unlabelled: str = ""  # additional sample of unlabelled jets
    pretrained: str = ""  # the pre-training from which it starts
    weaver: tuple = ()  # arguments of weaver
    settings: dict = {}  # settings of train_kd.sh

    @property
    def runs(self) -> "list[Cell]":
        """Its trainings, one for each seed."""
        return [self._replace(seeds=(seed,)) for seed in self.seeds]

    @property
    def seed(self) -> int:
        """The seed of a cell with one training."""
        return self.seeds[0]


class Plan(NamedTuple):
    """A study. `cells` are the students; teachers are in `teachers`."""

    path: str  # of the YAML file
    variables: dict  # {name: value}
    title: str
    dataset: scripts.Dataset
    datadir: str
    settings: dict  # settings of train_kd.sh for every step
    simulate: dict  # {folder in `datadir`: one or several argument lists of `kd_trainer simulate`}
    samples: dict  # {name: patterns of training files}
    dataset_samples: bool  # whether these are the samples of the dataset
    weaver: tuple  # arguments of weaver for every training
    extra: tuple  # further arguments, from the command line; they override
    models: dict  # {name: Model}
    pretrainings: dict  # {name: Pretraining}
    teachers: dict  # {name: Teacher}
    cells: list
    baseline: str  # the arm that trains on labels alone
    ceiling: str | None  # the larger model with which students are compared
    background: str | None  # class to reject
    names: str  # prefix of the run names
    comment: str  # suffix of the run names
    latency: tuple | None  # arguments of ./train_kd.sh latency
    report: tuple | None  # arguments of ./train_kd.sh report; None: tables of `kd_trainer study` instead

    @property
    def name(self) -> str:
        """Name of the study: the stem of its file name."""
        return Path(self.path).stem

    def config(self, tier: str) -> str:
        """Path of the data config of a tier."""
        return f"{self.dataset.config}_{tier}.yaml"


def read(path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """Read a study.

    Parameters
    ----------
    environment : values of its variables, which override its `defaults`
    arguments : arguments of weaver for every training, which override those of the study

    Raises
    ------
    InputError
        Names the file and the wrong entry.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no study {path}")
    content = read_yaml(path, "study", entries.Loader)
    try:
        return parse(content, path, environment, arguments)
    except InputError as error:
        raise InputError(f"study {path}: {error}") from None


def parse(content: Any, path: str | Path, environment: Mapping[str, str], arguments: tuple = ()) -> Plan:
    """A Plan from the content of the YAML file; docs/howto/studies.md describes the entries."""
    content = entries.mapping(content, "the study")
    for key in NEEDED:
        if key not in content:
            raise InputError(f"the study has no entry '{key}'")
    defaults = {"DATADIR": f"datasets/{content['dataset']}", "COMMENT": ""}
    defaults |= {key: str(value) for key, value in entries.mapping(content.pop("defaults", {}), "defaults").items()}
    variables = defaults | {key: value for key, value in environment.items() if value}
    study = entries.read("study", "the study", expand(content, variables))
    settings, datadir = study.get("settings", {}), variables["DATADIR"]
    simulate = {
        folder: tuple(entries.words(text, f"simulate: {folder}") for text in _parts(entry))
        for folder, entry in study.get("simulate", {}).items()
    }
    for folder in simulate:  # the script of a dataset checks which folders exist
        Path(datadir, folder).mkdir(parents=True, exist_ok=True)
    dataset = scripts.dataset(study["dataset"], settings | {"DATADIR": datadir})
    samples = study.get("samples") or {"all": list(dataset.train)}  # the first is the sample of the teachers
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
        dataset_samples="samples" not in study,
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
        raise InputError(f"pretraining {name}: name its sample")
    return Pretraining(**told)


def _teacher(name: str, entry: dict) -> Teacher:
    of = Teacher(**entries.read("teacher", f"teacher {name}", entry))
    if of.weights and not (of.model and (of.tier or of.config)):
        raise InputError(f"teacher {name}: weights need a model, and a tier or a config")
    if (of.config or of.classes) and not of.weights:
        raise InputError(f"teacher {name}: config and classes are only for a teacher with weights")
    if of.arm and not of.model:
        raise InputError(f"teacher {name}: it is a student of the arm {of.arm}: name the student with model")
    if of.blend and of != Teacher(blend=of.blend):
        raise InputError(f"teacher {name}: a blend combines other teachers: it has no other entries")
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
        varied = [f"{more} without labels"] if isinstance(entry.get("unlabelled"), list) else []  # a scan
        arm = ", ".join([name, *varied, *(f"{key} {value}" for key, value in point.items())])
        told |= {"unlabelled": more, "options": options | point, "point": point}
        cells += [Cell(*of, arm, seeds, **told) for of in itertools.product(students, tiers, samples)]
    return cells


def _check_references(plan: Plan, arms: dict) -> None:
    """Raise InputError for an unknown name, or an impossible comparison."""
    known = {"sample": plan.samples, "teacher": plan.teachers, "arm": arms, "pretraining": plan.pretrainings}

    def need(kind: str, name: str | None, where: str) -> None:
        if name and name not in known[kind]:
            raise InputError(f"{where}: unknown {kind} '{name}'; valid are: {', '.join(known[kind]) or 'none'}")

    for name, of in plan.teachers.items():
        need("sample", "" if of.sample == SAME else of.sample, f"teacher {name}")
        need("arm", of.arm, f"teacher {name}")
        for member, _ in of.blend:
            need("teacher", member, f"teacher {name}")
            if plan.teachers[member].blend:
                raise InputError(f"teacher {name}: {member} is itself a blend: name its members")
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
        raise InputError(f"ceiling: {plan.ceiling} is a blend, not a tagger: name one of its teachers")
    _check_comparisons(plan)
    for tier in {cell.tier for cell in plan.cells} | {t.tier for t in plan.teachers.values() if t.tier}:
        if not Path(plan.config(tier)).is_file():
            raise InputError(f"tier {tier}: there is no data config {plan.config(tier)}")


def _check_comparisons(plan: Plan) -> None:
    slugs: dict[str, str] = {}
    for cell in plan.cells:
        if slugs.setdefault(slug(cell.arm), cell.arm) != cell.arm:
            raise InputError(f"arms {slugs[slug(cell.arm)]} and {cell.arm} would share the folder {slug(cell.arm)}")
    for i, cell in enumerate(plan.cells):
        if cell[:4] in (other[:4] for other in plan.cells[:i]):
            raise InputError(f"arm {cell.arm}: {cell.student}, {cell.tier} inputs, sample {cell.sample} is there twice")
    twins = {cell[:3]: cell for cell in plan.cells if cell.arm == plan.baseline}
    for cell in plan.cells:
        twin = twins.get(cell[:3])
        if cell.arm == plan.baseline and (cell.teacher or cell.options or cell.pretrained):
            raise InputError(
                f"arm {cell.arm} is the baseline, on labels alone: remove its teacher, options and pretrained"
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
            raise InputError(f"arm {cell.arm}: fine-tuning without a teacher has no options kd_*")
        if cell.unlabelled and (cell.teacher is None or not cell.labelled):
            raise InputError(f"arm {cell.arm}: unlabelled jets need a teacher, and jets with labels")
        if not cell.labelled and alpha != 1:
            raise InputError(f"arm {cell.arm}: a training without labels needs a teacher, and kd_alpha: 1.0")
        if not cell.labelled and plan.teachers[str(cell.teacher)].blend:
            raise InputError(f"arm {cell.arm}: a blend cannot replace the labels of the validation jets")


def slug(name: str) -> str:
    """A name in a form for paths."""
    return re.sub(r"[^\w.+=]+", "-", name).strip("-")
