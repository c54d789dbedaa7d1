"""Plots of a report: ROC curves, ratios of rejections, rejection against FLOPs; each as PNG and PDF."""

import numpy as np

from kd_trainer.errors import InputError
from kd_trainer.evaluate.output import replacing, si
from kd_trainer.evaluate.tables import title
from kd_trainer.evaluate.task import rejection_curve

MOST_POINTS = 20  # plots a working point are drawn up to this number
SOURCE = "weaver-kd, simulated jets"
# The palette for ten lines of arXiv:2107.02270, told apart by all eyes; its grey is left to teachers.
COLOURS = ("#3f90da", "#e76300", "#832db6", "#bd1f01", "#ffa90e", "#a96b59", "#b9ac70", "#92dadd")
MARKERS = "os^Dv"
TEACHERS = ("#000000", "#717581")


def load_style():
    """matplotlib.pyplot without a display, and the style sheet of mplhep.

    Raises
    ------
    InputError
        When they are not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        import mplhep
    except ImportError as error:
        raise InputError(f"plots need {error.name}: pip install 'weaver-kd[plot]'") from error
    # Text sizes of the style are for a canvas of 10 x 10 inches with a single pad.
    sizes = dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize"), 16)
    ticks = dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 14)
    return plt, [mplhep.style.CMS, {**sizes, **ticks, "legend.frameon": False, "savefig.bbox": None}]


def colours(names):
    """{model: colour}, the same in all plots: teachers in black and grey, the others from a palette for all eyes."""
    teachers = [name for name in names if "teacher" in name.lower()]
    others = [name for name in names if name not in teachers]
    chosen = {name: TEACHERS[i % len(TEACHERS)] for i, name in enumerate(teachers)}
    return chosen | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(others)}


def efficiency_range(efficiencies):
    """Signal efficiencies to draw: from 10 %, or from ten times the inefficiency of a working point near 1."""
    lowest = min(efficiencies)
    return (0.1, 1.0) if lowest < 0.9 else (1 - 10 * (1 - lowest), 1.0)


def draw_roc(plt, results, task, models):
    """Background rejection against signal efficiency, a panel a signal class, with bands of one standard deviation."""
    signals = {}
    for signal, efficiency in task.points:
        signals.setdefault(signal, []).append(efficiency)
    columns = min(3, len(signals))
    rows = -(-len(signals) // columns)
    width, height = (8, 7) if len(signals) == 1 else (5.2 * columns, 4.4 * rows)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")
    chosen = colours(models)
    for ax in axes.flat[len(signals) :]:
        ax.set_axis_off()
    for ax, (signal, efficiencies) in zip(axes.flat, signals.items()):
        low, high = efficiency_range(efficiencies)
        grid = np.union1d(np.linspace(low, high, 181), efficiencies)
        for name, predictions in models.items():
            rejection, uncertainty = rejection_curve(task, predictions, signal, grid)
            ax.plot(grid, rejection, color=chosen[name], label=name, linewidth=1.8)
            band = np.maximum(rejection - uncertainty, 1), rejection + uncertainty
            ax.fill_between(grid, *band, color=chosen[name], alpha=0.2, linewidth=0)
            at = np.isin(grid, efficiencies)
            ax.plot(grid[at], rejection[at], "o", color=chosen[name], markersize=6)
        for efficiency in efficiencies:
            ax.axvline(efficiency, color="0.6", linestyle=":", linewidth=1.2, zorder=0)
        ax.set(xlim=(low, high), yscale="log")
        ax.set_ylim(1, max(10, 4 * ax.get_ylim()[1]))  # room for the name of the class
        text = ax.text(
            0.95, 0.93, f"{signal} against {task.background_name}", transform=ax.transAxes, ha="right", va="top"
        )
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 2})
    figure.supxlabel("Signal efficiency", fontsize=20)
    figure.supylabel(f"{task.background_name} rejection", fontsize=20)
    _legend(figure, axes[0, 0], results, columns + 1)
    return figure


def draw_ratio(plt, results, names):
    """Ratio of rejections of each comparison, a column a working point and one for the geometric mean."""
    points, comparisons = results["working_points"], results["comparisons"]
    labels = [f"{p['signal']}\n{100 * p['efficiency']:g} %" for p in points] + ["geom.\nmean"]
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
    _legend(figure, ax, results, 2)
    return figure


def draw_rejection_against_flops(plt, results):
    """Geometric-mean rejection of the models whose FLOPs are known."""
    from matplotlib.ticker import LogLocator, NullFormatter

    known = {name: m for name, m in results["models"].items() if m["flops"] and m["rejection"]}
    figure, ax = plt.subplots(figsize=(8, 6 + 0.35 * len(known)), layout="constrained")
    chosen = colours(results["models"])
    for name, model in known.items():
        value, error = model["rejection"]["value"], model["rejection"]["total"]
        label = f"{name} ({si(model['parameters'])} parameters)"
        ax.errorbar(model["flops"], value, error, fmt="o", color=chosen[name], label=label, markersize=9, capsize=0)
    ax.set(xscale="log", yscale="log")
    ax.margins(x=0.15, y=0.25)
    # Rejections rarely span decades here: label 2 and 5 as well, as plain numbers.
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("FLOPs for one jet (multiply-adds)")
    ax.set_ylabel("Rejection (geometric mean)")
    _legend(figure, ax, results, 1)
    return figure


def _legend(figure, ax, results, columns):
    """The title and one legend for all panels, above them."""
    handles, labels = ax.get_legend_handles_labels()
    text = f"{results['title']} ({SOURCE})" if results["title"] else SOURCE
    columns = min(columns, len(labels))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=text, title_fontsize=18)


def draw_all(results, task, models, folder):
    """Draw what the report allows.

    Returns
    -------
    Paths of the files written: roc, ratio (when there is one) and rejection_vs_flops (when FLOPs are known).
    """
    plt, style = load_style()
    written = []
    with plt.style.context(style):
        figures = {}
        if len(task.points) <= MOST_POINTS:
            figures["roc"] = draw_roc(plt, results, task, models)
            if any(ratio for c in results["comparisons"] for ratio in c["rejection_ratios"].values()):
                figures["ratio"] = draw_ratio(plt, results, models)
        if any(m["flops"] and m["rejection"] for m in results["models"].values()):
            figures["rejection_vs_flops"] = draw_rejection_against_flops(plt, results)
        for name, figure in figures.items():
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # the layout found stays, to be computed once for both kinds
            for kind in ("png", "pdf"):
                with replacing(folder / f"{name}.{kind}") as temporary:
                    figure.savefig(temporary, format=kind, dpi=150)
                written.append(folder / f"{name}.{kind}")
            plt.close(figure)
    return written
