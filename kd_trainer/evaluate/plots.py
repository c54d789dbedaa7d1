"""Plots of a report: ROC curves, ratios of rejections, rejection against FLOPs and latency, as PNG, PDF and SVG."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.evaluate.predictions import Prediction
from kd_trainer.evaluate.roc import draw_roc
from kd_trainer.evaluate.style import SOURCE, colours, legend, load_style
from kd_trainer.evaluate.tables import title
from kd_trainer.evaluate.task import Task
from kd_trainer.files import replacing, si

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 20  # largest number of working points for plots with one entry for each
MARKERS = "os^Dv"
REJECTION = "Rejection (geometric mean)"


def _tick(point: Mapping[str, Any]) -> str:
    """Signal, background (if the report has several) and efficiency of a working point, in one line each."""
    label = point["label"].replace(" vs ", "\nvs ")
    return f"{label}\n{100 * point['efficiency']:g} %"


def draw_ratio(plt: ModuleType, results: Mapping[str, Any], names: Iterable[str]) -> Figure:
    """Ratio of rejections of each comparison: one column for each working point, and one for the geometric mean."""
    points, comparisons = results["working_points"], results["comparisons"]
    labels = [*map(_tick, points), "geom.\nmean"]
    figure, ax = plt.subplots(figsize=(max(8, 1.15 * len(labels)), 6), layout="constrained")
    chosen = colours(names)
    positions = np.arange(len(labels), dtype=float)
    positions[-1] += 0.4
    for i, comparison in enumerate(comparisons):
        found = [*(comparison["rejection_ratios"][p["key"]] for p in points), comparison["rejection_ratio"]]
        drawn = [(x, ratio) for x, ratio in zip(positions, found) if ratio]
        x = np.array([x for x, _ in drawn]) + 0.16 * (i - (len(comparisons) - 1) / 2)
        y, statistical, total = (np.array([r[key] for _, r in drawn]) for key in ("value", "statistical", "total"))
        colour, marker = chosen[comparison["numerator"]], MARKERS[i % len(MARKERS)]
        ax.errorbar(x, y, total, fmt=marker, color=colour, label=title(comparison), markersize=7, elinewidth=1.5)
        ax.errorbar(x, y, statistical, fmt="none", color=colour, capsize=4, elinewidth=1.5)
    ax.axhline(1, color="0.5", linestyle="--", linewidth=1.2, zorder=0)
    ax.axvline(positions[-1] - 0.7, color="0.8", linewidth=1.2, zorder=0)
    ax.set_xticks(positions, labels)
    ax.tick_params(axis="x", which="both", length=0)
    ax.set_xlim(-0.6, positions[-1] + 0.6)
    ax.set_ylabel("Ratio of rejections")
    ax.set_xlabel("Signal class and efficiency (bars: total uncertainty, caps: statistical part)")
    ax.margins(y=0.15)
    ax.set_ylim(bottom=max(0, ax.get_ylim()[0]))
    legend(figure, ax, results, 2)
    return figure


def draw_confusion(plt: ModuleType, results: Mapping[str, Any], name: str) -> Figure:
    """The confusion matrix of a model for families of classes, in percent of the true family."""
    families, model = results["families"], results["models"][name]
    values = 100 * np.array(model["confusion"], dtype=float)  # None is NaN
    size = 3.5 + 0.5 * len(families)
    figure, ax = plt.subplots(figsize=(size, size), layout="constrained")
    ax.imshow(np.nan_to_num(values), cmap="Blues", vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(values):
        if value >= 0.5:
            colour = "white" if value > 60 else "black"
            ax.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=11)
    without = np.isnan(values).all(axis=1)
    labels = [f"{family} (no jets)" if absent else family for family, absent in zip(families, without)]
    ax.set_xticks(range(len(families)), families, rotation=90)
    ax.set_yticks(range(len(families)), labels)
    ax.tick_params(which="both", length=0, labelsize=12)
    ax.minorticks_off()
    for edge in (i - 0.5 for i in range(1, len(families)) if families[i].split()[0] != families[i - 1].split()[0]):
        ax.axvline(edge, color="0.5", linewidth=1)
        ax.axhline(edge, color="0.5", linewidth=1)
    ax.set_xlabel("Family with the largest sum of scores")
    ax.set_ylabel("True family")
    title = f"{results['title']} ({SOURCE})" if results["title"] else SOURCE
    figure.suptitle(f"{title}\n{name}: jets of a family, in percent", fontsize=16)
    return figure


def draw_against(
    plt: ModuleType,
    points: Mapping[str, tuple[float, float, float, str]],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    every: Iterable[str],
) -> Figure:
    """A figure of merit of models against their cost.

    Parameters
    ----------
    points : {model: (cost, figure of merit, its uncertainty, text of the legend)}
    every : names of all models, for the colours.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, ax = plt.subplots(figsize=(8, 6 + 0.35 * len(points)), layout="constrained")
    chosen = colours(every)
    for name, (x, value, error, label) in points.items():
        ax.errorbar(x, value, error, fmt="o", color=chosen[name], label=label, markersize=9, capsize=0)
    ax.set_xscale("log")
    ax.margins(x=0.15, y=0.25)
    if ylabel == REJECTION:
        ax.set_yscale("log")
        # Rejections rarely span decades here, so 2 and 5 are labelled too, as plain numbers.
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    legend(figure, ax, {"title": title}, 1)
    return figure


def draw_rejection_against(
    plt: ModuleType, results: Mapping[str, Any], costs: Mapping[str, tuple[float, str]], xlabel: str
) -> Figure:
    """Geometric-mean rejection of models against their cost, from {model: (cost, addition to its name)}."""
    figures = {name: results["models"][name]["rejection"] for name in costs}
    points = {
        name: (cost, figures[name]["value"], figures[name]["total"], f"{name} ({text})")
        for name, (cost, text) in costs.items()
    }
    return draw_against(plt, points, xlabel=xlabel, ylabel=REJECTION, title=results["title"], every=results["models"])


def latency_label(rows: Collection[Mapping[str, Any]]) -> str:
    """The label of an axis of latencies, for rows of latency.json."""
    batches, threads = ("/".join(map(str, sorted({row[key] for row in rows}))) for key in ("batch", "threads"))
    return f"Median latency (µs), batch of {batches}, threads: {threads}"


def save(figure: Figure, folder: Path, name: str, dpi: int = 150) -> list[Path]:
    """Write a figure as PNG and PDF; returns their paths."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # keep the layout, so that it is computed once for all formats
    for path in paths(folder, name):
        with replacing(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=dpi)
    return paths(folder, name)


def paths(folder: Path, name: str) -> list[Path]:
    """The files of a figure."""
    return [folder / f"{name}.{kind}" for kind in ("png", "pdf")]


def as_svg(plt: ModuleType, figure: Figure, name: str) -> str:
    """A figure as an SVG element for an HTML page: all ids begin with `name`, so that they are unique in the page."""
    written = io.StringIO()
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):  # makes the ids reproducible
        figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = re.sub("<!--.*?-->", "", written.getvalue(), flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text[text.index("<svg") :])  # HTML knows these namespaces
    return re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)


def draw_all(
    results: Mapping[str, Any],
    task: Task,
    models: Mapping[str, Sequence[Prediction]],
    folder: Path,
    published: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Draw all figures for which there are results, as PNG and PDF; `published` as in `roc.draw_roc`.

    Returns
    -------
    dict
        {name: SVG} of roc, ratio (if there is a comparison), rejection_vs_flops and rejection_vs_latency (if these are
        known), and confusion_1, confusion_2, ..., one for each model (for many classes in families).
    """
    plt, style = load_style()
    drawn = {}
    with plt.style.context(style):
        figures = {}
        if len(task.points) <= MOST_POINTS:
            figures["roc"] = draw_roc(plt, results, task, models, published)
            if any(ratio for c in results["comparisons"] for ratio in c["rejection_ratios"].values()):
                figures["ratio"] = draw_ratio(plt, results, models)
        known = {name: m for name, m in results["models"].items() if m["rejection"]}
        flops = {k: (m["flops"], f"{si(m['parameters'])} parameters") for k, m in known.items() if m["flops"]}
        timed = {name: m["latency"] for name, m in known.items() if m.get("latency")}
        if flops:
            label = "FLOPs for one jet (multiply-adds)"
            figures["rejection_vs_flops"] = draw_rejection_against(plt, results, flops, label)
        if timed:
            costs = {name: (1e3 * row["p50_ms"], row["engine"]) for name, row in timed.items()}
            label = latency_label(timed.values())
            figures["rejection_vs_latency"] = draw_rejection_against(plt, results, costs, label)
        for number, name in enumerate(results["models"] if "families" in results else (), 1):
            figures[f"confusion_{number}"] = draw_confusion(plt, results, name)
        for name, figure in figures.items():
            save(figure, folder, name)
            drawn[name] = as_svg(plt, figure, name)
            plt.close(figure)
    return drawn
