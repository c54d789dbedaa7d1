"""What a study does, as steps: each one command, with the files that it reads and leaves.

The rules of train_scripts/Snakefile have the names of the kinds: simulate, teacher, baseline, cache, train, test,
latency, report.
"""

import fnmatch
import glob
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from kd_trainer.errors import InputError
from kd_trainer.study.plan import Cell, Plan, Teacher, slug
from kd_trainer.study.runs import run_name, settled, stages, taught_by_checkpoints, teacher_name, trained

TRAININGS = ("teacher", "baseline", "train")
CHECKPOINT, RECORD, PREDICTION = "net_best_epoch_state.pt", "net_record.json", "pred.root"
TAKEN = "net_record.taken.json"  # a copy of the record, made when a step has ended
# of train_kd.sh, what a step says itself: one that the caller has set besides must not change it
SETTINGS = (
    "DATASET", "DATADIR", "TRAIN_FILES", "TEACHER", "TEACHER_TIER", "TEACHER_SEED", "TEACHER_WEIGHTS", "TEACHER_CONFIG",
    "CLASSES", "PRETRAINED", "STUDENT", "SEED", "TIER", "CACHE", "LABELS", "WEIGHTS", "KD_ALPHA", "KD_TEMPERATURE",
    "KD_ENSEMBLE", "WEIGHT_BITS", "PREDICT", "RUN", "COMMENT", "RESTART", "DDP_NGPUS", "JETS",
)  # fmt: skip
CACHED = "cached.yaml"


class Step(NamedTuple):
    """One command.

    kind : rule of the Snakefile that runs it
    run : what tells it from others of its kind: name of the training, folder of the cache or of the jets
    settings : of train_kd.sh, {name: value}
    arguments : of its mode, or several lists of `kd_trainer simulate`
    inputs, outputs : files
    alone : whether it is the only one of its kind, and takes all cores
    """

    kind: str
    run: str
    settings: dict
    arguments: tuple
    inputs: tuple
    outputs: tuple
    alone: bool = False
    program: str = ""  # a mode of train_kd.sh if not given

    @property
    def command(self) -> str:
        """The step as a line of bash, from the root of the repository."""
        if self.kind == "simulate":
            make = 'python -m kd_trainer simulate --workers "${OMP_NUM_THREADS:-1}"'
            return " && ".join(f"{make} {shlex.join(words)}" for words in self.arguments)
        settings = [f"{name}={shlex.quote(value)}" for name, value in self.settings.items()]
        return " ".join([*settings, self.program or f"./train_kd.sh {self.kind}", shlex.join(self.arguments)]).rstrip()


def of_plan(plan: Plan, find: Callable[[str], Iterable[str]] = glob.glob) -> list[Step]:
    """All steps of a study; a training that several arms use is one.

    Parameters
    ----------
    plan : plan.Plan
    find : function from a pattern to the files of that name which exist

    Raises
    ------
    InputError
        If a pattern has no file, and the study does not simulate it, or if two different trainings have one name.
    """
    simulated = [_simulate(plan, folder, commands) for folder, commands in plan.simulate.items()]
    files = Files([output for step in simulated for output in step.outputs], find)
    teachers, students = stages(plan)
    runs, given = [*teachers, *students], taught_by_checkpoints(plan)
    trainings = [_training(plan, run, files) for run in runs]
    caches = [_cache(plan, run, files) for run in students if run.teacher]
    tests = [_test(plan, run, files) for run in runs]
    if plan.report is None:
        asked = [_on_test(plan, run, files) for run in given]
        steps = [*simulated, *trainings, *caches, *asked, *tests]
        return settle([*steps, _study_report(plan, steps)])
    script = _script_settings(plan)
    tests += [_test_given(plan, script, files) for _ in given[:1]]
    latency = [] if plan.latency is None else [_latency(plan, script, trainings, files)]
    report = _script_report(plan, script, [*tests, *latency])
    return settle([*simulated, *trainings, *caches, *tests, *latency, report])


def refuse_foreign(steps: Iterable[Step]) -> None:
    """Raise InputError for a training that was done anew by other means since a step has left it."""
    for step in steps:
        for path in (Path(output) for output in step.outputs if output.endswith(RECORD)):
            taken = path.with_name(TAKEN)
            if path.is_file() and taken.is_file() and path.read_bytes() != taken.read_bytes():
                raise InputError(
                    f"{path.parent} was trained again, but not by this study: remove {taken} and the study trains it "
                    "as it should be, or give the study names of its own with COMMENT"
                )


def settle(steps: Iterable[Step]) -> list[Step]:
    """Each step once, its inputs once, and whether it is the only one of its kind."""
    found: dict[tuple[str, str], Step] = {}
    for step in steps:
        if found.setdefault((step.kind, step.run), step) != step:
            raise InputError(f"two different {step.kind} steps would be called {step.run}: give one another name")
    kinds = [kind for kind, _ in found]
    whole = ("simulate", "latency")  # several processes of its own; nothing else may run beside it
    return [
        step._replace(
            inputs=tuple(dict.fromkeys(step.inputs)),
            alone=step.alone or step.kind in whole or kinds.count(step.kind) == 1,
        )
        for step in found.values()
    ]


class Files:
    """The files behind patterns: those that the study simulates, or those that are there."""

    def __init__(self, simulated: list[str], find: Callable[[str], Iterable[str]]) -> None:
        self.simulated, self.find = simulated, find

    def __call__(self, patterns: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}
        for pattern in (text.rpartition(":")[2] for text in patterns):
            made = fnmatch.filter(self.simulated, pattern)
            paths = made or sorted(self.find(pattern))
            if not paths:
                raise InputError(f"there is no file {pattern}")
            found |= dict.fromkeys(paths)
        return list(found)


def _simulate(plan: Plan, folder: str, commands: tuple[tuple[str, ...], ...]) -> Step:
    from kd_trainer.simulate.command import parse_arguments, wanted_files  # half a second

    commands = tuple((*words, "-o", f"{plan.datadir}/{folder}") for words in commands)
    outputs = [str(path) for words in commands for path in wanted_files(parse_arguments(list(words)))]
    return Step("simulate", folder, {}, commands, (), tuple(outputs))


def _description(plan: Plan, model: str, tier: str | None = None) -> list[str]:
    """The files that describe a model and the dataset, and its network."""
    config = [plan.config(tier)] if tier else []
    script = plan.models[model].script
    return [plan.dataset.path, script.path, *network_files(script.network), *config]


def network_files(path: str) -> list[str]:
    """A network file, and those in its folder that are named in it, as ParT.py in Sophon.py."""
    names = re.findall(r"[\"']([\w-]+\.py)[\"']", Path(path).read_text(encoding="utf-8"))
    others = [Path(path).with_name(name) for name in sorted(set(names)) if Path(path).with_name(name).is_file()]
    return list(dict.fromkeys([path, *map(str, others)]))


def _settings(plan: Plan, model: str, more: Mapping[str, str]) -> dict[str, str]:
    told = plan.models[model].settings
    return {"DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings, **told, **dict(more)}


def _sample(plan: Plan, patterns: Iterable[str]) -> dict[str, str]:
    """TRAIN_FILES, where a study does not take the dataset's."""
    return {} if plan.own_samples else {"TRAIN_FILES": " ".join(patterns)}


def kind_of(run: Cell) -> str:
    """The mode of train_kd.sh that trains it."""
    return "train" if run.teacher else "baseline" if run.arm else "teacher"


def _whose(plan: Plan, run: Cell) -> dict[str, str]:
    """Settings that say which model is meant: the teacher, or a student."""
    name = plan.models[run.student].name
    if kind_of(run) == "teacher":
        return {"TEACHER": name, "TEACHER_TIER": run.tier, "TEACHER_SEED": str(run.seed), "TIER": run.tier}
    return {"STUDENT": name, "TIER": run.tier, "SEED": str(run.seed), **_labels(run)}


def _labels(run: Cell) -> dict[str, str]:
    return {} if run.labelled else {"LABELS": "no"}


def _training(plan: Plan, run: Cell, files: Files) -> Step:
    name, model, patterns = run_name(plan, run), plan.models[run.student], plan.samples[run.sample]
    settings = {**_whose(plan, run), **_sample(plan, patterns), **run.settings}
    inputs = [*files([*patterns, *plan.dataset.val]), *_description(plan, run.student, run.tier)]
    inputs += [plan.settings["WEIGHTS"]] if "WEIGHTS" in plan.settings else []
    if run.teacher:
        settings |= _teaching(plan, run)
        inputs += [f"{cache_of(plan, run)}/{CACHED}", *_teacher_files(plan, settled(plan, run))]
    settings = _settings(plan, run.student, settings) | {"RUN": name, "RESTART": "changed"}
    outputs = (f"training/{name}/{CHECKPOINT}", f"training/{name}/{RECORD}")
    options = [word for option, value in run.options.items() for word in ("-o", option, repr(value))]
    arguments = (*plan.weaver, *model.weaver, *run.weaver, *options, *plan.extra)  # later ones override
    return Step(kind_of(run), name, settings, arguments, tuple(inputs), outputs)


def weights_of(plan: Plan, of: Teacher) -> list[str]:
    """Checkpoints of a teacher."""
    return [of.weights] if of.weights else [f"training/{run_name(plan, r)}/{CHECKPOINT}" for r in trained(plan, of)]


def _teaching(plan: Plan, run: Cell) -> dict[str, str]:
    """Settings that name the teacher of a student and its soft targets."""
    of = settled(plan, run)
    return {
        "TEACHER": plan.models[of.model].name,
        **({"TEACHER_TIER": of.tier} if of.config == plan.config(of.tier) else {"TEACHER_CONFIG": of.config}),
        **({"CLASSES": of.classes} if of.classes else {}),
        "TEACHER_WEIGHTS": " ".join(weights_of(plan, of)),
        "CACHE": cache_of(plan, run),
    }


def _teacher_files(plan: Plan, of: Teacher) -> list[str]:
    return [*weights_of(plan, of), *_description(plan, of.model), of.config, *([of.classes] if of.classes else [])]


def cache_of(plan: Plan, run: Cell) -> str:
    """Folder of the soft targets for a student."""
    if "kd_ensemble" in run.options:
        raise InputError(f"arm {run.arm}: the cache has to know it, too: give it as settings: {{KD_ENSEMBLE: ...}}")
    more = ["" if run.labelled else "unlabelled", run.settings.get("KD_ENSEMBLE", "")]
    return f"cache/{teacher_name(plan, settled(plan, run))}_{'_'.join(filter(None, [slug(run.tier), *more]))}"


def _cache(plan: Plan, run: Cell, files: Files) -> Step:
    """The soft targets for a student, of the jets of all students that take them."""
    cache = cache_of(plan, run)
    users = [cell for cell in plan.cells if cell.teacher and cache_of(plan, cell) == cache]
    patterns = list(dict.fromkeys(pattern for cell in users for pattern in plan.samples[cell.sample]))
    return _cache_step(plan, run, cache, files(patterns), _sample(plan, patterns))


def on_test(plan: Plan, run: Cell) -> str:
    """The folder with what the teacher of a student says of the test jets."""
    return f"cache/{teacher_name(plan, settled(plan, run))}_{slug(run.tier)}_test"


def _on_test(plan: Plan, run: Cell, files: Files) -> Step:
    sample = {"TRAIN_FILES": " ".join(plan.dataset.test)}
    run = run._replace(labelled=True, options={})
    return _cache_step(plan, run, on_test(plan, run), files(plan.dataset.test), sample)


def _cache_step(plan: Plan, run: Cell, cache: str, jets: list[str], sample: dict[str, str]) -> Step:
    ensemble = {name: value for name, value in run.settings.items() if name == "KD_ENSEMBLE"}
    settings = {"DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings, "TIER": run.tier}
    settings |= {**_labels(run), **_teaching(plan, run), **ensemble, **sample, "CACHE": cache}
    inputs = (*jets, plan.dataset.path, plan.config(run.tier), *_teacher_files(plan, settled(plan, run)))
    return Step("cache", cache.removeprefix("cache/"), settings, ("--overwrite",), inputs, (f"{cache}/{CACHED}",))


def _test(plan: Plan, run: Cell, files: Files) -> Step:
    name, mode = run_name(plan, run), kind_of(run).replace("train", "kd")
    checkpoint = f"training/{name}/{CHECKPOINT}"
    settings = _settings(plan, run.student, _whose(plan, run)) | {"RUN": name, "PREDICT": mode}
    settings |= {"TEACHER_WEIGHTS": checkpoint} if mode == "teacher" else {}
    inputs = (checkpoint, *files(plan.dataset.test), *_description(plan, run.student, run.tier))
    return Step("test", name, settings, (), inputs, _predicted(name))


def _predicted(name: str) -> tuple[str, str]:
    return f"training/{name}/{PREDICTION}", f"training/{name}/pred.model.json"


def _test_given(plan: Plan, settings: dict[str, str], files: Files) -> Step:
    """The prediction of a teacher that is an existing checkpoint, under the name that train_kd.sh gives it."""
    model = next(model for name, model in plan.models.items() if model.name == settings["TEACHER"])
    name = f"{plan.names}{settings['TEACHER']}_{settings['TEACHER_TIER']}_seed{settings['TEACHER_SEED']}{plan.comment}"
    inputs = [settings["TEACHER_WEIGHTS"], *files(plan.dataset.test), *network_files(model.script.network)]
    return Step("test", name, settings | {"RUN": name, "PREDICT": "teacher"}, (), tuple(inputs), _predicted(name))


def study_folder(plan: Plan) -> str:
    """Where the results of a study are, and its trainings unless `names` says otherwise."""
    return f"training/study_{plan.name}{plan.variables.get('COMMENT', '')}"


def _study_report(plan: Plan, steps: list[Step]) -> Step:
    """The tables of `kd_trainer study`, which reads the YAML with the same variables."""
    wanted = [path for step in steps for path in step.outputs if path.endswith(("pred.model.json", f"_test/{CACHED}"))]
    folder = study_folder(plan)
    arguments = (plan.path, "--report", "-o", folder)
    inputs, outputs = (plan.path, *wanted), (f"{folder}/results.json",)
    return Step("report", plan.name, plan.variables, arguments, inputs, outputs, program="python -m kd_trainer study")


def _script_settings(plan: Plan) -> dict[str, str]:
    """Settings with which train_kd.sh finds the trainings of a study by their names.

    Raises
    ------
    InputError
        If it cannot, because the study has more than the script compares.
    """
    students = list(dict.fromkeys(cell.student for cell in plan.cells))
    seeds = list(dict.fromkeys(seed for cell in plan.cells for seed in cell.seeds))
    tiers = {cell.tier for cell in plan.cells}
    if {cell.arm for cell in plan.cells} != {"kd", "baseline"} or len(tiers) > 1 or len(plan.teachers) != 1:
        raise InputError("report: ./train_kd.sh report compares the arms kd and baseline of one tier, with one teacher")
    (teacher,) = plan.teachers
    of = settled(plan, plan.cells[0], teacher)
    given = {"TEACHER_WEIGHTS": of.weights} if of.weights else {}
    return {
        "DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings,
        "TEACHER": plan.models[of.model].name, "TEACHER_TIER": of.tier, "TEACHER_SEED": str(of.seeds[0]), **given,
        "STUDENT": " ".join(students), "SEED": " ".join(map(str, seeds)), "TIER": plan.cells[0].tier,
        **({"COMMENT": plan.comment} if plan.comment else {}),
    }  # fmt: skip


def _latency(plan: Plan, settings: dict[str, str], trainings: list[Step], files: Files) -> Step:
    parts = [settings["TEACHER"], settings["TEACHER_TIER"], *settings["STUDENT"].split(), settings["TIER"]]
    name = "_".join([plan.dataset.name, "latency", *parts]) + plan.comment
    weights = [step.outputs[0] for step in trainings if step.kind != "baseline"]
    inputs = (*weights, *files(plan.dataset.test))
    return Step("latency", name, settings, plan.latency or (), inputs, (f"training/{name}/latency.json",))


def _script_report(plan: Plan, settings: dict[str, str], steps: list[Step]) -> Step:
    name = f"{plan.dataset.name}_report{plan.comment}"
    inputs = tuple(output for step in steps for output in step.outputs)
    return Step("report", name, settings, plan.report or (), inputs, (f"training/{name}/report.md",))
