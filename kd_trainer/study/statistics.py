"""Figures of merit of a study and their changes by distillation: paired by seed, on the same test jets.

A `compare.Sample` contains the values (S,) of S seeds and replicas (S, R) on R resampled test samples, which are the
same for all taggers. Numbers are dicts with value, statistical (from the test jets), seed_error (standard error of the
mean over seeds; None for one seed) and total (both in quadrature).
"""

import numpy as np

from kd_trainer.evaluate import compare
from kd_trainer.evaluate.bootstrap import accuracy_statistic, bootstrap
from kd_trainer.evaluate.calibration import balanced_weights, ece_statistic
from kd_trainer.evaluate.predictions import Prediction
from kd_trainer.evaluate.task import Task, make_task
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


def collect(task: Task, means: dict[str, list[WorkingPoint]], cells: dict, replicas: int) -> tuple[dict, dict]:
    """Measure all taggers, and resample the test jets once for all of them.

    Parameters
    ----------
    task, means : from `study_task`
    cells : {key: [predictions.Prediction, one for each seed]}

    Returns
    -------
    samples : {key: {figure: compare.Sample}}; accuracy and ece have equal weights of classes, rejections are geometric
        means over the signals.
    averaged : {one of REJECTIONS: working points in the mean}; at these points every tagger leaves enough jets.
    """
    measured, rejections = compare.collect(task, cells, replicas)
    enough = compare.well_measured(*rejections.values())
    averaged = {name: [point.key for point in points if point.key in enough] for name, points in means.items()}
    weights = balanced_weights(task.labels)
    statistics = {
        (key, seed, name): statistic(task.labels, prediction.scores, weights)
        for key, predictions in cells.items()
        for seed, prediction in enumerate(predictions)
        for name, statistic in (("accuracy", accuracy_statistic), ("ece", ece_statistic))
    }
    drawn = bootstrap(statistics, len(task.labels), replicas=replicas)  # with the same weights as in compare.collect
    nominal = np.ones((1, len(task.labels)))
    samples = {}
    for key, predictions in cells.items():
        means_of_points = {name: compare.mean_over_points(measured[key], of) for name, of in averaged.items()}
        known = {**measured[key], **means_of_points}
        for name in ("accuracy", "ece"):
            parts = [(key, seed, name) for seed in range(len(predictions))]
            values = np.array([statistics[part](nominal)[0] for part in parts])
            known[name] = compare.Sample(values, np.stack([drawn[part] for part in parts]))
        samples[key] = {name: known[name] for name in FIGURES if known.get(name)}
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
