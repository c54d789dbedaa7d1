"""Benchmarks: they measure the right quantities; their speed is not tested."""

import json

import pytest
import torch
from helpers import ROOT, failure, kd_trainer

from kd_trainer import machine, timing
from kd_trainer.bench import network

L1 = ROOT / "data" / "JetClass" / "JetClass_l1.yaml"
PFN = ROOT / "networks" / "PFN.py"


def test_a_long_warm_up_counts(monkeypatch):
    monkeypatch.setattr(timing, "LONG", -1.0)
    calls = []
    seconds = timing.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, progress=False)
    assert calls == ["a", "b"] * 2 and [len(found) for found in seconds.values()] == [2, 2]


def test_alternate_takes_turns_after_a_warm_up():
    calls = []
    seconds = timing.alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, progress=False)
    assert calls == ["a", "b"] * 4
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3}


def test_rates_and_ratio():
    assert timing.rates([1.0, 2.0, 4.0], 8) == {"median": 4.0, "lowest": 2.0, "highest": 8.0}
    assert timing.ratio([1.0, 1.0, 2.0], [3.0, 2.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}


def allocate(megabytes):
    def run():
        torch.ones(megabytes * 250_000)

    return run


def test_peak_memory():
    assert machine.peak_memory(allocate, 200) == pytest.approx(200e6, rel=0.1)


def test_random_jets_have_real_lengths():
    shapes = {"pf_points": (1, 2, 128), "pf_features": (1, 5, 128), "pf_vectors": (1, 4, 128), "pf_mask": (1, 1, 128)}
    jets = network.random_jets(shapes, 2000)
    assert all(jets[name].shape == (2000, *shape[1:]) for name, shape in shapes.items())
    counts = jets["pf_mask"].sum(dim=(1, 2))
    assert counts.min() >= 3 and counts.mean().item() == pytest.approx(45, abs=2)
    px, py, pz, energy = jets["pf_vectors"].unbind(1)
    assert (energy**2 > px**2 + py**2 + pz**2).all()


def test_two_networks(jets, tmp_path, monkeypatch):
    monkeypatch.setattr("kd_trainer.bench.network.peak_memory", lambda *_: 1.0)  # a process each, see test_peak_memory
    output = tmp_path / "bench.json"
    result = kd_trainer(
        "bench", "network", "--network", PFN, "-o", "phi_dims", "(8,)",
        "--network", ROOT / "networks" / "dense.py", "--data-config", L1, "--jets", 64, "--repetitions", 2,
        "--uses", "training", "inference", "onnx", "--output", output, *sorted((jets / "val").iterdir()),
    )  # fmt: skip
    results = json.loads(output.read_text())
    pfn, dense = results["networks"].values()
    assert pfn["options"] == {"phi_dims": [8]} and dense["options"] == {} and results["jets"] == 64
    for use in ("training", "inference", "onnx"):
        for side in (pfn, dense):
            assert 0 < side[use]["jets_per_s"]["lowest"] <= side[use]["jets_per_s"]["median"]
        assert results["ratios"][use]["1 / 2"]["median"] > 0
        assert f"{use}: 1 / 2 = " in result.stdout


@pytest.mark.parametrize(
    "args, message",
    [
        (["speed"], "unknown benchmark 'speed'; valid are: network"),
        (["network", "-o", "a", "1", "--network", "x.py", "--data-config", L1], "-o has to follow the --net"),
        (["network", "--network", "x.py", "--data-config", L1], "--network x.py is not there"),
        (["network", "--network", "x.py", "--data-config", L1, "--jets", "0"], "--jets has to be at least 1"),
        (["network", "--network", PFN, "--data-config", L1, "no.parquet"], "no file matches no.parquet"),
    ],
)
def test_bad_input(args, message):
    assert message in failure("bench", *args)
