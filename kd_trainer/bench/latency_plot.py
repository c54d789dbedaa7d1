"""The plot that compares taggers: background rejection, or accuracy, against the time for one jet."""

import json

from kd_trainer.errors import InputError
from kd_trainer.evaluate.output import replacing
from kd_trainer.evaluate.style import colours, legend, load_style

FIGURES = {"rejection": "Rejection (geometric mean)", "accuracy": "Accuracy"}


def qualities(path, models):
    """Rejection of each model from report.json, or accuracy where a model has no rejection.

    Returns
    -------
    dict
        `figure`: which; `values`: {name: (value, uncertainty)}.

    Raises
    ------
    InputError
        If a model is not in the report.
    """
    if not path.is_file():
        raise InputError(f"--report {path} is not there")
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["models"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"--report {path} is not the report.json of kd_trainer report") from None
    absent = [name for name in models if name not in known]
    if absent:
        raise InputError(f"--report {path} has no model {absent[0]}; it has {', '.join(known)}: name models NAME=...")
    figure = next(k for k in FIGURES if k == "accuracy" or all(known[name].get(k) for name in models))
    return {"figure": figure, "values": {n: (known[n][figure]["value"], known[n][figure]["total"]) for n in models}}


def fastest(rows, name):
    """The quickest single-thread row of a model in single precision, for the smallest batch: that of a trigger."""
    found = [r for r in rows if r["model"] == name and r["precision"] == "fp32"]
    smallest = min(((r["threads"], r["batch"]) for r in found), default=None)
    return min((r for r in found if (r["threads"], r["batch"]) == smallest), key=lambda r: r["p50_ms"], default=None)


def draw(rows, quality, folder):
    """latency.png and latency.pdf; returns their paths."""
    plt, style = load_style()
    chosen = colours(list(quality["values"]))
    written = []
    with plt.style.context(style):
        figure, ax = plt.subplots(figsize=(8, 6 + 0.35 * len(chosen)), layout="constrained")
        batches, threads = set(), set()
        for name, (value, error) in quality["values"].items():
            row = fastest(rows, name)
            if row is None:
                continue
            batches.add(row["batch"])
            threads.add(row["threads"])
            ax.errorbar(1e3 * row["p50_ms"], value, error, fmt="o", color=chosen[name], markersize=9,
                        label=f"{name} ({row['engine']})")  # fmt: skip
        ax.set_xscale("log")
        ax.margins(x=0.15, y=0.25)
        number = "/".join(map(str, sorted(threads)))
        ax.set_xlabel(f"Median latency (µs), batch of {'/'.join(map(str, sorted(batches)))}, threads: {number}")
        ax.set_ylabel(FIGURES[quality["figure"]])
        legend(figure, ax, {"title": ""}, 1)
        for kind in ("png", "pdf"):
            with replacing(folder / f"latency.{kind}") as temporary:
                figure.savefig(temporary, format=kind, dpi=150)
            written.append(folder / f"latency.{kind}")
        plt.close(figure)
    return written
