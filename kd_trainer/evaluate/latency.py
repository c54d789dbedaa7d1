"""Latencies of the models of a report, measured with `kd_trainer bench latency`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_trainer.files import json_of

Row = dict[str, Any]  # a row of latency.json

MACHINE: dict[str, Any] = {"processor": str}  # required entries and their types
ROW: dict[str, Any] = {
    "model": str, "engine": str, "precision": str, "threads": int, "batch": int, "p50_ms": int | float
}  # fmt: skip
SAME_NETWORK = ("network", "options", "particles")


def read(path: Path) -> dict[str, Any]:
    """The content of latency.json, `machine` and `rows`; InputError if it is missing or has another format."""
    with json_of(path, "the latency.json of kd_trainer bench latency", "--latency") as content:
        entries: list[tuple[Mapping[str, Any], Any]] = [(MACHINE, content["machine"])]
        for kinds, row in [*entries, *((ROW, row) for row in content["rows"])]:
            if not all(isinstance(row[key], kind) for key, kind in kinds.items()):
                raise TypeError
        return content


def fastest(rows: Iterable[Row], name: str) -> Row | None:
    """The fastest row of a model on one thread, in single precision and with the smallest batch, as in a trigger."""
    found = [r for r in rows if r["model"] == name and r["precision"] == "fp32"]
    smallest = min(((r["threads"], r["batch"]) for r in found), default=None)
    return min((r for r in found if (r["threads"], r["batch"]) == smallest), key=lambda r: r["p50_ms"], default=None)


def of_models(rows: Sequence[Row], models: Mapping[str, Mapping[str, Any]]) -> dict[str, Row | None]:
    """{name: row or None}: `fastest` for each model, or for another model with the same network.

    Parameters
    ----------
    rows : rows of latency.json.
    models : {name: dict with `network`, `options`, `particles`}, as in report.json. The time does not depend on the
        weights, so a student trained on labels alone is as fast as the distilled one.
    """
    measured = {name: fastest(rows, name) for name in models}
    networks: dict[str, Row] = {}
    for name, row in measured.items():
        if row and models[name]["network"]:
            networks.setdefault(_network(models[name]), row)
    return {name: row or networks.get(_network(models[name])) for name, row in measured.items()}


def _network(model: Mapping[str, Any]) -> str:
    return json.dumps([model[key] for key in SAME_NETWORK], sort_keys=True)


def conditions(rows: Sequence[Row]) -> str:
    """The conditions of the measured rows, in words: 'a batch of 1 on one thread, in onnxruntime'."""
    batches, threads, engines = (sorted({row[key] for row in rows}) for key in ("batch", "threads", "engine"))
    of_batch = "/".join(map(str, batches))
    on = "one thread" if threads == [1] else f"{'/'.join(map(str, threads))} threads"
    return f"a batch of {of_batch} on {on}, in {' or '.join(engines)}"
