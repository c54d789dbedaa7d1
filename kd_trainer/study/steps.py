"""The steps of a study: each is one command, with its input and output files.

The rules of train_scripts/Snakefile have the names of the kinds: simulate, teacher, pretrain, finetune, baseline,
cache, train, test, latency, report.
"""

import glob
from collections.abc import Callable, Iterable, Mapping

from kd_trainer.study import caches, together
from kd_trainer.study.plan import Cell, Plan
from kd_trainer.study.runs import pretraining_name, pretraining_seed, run_name, stages, taught_by_checkpoints
from kd_trainer.study.step import CACHED, CHECKPOINT, RECORD, Files, Step, description, predicted, settle


def of_plan(plan: Plan, find: Callable[[str], Iterable[str]] = glob.glob) -> list[Step]:
    """All steps of a study; a training that several arms use is one step.

    Parameters
    ----------
    find : function from a pattern to the existing files that match

    Raises
    ------
    InputError
        If a pattern matches neither existing nor simulated files, or if two different trainings have the same name.
    """
    simulated = [_simulate(plan, folder, commands) for folder, commands in plan.simulate.items()]
    files = Files([output for step in simulated for output in step.outputs], find)
    teachers, students = stages(plan)
    runs, given = [*teachers, *students], taught_by_checkpoints(plan)
    trainings = [_training(plan, run, files) for run in runs]
    pretrainings = [_pretraining(plan, run, files) for run in runs if run.pretrained]
    soft_targets = [step for run in students if run.teacher for step in caches.caches_for(plan, run, files)]
    tests = [_test(plan, run, files) for run in runs]
    if plan.report is None:
        asked = [caches.of_test(plan, run, files) for run in given]
        steps = [*simulated, *pretrainings, *trainings, *soft_targets, *asked, *tests]
        return settle([*steps, _study_report(plan, steps)])
    script = together.settings_of(plan)
    tests += [together.test_given(plan, script, files) for _ in given[:1]]
    latency = [] if plan.latency is None else [together.latency(plan, script, trainings, files)]
    report = together.report(plan, script, [*tests, *latency])
    return settle([*simulated, *pretrainings, *trainings, *soft_targets, *tests, *latency, report])


def _simulate(plan: Plan, folder: str, commands: tuple[tuple[str, ...], ...]) -> Step:
    from kd_trainer.simulate.command import parse_arguments, wanted_files  # half a second

    commands = tuple((*words, "-o", f"{plan.datadir}/{folder}") for words in commands)
    outputs = [str(path) for words in commands for path in wanted_files(parse_arguments(list(words)))]
    return Step("simulate", folder, {}, commands, (), tuple(outputs))


def _settings(plan: Plan, model: str, more: Mapping[str, str]) -> dict[str, str]:
    told = plan.models[model].settings
    return {"DATASET": plan.dataset.name, "DATADIR": plan.datadir, **plan.settings, **told, **dict(more)}


def kind_of(run: Cell) -> str:
    """The mode of train_kd.sh for a training."""
    if run.teacher:
        return "train"
    return "finetune" if run.pretrained else "baseline" if run.arm else "teacher"


def _whose(plan: Plan, run: Cell) -> dict[str, str]:
    """Settings that name the model: the teacher or the student."""
    name = plan.models[run.student].name
    if kind_of(run) in ("teacher", "finetune"):
        return _as_teacher(plan, run, run.seed)
    return {"STUDENT": name, "TIER": run.tier, "SEED": str(run.seed), **caches.labels(run)}


def _as_teacher(plan: Plan, run: Cell, seed: int) -> dict[str, str]:
    model = plan.models[run.student].name
    return {"TEACHER": model, "TEACHER_TIER": run.tier, "TEACHER_SEED": str(seed), "TIER": run.tier}


def _pretraining(plan: Plan, run: Cell, files: Files) -> Step:
    """The step for the pre-training from which a training starts."""
    name, of, model = pretraining_name(plan, run), plan.pretrainings[run.pretrained], plan.models[run.student]
    patterns = plan.samples[of.sample]
    settings = _as_teacher(plan, run, pretraining_seed(plan, run)) | caches.training_files(plan, patterns) | of.settings
    settings = _settings(plan, run.student, settings) | {"RUN": name, "RESTART": "changed"}
    inputs = (*files([*patterns, *plan.dataset.val]), *_described(plan, run))
    return Step("pretrain", name, settings, (*plan.weaver, *model.weaver, *of.weaver, *plan.extra), inputs, _left(name))


def _left(name: str) -> tuple[str, str]:
    """The files that a training writes."""
    return f"training/{name}/{CHECKPOINT}", f"training/{name}/{RECORD}"


def _training(plan: Plan, run: Cell, files: Files) -> Step:
    name, model, patterns = run_name(plan, run), plan.models[run.student], plan.samples[run.sample]
    settings = {**_whose(plan, run), **caches.training_files(plan, patterns)}
    settings |= {**caches.without_labels(plan, [run.unlabelled]), **run.settings}
    more = plan.samples[run.unlabelled] if run.unlabelled else []
    inputs = [*files([*patterns, *more, *plan.dataset.val]), *_described(plan, run)]
    inputs += [plan.settings["WEIGHTS"]] if "WEIGHTS" in plan.settings else []
    if run.teacher:
        settings |= caches.teaching(plan, run)
        soft_targets = [] if caches.is_live(run) else [f"{caches.cache_of(plan, run)}/{CACHED}"]
        inputs += [*soft_targets, *caches.made_from(plan, run)]
    if run.pretrained:
        settings["PRETRAINED"] = f"training/{pretraining_name(plan, run)}/{CHECKPOINT}"
        inputs.append(settings["PRETRAINED"])
    settings = _settings(plan, run.student, settings) | {"RUN": name, "RESTART": "changed"}
    options = [word for option, value in run.options.items() for word in ("-o", option, repr(value))]
    arguments = (*plan.weaver, *model.weaver, *run.weaver, *options, *plan.extra)  # later ones override
    return Step(kind_of(run), name, settings, arguments, tuple(inputs), _left(name))


def _test(plan: Plan, run: Cell, files: Files) -> Step:
    name, kind = run_name(plan, run), kind_of(run)
    mode = {"train": "kd", "finetune": "teacher"}.get(kind, kind)
    checkpoint = f"training/{name}/{CHECKPOINT}"
    settings = _settings(plan, run.student, _whose(plan, run)) | {"RUN": name, "PREDICT": mode}
    settings |= {"TEACHER_WEIGHTS": checkpoint} if mode == "teacher" else {}
    inputs = (checkpoint, *files(plan.dataset.test), *_described(plan, run))
    return Step("test", name, settings, (), inputs, predicted(name))


def _described(plan: Plan, run: Cell) -> list[str]:
    return description(plan.dataset, plan.models[run.student].script, plan.config(run.tier))


def study_folder(plan: Plan) -> str:
    """The folder of the results of a study, and of its trainings unless `names` is set."""
    return f"training/study_{plan.name}{plan.variables.get('COMMENT', '')}"


def _study_report(plan: Plan, steps: list[Step]) -> Step:
    """The step for the tables of `kd_trainer study`, which reads the YAML file with the same variables."""
    wanted = [path for step in steps for path in step.outputs if path.endswith(("pred.model.json", f"_test/{CACHED}"))]
    folder = study_folder(plan)
    arguments = (plan.path, "--report", "-o", folder)
    inputs, outputs = (plan.path, *wanted), (f"{folder}/results.json",)
    return Step("report", plan.name, plan.variables, arguments, inputs, outputs, program="python -m kd_trainer study")
