"""python -m kd_trainer front: accuracy and rejection of firmware against its size, beside published designs."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_trainer.errors import InputError
from kd_trainer.evaluate import published
from kd_trainer.evaluate.firmware import FIXED, FLOATING
from kd_trainer.evaluate.plots import MARKERS, REJECTION
from kd_trainer.evaluate.style import COLOURS, load_style
from kd_trainer.evaluate.uncertainties import standard_error
from kd_trainer.files import json_of, replacing, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SIZE = "Size by alkaid, about LUTs"
FIGURES = {"accuracy": "Accuracy, classes weighted alike", "rejection": REJECTION}
KEPT = ("cost", "ebops", "register_bits", "stages", "clock_ns", "latency_ns")
STORED = "points"


def read_point(argument: str) -> dict[str, Any]:
    """The point 'ARM=firmware.json,firmware.json': {"arm", "seeds": a dict for each file}.

    Raises
    ------
    InputError
        If it is not of that form, or a file is not there or has no figures of its twin.
    """
    arm, _, files = argument.rpartition("=")
    if not arm:
        raise InputError(f"{argument} is not ARM=firmware.json,firmware.json,...")
    return {"arm": arm, "seeds": [_read(Path(path)) for path in files.split(",")]}


def _read(path: Path) -> dict[str, Any]:
    with json_of(path, "a firmware.json of kd_trainer firmware with --twin") as found:
        models = found["twin"]["models"]
        alike = found["twin"]["balanced_accuracy"]
        figures = {k: {"accuracy": alike[k], "rejection": models[k]["rejection"]} for k in (FIXED, FLOATING)}
        return {"file": str(path), **{key: found[key] for key in KEPT}, **figures}


def summary(point: Mapping[str, Any]) -> dict[str, Any]:
    """Means over the seeds, with the error of the mean, or the statistical uncertainty where that is larger.

    Returns
    -------
    dict
        arm, seeds, cost, ebops, latency_ns; accuracy, rejection and `difference`, of the accuracy to that of the twin:
        (value, uncertainty), value None where a seed has none.
    """
    seeds = point["seeds"]
    means = {key: float(np.mean([seed[key] for seed in seeds])) for key in ("cost", "ebops", "latency_ns")}
    figures = {key: _mean([seed[FIXED][key] for seed in seeds]) for key in FIGURES}
    changes = [seed[FIXED]["accuracy"]["value"] - seed[FLOATING]["accuracy"]["value"] for seed in seeds]
    difference = float(np.mean(changes)), standard_error(changes) or 0.0
    return {"arm": point["arm"], "seeds": len(seeds), **means, **figures, "difference": difference}


def _mean(figures: Sequence[Mapping[str, Any] | None]) -> tuple[float | None, float]:
    known = [figure for figure in figures if figure]
    if len(known) < len(figures):
        return None, 0.0
    values = [figure["value"] for figure in known]
    return float(np.mean(values)), max(standard_error(values) or 0.0, *(figure["statistical"] for figure in known))


def designs(kind: str) -> dict[str, list[dict[str, Any]]]:
    """Published designs for the LHC jets of hls4ml: {name: rows of published.yaml}.

    Parameters
    ----------
    kind : those alone that have this in their names, for example "16 particles, 3 features"; empty: all

    Raises
    ------
    InputError
        If there is none.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in published.load()["LHCJets"]["rows"]:
        if kind in row["model"]:
            name = row["model"].replace(f", {kind}", "") if kind else row["model"].split(", ")[0]
            found.setdefault(name, []).append(row)
    if not found:
        raise InputError(f"no published design of the LHC jets has '{kind}' in its name, see published.yaml")
    return found


def draw(plt: ModuleType, rows: Sequence[Mapping[str, Any]], title: str, kind: str = "") -> Figure:
    """A panel for accuracy and one for rejection, against the size; published designs of a kind, or in their own panel.

    Parameters
    ----------
    plt : matplotlib.pyplot
    rows : as from `summary`
    title : above the names of the arms
    kind : designs that are drawn beside the points, see `designs`; empty: a third panel with all designs
    """
    figure, axes = plt.subplots(1, 2 if kind else 3, figsize=(20, 7), layout="constrained")
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for ax, (key, label) in zip(axes, FIGURES.items()):
        for arm, colour, marker in zip(arms, cycle(COLOURS), cycle(MARKERS)):
            found = sorted((row["cost"], *row[key]) for row in rows if row["arm"] == arm and row[key][0] is not None)
            if found:
                x, y, error = zip(*found)
                ax.errorbar(x, y, error, fmt=f"{marker}-", color=colour, label=arm, capsize=4)
        ax.set(xlabel=SIZE, ylabel=label)
    small: Any = {"title_fontsize": 15, "fontsize": 13}
    if kind:
        its = f"Published, {kind}, on the original jets"
        axes[1].legend(*axes[0].get_legend_handles_labels(), title=title, title_fontsize=15, loc="lower right")
        axes[0].legend(handles=_draw_published(axes[0], kind), loc="lower right", title=its, **small)
        axes[0].set(xscale="log", xlabel=f"{SIZE}; published: LUTs")
    else:
        axes[0].legend(title=title, title_fontsize=15)
        other = "LHC jets of hls4ml, 5 classes, not ours"
        axes[2].legend(handles=_draw_published(axes[2], kind), loc="lower right", title=other, **small)
        axes[2].set(xscale="log", xlabel="LUTs as published", ylabel="Accuracy", ylim=(0.55, 0.84))
    return figure


def _draw_published(ax: Axes, kind: str) -> list[Line2D]:
    """Published designs on the LHC jets of hls4ml: another data set than that of the points."""
    lines: list[Line2D] = []
    for (name, rows), colour, marker in zip(designs(kind).items(), cycle(COLOURS[::-1]), cycle(MARKERS)):
        x, y = [row["luts"] for row in rows], [row["accuracy"] for row in rows]
        label = f"{name} ({rows[0]['source']})"
        lines += ax.plot(x, y, marker, color=colour, label=label, fillstyle="none" if kind else "full")
    return lines


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """A row a point, as markdown."""
    from tabulate import tabulate

    header = ["arm", "seeds", SIZE, "EBOPs", "latency (ns)", "accuracy", "less than its twin", "rejection"]
    cells = [
        [row["arm"], row["seeds"], f"{row['cost']:,.0f}", f"{row['ebops']:,.0f}", f"{row['latency_ns']:.0f}",
         _cell(row["accuracy"], 4), _cell((-row["difference"][0], row["difference"][1]), 4), _cell(row["rejection"], 1)]
        for row in rows
    ]  # fmt: skip
    return tabulate(cells, header, tablefmt="github", disable_numparse=True)


def _cell(figure: tuple[float | None, float], digits: int) -> str:
    value, error = figure
    return "–" if value is None else f"{value:.{digits}f} ± {error:.{digits}f}"


def main(argv: Sequence[str]) -> None:
    """Read the points, or those of an earlier call, store them, draw them."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer front",
        description="Accuracy and rejection of firmware against its size: OUT.png, OUT.json and a table. A point is "
        "the mean over its files, one a seed, each of kd_trainer firmware with --twin.",
    )
    add = parser.add_argument
    add("points", nargs="+", metavar="ARM=FILE,FILE",
        help="firmware.json of each seed; or the OUT.json of an earlier call")  # fmt: skip
    add("-o", "--output", type=Path, required=True, metavar="OUT", help="without ending")
    add("--title", default="", metavar="TEXT", help="above the names of the arms")
    add("--published", default="", metavar="KIND",
        help="for points of the LHC jets of hls4ml: draw published designs with this in their names beside them, for "
        "example '16 particles, 3 features'")  # fmt: skip
    args = parser.parse_args(argv)
    designs(args.published)
    points: list[dict[str, Any]] = []
    for argument in args.points:
        if argument.endswith(".json") and "=" not in argument:
            with json_of(argument, "the OUT.json of kd_trainer front") as found:
                points += found[STORED]
        else:
            points.append(read_point(argument))
    rows = [summary(point) for point in points]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output.with_suffix(".json"), {STORED: points})
    plt, style = load_style()
    with plt.style.context(style), replacing(args.output.with_suffix(".png")) as temporary:
        figure = draw(plt, rows, args.title, args.published)
        figure.savefig(temporary, format="png", dpi=100)
        plt.close(figure)
    print(table(rows))
