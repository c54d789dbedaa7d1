"""Metrics after each epoch for many classes: a few rejections instead of the AUCs of all pairs of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from weaver.utils.logger import _logger

from kd_trainer.errors import InputError
from kd_trainer.evaluate import metrics
from kd_trainer.evaluate.task import Task, split
from kd_trainer.evaluate.working_points import MANY_CLASSES, background_columns, default_background, working_points

# (signal, background) -> (signal efficiency, background efficiency, {working point: rejection})
Curves = dict[tuple[str, str], tuple[np.ndarray, np.ndarray, dict[float, float]]]


def epoch_metrics(names: Sequence[str], *, for_training: bool, epoch: int, tb_helper: Any = None) -> dict[str, Any]:
    """Metrics as arguments of weaver's `evaluate_classification`: its own for few classes, `rejections` for many.

    Weaver's pairwise AUCs take half a minute for 188 classes. The rejections go to the log and, with the ROC curves,
    to TensorBoard.
    """
    if len(names) <= MANY_CLASSES:
        return {}
    use = "eval" if for_training else "test"

    def rejections(labels: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
        curves = measure(names, labels, scores)
        if tb_helper:
            values = [
                (f"BkgRej_{signal}_vs_{background}_at_{efficiency:.0%}/{use} (epoch)", value, epoch)
                for (signal, background), (_, _, at) in curves.items()
                for efficiency, value in at.items()
            ]
            tb_helper.write_scalars(values)
            draw(curves, tb_helper.writer, f"ROC/{use}/epoch{epoch:04d}", epoch)
        return {f"{s} vs {b}": {f"{e:.0%}": round(v, 1) for e, v in at.items()} for (s, b), (*_, at) in curves.items()}

    return {"eval_metrics": [rejections]}


def measure(names: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> Curves:
    """{(signal, background): (signal efficiency, background efficiency, {working point: rejection})} with jets.

    They come from true classes (N,) and probabilities (N, K).
    """
    background = default_background(names)
    curves: Curves = {}
    try:
        points = working_points(names, background, np.bincount(labels, minlength=len(names)) > 0)
    except InputError as error:  # for example no class with QCD in its name
        _logger.warning("No rejections: %s", error)
        return curves
    task = Task(list(names), labels, background, background_columns(names, background), points)
    for point in points:
        *_, of_signal, of_background = split(task, scores, point)
        if not len(of_background):
            continue
        efficiency = np.linspace(0.01, 1, 100)
        passing = metrics.background_passing(of_signal, of_background, efficiency) / len(of_background)
        *_, at = curves.setdefault((point.signal, point.background), (efficiency, passing, {}))
        value = metrics.rejection(of_signal, of_background, point.efficiency)
        at[point.efficiency] = value.lower_limit if value.value is None else float(value.value)
    return curves


def draw(curves: Curves, writer: Any, tag: str, epoch: int) -> None:
    """Draw background efficiency against signal efficiency in TensorBoard; does nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(5, 5), layout="constrained")
    ax = figure.subplots()
    for (signal, background), (efficiency, passing, _) in curves.items():
        ax.plot(efficiency, np.where(passing > 0, passing, np.nan), label=f"{signal} against {background}")
    ax.set(xlabel="Signal efficiency", ylabel="Background efficiency", yscale="log", xlim=(0, 1), ylim=(1e-4, 1))
    if curves:
        ax.legend(frameon=False)
    writer.add_figure(tag, figure, epoch)
