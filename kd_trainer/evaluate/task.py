"""The task for the comparison of taggers: classes, background, working points; and the figures of one prediction."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_trainer.errors import InputError
from kd_trainer.evaluate import bootstrap, metrics
from kd_trainer.evaluate.predictions import SIMPLE_LABEL, Prediction
from kd_trainer.evaluate.working_points import (
    MANY_CLASSES,
    WorkingPoint,
    background_columns,
    default_background,
    working_points,
)


class Task(NamedTuple):
    """The common part of all predictions, for K classes and N jets."""

    names: list[str]  # (K,) as shown
    labels: np.ndarray  # (N,)
    background_name: str
    background: list[int]  # columns of the background classes
    points: list[WorkingPoint]  # of each rejection


class Measured(NamedTuple):
    """The figures of one prediction."""

    values: dict[str, float]  # accuracy, auc: float
    rejections: dict[str, metrics.Rejection]  # by the key of a working point
    statistics: dict[str, bootstrap.Statistic]  # of all of these


def make_task(
    predictions: Sequence[Prediction],
    names: Sequence[str],
    background: str | None = None,
    signals: Sequence[str] | None = None,
) -> Task:
    """The task for these predictions, which are already known to contain the same jets.

    Parameters
    ----------
    names : (K,) names of the classes as shown.
    background : class to reject, or a common part of several names; see `working_points.default_background`.
    signals : 'S' or 'S/B' each; see `working_points.working_points`.

    Raises
    ------
    InputError
        If a class has no test jets; for custom labels, if the background or all signals have none.
    """
    first = predictions[0]
    background = background or default_background(names)
    columns = background_columns(names, background)
    jets = np.bincount(first.labels, minlength=len(names))
    if SIMPLE_LABEL in (p.label_name for p in predictions) and not jets.all():
        missing = ", ".join(names[i] for i in np.flatnonzero(jets == 0).tolist())
        raise InputError(
            f"{first.path} has no test jets of class {missing}; "
            "weaver writes one file for each named test group: merge them, or predict all files in one group"
        )
    if not jets[columns].any():
        raise InputError(f"{first.path} has no test jets of {background}")
    points = working_points(names, background, jets > 0, signals)
    if not points:
        raise InputError(f"{first.path} has no test jets of any signal class")
    return Task(list(names), first.labels, background, columns, points)


def split(task: Task, scores: np.ndarray, point: WorkingPoint) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Signal and background jets of a working point.

    Returns
    -------
    signal_jets, background_jets : (S,), (B,) their positions in the test sample, ascending.
    signal, background : (S,), (B,) their discriminants.
    """
    columns = [task.names.index(point.signal), *background_columns(task.names, point.background)]
    signal_jets, background_jets = (np.flatnonzero(np.isin(task.labels, of)) for of in (columns[:1], columns[1:]))
    signal, background = (
        metrics.discriminant(scores[index][:, columns], 0, range(1, len(columns)))
        for index in (signal_jets, background_jets)
    )
    return signal_jets, background_jets, signal, background


def measure(task: Task, scores: np.ndarray) -> Measured:
    """All figures of one prediction (N, K)."""
    values = {"accuracy": metrics.accuracy(task.labels, scores)}
    statistics = {"accuracy": bootstrap.accuracy_statistic(task.labels, scores)}
    if len(task.names) <= MANY_CLASSES:
        values["auc"], influence = metrics.auc_influence(task.labels, scores)
        statistics["auc"] = bootstrap.auc_statistic(values["auc"], influence)
    rejections = {}
    for point in task.points:
        jets = split(task, scores, point)
        rejections[point.key] = metrics.rejection(*jets[2:], point.efficiency)
        statistics[point.key] = bootstrap.rejection_statistic(*jets, point.efficiency)
    return Measured(values, rejections, statistics)
