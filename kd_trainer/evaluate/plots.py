"""Plots of a report: ROC curves, ratios of rejections, rejection against FLOPs; each as PNG and PDF."""

import numpy as np

from kd_trainer.evaluate.output import replacing, si
from kd_trainer.evaluate.roc import draw_roc
from kd_trainer.evaluate.style import colours, legend, load_style
from kd_trainer.evaluate.tables import title

MOST_POINTS = 20  # plots a working point are drawn up to this number
MARKERS = "os^Dv"


def _tick(point):
    """Signal, background where the report has several, and efficiency of a working point, a line each."""
    label = point["label"].replace(" vs ", "\nvs ")
    return f"{label}\n{100 * point['efficiency']:g} %"


def draw_ratio(plt, results, names):
    """Ratio of rejections of each comparison, a column a working point and one for the geometric mean."""
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
    legend(figure, ax, results, 1)
    return figure


def draw_all(results, task, models, folder, published=None):
    """Draw what the report allows; `published` as for `roc.draw_roc`.

    Returns
    -------
    Paths of the files written: roc, ratio (when there is one) and rejection_vs_flops (when FLOPs are known).
    """
    plt, style = load_style()
    written = []
    with plt.style.context(style):
        figures = {}
        if len(task.points) <= MOST_POINTS:
            figures["roc"] = draw_roc(plt, results, task, models, published)
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
