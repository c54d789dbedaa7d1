"""Tables of report.md and of the terminal, from the numbers of report.json."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from kd_trainer.files import si

ABSENT = "–"
MOST_COLUMNS = 20  # wider tables of rejections are turned: a row a working point


def plus_minus(figure: Mapping[str, Any] | None) -> str:
    """'0.8612 ± 0.0017': the total uncertainty with two digits, the value with as many decimals."""
    if not figure or figure["value"] is None:
        return ABSENT
    if not figure["total"]:
        return f"{figure['value']:.4g}"
    decimals = max(0, 1 - math.floor(math.log10(figure["total"])))
    return f"{figure['value']:.{decimals}f} ± {figure['total']:.{decimals}f}"


def rejection_cell(figure: Mapping[str, Any]) -> str:
    """A rejection, its lower limit when no background jet is left, with a dagger when few are."""
    if figure["value"] is None:
        return f"> {figure['lower_limit_95']:.0f}"
    return plus_minus(figure) + (" †" if figure["few"] else "")


def inputs_of(model: Mapping[str, Any]) -> str:
    """'JetClass_l1, 16 particles': data config and number of particles of a model with a sidecar."""
    if model["data_config"] is None:
        return ABSENT
    return f"{Path(model['data_config']).stem}, {model['particles']} particles"


def main_table(results: Mapping[str, Any], tablefmt: str = "github") -> str:
    """A row a model: size, accuracy, AUC, geometric mean of the rejections; latency where it has been measured."""
    header = ["model", "seeds", "inputs", "parameters", "FLOPs", "accuracy", "AUC", "rejection (geometric mean)"]
    timed = bool(results.get("latency"))
    if timed:
        header.insert(5, "latency (µs)")
    rows = [
        [
            name,
            len(model["files"]),
            inputs_of(model),
            *(ABSENT if model[key] is None else si(model[key]) for key in ("parameters", "flops")),
            *([_microseconds(model["latency"])] if timed else []),
            *(plus_minus(model[key]) for key in ("accuracy", "auc", "rejection")),
        ]
        for name, model in results["models"].items()
    ]
    return tabulate(rows, header, tablefmt=tablefmt, disable_numparse=True)


def _microseconds(row: Mapping[str, Any] | None) -> str:
    """The median of a row of latency.json."""
    if row is None:
        return ABSENT
    return f"{1e3 * row['p50_ms']:{'.3g' if row['p50_ms'] < 0.1 else '.0f'}}"


def _by_point(results: Mapping[str, Any], first: str, rows: Iterable[Sequence[Any]]) -> str:
    """A table with a column a working point, turned when there are many."""
    table = [[first, *(f"{p['label']} ({100 * p['efficiency']:g} %)" for p in results["working_points"])], *rows]
    if len(table[0]) > MOST_COLUMNS:
        table = [list(column) for column in zip(*table)]
    return tabulate(table[1:], table[0], tablefmt="github", disable_numparse=True)


def rejection_table(results: Mapping[str, Any]) -> str:
    """A row a model: the background rejection at each working point."""
    rows = [[name, *map(rejection_cell, model["rejections"].values())] for name, model in results["models"].items()]
    return _by_point(results, "model", rows)


def ratio_table(results: Mapping[str, Any]) -> str:
    """A row a comparison: the ratio of rejections at each working point."""
    rows = [[title(c), *map(plus_minus, c["rejection_ratios"].values())] for c in results["comparisons"]]
    return _by_point(results, "ratio", rows)


def difference_table(results: Mapping[str, Any]) -> str:
    """A row a comparison: geometric-mean ratio with the parts of its uncertainty, differences of accuracy and AUC."""
    header = ["ratio", "geometric mean", "statistical part", "seed part", "accuracy difference", "AUC difference"]
    rows = []
    for c in results["comparisons"]:
        ratio = c["rejection_ratio"]
        parts = [f"{ratio[k]:.2g}" if ratio and ratio[k] is not None else ABSENT for k in ("statistical", "seed_error")]
        differences = [plus_minus(c[key]) for key in ("accuracy_difference", "auc_difference")]
        rows.append([title(c), plus_minus(ratio), *parts, *differences])
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def spread_table(results: Mapping[str, Any]) -> str:
    """A row a model of several seeds: standard deviations over the seeds."""
    header = ["model", "seeds", "accuracy", "AUC", "rejection (geometric mean)"]
    rows = []
    for name, model in results["models"].items():
        if len(model["files"]) > 1:
            spreads = ((model[key] or {}).get("seed_spread") for key in ("accuracy", "auc", "rejection"))
            rows.append([name, len(model["files"]), *(ABSENT if s is None else f"{s:.2g}" for s in spreads)])
    return tabulate(rows, header, tablefmt="github", disable_numparse=True) if rows else ""


def title(comparison: Mapping[str, Any]) -> str:
    """'A / B' of a comparison."""
    return f"{comparison['numerator']} / {comparison['denominator']}"
