"""Figures of merit against closed forms and scikit-learn."""

from statistics import NormalDist

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kd_trainer.evaluate import metrics


@pytest.fixture
def gaussians():
    """Discriminants of 20000 signal and 40000 background jets, normal of width 1, their means 1.5 apart."""
    rng = np.random.default_rng(1)
    return rng.normal(1.5, 1, 20_000), rng.normal(0, 1, 40_000)


def two_classes(signal, background):
    labels = np.repeat([0, 1], [len(signal), len(background)])
    probability = 1 / (1 + np.exp(-np.concatenate([signal, background])))
    return labels, np.stack([probability, 1 - probability], axis=1)


def test_auc_of_two_gaussians(gaussians):
    auc, influence = metrics.auc_influence(*two_classes(*gaussians))
    expected = NormalDist().cdf(1.5 / np.sqrt(2))
    assert abs(auc - expected) < 3 * np.sqrt(np.sum(influence**2))
    assert np.isclose(auc, roc_auc_score(np.repeat([1, 0], [20_000, 40_000]), np.concatenate(gaussians)))


def test_uncertainty_of_auc_is_its_scatter():
    rng = np.random.default_rng(2)
    samples = [metrics.auc_influence(*two_classes(rng.normal(1, 1, 200), rng.normal(0, 1, 300))) for _ in range(400)]
    predicted = np.mean([np.sqrt(np.sum(influence**2)) for _, influence in samples])
    assert np.isclose(np.std([auc for auc, _ in samples]), predicted, rtol=0.12)


@pytest.mark.parametrize("ties", [False, True])
def test_auc_of_ten_classes_is_that_of_sklearn(toy, ties):
    labels = np.random.default_rng(3).integers(0, 10, 3000)
    scores = toy(labels, 1.5, 4)
    if ties:
        scores = np.round(scores * 8) + 1
        scores /= scores.sum(axis=1, keepdims=True)
    auc, influence = metrics.auc_influence(labels, scores)
    assert np.isclose(auc, roc_auc_score(labels, scores, multi_class="ovo"), atol=1e-6)
    assert np.allclose([influence[labels == c].sum() for c in range(10)], 0)


def test_auc_leaves_out_absent_classes(toy):
    labels = np.random.default_rng(3).integers(0, 3, 500)
    scores = toy(labels, 1.0, 4)
    first_three = scores[:, :3] / scores[:, :3].sum(axis=1, keepdims=True)
    assert 0.5 < metrics.auc_influence(labels, scores)[0] < metrics.auc_influence(labels, first_three)[0] < 1


def test_discriminant():
    scores = np.array([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0], [1e-12, 1 - 1e-12, 0.0]])
    assert np.allclose(metrics.discriminant(scores, 1, [0]), [0.75, 0.0, 1.0])
    assert np.allclose(metrics.discriminant(scores, 1, [0, 2]), [0.6, 0.0, 1.0])


def test_discriminant_keeps_apart_what_single_precision_rounds_to_one():
    scores = np.array([[1e-10, 1.0], [1e-9, 1.0]], dtype=np.float32)
    first, second = metrics.discriminant(scores, 1, [0])
    assert first > second


def test_rejection_by_hand():
    signal = np.array([9.0, 8, 7, 6, 5, 4, 3, 2, 1, 0])
    background = np.array([9.5, 7.5, 5.0, 4.5] + [-1.0] * 36)
    # 50 % of the signal: 5 and above, which three of the forty background jets reach, one of them exactly.
    found = metrics.rejection(signal, background, 0.5)
    assert (found.passed, found.total) == (3, 40)
    assert np.isclose(found.value, 40 / 3)
    assert np.isclose(found.uncertainty, 40 / 3 * np.sqrt((1 - 3 / 40) / 3))
    # 70 % are seven jets: a float slightly above 7 must not ask for an eighth.
    assert metrics.rejection(signal, background, 0.7).passed == 4
    assert metrics.background_passing(signal, background, np.array([0.1, 0.5, 1.0])).tolist() == [1, 3, 4]


def test_rejection_of_constant_scores_is_one():
    found = metrics.rejection(np.full(10, 0.5), np.full(30, 0.5), 0.3)
    assert (found.value, found.uncertainty, found.lower_limit) == (1.0, 0.0, 1.0)


def test_rejection_of_two_gaussians(gaussians):
    found = metrics.rejection(*gaussians, 0.5)
    expected = 1 / NormalDist().cdf(-1.5)
    assert abs(found.value - expected) < 3 * found.uncertainty
    assert found.lower_limit < found.value


def test_no_background_left_gives_a_limit():
    found = metrics.rejection(np.full(10, 0.9), np.full(1000, 0.1), 0.5)
    assert (found.value, found.uncertainty, found.passed) == (None, None, 0)
    # The rate at which nothing is seen in 1000 jets with a probability of 5 %.
    assert np.isclose(found.lower_limit, 1 / (1 - 0.05 ** (1 / 1000)))


def test_limit_covers():
    rng = np.random.default_rng(5)
    limits = [metrics.rejection_limit(passed, 2000) for passed in rng.binomial(2000, 1 / 500, 2000)]
    assert np.mean(np.array(limits) < 500) > 0.94


def test_geometric_mean():
    assert np.isclose(metrics.geometric_mean([2.0, 8.0]), 4.0)
    assert np.allclose(metrics.geometric_mean([[2.0, 1.0], [8.0, 9.0]]), [4.0, 3.0])
