"""Figures of a study from its results: the gain over the baseline against size, training jets, temperature and alpha.

Studies with unlabelled jets get a figure of the rejection against their number.
"""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd_trainer.evaluate.plots import save
from kd_trainer.evaluate.style import COLOURS, legend, load_style
from kd_trainer.files import si

MARKERS = "osD^vP*X"
AXES = {
    "size": ("Parameters of the student", "log"),
    "jets": ("Training jets", "log"),
    "temperature": ("Temperature", "linear"),
    "alpha": ("Weight of the soft targets, alpha", "linear"),
}


def series(results: dict, axis: str) -> dict[str, list]:
    """{label: [(x, cell), ...]}: lines of at least two cells that differ only in x, the quantity of an axis of AXES."""
    found: dict[str, dict] = {}
    for cell in results["cells"]:
        if "ratio" not in cell:
            continue
        label, x = _POSITIONS[axis](results, cell)
        if label is None or not isinstance(x, int | float):
            continue
        others = found.setdefault(label, {})
        if x not in others or len(cell["paired_seeds"]) > len(others[x]["paired_seeds"]):
            others[x] = cell
    lines = {label: sorted(cells.items(), key=lambda pair: pair[0]) for label, cells in found.items() if len(cells) > 1}
    return dict(sorted(lines.items())) if axis in ("temperature", "alpha") else lines


def _main_sample(results: dict, cell: dict) -> bool:
    return cell["sample"] == next(iter(results["training_jets"]))


def _by_size(results: dict, cell: dict) -> tuple:
    fits = _main_sample(results, cell) and not cell["grid"]
    return (f"{cell['arm']}, {cell['tier']}" if fits else None), cell["parameters"]


def _by_jets(results: dict, cell: dict) -> tuple:
    return f"{cell['student']}, {cell['arm']}", results["training_jets"][cell["sample"]]


def _by_option(name: str) -> Callable[[dict, dict], tuple]:
    def position(results: dict, cell: dict) -> tuple:
        options = dict(cell["options"])
        if cell["teacher"] is None or not _main_sample(results, cell):
            return None, None
        x = options.pop(name)
        more = [cell[key] for key in ("unlabelled", "pretrained") if cell.get(key)]
        rest = ", ".join([*more, *(f"{key.removeprefix('kd_')} {value}" for key, value in sorted(options.items()))])
        return f"{cell['student']}, {cell['tier']}, {cell['teacher']}, {rest}", x

    return position


_POSITIONS = {
    "size": _by_size,
    "jets": _by_jets,
    "temperature": _by_option("kd_temperature"),
    "alpha": _by_option("kd_alpha"),
}


def draw(plt: Any, results: dict, axis: str, lines: dict) -> Any:
    """Ratio of the rejections at 50 % and difference of the accuracies, against the quantity of an axis."""
    quantities = [("ratio", "rej50", "Ratio of Rej 50 %", 1), ("difference", "accuracy", "Accuracy difference", 0)]
    rows = -(-len(lines) // 2)
    figure, panels = plt.subplots(2, 1, sharex=True, figsize=(8, 8 + 0.35 * rows), layout="constrained")
    for ax, (kind, name, label, neutral) in zip(panels, quantities):
        for i, (title, points) in enumerate(lines.items()):
            points = [(x, cell[kind][name]) for x, cell in points if name in cell[kind]]
            x, y, error = (np.array(values) for values in zip(*((x, g["value"], g["total"]) for x, g in points)))
            x = apart(x, i - len(lines) / 2, AXES[axis][1])
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]
            ax.errorbar(x, y, error, label=title, color=colour, marker=marker, linewidth=1.2, elinewidth=1.5)
        ax.axhline(neutral, color="0.5", linestyle="--", linewidth=1.2, zorder=0)
        ax.set_ylabel(label)
        ax.margins(x=0.08, y=0.1)
    panels[-1].set_xlabel(AXES[axis][0])
    panels[-1].set_xscale(AXES[axis][1])
    title = {"title": textwrap.fill(results["title"], 45)}
    legend(figure, panels[0], title, 1 if max(map(len, lines)) > 30 else 2)
    return figure


def apart(x: np.ndarray, steps: float, scale: str) -> np.ndarray:
    """Positions (P,), shifted slightly so that error bars of several lines do not overlap."""
    return x * 1.02**steps if scale == "log" else x + 0.006 * steps * np.ptp(x)


def unlabelled_lines(results: dict, student: str, tier: str) -> dict[str, list[tuple[int, dict]]]:
    """{teacher: [(unlabelled jets, cell), ...]} of a student on the first sample; the first cell for each number."""
    found: dict[str, dict[int, dict]] = {}
    own = [cell for cell in results["cells"] if (cell["student"], cell["tier"]) == (student, tier)]
    taught = [cell for cell in own if cell.get("ratio") and cell["teacher"] and not cell.get("pretrained")]
    teachers = {cell["teacher"] for cell in taught if cell.get("unlabelled")}
    for cell in taught:
        plain = not set(cell["options"]) - {"kd_alpha", "kd_temperature"} and not cell["grid"]
        if cell["teacher"] in teachers and plain and _main_sample(results, cell):
            x = results["training_jets"][cell["unlabelled"]] if cell["unlabelled"] else 0
            found.setdefault(cell["teacher"], {}).setdefault(x, cell)
    return {teacher: sorted(cells.items()) for teacher, cells in found.items()}


def levels(results: dict, lines: dict[str, list[tuple[int, dict]]]) -> dict[str, dict]:
    """The reference cells for the lines of a student: its twin on labels alone, and the ceiling."""
    cell = next(iter(lines.values()))[0][1]
    keys = {"labels alone": ["student", cell["student"], cell["tier"], cell["sample"], results["baseline"]]}
    keys |= {"large model on labels": cell["ceiling"]} if "ceiling" in cell else {}
    parts = ("role", "student", "tier", "sample", "arm")
    cells = {tuple(other[part] for part in parts): other for other in results["cells"]}
    return {label: cells[tuple(key)] for label, key in keys.items() if tuple(key) in cells}


def draw_unlabelled(plt: Any, results: dict) -> Any:
    """Rejection against the number of unlabelled jets: one panel for each student; twin and ceiling as bands."""
    students = dict.fromkeys((cell["student"], cell["tier"]) for cell in results["cells"])
    lines = {student: unlabelled_lines(results, *student) for student in students}
    lines = {student: found for student, found in lines.items() if any(len(points) > 1 for points in found.values())}
    if not lines:
        return None
    numbers = sorted({x for found in lines.values() for points in found.values() for x, _ in points})
    teachers = list(dict.fromkeys(teacher for found in lines.values() for teacher in found))
    measured = "rejection" if all("rejection" in cell for cell in results["cells"]) else "rej50"
    figure, panels = plt.subplots(
        1, len(lines), sharey=True, squeeze=False, figsize=(1 + 4.5 * len(lines), 5.5), layout="constrained"
    )
    for ax, ((student, tier), found) in zip(panels[0], lines.items()):
        for (label, cell), colour in zip(levels(results, found).items(), ("0.45", "black")):
            value, error = cell[measured]["value"], cell[measured]["total"]
            ax.axhline(value, color=colour, linestyle="--", label=label)
            ax.axhspan(value - error, value + error, color=colour, alpha=0.12, linewidth=0)
        for teacher, points in found.items():
            i = teachers.index(teacher)
            x = [numbers.index(n) + 0.05 * (i - len(teachers) / 2) for n, _ in points]
            y, error = zip(*((cell[measured]["value"], cell[measured]["total"]) for _, cell in points))
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            ax.errorbar(x, y, error, label=f"taught by {teacher}", color=colour, marker=marker, linewidth=1.5)
        ax.set_xticks(range(len(numbers)), [si(n) for n in numbers])
        parameters = next(cell["parameters"] for cell in results["cells"] if cell["student"] == student)
        ax.set_title(f"{student}, {tier} inputs, {si(parameters)} parameters", loc="right", fontsize="medium")
        ax.set_xlabel("Training jets without labels")
        ax.margins(x=0.08, y=0.08)
    (first, jets), *_ = results["training_jets"].items()
    panels[0][0].set_ylabel("Background rejection" if measured == "rejection" else "Rejection at 50 %")
    legend(figure, _most_labels(panels[0]), {"title": f"{si(jets)} jets with labels"}, 3)
    return figure


def _most_labels(panels: Any) -> Any:
    return max(panels, key=lambda ax: len(ax.get_legend_handles_labels()[1]))


def draw_all(results: dict, folder: Path, stem: str) -> list[Path]:
    """Draw all figures for which there are results; returns the paths of `<stem>_<axis>.png` and `.pdf`.

    A study with unlabelled jets gets only the figure against their number.
    """
    plt, style = load_style()
    written = []
    with plt.style.context(style):
        drawn = {"unlabelled": draw_unlabelled(plt, results)}
        if drawn["unlabelled"] is None:
            found = {axis: series(results, axis) for axis in AXES}
            drawn = {axis: draw(plt, results, axis, lines) for axis, lines in found.items() if lines}
        for axis, figure in drawn.items():
            written += save(figure, folder, f"{stem}_{axis}", dpi=80)
            plt.close(figure)
    return written
