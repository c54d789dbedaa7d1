"""The parity report: what it compares, and that it fails when it should."""

import json

import numpy as np
import onnx
import pytest
import torch
from helpers import failure, kd_trainer, random_jets
from onnx import numpy_helper

from kd_trainer.deploy.edge_cases import edge_cases
from kd_trainer.deploy.inputs import prepare
from kd_trainer.deploy.model_dir import read
from kd_trainer.deploy.parity import difference

CASES = ["jets", "no particles", "one particle", "full length", "more than full length"]


def test_report(model_dir):
    report = json.loads((model_dir / "parity.json").read_text())
    assert list(report["models"]) == ["model.onnx", "model_static.onnx"]
    for cases in report["models"].values():
        assert list(cases) == CASES and cases["jets"]["jets"] == 160
        for case in cases.values():
            assert 0 <= case["mean"] <= case["max"] < 1e-5 and case["not_finite"] == case["disagree"] == 0


def test_edge_cases_are_what_they_say(model_dir):
    config, events = read(model_dir).config, random_jets(20)
    jets = prepare(events, config)
    cases = edge_cases(events, jets, config)
    number = {name: x["pf_mask"].sum(axis=(1, 2)) for name, x in cases.items()}
    assert (number["no particles"] == 0).all() and not cases["no particles"]["pf_vectors"].any()
    assert (number["one particle"] == 1).all()
    assert (number["full length"] == 16).all() and (number["more than full length"] == 16).all()
    one = cases["one particle"]["pf_features"]
    assert (one == one[:, :, :1]).all()  # padded with the particle, as weaver does
    assert np.array_equal(one[:, :, 0], jets.inputs["pf_features"][jets.inputs["pf_mask"][:, 0, 0] == 1][:, :, 0])


def test_difference():
    a = np.array([[0.25, 0.75], [np.nan, 1.0], [0.5, 100.0]], "float32")
    b = np.array([[0.25, 0.5], [np.nan, 1.0], [np.inf, 101.0]], "float32")
    found = difference(a, b)
    assert found["max"] == pytest.approx(0.25)  # 100 and 101 differ by 1 %
    assert found["mean"] == pytest.approx((0.25 + 0.01) / 4)
    assert (found["jets"], found["not_finite"], found["disagree"]) == (3, 1, 1)


def test_fails_above_the_tolerance(own_dir, val_files):
    model = onnx.load(own_dir / "model.onnx")
    largest = max(model.graph.initializer, key=lambda x: numpy_helper.to_array(x).size)
    largest.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(largest) * 1.01, largest.name))
    onnx.save(model, own_dir / "model.onnx")
    line = failure("parity", own_dir, *val_files)
    assert line.startswith("kd_trainer parity: torch and ONNX Runtime differ by more than 1e-05")
    assert json.loads((own_dir / "parity.json").read_text())["passed"] is False
    assert kd_trainer("parity", own_dir, *val_files, "--tolerance", 1).returncode == 0


def test_other_weights_are_noticed(own_dir, val_files):
    weights = own_dir / "net.pt"
    source = json.loads((own_dir / "deploy.json").read_text())
    (own_dir / "deploy.json").write_text(json.dumps({**source, "weights": str(weights)}))
    state = torch.load(weights, weights_only=True)
    state["mod.fc.bias"] += 1
    torch.save(state, weights)
    assert "has changed since the model was exported" in failure("parity", own_dir, *val_files)


def test_without_a_network_to_compare_with(own_dir, val_files):
    (own_dir / "deploy.json").unlink()
    assert "there is no deploy.json" in failure("parity", own_dir, *val_files)
