"""Figures of merit of a study and their changes by distillation: paired by seed, on the same test jets.

A `compare.Sample` contains the values (S,) of S seeds and replicas (S, R) on R resampled test samples, which are the
same for all taggers. Numbers are dicts with value, statistical (from the test jets), seed_error (standard error of the
mean over seeds; None for one seed) and total (both in quadrature).
"""

from typing import Any

import numpy as np

from kd_trainer.evaluate import compare, metrics
from kd_trainer.evaluate.bootstrap import accuracy_statistic, bootstrap
from kd_trainer.evaluate.calibration import balanced_weights, ece_statistic
from kd_trainer.evaluate.predictions import Prediction
from kd_trainer.evaluate.task import Task, make_task, measure
from kd_trainer.evaluate.uncertainties import figure, standard_error
from kd_trainer.evaluate.working_points import WorkingPoint

EFFICIENCIES = {"rej30": 0.3, "rej50": 0.5}
REJECTIONS = ("rejection", *EFFICIENCIES)  # the first at the working points of the benchmark, as in `report`
FIGURES = ("accuracy", "auc", *REJECTIONS, "ece")


def study_task(
    predictions: list[Prediction], names: list[str], background: str | None = None
) -> tuple[Task, dict[str, list[WorkingPoint]]]:
    """The task of `evaluate.task` with additional rejections at 30 and 50 % for every signal.

    It is returned with the working points that are averaged for each of REJECTIONS.
    """
    task = make_task(predictions, names, background)
    signals = list(dict.fromkeys((point.signal, point.background, point.label) for point in task.points))
    means = {"rejection": list(task.points)}
    for name, efficiency in EFFICIENCIES.items():
        means[name] = [WorkingPoint(signal, of, efficiency, label) for signal, of, label in signals]
    points = {point.key: point for of in means.values() for point in of}
    return task._replace(points=list(points.values())), means


def collect(
    task: Task, means: dict[str, list[WorkingPoint]], cells: dict, replicas: int
) -> tuple[dict, dict]:
    """Measure all taggers, and resample the test jets once for all of them.

    Parameters
    ----------
    task, means : from `study_task`
    cells : {key: [predictions.Prediction, one for each seed]}
    replicas : number of bootstrap replicas

    Returns
    -------
    samples : {key: {figure: compare.Sample}}; accuracy and ece have equal weights of classes, rejections are geometric
        means over the signals.
    averaged : {one of REJECTIONS: working points in the mean}; at these points every tagger leaves enough jets.
    """
    weights = balanced_weights(task.labels)
    measured = {(key, seed): measure(task, p.scores) for key, found in cells.items() for seed, p in enumerate(found)}
    statistics: dict[tuple, Any] = {}
    for (key, seed), m in measured.items():
        scores = cells[key][seed].scores
        own = {"accuracy": accuracy_statistic(task.labels, scores, weights),
               "ece": ece_statistic(task.labels, scores, weights)}  # fmt: skip
        statistics |= {(key, seed, name): statistic for name, statistic in (m.statistics | own).items()}
    drawn = bootstrap(statistics, len(task.labels), replicas=replicas)
    nominal = np.ones((1, len(task.labels)))
    averaged = {
        name: [
            point.key
            for point in points
            if all(m.rejections[point.key].passed >= metrics.FEW_JETS for m in measured.values())
        ]
        for name, points in means.items()
    }
    samples = {}
    for key, found in cells.items():
        seeds = range(len(found))
        values = {"auc": [measured[key, seed].values.get("auc") for seed in seeds]}
        for name in ("accuracy", "ece"):
            values[name] = [statistics[key, seed, name](nominal)[0] for seed in seeds]
        for point in dict.fromkeys(p for points in averaged.values() for p in points):
            values[point] = [measured[key, seed].rejections[point].value for seed in seeds]
        known = {
            name: compare.Sample(np.array(found), np.stack([drawn[key, seed, name] for seed in seeds]))
            for name, found in values.items()
            if None not in found
        }
        mean = {name: compare.mean_over_points(known, points) for name, points in averaged.items()}
        samples[key] = {name: known.get(name, mean.get(name)) for name in FIGURES}
        samples[key] = {name: sample for name, sample in samples[key].items() if sample is not None}
    return samples, averaged


def restrict(sample: compare.Sample, seeds: list[int]) -> compare.Sample:
    """The sample of the seeds at these positions."""
    return compare.Sample(sample.values[seeds], sample.replicas[seeds])


def paired_ratio(first: compare.Sample, second: compare.Sample) -> dict:
    """Geometric mean over seeds of the ratio of two samples with the same seeds, for rejections."""
    logs = np.log(first.values / second.values)
    value = np.exp(logs.mean())
    statistical = value * np.std(np.log(first.replicas / second.replicas).mean(axis=0), ddof=1)
    error = standard_error(logs)
    return figure(value, statistical, None if error is None else float(value * error))


def paired_difference(first: compare.Sample, second: compare.Sample) -> dict:
    """Mean over seeds of the difference of two samples with the same seeds."""
    differences = first.values - second.values
    statistical = np.std((first.replicas - second.replicas).mean(axis=0), ddof=1)
    return figure(differences.mean(), statistical, standard_error(differences))
