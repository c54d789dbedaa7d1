"""Latencies of `bench latency` in a report: the column, the sentence, the plot."""

import json

import numpy as np
import pytest
from helpers import failure, kd_trainer

from kd_trainer.evaluate import latency, plots

LABELS = np.arange(3000) % 10


def row(**changes):
    """A row of latency.json."""
    plain = {"model": "a", "engine": "onnxruntime", "precision": "fp32", "threads": 1, "batch": 1, "p50_ms": 2.0}
    return plain | changes


def test_the_row_of_a_model():
    others = [{"threads": 2, "p50_ms": 0.1}, {}, {"p50_ms": 1.0}, {"precision": "int8", "p50_ms": 0.5}, {"batch": 4}]
    rows = [row(**other) for other in others]
    assert latency.fastest(rows, "a") == rows[2] and latency.fastest(rows, "b") is None


def test_models_of_one_network_have_the_same():
    pfn = {"network": "PFN.py", "options": {"phi_dims": [8]}, "particles": 16}
    models = {"kd": pfn, "baseline": dict(pfn), "other": {**pfn, "options": {}}, "unknown": dict.fromkeys(pfn)}
    models["unknown 2"] = models["unknown"]
    found = latency.of_models([row(model="kd"), row(model="unknown", p50_ms=7.0)], models)
    assert {name: r and r["p50_ms"] for name, r in found.items()} == {
        "kd": 2.0, "baseline": 2.0, "other": None, "unknown": 7.0, "unknown 2": None,
    }  # fmt: skip


def test_conditions():
    assert latency.conditions([row(), row(engine="torch")]) == "a batch of 1 on one thread, in onnxruntime or torch"
    assert latency.conditions([row(threads=2, batch=8)]) == "a batch of 8 on 2 threads, in onnxruntime"


@pytest.fixture
def predictions(tmp_path, toy, write, write_sidecar):
    """Arguments of report: a teacher and a student with and without it."""
    found = []
    for name, strength in (("teacher", 3.0), ("distilled", 2.3), ("baseline", 1.7)):
        path = write(tmp_path / f"{name}.root", LABELS, toy(LABELS, strength, len(name)))
        write_sidecar(path, **({"network": "networks/ParT.py"} if name == "teacher" else {}))
        found.append(f"{name}={path}")
    return found


def arguments(folder, predictions, rows):
    path = folder / "latency.json"
    path.write_text(json.dumps({"machine": {"processor": "a processor"}, "rows": rows}))
    return ("report", *predictions, "--latency", path, "-o", folder, "--replicas", 20)


def test_column_sentence_and_plot(predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "draw_roc", lambda plt, *_: plt.figure())  # takes seconds
    monkeypatch.setattr(plots, "draw_ratio", lambda plt, *_: plt.figure())
    rows = [row(model="teacher", p50_ms=9.8412), row(model="distilled", p50_ms=0.0342), row(model="distilled", batch=9)]
    shown = kd_trainer(*arguments(tmp_path, predictions, rows)).stdout
    results = json.loads((tmp_path / "report.json").read_text())
    assert [m["latency"]["p50_ms"] for m in results["models"].values()] == [9.8412, 0.0342, 0.0342]
    text = (tmp_path / "report.md").read_text()
    header, _, *lines = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if "|" in line][:5]
    assert [line[header.index("latency (µs)")] for line in lines] == ["9841", "34.2", "34.2"]
    assert "median time for a batch of 1 on one thread, in onnxruntime (for each model the fastest engine)" in text
    assert "on a processor;" in text and "![rejection_vs_latency](rejection_vs_latency.png)" in text
    assert (tmp_path / "rejection_vs_latency.png").stat().st_size > 10_000
    assert "latency (µs)" in shown and "rejection_vs_latency.pdf" in shown


def test_other_names(predictions, tmp_path):
    line = failure(*arguments(tmp_path, predictions, [row(model="PFN")]))
    assert "has none of the models of the report, but PFN: use the same names" in line


@pytest.mark.parametrize(("text", "message"), [(None, "is not there"), ("{", "is not the latency.json"),
                                               ('{"rows": [{}]}', "is not the latency.json")])  # fmt: skip
def test_wrong_file(predictions, tmp_path, text, message):
    path = tmp_path / "latency.json"
    if text:
        path.write_text(text)
    assert message in failure("report", *predictions, "--latency", path, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
