"""results.json from the predictions of a study: the figures of merit of every cell, and the gain by distillation."""

import csv
import glob
from pathlib import Path

import numpy as np

from kd_trainer.arguments import parse_options
from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare, style
from kd_trainer.evaluate.complexity import complexity
from kd_trainer.evaluate.predictions import check_all_same_jets, class_names, read, sidecar
from kd_trainer.evaluate.recovered import logarithm, recovered
from kd_trainer.files import write_json
from kd_trainer.jet_files import contents
from kd_trainer.study import caches, runs, steps
from kd_trainer.study import statistics as figures
from kd_trainer.study.checkpoints import prediction
from kd_trainer.study.document import write_document
from kd_trainer.study.plan import Cell, Plan
from kd_trainer.study.step import CACHED, PREDICTION, TRAININGS, Step

RESULTS = "results.json"
WORK = (*TRAININGS, "cache")  # kinds of steps that are counted and timed


def write_report(plan: Plan, folder: Path, *, replicas: int) -> int:
    """Write results.json, results.md and figures for all cells trained so far; InputError if there are none."""
    style.load_style()  # a missing package is reported before the work, not after it
    results = {"name": plan.name, **evaluate(plan, replicas)}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RESULTS, results)
    write_document([folder / RESULTS], folder / "results.md")
    print(f"{folder / RESULTS}\n{folder / 'results.md'}")
    return 0


def evaluate(plan: Plan, replicas: int) -> dict:
    """The content of results.json."""
    cells = finished(plan)
    if not any(found for _, found in cells.values()):
        raise InputError("no tagger of this study is trained and tested yet: run train_scripts/study.sh run")
    predictions = {key: [read(predicted(plan, run)) for run in found] for key, (_, found) in cells.items() if found}
    together = ensembles(plan)
    cells |= {key: (cell, cell.runs) for key, (cell, _) in together.items()}
    given = existing(plan)
    cells |= {key: (cell, []) for key, (cell, _) in given.items()}
    predictions |= {key: [found] for key, (_, found) in (together | given).items()}
    every = [p for found in predictions.values() for p in found]
    caveat = check_all_same_jets(every)
    config = plan.config(plan.cells[0].tier)
    task, means = figures.study_task(every, class_names(every, config), plan.background)
    samples, averaged = figures.collect(task, means, predictions, replicas)
    jets = np.bincount(task.labels, minlength=len(task.names)).tolist()
    work = [step for step in steps.of_plan(plan) if step.kind in WORK]
    done = [step for step in work if all(map(Path.is_file, map(Path, step.outputs)))]
    return {
        "title": plan.title,
        "training_jets": {name: count_jets(patterns) for name, patterns in plan.samples.items()},
        "test_jets": dict(zip(task.names, jets)),
        "background": task.background_name,
        "averaged": averaged,
        "caveat": caveat,
        "bootstrap_replicas": replicas,
        "baseline": plan.baseline,
        "ceiling": plan.ceiling,
        "jobs": {"done": len(done), "planned": len(work)},
        "minutes": round(sum(map(seconds, done)) / 60, 1),
        "cells": [describe(plan, key, cells, samples) for key in samples],
    }


def seconds(step: Step) -> float:
    """Duration of a step from snakemake's benchmark file; 0 for a step that was run by hand."""
    path = Path("logs", step.run, f"{step.kind}.tsv")
    if not path.is_file():
        return 0.0
    with open(path, encoding="utf-8") as file:
        return sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))


def predicted(plan: Plan, run: Cell) -> Path:
    """The file with the prediction of a training for the test jets."""
    return Path("training", runs.run_name(plan, run), PREDICTION)


def finished(plan: Plan) -> dict:
    """All cells with finished trainings: {(role, model, tier, sample, arm): (Cell, [Run])}, teachers first.

    A teacher that is also a student of the baseline, as in self-distillation, appears once, as student.
    """
    found: dict[tuple, Cell] = {}
    students = {cell[:3] for cell in plan.cells}
    for name, cells in runs.teacher_cells(plan).items():
        role = "ceiling" if name == plan.ceiling else "teacher"
        for cell in cells:
            key = (role, *cell[:4])
            seeds = dict.fromkeys([*(found[key].seeds if key in found else ()), *cell.seeds])
            if cell[:3] not in students:
                found[key] = cell._replace(seeds=tuple(seeds))
    found |= {("student", *cell[:4]): cell for cell in plan.cells}
    return {key: (cell, [run for run in cell.runs if predicted(plan, run).is_file()]) for key, cell in found.items()}


def ensembles(plan: Plan) -> dict:
    """The mean scores of each teacher with several members: {key as in `finished`: (Cell, Prediction)}."""
    found = {}
    for name, cells in runs.teacher_cells(plan).items():
        for cell in cells:
            paths = [predicted(plan, run) for run in cell.runs]
            if len(paths) > 1 and name != plan.ceiling and all(map(Path.is_file, paths)):
                read_in = [read(path) for path in paths]
                scores = np.mean([p.scores for p in read_in], axis=0)
                found[("ensemble", *cell[:3], name)] = (cell, read_in[0]._replace(scores=scores))
    return found


def existing(plan: Plan) -> dict:
    """The predictions of existing checkpoints for the test jets, as in `ensembles`."""
    found = {}
    for run in runs.taught_by_checkpoints(plan):
        of, folder = runs.settled(plan, run), Path(caches.on_test(plan, run))
        if (folder / CACHED).is_file():
            name = str(run.teacher)
            tier = of.tier if of.config == plan.config(of.tier) else Path(of.config).stem
            cell = Cell(of.model, tier, "", name, ())
            found[("teacher", *cell[:4])] = cell, prediction(folder, list(plan.dataset.test))
    return found


def describe(plan: Plan, key: tuple, cells: dict, samples: dict) -> dict:
    """The entry of a cell in results.json."""
    (role, *_), (cell, found) = key, cells[key]
    entry = {
        "role": role,
        "student": cell.student,
        "tier": cell.tier,
        "sample": cell.sample,
        "arm": cell.arm if role == "student" else role,
        "teacher": cell.teacher,
        "unlabelled": cell.unlabelled,
        **({"pretrained": cell.pretrained} if cell.pretrained else {}),
        "grid": cell.point,
        "options": options_of(plan, cell) if role == "student" else {},
        "seeds": [run.seed for run in found],
        **size_of(plan, cell, found),
        **{name: compare.mean(sample, positive=name in figures.REJECTIONS) for name, sample in samples[key].items()},
    }
    if role == "student" and cell.arm != plan.baseline:
        entry |= gains(plan, key, cells, samples)
    return entry


def gains(plan: Plan, key: tuple, cells: dict, samples: dict) -> dict:
    """The gain of an arm over its twin, which is trained on labels alone, from the seeds that both have."""
    cell, found = cells[key]
    twin_key = ("student", *cell[:3], plan.baseline)
    of_twin = [run.seed for run in cells[twin_key][1]]
    common = [run.seed for run in found if run.seed in of_twin]
    if not common:
        return {}
    mine = {n: figures.restrict(s, [[r.seed for r in found].index(c) for c in common]) for n, s in samples[key].items()}
    twin = {n: figures.restrict(s, [of_twin.index(c) for c in common]) for n, s in samples[twin_key].items()}
    entry = {
        "paired_seeds": common,
        "ratio": {n: figures.paired_ratio(mine[n], twin[n]) for n in figures.REJECTIONS if n in mine},
        "difference": {n: figures.paired_difference(mine[n], twin[n]) for n in ("accuracy", "auc", "ece") if n in mine},
    }
    found = ceiling_of(plan, cell, samples)
    if found:
        (role, *of, arm), ceiling = found, samples[found]
        entry["ceiling"] = [role, *of, arm if role == "student" else role]  # as in `describe`
        plain = {n: (mine[n], twin[n], ceiling[n]) for n in ("accuracy", "auc") if n in mine}
        logs = {f"log_{n}": tuple(map(logarithm, (mine[n], twin[n], ceiling[n])))
                for n in figures.REJECTIONS if n in mine}  # fmt: skip
        entry["recovered"] = {n: recovered(*samples) for n, samples in (plain | logs).items()}
    return entry


def ceiling_of(plan: Plan, cell: Cell, samples: dict) -> tuple | None:
    """The key of the ceiling with the inputs of a student, if it is trained."""
    if plan.ceiling is None:
        return None
    of = runs.settled(plan, cell, plan.ceiling)
    keys = [("ceiling", *of[:3], ""), ("student", *of[:3], of.arm or plan.baseline)]
    return next((key for key in keys if key in samples), None)


def options_of(plan: Plan, cell: Cell) -> dict:
    """The options of networks/distill.py of an arm, including those of the model's file."""
    if cell.teacher is None:
        return cell.options
    settings = plan.settings | plan.models[cell.student].settings | cell.settings
    told = {name: float(settings[name.upper()]) for name in ("kd_alpha", "kd_temperature") if name.upper() in settings}
    return plan.models[cell.student].script.distillation | told | cell.options


def size_of(plan: Plan, cell: Cell, found: list[Cell]) -> dict:
    """Parameters, FLOPs and particles of a cell, from the file beside its prediction; counted here for a checkpoint."""
    if found:
        path = predicted(plan, found[0])
        size = sidecar([path])
        if not size:
            raise InputError(f"there is no pred.model.json beside {path}: remove {path} and test again")
    else:
        script = plan.models[cell.student].script
        config = plan.teachers[cell.arm].config or plan.config(cell.tier)
        size = complexity(script.network, config, parse_options(script.options))
    return {name: size[name] for name in ("parameters", "flops", "particles")}


def count_jets(patterns: list[str]) -> int:
    """Number of jets in all files of the patterns."""
    paths = {path for pattern in patterns for path in glob.glob(pattern.rpartition(":")[2])}
    return sum(contents(path)[1] for path in paths)
