"""Figures of merit of any scores: bounds, closed forms and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kd_trainer.errors import InputError
from kd_trainer.evaluate import bootstrap, compare, metrics, predictions, roc, task
from kd_trainer.evaluate.calibration import balanced_weights, ece_statistic
from kd_trainer.evaluate.uncertainties import in_quadrature
from kd_trainer.evaluate.working_points import working_points
from kd_trainer.study import statistics

# few different values, so that there are ties
DISCRIMINANTS = arrays.arrays(float, st.integers(1, 30), elements=st.integers(0, 12).map(lambda n: n / 12))
EFFICIENCIES = st.integers(1, 100).map(lambda n: n / 100)
NAMES = ("QCD", "Hbb", "Hcc", "Tbl")


@st.composite
def predicted(draw, classes=None):
    """(labels, scores) with two jets of each class at least, and with ties."""
    classes = classes or draw(st.integers(2, 4))
    labels = draw(st.permutations([*range(classes)] * 2 + draw(st.lists(st.integers(0, classes - 1), max_size=25))))
    scores = draw(arrays.arrays(float, (len(labels), classes), elements=st.integers(1, 9).map(float)))
    return np.array(labels), scores / scores.sum(axis=1, keepdims=True)


@given(DISCRIMINANTS, DISCRIMINANTS, EFFICIENCIES)
def test_rejection_by_counting(signal, background, efficiency):
    """At the highest cut that keeps enough signal jets."""
    enough = [cut for cut in signal if (signal >= cut).sum() >= efficiency * len(signal) - 1e-9]
    passed = (background >= max(enough)).sum()
    found = metrics.rejection(signal, background, efficiency)
    assert (found.passed, found.total) == (passed, len(background))
    assert found.value == (len(background) / passed if passed else None)
    assert 1 <= found.lower_limit <= (found.value or np.inf)


@given(DISCRIMINANTS, DISCRIMINANTS)
def test_roc_curve_falls_and_does_not_feel_the_scale(signal, background):
    passing = metrics.background_passing(signal, background, np.linspace(0.01, 1, 30))
    assert (np.diff(passing) >= 0).all() and passing[0] >= 0 and passing[-1] <= len(background)
    stretched = metrics.background_passing(np.exp(3 * signal), np.exp(3 * background), np.linspace(0.01, 1, 30))
    assert (passing == stretched).all()
    assert metrics.background_passing(signal, signal, 1.0) == len(signal)


@given(predicted(classes=2))
def test_auc_of_two_classes_is_the_fraction_of_pairs_in_order(prediction):
    labels, scores = prediction
    above = scores[labels == 1, 1][:, None] - scores[labels == 0, 1]
    auc, influence = metrics.auc_influence(labels, scores)
    assert np.isclose(auc, ((above > 1e-12) + 0.5 * (abs(above) <= 1e-12)).mean(), atol=1e-9) and len(influence) == len(
        labels
    )
    assert np.isclose(metrics.auc(labels, scores[:, ::-1]), 1 - auc, atol=1e-9)
    assert np.isclose(metrics.auc(1 - labels, scores[:, ::-1]), auc, atol=1e-9)


@given(predicted(), st.randoms(use_true_random=False))
def test_order_of_jets_and_of_classes_does_not_matter(prediction, random):
    labels, scores = prediction
    jets, classes = (random.sample(range(n), n) for n in scores.shape)
    moved = np.argsort(classes)[labels][jets], scores[jets][:, classes]
    (auc, influence), (other, pulls) = (metrics.auc_influence(*p) for p in (prediction, moved))
    assert 0 <= auc <= 1 and np.isclose(auc, other) and np.allclose(influence[jets], pulls)
    assert np.allclose([influence[labels == c].sum() for c in range(scores.shape[1])], 0)
    best = np.eye(scores.shape[1])[labels]
    assert metrics.auc(labels, best) == metrics.accuracy(labels, best) == 1
    ece = [
        ece_statistic(*p, balanced_weights(p[0]))(np.ones((1, len(labels))))[0] for p in ((labels, best), prediction)
    ]
    assert ece[0] == 0 and 0 <= ece[1] <= 1


@given(predicted(), st.integers(1, 3))
def test_jets_counted_twice_are_jets_that_are_there_twice(prediction, times):
    """Statistics of the bootstrap, for whole weights of one to four."""
    labels, scores = prediction
    weights = 1 + (np.arange(len(labels)) * times) % 4
    repeated = np.repeat(labels, weights), np.repeat(scores, weights, axis=0)
    names = list(NAMES[: scores.shape[1]])
    found, expected = (
        task.measure(task.make_task([predictions.Prediction("x", names, s, y, "_label_", None)], names), s)
        for y, s in (prediction, repeated)
    )
    assert np.isclose(found.statistics["accuracy"](weights[None])[0], expected.values["accuracy"])
    for key, rejection in expected.rejections.items():
        replica = found.statistics[key](weights[None].astype(np.uint8))[0]
        assert np.isclose(replica, rejection.total / max(rejection.passed, 0.5))


@given(arrays.arrays(float, (3, 40), elements=st.floats(0, 1, width=16)))
def test_discriminant_is_a_fraction(scores):
    for of in ([1], [1, 2]):
        values = metrics.discriminant(scores.T, 0, of)
        assert ((values >= 0) & (values <= 1)).all()
        both = metrics.discriminant(scores.T, 1, [0]) + metrics.discriminant(scores.T, 0, [1])
        assert np.allclose(both[scores[:2].sum(axis=0) > 0], 1)


@given(
    st.lists(st.sampled_from(["QCD", "QCD_a", "Hbb", "X_bb", "X_cc", "top", "W"]), min_size=2, max_size=6, unique=True),
    st.lists(st.sampled_from(["Hbb", "Hbb/top", "X_bb/X_cc", "QCD", "", "/", "W/QCD"]), max_size=3),
)
def test_working_points_or_a_line(names, chosen):
    try:
        points = working_points(names, "QCD", np.ones(len(names), bool), chosen)
    except InputError:
        return
    assert len({point.key for point in points}) == len(points)
    assert all(point.signal in names and 0 < point.efficiency < 1 for point in points)


@given(predicted(classes=2), st.lists(EFFICIENCIES, min_size=1, max_size=5))
def test_curve_of_one_seed_is_its_rejection(prediction, efficiencies):
    labels, scores = prediction
    names = list(NAMES[:2])
    one = predictions.Prediction("x", names, scores, labels, "_label_", None)
    of = task.make_task([one], names)
    values, _ = roc.rejection_curve(of, [one], of.points[0], np.array(efficiencies))
    *_, signal, background = task.split(of, scores, of.points[0])
    for efficiency, value in zip(efficiencies, values):
        expected = metrics.rejection(signal, background, efficiency)
        assert np.isnan(value) if expected.passed < metrics.FEW_JETS else np.isclose(value, expected.value)


def samples(seeds):
    values = arrays.arrays(float, (seeds, 6), elements=st.floats(0.5, 900))
    return values.map(lambda rows: compare.Sample(rows[:, 0], rows[:, 1:]))


@given(st.integers(1, 4).flatmap(lambda seeds: st.tuples(samples(seeds), samples(seeds))))
def test_paired_figures(pair):
    first, second = pair
    itself = statistics.paired_ratio(first, first), statistics.paired_difference(first, first)
    assert [(of["value"], of["total"]) for of in itself] == [(1, 0), (0, 0)]
    there, back = statistics.paired_ratio(first, second), statistics.paired_ratio(second, first)
    assert np.isclose(there["value"] * back["value"], 1) and np.isclose(
        there["total"] / there["value"], back["total"] / back["value"]
    )
    there, back = statistics.paired_difference(first, second), statistics.paired_difference(second, first)
    assert there["value"] == -back["value"] and there["total"] == pytest.approx(back["total"])
    for of in (there, compare.ratio(first, second), compare.difference(first, second)):
        assert of["total"] == pytest.approx(in_quadrature([of["statistical"], of["seed_error"]]))
        assert (of["seed_error"] is None) == (len(first.values) == 1)


@given(st.integers(2, 40), st.integers(2, 9))
def test_replicas_do_not_depend_on_memory(jets, at_once):
    once = bootstrap.bootstrap({"n": lambda weights: weights.sum(axis=1)}, jets, replicas=20)["n"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "WEIGHTS_AT_ONCE", at_once * jets)
        assert (bootstrap.bootstrap({"n": lambda weights: weights.sum(axis=1)}, jets, replicas=20)["n"] == once).all()
