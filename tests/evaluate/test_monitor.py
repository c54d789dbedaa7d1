"""The output after each epoch for many classes."""

import numpy as np
import pytest
import torch
from helpers import ROOT
from torch.utils.tensorboard import SummaryWriter
from weaver.utils.dataset import DataConfig

from kd_trainer.evaluate.monitor import epoch_metrics, measure

NAMES = DataConfig.load(str(ROOT / "data" / "JetClassII" / "JetClassII_l1.yaml")).labels["names"]


@pytest.fixture
def predictions():
    """Labels and scores of 4000 jets: X_bb, X_cc and two kinds of QCD."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 170, 187], 4000)
    logits = rng.normal(0, 1, (4000, 188))
    logits[np.arange(4000), labels] += 2
    return labels, np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_few_classes_keep_the_metrics_of_weaver():
    assert epoch_metrics(["a", "b"], for_training=True, epoch=0) == {}


def test_rejections(predictions):
    labels, scores = predictions
    curves = measure(NAMES, labels, scores)
    assert list(curves) == [("X_bb", "QCD"), ("X_cc", "QCD"), ("X_cc", "X_bb")]
    _, _, at = curves["X_cc", "X_bb"]
    ratio = scores[:, 1] / (scores[:, 0] + scores[:, 1])
    threshold = np.sort(ratio[labels == 1])[::-1][int(np.ceil(0.5 * (labels == 1).sum())) - 1]
    assert at[0.5] == pytest.approx(1 / np.mean(ratio[labels == 0] >= threshold))


class Helper:
    """weaver's TensorboardHelper, as far as it is used."""

    def __init__(self, folder):
        self.writer, self.scalars = SummaryWriter(folder), []

    def write_scalars(self, values):
        self.scalars += values


def test_what_goes_to_tensorboard(predictions, tmp_path):
    helper = Helper(tmp_path)
    (metric,) = epoch_metrics(NAMES, for_training=True, epoch=3, tb_helper=helper)["eval_metrics"]
    result = metric(*predictions)
    assert set(result) == {"X_bb vs QCD", "X_cc vs QCD", "X_cc vs X_bb"}
    assert set(result["X_bb vs QCD"]) == {"30%", "50%"}
    assert len(helper.scalars) == 6
    assert helper.scalars[0][0] == "BkgRej_X_bb_vs_QCD_at_30%/eval (epoch)" and helper.scalars[0][2] == 3
    helper.writer.flush()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert EventAccumulator(str(tmp_path)).Reload().Tags()["images"] == ["ROC/eval/epoch0003"]


def test_without_any_jet_of_these(predictions):
    labels = np.full(50, 100)
    assert measure(NAMES, labels, predictions[1][:50]) == {}
    assert measure([f"c{i}" for i in range(30)], labels % 30, torch.rand(50, 30).numpy()) == {}
