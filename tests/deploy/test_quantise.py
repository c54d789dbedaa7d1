"""8 bits: a model that works, and a report that says what it loses."""

import json

import awkward as ak
import numpy as np
import onnx
import pytest
from helpers import kd_trainer, random_jets
from weaver.utils.dataset import DataConfig

from kd_trainer.deploy.inputs import label_view, labels, prepare
from kd_trainer.deploy.model_dir import read
from kd_trainer.deploy.quantise import conclusions, figures, gain, labelled_sample, verdict
from kd_trainer.deploy.tagger import Tagger


def scores_of(table):
    return np.stack([ak.to_numpy(table[name]) for name in table.fields if name.startswith("score_")], axis=1)


def perturb(path):
    """Change the signs of the output layer of a model: the likeliest class becomes the least likely one."""
    model = onnx.load(path)
    for weight in model.graph.initializer:
        if weight.name.startswith("mod.fc."):
            weight.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(model, path)


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
    assert np.abs(found - expected).max() < 0.1 and np.ptp(expected, axis=0).max() > 0.2


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
    assert gain(changes["same / int8"]).startswith("At this precision, fine-tuning gains accuracy, AUC, background")
    assert "fine-tuning LOSES accuracy, AUC" in gain(changes["int8 / same"])
    assert "fine-tuning changes nothing beyond the statistical uncertainty" in gain(changes["same / fp32"])


def test_conclusions_name_the_bits():
    change = {"accuracy_difference": {"value": -0.1, "statistical": 0.01}} | dict.fromkeys(
        ("auc_difference", "rejection_ratio")
    )
    every = dict.fromkeys(("int8 / fp32", "tuned int8 / fp32", "tuned int8 / int8"), change)
    sentences = conclusions(every, weight_bits=4)
    assert sentences[0].startswith("Weights of 4 bits LOSE accuracy: it changes by -0.1000 ± 0.0100")
    assert sentences[1] == "The AUC cannot be compared with so few test jets." and len(sentences) == 7
    assert sentences[3].startswith("Weights of 4 bits after fine-tuning LOSE accuracy")


def test_before_and_after_fine_tuning(own_dir, model_dir, val_files):
    """The report of both, and nothing written beside the model before. Here the later one mistakes the classes."""
    perturb(own_dir / "model.onnx")
    before = sorted(path.name for path in model_dir.iterdir())
    result = kd_trainer("quantise", own_dir, *val_files, "--test", *val_files, "--before", model_dir,
                        "--weight-bits", 3, "--repetitions", 1, "--threads", 1)  # fmt: skip
    report = json.loads((own_dir / "quantised.json").read_text())
    assert list(report["models"]) == ["fp32", "int8", "tuned fp32", "tuned int8"]
    assert report["weight_bits"] == 3 and set(report["bytes"]) == set(report["models"])
    assert set(report["changes"]) == {"int8 / fp32", "tuned int8 / fp32", "tuned int8 / int8"}
    accuracy = {name: model["accuracy"]["value"] for name, model in report["models"].items()}
    assert accuracy["tuned fp32"] < accuracy["fp32"] - 0.1 and accuracy["tuned int8"] < accuracy["int8"] - 0.1
    assert report["changes"]["tuned int8 / int8"]["accuracy_difference"]["value"] == pytest.approx(
        accuracy["tuned int8"] - accuracy["int8"]
    )
    assert "Weights of 3 bits after fine-tuning" in result.stdout and "tuned int8 / fp32 in jets/s" in result.stdout
    assert sorted(path.name for path in model_dir.iterdir()) == before
    weights = [onnx.numpy_helper.to_array(x) for x in onnx.load(own_dir / "model_int8.onnx").graph.initializer
               if x.data_type == onnx.TensorProto.INT8]  # fmt: skip
    assert max(np.abs(weight).max() for weight in weights) == 3
    few = random_jets(3)
    models = ((own_dir, "model_int8_untuned.onnx"), (own_dir, "model_int8.onnx"), (model_dir, "model.onnx"))
    untuned, tuned, plain = (scores_of(Tagger(folder, model=name)(few)) for folder, name in models)
    assert np.abs(untuned - plain).max() < np.abs(tuned - plain).max()


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


def test_models_that_do_not_belong_together(own_dir, model_dir, val_files):
    path = own_dir / "data_config.yaml"
    path.write_text(path.read_text().replace("length: 16", "length: 8"))
    DataConfig.load(str(path)).export_json(own_dir / "preprocess.json")
    result = kd_trainer("quantise", own_dir, *val_files, "--test", *val_files, "--before", model_dir, check=False)
    assert result.returncode == 1 and "not one student before and after fine-tuning" in result.stderr


@pytest.mark.parametrize(("options", "text"), [(["--jets", 0], "--jets has to be at least 1")])
def test_wrong_numbers(own_dir, val_files, options, text):
    result = kd_trainer("quantise", own_dir, val_files[0], "--test", val_files[0], *options, check=False)
    assert result.returncode == 1 and text in result.stderr and not (own_dir / "model_int8.onnx").exists()


def test_classes_without_jets(own_dir, val_files):
    result = kd_trainer("quantise", own_dir, val_files[0], "--test", val_files[0], check=False)
    lines = [line for line in result.stderr.splitlines() if line]
    assert result.returncode == 1 and "has no test jets of class" in lines[-1]
    assert not (own_dir / "quantised.json").exists()
