"""The bootstrap, compared with binomial and rank statistics, and its pairing."""

import numpy as np
import pytest

from kd_trainer.evaluate import compare, metrics
from kd_trainer.evaluate.bootstrap import accuracy_statistic, auc_statistic, bootstrap, rejection_statistic


@pytest.fixture
def sample():
    """Labels (0: background, 1: signal) of 12000 jets and two unrelated discriminants of the same power."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 12_000)
    return labels, [labels * 1.2 + rng.normal(size=12_000) for _ in range(2)]


def statistic(labels, discriminant, efficiency=0.5):
    signal, background = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    return rejection_statistic(signal, background, discriminant[signal], discriminant[background], efficiency)


@pytest.mark.parametrize("efficiency", [0.02, 0.5, 0.995, 1.0])
def test_unit_weights_give_the_rejection_itself(sample, efficiency):
    labels, (discriminant, _) = sample
    expected = metrics.rejection(discriminant[labels == 1], discriminant[labels == 0], efficiency)
    weights = np.ones((3, len(labels)), np.uint8)
    assert np.allclose(statistic(labels, discriminant, efficiency)(weights), expected.value)


def test_whole_weights_are_repeated_jets(sample):
    labels, (discriminant, _) = sample
    weights = np.random.default_rng(2).poisson(1.0, (1, len(labels))).astype(np.uint8)
    drawn = np.repeat(np.arange(len(labels)), weights[0])
    signal, background = (discriminant[drawn][labels[drawn] == c] for c in (1, 0))
    expected = metrics.rejection(signal, background, 0.5).value
    assert np.isclose(statistic(labels, discriminant)(weights)[0], expected)


def test_uncertainty_of_a_rejection_is_binomial(sample):
    labels, (discriminant, _) = sample
    # At 30 % the threshold, which the binomial uncertainty leaves out, matters little.
    expected = metrics.rejection(discriminant[labels == 1], discriminant[labels == 0], 0.3)
    drawn = bootstrap({"r": statistic(labels, discriminant, 0.3)}, len(labels), replicas=500)["r"]
    assert np.isclose(drawn.mean(), expected.value, rtol=0.02)
    assert np.isclose(drawn.std(), expected.uncertainty, rtol=0.2)


def test_uncertainties_of_accuracy_and_auc(toy):
    labels = np.random.default_rng(3).integers(0, 10, 4000)
    scores = toy(labels, 1.5, 1)
    accuracy, (auc, influence) = metrics.accuracy(labels, scores), metrics.auc_influence(labels, scores)
    statistics = {"accuracy": accuracy_statistic(labels, scores), "auc": auc_statistic(auc, influence)}
    drawn = bootstrap(statistics, len(labels), replicas=400)
    assert np.isclose(drawn["accuracy"].std(), np.sqrt(accuracy * (1 - accuracy) / 4000), rtol=0.12)
    assert np.isclose(drawn["auc"].std(), np.sqrt(np.sum(influence**2)), rtol=0.12)
    # First order in the weights is enough: the area of the drawn jets, recomputed, is the same.
    weights = np.random.default_rng(4).poisson(1.0, (1, 4000)).astype(np.uint8)
    jets = np.repeat(np.arange(4000), weights[0])
    recomputed = metrics.auc_influence(labels[jets], scores[jets])[0]
    assert abs(statistics["auc"](weights)[0] - recomputed) < 0.1 * drawn["auc"].std()


def samples_of(labels, discriminants):
    statistics = {i: statistic(labels, d) for i, d in enumerate(discriminants)}
    drawn = bootstrap(statistics, len(labels))
    values = [metrics.rejection(d[labels == 1], d[labels == 0], 0.5).value for d in discriminants]
    return [compare.Sample(np.array([v]), drawn[i][None]) for i, v in enumerate(values)]


def test_ratio_of_a_model_with_itself_is_exactly_one(sample):
    labels, (discriminant, _) = sample
    first, second = samples_of(labels, [discriminant, discriminant.copy()])
    found = compare.ratio(first, second)
    assert (found["value"], found["statistical"], found["total"], found["seed_error"]) == (1.0, 0.0, 0.0, None)
    assert compare.difference(first, second)["total"] == 0.0


def test_ratio_of_unrelated_models_covers_one():
    pulls = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 2, 2000)
        found = compare.ratio(*samples_of(labels, [labels + rng.normal(size=2000) for _ in range(2)]))
        pulls.append(np.log(found["value"]) / (found["statistical"] / found["value"]))
    assert abs(np.mean(pulls)) < 0.45
    assert 0.75 < np.std(pulls) < 1.25


def test_pairing_cancels_what_models_share(sample):
    labels, (discriminant, other) = sample
    alike = discriminant + 0.1 * np.random.default_rng(5).normal(size=len(labels))
    first, second, third = samples_of(labels, [discriminant, alike, other])
    assert compare.ratio(first, second)["statistical"] < 0.5 * compare.ratio(first, third)["statistical"]


def test_replicas_without_background_stay_finite():
    labels = np.repeat([1, 0], [100, 100])
    discriminant = np.concatenate([np.linspace(0, 1, 100), np.full(99, -1.0), [0.9]])
    drawn = bootstrap({"r": statistic(labels, discriminant, 0.2)}, 200)["r"]
    assert np.isfinite(drawn).all()
    assert drawn.max() > 100  # where the only jet left was not drawn


def test_seeds_add_their_standard_error():
    noise = np.random.default_rng(6).normal(size=(2, 3, 50))
    values = np.array([[110.0, 120.0, 130.0], [100.0, 98.0, 102.0]])
    first, second = (compare.Sample(v, v[:, None] + n) for v, n in zip(values, noise))
    mean = compare.mean(first)
    assert np.isclose(mean["value"], 120)
    assert np.isclose(mean["seed_spread"], 10)
    assert np.isclose(mean["seed_error"], 10 / np.sqrt(3))
    found = compare.ratio(first, second)
    assert np.isclose(found["value"], 1.2)
    assert np.isclose(found["seed_error"], 1.2 * np.hypot(10 / 120, 2 / 100) / np.sqrt(3))
    assert np.isclose(found["total"], np.hypot(found["statistical"], found["seed_error"]))
    assert np.isclose(compare.difference(first, second)["seed_error"], np.hypot(10, 2) / np.sqrt(3))


def test_seeds_do_not_shrink_the_binomial_uncertainty():
    seed = metrics.rejection(np.linspace(0, 1, 100), np.linspace(-1, 0.6, 400), 0.5)
    found = compare.mean_rejection([seed, seed, seed])
    assert np.isclose(found["statistical"], seed.uncertainty)
    assert (found["value"], found["seed_spread"], found["few"]) == (seed.value, 0.0, False)


def test_a_seed_without_background_leaves_a_limit():
    seeds = [metrics.rejection(np.full(9, 0.9), np.array([x] + [0.1] * 99), 0.5) for x in (0.1, 0.95)]
    found = compare.mean_rejection(seeds)
    assert found["value"] is None
    assert found["few"]
    assert found["background_left"] == [0, 1]
    assert found["lower_limit_95"] == seeds[1].lower_limit < seeds[0].lower_limit
