"""Published results on public benchmarks (published.yaml), shown for orientation and marked as published."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kd_trainer.evaluate.blocks import Number, Section, Table
from kd_trainer.evaluate.tables import ABSENT
from kd_trainer.files import si

PATH = Path(__file__).with_name("published.yaml")


def load() -> dict[str, Any]:
    """{benchmark: its classes, inputs, working points, sources and rows}, as in published.yaml."""
    return yaml.safe_load(PATH.read_text(encoding="utf-8"))


def _figure(number: Any) -> dict[str, Any]:
    """{'value', 'total'} from '[value, uncertainty]', or from a value alone if no uncertainty was published."""
    value, total = number if isinstance(number, list) else (number, None)
    return {"value": value, "total": total}


def _row(row: Mapping[str, Any], points: Iterable[str]) -> dict[str, Any]:
    """A row whose rejections are {key of a working point: figure}."""
    rejections = {key: _figure(found) for key, found in zip(points, row.get("rejections", ())) if found is not None}
    return {**row, "rejections": rejections}


def select(wanted: str, names: Iterable[str]) -> dict[str, Any] | None:
    """The published results to show.

    Parameters
    ----------
    wanted : name of a benchmark, 'none', or 'auto' for the benchmark with exactly these classes.
    names : (K,) classes as shown, in any order.

    Returns
    -------
    dict, or None if there is no such benchmark
        benchmark, inputs, working_points, sources {paper: description}, rows: dicts with model, source, rejections and,
        if published, jets (training sample), parameters, flops, luts, latency (ns), accuracy, auc.
    """
    known = load()
    if wanted == "auto":
        matching = [name for name, entry in known.items() if sorted(entry["classes"]) == sorted(names)]
        wanted = matching[0] if matching else "none"
    if wanted == "none":
        return None
    entry = known[wanted]
    points = entry["working_points"]
    kept = {key: entry[key] for key in ("inputs", "working_points", "sources")}
    return {"benchmark": wanted, **kept, "rows": [_row(row, points) for row in entry["rows"]]}


def _decimals(number: float) -> int:
    return len(repr(number).partition(".")[2])


def at_least(number: float | None, decimals: int) -> str:
    """A number with at least the published number of decimals: YAML drops the trailing zero of 0.930."""
    return ABSENT if number is None else Number(f"{number:.{max(decimals, _decimals(number))}f}", number)


def published_cell(figure: Mapping[str, Any] | None) -> str:
    """'2195 ± 173', both with the decimals of the uncertainty; '500' without uncertainty; a dash if not published."""
    if figure is None:
        return ABSENT
    if figure["total"] is None:
        return Number(f"{figure['value']}", figure["value"])
    decimals = _decimals(figure["total"]) if isinstance(figure["total"], float) else 0
    return Number(f"{figure['value']:.{decimals}f} ± {figure['total']}", figure["value"])


def published_table(published: Mapping[str, Any]) -> Table:
    """One row for each published model."""
    titles = {"jets": "training jets", "parameters": "parameters", "flops": "FLOPs"}
    titles |= {"luts": "LUTs", "latency": "latency on the FPGA (ns)"}
    sizes = [key for key in titles if any(key in row for row in published["rows"])]
    points = published["working_points"]
    header = ["published", *(titles[key] for key in sizes), "accuracy", "AUC", *points, "source"]
    rows = [
        [
            row["model"],
            *(Number(si(row[key]), row[key]) if key in row else ABSENT for key in sizes),
            at_least(row.get("accuracy"), 3),
            at_least(row.get("auc"), 4),
            *(published_cell(row["rejections"].get(key)) for key in points),
            row["source"],
        ]
        for row in published["rows"]
    ]
    return Table(header, rows)


def section(published: Mapping[str, Any]) -> Section:
    """The section of a report."""
    benchmark = published["benchmark"]
    return Section(f"Published results on {benchmark}, not ours", [
        f"Numbers from the papers named, for orientation. They are for the public {benchmark} test set, and comparable "
        "with the figures above only if these predictions were made on that test set; simulated jets of another "
        f"origin may have the same class names. Inputs: {published['inputs']}. Rejections are 1 / (false-positive "
        "rate) at the given signal efficiency; uncertainties are those of the papers.",
        published_table(published),
        [f"{source}: {what}." for source, what in published["sources"].items()],
    ])  # fmt: skip
