"""Benchmarks of a distillation: results and output for a few jets; their speed is not tested."""

import argparse
import json
import logging
import os
import sys

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import ROOT, kd_trainer

from kd_trainer.bench import cache, growth, sample, setting, step
from kd_trainer.errors import InputError
from kd_trainer.teacher.frozen import Teacher

DATA = ROOT / "data" / "JetClass"
TEACHER = ("--teacher", ROOT / "networks" / "PFN.py", "--teacher-option", "phi_dims", "(8,)")


@pytest.fixture(scope="module")
def in_process():
    """`cache.run` without a new process: starting Python and torch takes longer than the commands."""

    def run(words, output):
        from weaver import train as weaver

        words = [str(word) for word in words]
        if words[1] == "kd_trainer":
            assert kd_trainer(*words[2:]).returncode == 0
        else:
            with pytest.MonkeyPatch.context() as patch, setting.quiet():
                patch.setattr(sys, "argv", [words[1], *words[2:], "--num-workers", "0"])
                weaver.main()
            logging.getLogger("weaver").handlers.clear()
        assert output.exists()
        return 10**8

    return run


def test_random_jets_are_those_of_jetclass():
    events = sample.random_events(500)
    counts = ak.to_numpy(ak.num(events.part_px))
    assert counts.mean() == pytest.approx(45, abs=3) and counts.min() >= 3 and counts.max() <= 128
    assert ak.all(events.jet_nparticles == counts)
    assert sum(events[f"label_{name}"] for name in sample.CLASSES).tolist() == [1] * 500
    np.testing.assert_allclose(np.hypot(ak.sum(events.part_px, 1), ak.sum(events.part_py, 1)), events.jet_pt, rtol=1e-4)
    squares = [events[f"part_{name}"] ** 2 for name in ("energy", "px", "py", "pz")]
    assert ak.all(squares[0] > (squares[1] + squares[2] + squares[3]) * (1 - 1e-6))
    assert ak.all(ak.num(sample.random_events(5, particles=7).part_px) == 7)


def test_jets_of_files_are_taken_evenly_and_repeated(tmp_path):
    for i in range(2):
        sample.write(tmp_path / f"{i}.parquet", ak.Array({"x": np.arange(4) + 10 * i, "event_number": np.arange(4)}))
    files = [tmp_path / f"{i}.parquet" for i in range(2)]
    assert sorted(sample.events_of(files, {"x"}, 4).x.tolist()) == [0, 1, 10, 11]
    assert sorted(sample.events_of(files, {"x"}, 16).x.tolist()) == sorted([*range(4), *range(10, 14)] * 2)
    with pytest.raises(InputError, match="1.parquet lacks y"):
        sample.events_of(files[1:], {"y"}, 4)


def test_bytes_of_columns(tmp_path):
    rng = np.random.default_rng(0)
    path = sample.write(tmp_path / "x.parquet", ak.Array({"a_x": rng.normal(size=1000), "b": np.zeros(1000)}))
    assert 8 < sample.column_bytes([path, path], "a_") < 10
    whole = pq.ParquetFile(path).metadata.row_group(0)
    sizes = [whole.column(i).total_compressed_size for i in range(whole.num_columns)]
    assert sample.column_bytes([path]) * 1000 == pytest.approx(sum(sizes))


def test_changed_configs():
    config = {"inputs": {"pf_x": {"length": 16, "vars": []}, "flat": {"length": None, "vars": []}}, "labels": {}}
    assert [spec["length"] for spec in growth.with_particles(config, 5)["inputs"].values()] == [5, None]
    changed = growth.with_classes(config, 3)
    assert changed["labels"]["names"] == ["class_0", "class_1", "class_2"]
    assert changed["labels"]["value"] == {"truth": "jet_label % 3"} and changed["inputs"] == config["inputs"]


def test_rates_of_a_command():
    numbers = {"start-up": 10, "warm-up": 110, "all": 510}
    times = {"start-up": [2.0, 3.0], "warm-up": [4.0, 4.0], "all": [8.0, 5.0]}
    assert cache.rates_of(times, numbers) == {
        "whole command": [63.75, 102.0], "first batches": [50.0, 100.0], "after them": [100.0, 400.0]}  # fmt: skip
    with pytest.raises(InputError, match="110 jets take no longer than 10: give more --jets"):
        cache.rates_of(times | {"warm-up": [4.0, 3.0]}, numbers)


def test_run_tells_the_memory_and_what_failed(tmp_path):
    output = tmp_path / "x"
    size = "x = bytearray(200_000_000); import time; time.sleep(0.2); "
    assert cache.run(["-c", f"{size} open({str(output)!r}, 'w')"], output) == pytest.approx(200e6, rel=0.2)
    with pytest.raises(InputError, match=r"failed \(no such thing\)"):
        cache.run(["-c", "raise SystemExit('no such thing')"], output)
    with pytest.raises(InputError, match=r"failed \(nothing was printed\)"):
        cache.run(["-c", ""], output)


def test_step(tmp_path):
    output = tmp_path / "step.json"
    files = [sample.write(tmp_path / f"{i}.parquet", sample.random_events(50, seed=i)) for i in range(2)]
    result = kd_trainer(
        "bench", "step", *files, *TEACHER, "--jets", 100, "--batch-size", 32, "--steps", 3,
        "--live-steps", 2, "--repetitions", 2, "--live-repetitions", 1, "--output", output,
    )  # fmt: skip
    results = json.loads(output.read_text())
    light, live = {"plain", "cached"}, {"plain", "teacher", "live", "remembered"}
    sides = {name: set(found) for name, found in results["seconds_per_step"].items()}
    assert sides == {"in memory": light, "streamed": light, "live": live} and results["jets"]["from"] == files
    for sides in results["seconds_per_step"].values():
        assert all(0 < value["lowest"] <= value["median"] <= value["highest"] for value in sides.values())
    names = {f"{loader}: cached / plain" for loader in ("in memory", "streamed")}
    names |= {"live / (teacher + plain)", "live / plain", "remembered / plain"}
    assert set(results["ratios"]) == names and all(f"{name} = " in result.stdout for name in names)
    assert results["teacher"]["options"] == {"phi_dims": [8]} and results["jets"]["number"] == 100


def test_the_sides_of_step_are_what_they_say(tmp_path, monkeypatch):
    """The live training evaluates the teacher for each batch, the cached one never; plain is weaver's own."""
    made = prepared(tmp_path)
    path = sample.write(tmp_path / "jets.parquet", sample.random_events(64))
    (cached,) = made.make_cache(tmp_path / "cache", path)
    asked = []
    monkeypatch.setattr(Teacher, "__call__", counted(asked))
    how = setting.loading(16, steps=3, in_memory=True)
    live = setting.Weaver([*made.live(path), *how]).trained()
    asked.clear()  # it is tried when it is loaded
    live()
    live()
    assert asked == [16] * 6
    asked.clear()
    remembered = setting.Weaver([*made.live(path, memory=500), *how, "--batch-size", "64"]).trained()
    asked.clear()
    remembered()
    assert asked == [64]
    step.teacher_alone(made, [*made.live(path), *how], 3)()
    assert asked[-3:] == [16] * 3
    asked.clear()
    setting.Weaver([*made.cached(tmp_path / "cache", cached), *how]).trained()()
    plain = setting.Weaver([*made.plain(path), *how])
    plain.trained()()
    assert not asked and plain.args.network_config.endswith("networks/PFN.py")


def prepared(folder):
    parser = argparse.ArgumentParser()
    setting.add_arguments(parser, teacher="PFN")
    return setting.prepare(parser.parse_args([]), folder)


def counted(asked):
    call = Teacher.__call__

    def wrapped(self, X, device):
        asked.append(len(next(iter(X.values()))))
        return call(self, X, device)

    return wrapped


def test_cache(in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "run", in_process)
    monkeypatch.setattr(cache, "CHUNK", 16)
    monkeypatch.setattr(cache, "rates_of", lambda times, numbers: {"whole command": [1.0]})  # too few jets to tell
    output = tmp_path / "cache.json"
    result = kd_trainer("bench", "cache", *TEACHER, "--jets", 60, "--batch-size", 8, "--repetitions", 1,
                        "--chunks", 2, 3, "--format", "root", "--output", output)  # fmt: skip
    results = json.loads(output.read_text())
    assert results["jets"] == {"start-up": 8, "warm-up": 40, "all": 60}
    assert results["largest_difference"]["logits"] < 1e-5 < 1e-2 < results["largest_difference"]["spread_of_logits"]
    assert set(results["start_up_seconds"]) == {"cache", "weaver"} and results["ratios"]["whole command"]["median"] == 1
    assert results["peak_memory"] == {"2": 10**8, "3": 10**8}
    assert "3 chunks of 16 jets: peak memory 100 MB" in result.stdout


def test_io(tmp_path):
    output = tmp_path / "io.json"
    kd_trainer("bench", "io", *TEACHER, "--jets", 64, "--batch-size", 16, "--fetch-step", 1, "--repetitions", 1,
               "--student-config", DATA / "JetClass_hlt.yaml", "--output", output)  # fmt: skip
    results = json.loads(output.read_text())
    kinds = ("parquet", "root", "cache of branches", "cache of inputs")
    alone = {f"student, {kind}" for kind in kinds[:-1]}  # weaver alone cannot read the last
    ours = {f"{name}, as in a training with our hooks" for name in [*alone, f"student, {kinds[-1]}"]}
    both = {f"student and teacher, {kind}" for kind in ("parquet", "root")}
    assert set(results["jets_per_s"]) == alone | ours | both
    assert len(results["ratios"]) == 8 and all(value["median"] > 0 for value in results["ratios"].values())
    size = results["bytes_per_jet"]
    assert 0 < size["soft targets in a cache"] < size["cache of branches"] and size["root"] > 0


@pytest.mark.parametrize(
    "axis, values, quantities",
    [
        ("classes", [2, 188], list(growth.QUANTITIES)),
        ("particles", [4, 8], ["teacher", "loader"]),
        ("jets", [40, 50], ["teacher", "loader"]),
    ],
)
def test_growth(axis, values, quantities, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "CHUNK", 16)
    output = tmp_path / "growth.json"
    result = kd_trainer(
        "bench", "growth", axis, *TEACHER, "--values", *values, "--jets", 32, "--batch-size", 16, "--fetch-step", 1,
        "--repetitions", 1, "--quantities", *quantities, "--output", output,
    )  # fmt: skip
    results = json.loads(output.read_text())
    assert results["axis"] == axis and set(results["microseconds_per_jet"]) == set(quantities)
    for found in results["microseconds_per_jet"].values():
        assert list(found) == [str(value) for value in values] and all(x["median"] > 0 for x in found.values())
    assert "forward pass of the teacher" in result.stdout


def test_the_teacher_of_growth_sees_all_jets(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "CHUNK", 16)
    asked = []
    monkeypatch.setattr(Teacher, "__call__", counted(asked))
    made = prepared(tmp_path)
    ask = growth.teacher_of(made, sample.write(tmp_path / "jets.parquet", sample.random_events(10)), 40)
    asked.clear()  # it is tried when it is loaded
    ask()
    assert asked == [16, 16, 8]


@pytest.mark.parametrize(
    "args, message",
    [
        (["step", "--steps", "0"], "--steps has to be at least 1"),
        (["step", "--student-config", "no.yaml"], "data config no.yaml does not exist"),
        (["step", "--teacher", "no.py"], "no.py is not there"),
        (["step", *TEACHER, "--weights", "no.pt"], "no.pt does not exist"),
        (["step", "no.parquet"], "no file matches no.parquet"),
        (["step", *TEACHER, "-o", "phi_dims", "(8,"], "-o phi_dims (8, is not a Python literal"),
        (["cache", "--repetitions", "0"], "there is nothing to measure: give --repetitions or --chunks"),
        (["cache", "--jets", "3"], "--jets has to be at least 4"),
        (["cache", "--chunks", "0"], "--chunks has to be at least 1"),
        (["io", "--fetch-step", "0"], "--fetch-step has to be above 0"),
        (["io", "--jets", "20", "--batch-size", "64"], "--jets has to be at least 2 and at least the batch size, 64"),
        (["growth", "particles", "--values", "0"], "--values has to be at least 1"),
        (["growth", "jets", "--values", "1"], "there have to be at least 2 jets"),
        (["growth", "classes", "--jets", "-1"], "there have to be at least 2 jets"),
    ],
)
def test_bad_input(args, message):
    result = kd_trainer("bench", *args, check=False)
    lines = [line for line in result.stderr.splitlines() if line.startswith("kd_trainer")]
    assert result.returncode == 1 and len(lines) == 1 and message in lines[0]


def test_nothing_stays_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kd_trainer("bench", "io", "--batch-size", "0", check=False)
    kd_trainer("bench", "step", *TEACHER, "--weights", "no.pt", check=False)
    assert os.listdir(tmp_path) == []
