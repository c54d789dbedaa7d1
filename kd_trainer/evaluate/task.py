"""What taggers are compared on: classes, background, working points; and what one prediction yields there."""

from typing import NamedTuple

import numpy as np

from kd_trainer.errors import InputError
from kd_trainer.evaluate import bootstrap, metrics
from kd_trainer.evaluate.predictions import SIMPLE_LABEL

MOST_CLASSES_FOR_AUC = 20  # the number of pairs grows with the square


class Task(NamedTuple):
    """The common part of all predictions; K classes, N jets."""

    names: list  # (K,) as shown
    labels: np.ndarray  # (N,)
    background_name: str
    background: list  # columns of the background classes
    points: list  # (signal class, signal efficiency) of each rejection


class Measured(NamedTuple):
    """The figures of one prediction."""

    values: dict  # accuracy, auc: float
    rejections: dict  # working point: metrics.Rejection
    statistics: dict  # all of these: function from jet weights (R, N) to replicas (R,), see bootstrap


def point_key(signal, efficiency):
    """Name of a working point in tables and in report.json: 'Hbb@50%'."""
    return f"{signal}@{100 * efficiency:g}%"


def background_columns(names, wanted):
    """Columns of the class called `wanted`, or of all classes whose name contains it (the QCD_* of JetClass-II).

    Raises
    ------
    InputError
        When that is none of the classes, or all.
    """
    columns = [i for i, name in enumerate(names) if name == wanted]
    columns = columns or [i for i, name in enumerate(names) if wanted in name]
    if not columns or len(columns) == len(names):
        found = "every" if columns else "no"
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise InputError(f"{found} class has '{wanted}' in its name: give --background with one of {shown}")
    return columns


def make_task(predictions, names, background):
    """The comparison that these predictions, already known to hold the same jets, allow.

    Raises
    ------
    InputError
        When a class has no test jets; for custom labels, when the background or all signals have none.
    """
    first = predictions[0]
    columns = background_columns(names, background)
    jets = np.bincount(first.labels, minlength=len(names))
    if SIMPLE_LABEL in (p.label_name for p in predictions) and not jets.all():
        missing = ", ".join(names[i] for i in np.flatnonzero(jets == 0))
        raise InputError(
            f"{first.path} has no test jets of class {missing}; "
            "weaver writes a file for each named test group: merge them, or predict on all files in one group"
        )
    signals = [name for i, name in enumerate(names) if i not in columns and jets[i]]
    if not signals or not jets[columns].any():
        raise InputError(f"{first.path} has no test jets of {background if signals else 'any signal class'}")
    return Task(names, first.labels, background, columns, metrics.working_points(signals, len(names)))


def _split(task, scores, signal):
    """Positions of the signal and of the background jets in the sample, and the discriminant of both."""
    column = task.names.index(signal)
    jets = [np.flatnonzero(task.labels == column), np.flatnonzero(np.isin(task.labels, task.background))]
    return [*jets, *(metrics.discriminant(scores[index], column, task.background) for index in jets)]


def measure(task, scores):
    """All figures of one prediction (N, K).

    Returns
    -------
    Measured
    """
    values = {"accuracy": metrics.accuracy(task.labels, scores)}
    statistics = {"accuracy": bootstrap.accuracy_statistic(task.labels, scores)}
    if len(task.names) <= MOST_CLASSES_FOR_AUC:
        values["auc"], influence = metrics.auc_influence(task.labels, scores)
        statistics["auc"] = bootstrap.auc_statistic(values["auc"], influence)
    rejections = {}
    for signal, efficiency in task.points:
        key, split = point_key(signal, efficiency), _split(task, scores, signal)
        rejections[key] = metrics.rejection(*split[2:], efficiency)
        statistics[key] = bootstrap.rejection_statistic(*split, efficiency)
    return Measured(values, rejections, statistics)


def rejection_curve(task, predictions, signal, efficiencies):
    """Background rejection against signal efficiency, the mean over the seeds of a model.

    Parameters
    ----------
    predictions : the seeds of one model.
    signal : name of the signal class.
    efficiencies : (E,)

    Returns
    -------
    rejection, uncertainty : (E,) each, NaN where a seed leaves fewer than `metrics.FEW_JETS` background jets. The
        uncertainty is binomial, and with several seeds has the standard error of their mean added in quadrature.
    """
    left = []
    for prediction in predictions:
        *_, of_signal, of_background = _split(task, prediction.scores, signal)
        left.append(metrics.background_passing(of_signal, of_background, efficiencies).astype(float))
    left = np.stack(left)  # (S, E)
    left[:, left.min(axis=0) < metrics.FEW_JETS] = np.nan
    values = len(of_background) / left
    uncertainty = (values * np.sqrt((1 - 1 / values) / left)).mean(axis=0)
    if len(values) > 1:
        uncertainty = np.hypot(uncertainty, values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    return values.mean(axis=0), uncertainty
