"""The plot of data efficiency: figures of merit against the number of labelled jets, one line for each start."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_trainer.evaluate.plots import MARKERS, REJECTION, save
from kd_trainer.evaluate.style import COLOURS, legend, load_style

PANELS = {"accuracy": "Accuracy", "auc": "AUC", "rejection": REJECTION}
MOST_PANELS = 2
APART = 1.03  # factor between the lines along x, so that error bars do not overlap


def error_of(figure: Mapping[str, Any]) -> float:
    """The error for the bars: of the mean over seeds, which is independent between lines; or else of the test jets."""
    return figure["statistical"] if figure["seed_error"] is None else figure["seed_error"]


def draw(results: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write efficiency.png and efficiency.pdf from the output of `efficiency.evaluate`; returns their paths."""
    plt, style = load_style()
    points, starts = results["points"], results["starts"]
    shown = [key for key in PANELS if all(point[key] for point in points)][:MOST_PANELS]
    seeds = max(len(point["files"]) for point in points)
    with plt.style.context(style):
        size = (7 * len(shown), 6 + 0.3 * len(starts))
        figure, axes = plt.subplots(1, len(shown), figsize=size, layout="constrained", squeeze=False)
        for ax, key in zip(axes[0], shown):
            for i, start in enumerate(starts):
                line = [point for point in points if point["start"] == start]
                x = [point["labels"] * APART ** (i - (len(starts) - 1) / 2) for point in line]
                y, errors = ([f(point[key]) for point in line] for f in (lambda figure: figure["value"], error_of))
                look = "--" if start == results["reference"] else "-"
                ax.errorbar(x, y, errors, label=start, fmt=f"{MARKERS[i % len(MARKERS)]}{look}", markersize=7,
                            color=COLOURS[i % len(COLOURS)], capsize=3, elinewidth=1.5)  # fmt: skip
            ax.set_xscale("log")
            ax.margins(x=0.08, y=0.1)
            ax.set_xlabel("Labelled jets")
            ax.set_ylabel(PANELS[key])
        bars = f"bars: error of the mean over {seeds} seeds" if seeds > 1 else "bars: statistical, of the test jets"
        legend(figure, axes[0, 0], {"title": f"{results['title'] or 'Data efficiency'}; {bars}"}, 2)
        written = save(figure, folder, "efficiency", dpi=110)
        plt.close(figure)
    return written
