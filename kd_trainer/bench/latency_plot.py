"""The plot that compares taggers: background rejection, or accuracy, against the time for one jet."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_trainer.errors import InputError
from kd_trainer.evaluate import plots
from kd_trainer.evaluate.latency import fastest
from kd_trainer.evaluate.style import load_style
from kd_trainer.files import json_of

FIGURES = {"rejection": plots.REJECTION, "accuracy": "Accuracy"}


def qualities(path: Path, models: Iterable[str]) -> dict[str, Any]:
    """Rejection of each model from report.json, or accuracy where a model has no rejection.

    Returns
    -------
    dict
        `figure`: rejection or accuracy; `values`: {name: (value, uncertainty)}.

    Raises
    ------
    InputError
        If the report lacks a model, or both figures of a model.
    """
    with json_of(path, "the report.json of kd_trainer report", "--report") as report:
        known = report["models"]
    absent = [name for name in models if name not in known]
    if absent:
        raise InputError(f"--report {path} has no model {absent[0]}, only {', '.join(known)}: name models NAME=...")
    figure = next((k for k in FIGURES if all(known[name].get(k) for name in models)), None)
    if figure is None:
        raise InputError(f"--report {path} has neither the rejection nor the accuracy of all of {', '.join(models)}")
    return {"figure": figure, "values": {n: (known[n][figure]["value"], known[n][figure]["total"]) for n in models}}


def draw(rows: Sequence[dict[str, Any]], quality: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw latency.png and latency.pdf; returns their paths, or [] if no model was timed in single precision."""
    found = {name: row for name in quality["values"] if (row := fastest(rows, name))}
    if not found:
        return []
    plt, style = load_style()
    points = {
        name: (1e3 * row["p50_ms"], *quality["values"][name], f"{name} ({row['engine']})")
        for name, row in found.items()
    }
    with plt.style.context(style):
        figure = plots.draw_against(
            plt, points, xlabel=plots.latency_label(found.values()), ylabel=FIGURES[quality["figure"]], title="",
            every=list(quality["values"]),
        )  # fmt: skip
        written = plots.save(figure, folder, "latency")
        plt.close(figure)
    return written
