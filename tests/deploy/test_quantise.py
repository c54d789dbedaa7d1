"""8 bits: a model that works, and a report that says what it loses."""

import json

import numpy as np
import onnx
import pytest
from helpers import kd_trainer

from kd_trainer.deploy.quantise import figures, verdict
from kd_trainer.deploy.tagger import Tagger


def test_model_and_report(own_dir, val_files):
    result = kd_trainer("quantise", own_dir, *val_files, "--test", *val_files, "--repetitions", 2, "--threads", 1)
    report = json.loads((own_dir / "quantised.json").read_text())
    assert report["operators"]["Gemm"]["quantised"] == report["operators"]["Gemm"]["all"] == 2
    assert report["operators"]["MatMul"]["quantised"] == 2 and report["operators"]["Softmax"]["quantised"] == 0
    assert "in 8 bits: Gemm 2 of 2, MatMul 2 of 2; in single precision: " in result.stdout
    weights = {x.name: x.data_type for x in onnx.load(own_dir / "model_int8.onnx").graph.initializer}
    assert list(weights.values()).count(onnx.TensorProto.INT8) >= 4
    assert report["test"]["jets"] == report["calibration"]["jets"] == 160
    assert report["models"]["fp32"]["accuracy"]["value"] > 0.1
    assert report["speed"]["ratio"]["lowest"] > 0 and report["bytes"]["int8"] > 0
    assert len(report["verdict"]) == 3 and all(sentence in result.stdout for sentence in report["verdict"])
    single, low = (Tagger(own_dir, model=f"model{kind}.onnx").session for kind in ("", "_int8"))
    assert [x.name for x in single.get_inputs()] == [x.name for x in low.get_inputs()]


def test_verdict_is_plain_about_a_loss():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 2000)
    good = np.clip(rng.normal(0.3 + 0.4 * truth, 0.2), 0.01, 0.99)
    bad = np.clip(good + rng.normal(0, 0.3, len(good)), 0.01, 0.99)
    scores = {name: np.stack([1 - s, s], axis=1) for name, s in {"fp32": good, "int8": bad, "same": good}.items()}
    worse = figures({k: scores[k] for k in ("fp32", "int8")}, truth, ["label_QCD", "label_Top"])
    assert worse["models"]["int8"]["auc"]["value"] < worse["models"]["fp32"]["auc"]["value"]
    sentences = verdict(worse["change"])
    for sentence, name in zip(sentences[:2], ("accuracy", "AUC")):
        assert sentence.startswith(f"8 bits LOSE {name}: ") and "more than the statistical uncertainty" in sentence
    same = figures({k: scores[k] for k in ("fp32", "same")}, truth, ["label_QCD", "label_Top"])
    assert all(s.startswith("8 bits lose no ") for s in verdict(same["change"]))


@pytest.mark.parametrize(("options", "text"), [(["--jets", 0], "--jets has to be at least 1")])
def test_wrong_numbers(own_dir, val_files, options, text):
    result = kd_trainer("quantise", own_dir, val_files[0], "--test", val_files[0], *options, check=False)
    assert result.returncode == 1 and text in result.stderr and not (own_dir / "model_int8.onnx").exists()


def test_classes_without_jets(own_dir, val_files):
    result = kd_trainer("quantise", own_dir, val_files[0], "--test", val_files[0], check=False)
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.returncode == 1 and "has no test jets of class" in lines[-1]
    assert not (own_dir / "quantised.json").exists()
