"""Calibration and paired gains, against closed forms."""

import numpy as np
import pytest

from kd_trainer.evaluate import calibration
from kd_trainer.evaluate.bootstrap import accuracy_statistic
from kd_trainer.evaluate.compare import Sample
from kd_trainer.study import statistics as figures


def sample(*values, noise=0.0, seed=1):
    """A sample of some seeds whose replicas move together, by `noise` (R,) relative to the values."""
    values = np.array(values, dtype=float)
    common = 1 + noise * np.random.default_rng(seed).normal(size=400)
    return Sample(values, values[:, None] * common)


def ece_of(labels, scores, weights=None):
    """The calibration error itself: every jet is there once."""
    weights = np.ones(len(labels)) if weights is None else weights
    return calibration.ece_statistic(labels, scores, weights)(np.ones((1, len(labels))))[0]


def test_calibration_error_by_hand():
    # Ten jets at a score of 0.8, six right: 0.2 off; thirty at 0.95, all right: 0.05 off.
    scores = np.array([[0.8, 0.2]] * 10 + [[0.05, 0.95]] * 30)
    labels = np.array([0] * 6 + [1] * 4 + [1] * 30)
    assert ece_of(labels, scores) == pytest.approx((10 * 0.2 + 30 * 0.05) / 40)
    weights = calibration.balanced_weights(labels)
    assert [weights[labels == c].sum() for c in (0, 1)] == pytest.approx([0.5, 0.5])
    # In the first bin 6/12 of the weight is right and 4/68 is wrong; the second has the remaining 30/68.
    first = abs(0.5 * 0.8 + 4 / 68 * 0.8 - 0.5)
    expected = first + 30 / 68 * 0.05
    assert ece_of(labels, scores, weights) == pytest.approx(expected)


def test_calibration_error_of_true_probabilities_is_small_and_of_sharpened_ones_is_not():
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, 50_000)
    labels = (rng.uniform(size=p.size) < p).astype(int)
    scores = np.stack([1 - p, p], axis=1)
    sharp = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    assert ece_of(labels, scores) < 0.01
    assert ece_of(labels, sharp) > 0.08
    assert ece_of(labels, np.ones_like(scores) / 2) < 0.01


def test_replicas_of_calibration_and_accuracy_are_those_of_repeated_jets():
    rng = np.random.default_rng(3)
    scores = rng.dirichlet(np.ones(4), 200)
    labels, weights = rng.integers(0, 4, 200), rng.uniform(0.5, 2, 200)
    drawn = rng.poisson(1.0, (3, 200)).astype(np.uint8)
    ece = calibration.ece_statistic(labels, scores, weights)(drawn)
    accuracy = accuracy_statistic(labels, scores, weights)(drawn)
    for i, counts in enumerate(drawn):
        repeated = np.repeat(np.arange(200), counts)
        again = ece_of(labels[repeated], scores[repeated], weights[repeated])
        right = scores[repeated].argmax(axis=1) == labels[repeated]
        assert ece[i] == pytest.approx(again)
        assert accuracy[i] == pytest.approx(np.average(right, weights=weights[repeated]))


def test_ratio_is_paired_by_seed_and_jet():
    # Seeds differ by factors, and so do the test samples, but the student gains 30 % in each of them.
    twin = sample(100, 200, 50, noise=0.2)
    gained = Sample(1.3 * twin.values, 1.3 * twin.replicas)
    ratio = figures.paired_ratio(gained, twin)
    assert ratio["value"] == pytest.approx(1.3)
    assert ratio["total"] < 1e-9
    uneven = figures.paired_ratio(sample(110, 240), sample(100, 200))
    logs = np.log([1.1, 1.2])
    assert uneven["value"] == pytest.approx(np.exp(logs.mean()))
    assert uneven["seed_error"] == pytest.approx(uneven["value"] * logs.std(ddof=1) / np.sqrt(2))
    assert figures.paired_ratio(sample(110), sample(100))["seed_error"] is None


def test_difference_is_paired_by_seed():
    found = figures.paired_difference(sample(0.6, 0.7, 0.5), sample(0.5, 0.6, 0.4))
    assert (found["value"], found["seed_error"]) == (pytest.approx(0.1), pytest.approx(0))
