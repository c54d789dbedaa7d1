"""bench latency: it measures the right quantities; the speed is not tested."""

import json

import pytest
from helpers import failure, kd_trainer

from kd_trainer.bench.latency import cell, main, models_of, print_results, summary
from kd_trainer.bench.latency_plot import draw, qualities
from kd_trainer.deploy import engines
from kd_trainer.errors import InputError

QUICK = ["--batches", 1, 3, "--threads", 1, "--seconds", 0.01]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.json"
    figure = {"value": 20.0, "total": 1.0}
    models = {name: {"rejection": figure, "accuracy": {"value": 0.5, "total": 0.1}} for name in ("small", "teacher")}
    path.write_text(json.dumps({"models": models}))
    return path


def test_models_side_by_side(model_dir, own_dir, val_files, report, tmp_path):
    kd_trainer("quantise", own_dir, *val_files, "--test", *val_files, "--repetitions", 1)
    result = kd_trainer(
        "bench", "latency", f"teacher={model_dir / 'model.onnx'}", f"small={own_dir}", *QUICK,
        "--files", *val_files, "--report", report, "-o", tmp_path / "out",
    )  # fmt: skip
    found = json.loads((tmp_path / "out" / "latency.json").read_text())
    rows = found["rows"]
    sides = {(row["model"], row["engine"], row["precision"]) for row in rows}
    assert {("teacher", engine, "fp32") for engine in engines.ENGINES} < sides
    assert {("small", "onnxruntime", "int8"), ("small", "openvino", "int8"), ("small", "torch", "bf16")} < sides
    assert ("teacher", "onnxruntime", "int8") not in sides
    assert {row["batch"] for row in rows} == {1, 3} and {row["threads"] for row in rows} == {1}
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p99_ms"] and row["calls"] >= 5
        assert row["jets_per_s"] == pytest.approx(1e3 * row["batch"] / row["p50_ms"])
    assert rows[0]["speed_to_first"] == {"median": 1.0, "lowest": 1.0, "highest": 1.0}
    assert found["quality"] == {"figure": "rejection", "values": {"teacher": [20.0, 1.0], "small": [20.0, 1.0]}}
    assert (tmp_path / "out" / "latency.png").stat().st_size > 10_000 and (tmp_path / "out" / "latency.pdf").is_file()
    assert "small" in result.stdout and "speed / first" in result.stdout


def test_every_engine_gives_the_same_scores(model_dir):
    from kd_trainer.bench.latency import inputs_of
    from kd_trainer.deploy.model_dir import read

    exported = read(model_dir)
    inputs = inputs_of(exported, [], 20)
    sides = engines.sides(exported, model_dir / "model.onnx", engines.ENGINES, ["fp32"], 1)
    first, *others = [run(inputs) for run in sides.values()]
    assert len(others) == 2 and first.shape == (20, 10)
    assert all(other == pytest.approx(first, abs=1e-5) for other in others)


def test_larger_batches_that_would_take_too_long_are_left_out(model_dir, tmp_path):
    options = ["--batches", 1, 2, 20_000, "--threads", 1, "--seconds", 0.01, "--too-long", 0.2, "--engines", "torch"]
    kd_trainer("bench", "latency", model_dir, *options, "--precisions", "fp32", "-o", tmp_path)
    rows = json.loads((tmp_path / "latency.json").read_text())["rows"]
    assert [row["batch"] for row in rows] == [1, 2]


def test_cell_takes_turns():
    order = []
    calls = {name: (lambda x, name=name: order.append(name)) for name in ("a", "b")}
    times = cell(calls, {name: {"x": list(range(10))} for name in calls}, 4, 1e-9)
    assert order[:4] == ["a", "b", "a", "b"] and {len(found) for found in times.values()} == {5}


def test_summary():
    found = summary([0.001] * 99 + [0.1], 10)
    assert found["p50_ms"] == pytest.approx(1) and found["jets_per_s"] == pytest.approx(1e4)
    assert 1 < found["p99_ms"] < 100 and found["calls"] == 100


def test_names(tmp_path):
    assert models_of([f"x={tmp_path}/a/model.onnx"]) == {"x": tmp_path / "a" / "model.onnx"}
    assert list(models_of([f"{tmp_path}/a/model.onnx"])) == ["a"]
    with pytest.raises(InputError, match="two models have the name a"):
        models_of([f"{tmp_path}/a/model.onnx", f"{tmp_path}/b/../a/model.onnx"])


@pytest.mark.parametrize(("options", "text"), [
    (["--batches", 0], "have to be positive"),
    (["--report", "nothing.json"], "--report nothing.json is not there"),
    ([*QUICK, "--engines", "onnxruntime", "--precisions", "bf16"], "nothing to measure: onnxruntime with bf16"),
])  # fmt: skip
def test_wrong_arguments(model_dir, options, text):
    assert text in failure("bench", "latency", model_dir / "model.onnx", *options)


def test_model_of_fixed_size(model_dir):
    path = model_dir / "model_static.onnx"
    line = failure("bench", "latency", path, *QUICK)
    assert line.endswith("model_static.onnx takes 1 jets at a time: give --batches 1")
    options = ["--batches", 1, "--threads", 1, "--seconds", 0.01, "--engines", "onnxruntime", "--precisions", "fp32"]
    table = kd_trainer("bench", "latency", path, *options).stdout
    assert "onnxruntime" in table


def test_percentile_of_few_calls(capsys):
    row = {"model": "m", "engine": "torch", "precision": "fp32", "threads": 1, "batch": 1}
    row["speed_to_first"] = {"median": 1}
    rows = [row | summary([0.0012345] * calls, 1) for calls in (99, 100)]
    print_results({"machine": {"processor": "p", "cores": 1}, "rows": rows})
    few, enough = capsys.readouterr().out.splitlines()[-2:]
    assert few.split()[5:7] == ["1.23", "-"] and enough.split()[5:7] == ["1.23", "1.23"]


def test_nothing_to_draw(report, tmp_path):
    assert draw([], qualities(report, ["small"]), tmp_path) == [] and list(tmp_path.iterdir()) == []


def test_report_without_figures(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps({"models": {"small": {"accuracy": None}}}))
    with pytest.raises(InputError, match="has neither the rejection nor the accuracy of all of small"):
        qualities(tmp_path / "report.json", ["small"])


def test_model_that_is_not_in_the_report(model_dir, report):
    line = failure("bench", "latency", f"other={model_dir}", "--report", report)
    assert "has no model other, only small, teacher" in line


def test_an_engine_that_is_not_installed(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "is_installed", lambda engine: engine != "openvino")
    with pytest.raises(InputError, match=r"openvino is not installed; pip install 'weaver-kd\[openvino\]'"):
        main([str(model_dir), "--engines", "openvino", "-o", str(tmp_path / "out")])
