"""From the predictions of a study to results.json: every cell with its figures, and what distillation changed."""

import glob
from pathlib import Path

import numpy as np

from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.evaluate import compare, style
from kd_trainer.evaluate.complexity import complexity
from kd_trainer.evaluate.predictions import check_same_jets, class_names, read
from kd_trainer.files import write_json
from kd_trainer.jet_files import contents
from kd_trainer.study import runs
from kd_trainer.study import statistics as figures
from kd_trainer.study.checkpoints import prediction
from kd_trainer.study.document import write_document
from kd_trainer.study.jobs import PREDICTION, is_done, on_test, read_record, soft_targets
from kd_trainer.study.plan import Cell

RESULTS = "results.json"


def write_report(plan, stages, folder, *, name, replicas):
    """Write results.json, results.md and the figures of what is trained so far.

    Raises
    ------
    InputError
        When nothing is, or when trained arms were made from something else than the plan says now.
    """
    style.load_style()  # the missing package is named before the work, not after it
    done = {job.name: job for stage in stages.values() for job in stage if is_done(job)}
    results = {"name": name, **evaluate(plan, done, stages, replicas)}
    write_json(folder / RESULTS, results)
    write_document([folder / RESULTS], folder / "results.md")
    print(f"{folder / RESULTS}\n{folder / 'results.md'}")
    return 0


def evaluate(plan, done, stages, replicas):
    """Everything that results.json holds.

    Parameters
    ----------
    plan : plan.Plan
    done : {name: jobs.Job} of the finished ones
    stages : {name: [jobs.Job]} of all
    replicas : of the bootstrap
    """
    cells = finished(plan, done)
    if not any(found for _, found in cells.values()):
        raise InputError("nothing of this study is trained yet: run it without --report")
    predictions = {
        key: [read(done[run.name].folder / PREDICTION) for run in found] for key, (_, found) in cells.items() if found
    }
    together = ensembles(plan, done)
    cells |= {key: (cell, runs.of_cell(plan, cell)) for key, (cell, _) in together.items()}
    given = existing(plan, done)
    cells |= {key: (cell, []) for key, (cell, _) in given.items()}
    predictions |= {key: [found] for key, (_, found) in (together | given).items()}
    every = [p for found in predictions.values() for p in found]
    for other in every:
        check_same_jets(every[0], other)
    config = plan.config(plan.cells[0].tier)
    task = figures.study_task(every, class_names(every, config), plan.background)
    samples, averaged = figures.collect(task, predictions, replicas)
    jobs = [job for stage in stages.values() for job in stage]
    jets = np.bincount(task.labels, minlength=len(task.names)).tolist()
    sizes = {(cell.student, cell.tier): plan.config(cell.tier) for cell, _ in cells.values()}
    sizes |= {(cell.student, cell.tier): of.config for _, of, cell in taught_by(plan)}
    sizes = {(network, tier): size_of(plan, network, config) for (network, tier), config in sizes.items()}
    return {
        "title": plan.title,
        "training_jets": {name: count_jets(patterns) for name, patterns in plan.samples.items()},
        "test_jets": dict(zip(task.names, jets)),
        "background": task.background_name,
        "averaged": averaged,
        "bootstrap_replicas": replicas,
        "baseline": plan.baseline,
        "ceiling": plan.ceiling,
        "jobs": {"done": len(done), "planned": len(jobs)},
        "minutes": round(sum(read_record(job)["seconds"] for job in done.values()) / 60, 1),
        "cells": [describe(plan, key, cells, samples, sizes) for key in samples],
    }


def finished(plan, done):
    """All cells with their finished trainings: {(role, network, tier, sample, arm): (Cell, [Run])}, teachers first.

    Teachers that are arms of the baseline themselves, as in self-distillation, are there once, as students.
    """
    found = {}
    students = {cell[:3] for cell in plan.cells}
    for name, cells in runs.teacher_cells(plan).items():
        role = "ceiling" if name == plan.ceiling else "teacher"
        for cell in cells:
            key = (role, *cell[:4])
            seeds = dict.fromkeys([*(found[key].seeds if key in found else ()), *cell.seeds])
            if cell[:3] not in students:
                found[key] = cell._replace(seeds=tuple(seeds))
    found |= {("student", *cell[:4]): cell for cell in plan.cells}
    return {key: (cell, [run for run in runs.of_cell(plan, cell) if run.name in done]) for key, cell in found.items()}


def ensembles(plan, done):
    """The mean of the scores of each teacher with several members: {key as of `finished`: (Cell, Prediction)}."""
    found = {}
    for name, cells in runs.teacher_cells(plan).items():
        for cell in cells:
            members = runs.of_cell(plan, cell)
            if len(members) > 1 and name != plan.ceiling and all(run.name in done for run in members):
                read_in = [read(done[run.name].folder / PREDICTION) for run in members]
                scores = np.mean([p.scores for p in read_in], axis=0)
                found[("ensemble", *cell[:3], name)] = (cell, read_in[0]._replace(scores=scores))
    return found


def taught_by(plan):
    """Existing checkpoints that teach: list of (a training of a student, Members, the teacher as a Cell)."""
    found = []
    for run in runs.taught_by_checkpoints(plan):
        of, name = run.teacher, next(cell.teacher for cell in plan.cells if run in runs.of_cell(plan, cell))
        tier = of.tier if of.config == plan.config(of.tier) else Path(of.config).stem
        found.append((run, of, Cell(of.network, tier, "", name, None, {}, (), {})))
    return found


def existing(plan, done):
    """What existing checkpoints say of the test jets, as `ensembles`."""
    jobs = {soft_targets(on_test(run)): cell for run, _, cell in taught_by(plan)}
    return {
        ("teacher", *cell[:4]): (cell, prediction(done[name].folder, plan.test))
        for name, cell in jobs.items()
        if name in done
    }


def describe(plan, key, cells, samples, sizes):
    """One cell of results.json."""
    (role, *_), (cell, found) = key, cells[key]
    entry = {
        "role": role,
        "student": cell.student,
        "tier": cell.tier,
        "sample": cell.sample,
        "arm": cell.arm if role == "student" else role,
        "teacher": cell.teacher,
        "grid": cell.point,
        "options": options_of(plan, cell) if role == "student" else {},
        "seeds": [run.seed for run in found],
        **sizes[cell.student, cell.tier],
        **{name: compare.mean(sample, positive=name in figures.EFFICIENCIES) for name, sample in samples[key].items()},
    }
    if role == "student" and cell.arm != plan.baseline:
        entry |= gains(plan, key, cells, samples)
    return entry


def gains(plan, key, cells, samples):
    """What an arm gains on its twin trained on labels alone, over the seeds that both have."""
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
        "ratio": {n: figures.paired_ratio(mine[n], twin[n]) for n in figures.EFFICIENCIES if n in mine},
        "difference": {
            n: figures.paired_difference(mine[n], twin[n]) for n in ("accuracy", "auc", "ece") if n in mine
        },
    }
    ceiling = ceiling_of(plan, cell, samples)
    if ceiling:
        names = [n for n in ("accuracy", "auc", *figures.EFFICIENCIES) if n in mine]
        entry["recovered"] = {n: figures.recovered(mine[n], twin[n], ceiling[n]) for n in names}
    return entry


def ceiling_of(plan, cell, samples):
    """The samples of the large model with the inputs of a student, if it is trained."""
    if plan.ceiling is None:
        return None
    of = runs.members(plan, plan.ceiling, *cell[:3])
    keys = [(role, *of[:3], plan.baseline) for role in ("ceiling", "student")]
    return next((samples[key] for key in keys if key in samples), None)


def options_of(plan, cell):
    """The options of networks/distill.py that an arm is trained with, the defaults among them."""
    if cell.teacher is None:
        return cell.options
    defaults = {"kd_alpha": Options.kd_alpha, "kd_temperature": Options.kd_temperature}
    return defaults | plan.networks[cell.student].distillation | cell.options


def size_of(plan, network, config):
    """Parameters, FLOPs and particles of a network with the inputs of a data config."""
    found = complexity(plan.networks[network].file, config, plan.networks[network].options)
    return {name: found[name] for name in ("parameters", "flops", "particles")}


def count_jets(patterns):
    """Number of jets in files."""
    paths = {path for pattern in patterns for path in glob.glob(pattern.rpartition(":")[2])}
    return sum(contents(path)[1] for path in paths)
