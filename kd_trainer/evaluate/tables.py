"""Tables of a report, from the numbers of report.json."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from kd_trainer.evaluate.blocks import Number, Table
from kd_trainer.files import si

ABSENT = "–"
MOST_COLUMNS = 20  # wider tables of rejections are transposed: one row for each working point


def plus_minus(figure: Mapping[str, Any] | None) -> str:
    """'0.8612 ± 0.0017': the total uncertainty with two digits, the value with the same number of decimals."""
    if not figure or figure["value"] is None:
        return ABSENT
    value, total = figure["value"], figure["total"]
    if not total:
        return Number(f"{value:.4g}", value)
    decimals = max(0, 1 - math.floor(math.log10(total)))
    return Number(f"{value:.{decimals}f} ± {total:.{decimals}f}", value)


def _number(value: float | None, form: Callable[[float], str]) -> str:
    """A number, printed by `form`; a dash if it is not known."""
    return ABSENT if value is None else Number(form(value), value)


def rejection_cell(figure: Mapping[str, Any]) -> str:
    """A rejection, with a dagger if few background jets are left; a lower limit if none is left."""
    if figure["value"] is None:
        return Number(f"> {figure['lower_limit_95']:.0f}", figure["lower_limit_95"])
    return Number(plus_minus(figure) + (" †" if figure["few"] else ""), figure["value"])


def inputs_of(model: Mapping[str, Any]) -> str:
    """'JetClass_l1, 16 particles': data config and number of particles, for a model with a sidecar."""
    if model["data_config"] is None:
        return ABSENT
    return f"{Path(model['data_config']).stem}, {model['particles']} particles"


def main_table(results: Mapping[str, Any]) -> Table:
    """One row for each model: size, accuracy, AUC, geometric mean of the rejections, and measured latency."""
    header = ["model", "seeds", "inputs", "parameters", "FLOPs", "accuracy", "AUC", "rejection (geometric mean)"]
    timed = bool(results.get("latency"))
    if timed:
        header.insert(5, "latency (µs)")
    rows = [
        [
            name,
            len(model["files"]),
            inputs_of(model),
            *(_number(model[key], si) for key in ("parameters", "flops")),
            *([_microseconds(model["latency"])] if timed else []),
            *(plus_minus(model[key]) for key in ("accuracy", "auc", "rejection")),
        ]
        for name, model in results["models"].items()
    ]
    return Table(header, rows)


def _microseconds(row: Mapping[str, Any] | None) -> str:
    """The median latency of a row of latency.json."""
    return ABSENT if row is None else _number(1e3 * row["p50_ms"], lambda t: f"{t:{'.3g' if t < 100 else '.0f'}}")


def _by_point(results: Mapping[str, Any], first: str, rows: Iterable[Sequence[str]]) -> Table:
    """A table with one column for each working point, transposed if there are many."""
    table = [[first, *(f"{p['label']} ({100 * p['efficiency']:g} %)" for p in results["working_points"])], *rows]
    if len(table[0]) > MOST_COLUMNS:
        table = [list(column) for column in zip(*table)]
    return Table(table[0], table[1:])


def rejection_table(results: Mapping[str, Any]) -> Table:
    """One row for each model: the background rejection at each working point."""
    rows = [[name, *map(rejection_cell, model["rejections"].values())] for name, model in results["models"].items()]
    return _by_point(results, "model", rows)


def ratio_table(results: Mapping[str, Any]) -> Table:
    """One row for each comparison: the ratio of rejections at each working point."""
    rows = [[title(c), *map(plus_minus, c["rejection_ratios"].values())] for c in results["comparisons"]]
    return _by_point(results, "ratio", rows)


def difference_table(results: Mapping[str, Any]) -> Table:
    """One row for each comparison: geometric-mean ratio with its uncertainties, differences of accuracy and AUC."""
    header = ["ratio", "geometric mean", "statistical part", "seed part", "accuracy difference", "AUC difference"]
    rows = []
    for c in results["comparisons"]:
        ratio = c["rejection_ratio"]
        parts = [_number(ratio and ratio[k], "{:.2g}".format) for k in ("statistical", "seed_error")]
        differences = [plus_minus(c[key]) for key in ("accuracy_difference", "auc_difference")]
        rows.append([title(c), plus_minus(ratio), *parts, *differences])
    return Table(header, rows)


def spread_table(results: Mapping[str, Any]) -> Table:
    """One row for each model with several seeds: standard deviations over the seeds."""
    header = ["model", "seeds", "accuracy", "AUC", "rejection (geometric mean)"]
    rows = []
    for name, model in results["models"].items():
        if len(model["files"]) > 1:
            spreads = ((model[key] or {}).get("seed_spread") for key in ("accuracy", "auc", "rejection"))
            rows.append([name, len(model["files"]), *(_number(s, "{:.2g}".format) for s in spreads)])
    return Table(header, rows)


def settings_tables(results: Mapping[str, Any]) -> list[Table]:
    """A table of the settings that differ between the models, and a table of the common settings."""
    columns = [_settings_of(model) for model in results["models"].values()]
    rows = [[name, *(column.get(name, ABSENT) for column in columns)] for name in dict.fromkeys(chain(*columns))]
    common = [row[:2] for row in rows if len(set(row[1:])) == 1]
    differing = [row for row in rows if len(set(row[1:])) > 1]
    return [Table(["setting", *results["models"]], differing), Table(["setting", "of all models"], common)]


def _settings_of(model: Mapping[str, Any]) -> dict[str, str]:
    """{setting: value as text} of a model, with the values of several seeds side by side; without None."""
    seeds: dict[str, list[str]] = {}
    for training in filter(None, model["trainings"]):
        of_training = {key: training[key] for key in ("seed", "epochs", "best_epoch")} | training["recipe"]
        of_training |= {f"version of {package}": version for package, version in training["versions"].items()}
        for key, value in of_training.items():
            if value is not None and not key.startswith("content of "):  # a hash
                seeds.setdefault(key, []).append(_in_words(value))
    known = {key: model[key] for key in ("network", "data_config")} | ({} if seeds else {"options": model["options"]})
    texts = {key: _in_words(value) for key, value in known.items() if value is not None}
    return texts | {key: values[0] if len(set(values)) == 1 else "; ".join(values) for key, values in seeds.items()}


def _in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def title(comparison: Mapping[str, Any]) -> str:
    """'A / B' of a comparison."""
    return f"{comparison['numerator']} / {comparison['denominator']}"
