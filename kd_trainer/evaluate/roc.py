"""ROC curves: background rejection against signal efficiency, one panel for each signal and background."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.evaluate import metrics
from kd_trainer.evaluate.predictions import Prediction
from kd_trainer.evaluate.style import colours, legend
from kd_trainer.evaluate.task import Task, split
from kd_trainer.evaluate.working_points import WorkingPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rejection_curve(
    task: Task, predictions: Iterable[Prediction], point: WorkingPoint, efficiencies: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Background rejection against signal efficiency, the mean over the seeds of a model.

    Parameters
    ----------
    predictions : the seeds of one model.
    point : working_points.WorkingPoint, which gives signal and background.
    efficiencies : (E,)

    Returns
    -------
    rejection, uncertainty : (E,) each, NaN if a seed leaves fewer than `metrics.FEW_JETS` background jets. The
        uncertainty is binomial; for several seeds the standard error of their mean is added in quadrature.
    """
    passing = []
    for prediction in predictions:
        *_, of_signal, of_background = split(task, prediction.scores, point)
        passing.append(metrics.background_passing(of_signal, of_background, efficiencies).astype(float))
    left = np.stack(passing)  # (S, E)
    left[:, left.min(axis=0) < metrics.FEW_JETS] = np.nan
    values = len(of_background) / left
    uncertainty = (values * np.sqrt((1 - 1 / values) / left)).mean(axis=0)
    if len(values) > 1:
        uncertainty = np.hypot(uncertainty, values.std(axis=0, ddof=1) / np.sqrt(len(values)))
    return values.mean(axis=0), uncertainty


def efficiency_range(efficiencies: Iterable[float]) -> tuple[float, float]:
    """Range of signal efficiencies: from 10 %, or from ten times the inefficiency of a working point near 1."""
    lowest = min(efficiencies)
    return (0.1, 1.0) if lowest < 0.9 else (1 - 10 * (1 - lowest), 1.0)


def _draw_models(
    ax: Axes, task: Task, models: Mapping[str, Sequence[Prediction]], points: Sequence[WorkingPoint]
) -> None:
    """Draw curves with bands of one standard deviation, and a marker at each working point of this panel."""
    efficiencies = [point.efficiency for point in points]
    low, high = efficiency_range(efficiencies)
    grid = np.union1d(np.linspace(low, high, 181), efficiencies)
    chosen = colours(models)
    for name, predictions in models.items():
        rejection, uncertainty = rejection_curve(task, predictions, points[0], grid)
        ax.plot(grid, rejection, color=chosen[name], label=name, linewidth=1.8)
        band = np.maximum(rejection - uncertainty, 1), rejection + uncertainty
        ax.fill_between(grid, *band, color=chosen[name], alpha=0.2, linewidth=0)
        at = np.isin(grid, efficiencies)
        ax.plot(grid[at], rejection[at], "o", color=chosen[name], markersize=6)
    for efficiency in efficiencies:
        ax.axvline(efficiency, color="0.6", linestyle=":", linewidth=1.2, zorder=0)
    ax.set(xlim=(low, high), yscale="log")


def _draw_published(ax: Axes, published: Mapping[str, Any], points: Sequence[WorkingPoint]) -> None:
    """Draw open markers for the published rejections; only the table of the report says which is which."""
    drawn = [
        (point.efficiency, row["rejections"][point.key]["value"])
        for point in points
        for row in published["rows"]
        if point.key in row["rejections"]
    ]
    if drawn:
        label = f"published on {published['benchmark']}, not ours"
        ax.plot(*zip(*drawn), "D", color="0.35", markerfacecolor="none", markersize=7, label=label, zorder=3)


def draw_roc(
    plt: ModuleType,
    results: Mapping[str, Any],
    task: Task,
    models: Mapping[str, Sequence[Prediction]],
    published: Mapping[str, Any] | None = None,
) -> Figure:
    """The figure, with one panel for each pair of signal and background among the working points.

    `published` (from `published.select`) adds the published rejections.
    """
    panels: dict[tuple[str, str], list[WorkingPoint]] = {}
    for point in task.points:
        panels.setdefault((point.signal, point.background), []).append(point)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width, height = (8, 7) if len(panels) == 1 else (5.2 * columns, 4.4 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, ((signal, background), points) in zip(axes.flat, panels.items()):
        _draw_models(ax, task, models, points)
        if published:
            _draw_published(ax, published, points)
        ax.set_ylim(1, max(10, 4 * ax.get_ylim()[1]))  # space for the class names
        text = ax.text(0.95, 0.93, f"{signal} against {background}", transform=ax.transAxes, ha="right", va="top")
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
    backgrounds = {background for _, background in panels}
    figure.supxlabel("Signal efficiency", fontsize=20)
    figure.supylabel(f"{backgrounds.pop() if len(backgrounds) == 1 else 'Background'} rejection", fontsize=20)
    legend(figure, axes[0, 0], results, columns + 1)
    return figure
