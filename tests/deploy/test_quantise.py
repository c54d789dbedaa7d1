"""8-bit models: they work, and the report states their loss."""

import json

import awkward as ak
import numpy as np
import onnx
from helpers import failure, kd_trainer, scores_of

from kd_trainer.deploy.inputs import label_view, labels, prepare
from kd_trainer.deploy.model_dir import read
from kd_trainer.deploy.quantise import figures, labelled_sample, verdict
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
    assert report["speed"]["ratios"]["int8 / fp32"]["lowest"] > 0 and report["bytes"]["int8"] > 0
    assert len(report["verdict"]) == 3 and all(sentence in result.stdout for sentence in report["verdict"])
    single, low = (Tagger(own_dir, model=f"model{kind}.onnx") for kind in ("", "_int8"))
    assert [x.name for x in single.session.get_inputs()] == [x.name for x in low.session.get_inputs()]
    events = ak.concatenate([ak.from_parquet(path) for path in val_files])
    expected, found = (scores_of(tagger(events)) for tagger in (single, low))
    assert np.abs(found - expected).mean() < 0.02 and np.ptp(expected, axis=0).max() > 0.2


def test_verdict_is_plain_about_a_loss():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], 2000)
    good = np.clip(rng.normal(0.3 + 0.4 * truth, 0.2), 0.01, 0.99)
    bad = np.clip(good + rng.normal(0, 0.3, len(good)), 0.01, 0.99)
    scores = {name: np.stack([1 - s, s], axis=1) for name, s in {"fp32": good, "int8": bad, "same": good}.items()}
    pairs = [("int8", "fp32"), ("same", "fp32"), ("same", "int8"), ("int8", "same")]
    found = figures(scores, truth, ["label_QCD", "label_Top"], pairs)
    assert found["models"]["int8"]["auc"]["value"] < found["models"]["fp32"]["auc"]["value"]
    changes = found["changes"]
    sentences = verdict(changes["int8 / fp32"], "8 bits")
    for sentence, name in zip(sentences[:2], ("accuracy", "AUC")):
        assert sentence.startswith(f"8 bits LOSE {name}: ") and "more than the statistical uncertainty" in sentence
    assert all(s.startswith("8 bits lose no ") for s in verdict(changes["same / fp32"], "8 bits"))


def test_jets_that_the_selection_excludes_are_not_measured(own_dir, val_files):
    path = own_dir / "data_config.yaml"
    path.write_text(path.read_text().replace("selection: null", "selection: jet_pt > 600", 1))
    exported = read(own_dir)
    events = ak.concatenate([ak.from_parquet(file) for file in val_files])
    kept = ak.to_numpy(events.jet_pt > 600)
    inputs, truth = labelled_sample(val_files, exported, 1000)
    every = prepare(events, exported.config).inputs
    assert 0 < kept.sum() < len(kept) and all(np.array_equal(inputs[name], every[name][kept]) for name in every)
    assert np.array_equal(truth, labels(events, label_view(exported.options))[kept])


def test_wrong_numbers_and_classes_without_jets(own_dir, val_files):
    words = ("quantise", own_dir, val_files[0], "--test", val_files[0])
    assert "--jets has to be at least 1" in failure(*words, "--jets", 0)
    assert not (own_dir / "model_int8.onnx").exists()
    assert "has no test jets of class" in failure(*words)
    assert not (own_dir / "quantised.json").exists()
