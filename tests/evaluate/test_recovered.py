"""The recovered fraction, against closed forms and a simulation."""

import numpy as np
import pytest

from kd_trainer.evaluate.compare import Sample
from kd_trainer.evaluate.recovered import logarithm, recovered


def sample(*values):
    """A sample of some seeds with infinitely many test jets."""
    values = np.array(values, dtype=float)
    return Sample(values, np.repeat(values[:, None], 10, axis=1))


def test_recovered_fraction():
    twin, distilled, ceiling = sample(0.50, 0.52), sample(0.56, 0.58), sample(0.58, 0.60, 0.62)
    found = recovered(distilled, twin, ceiling)
    assert found["value"] == pytest.approx(0.06 / 0.09)
    # Gain (0.06) is the same for both seeds; the way (0.09) and the ceiling are not.
    by_kd, by_ce, by_top = 1 / 0.09, (0.57 - 0.60) / 0.09**2, -0.06 / 0.09**2
    students = by_kd * distilled.values + by_ce * twin.values
    expected = np.hypot(students.std(ddof=1) / np.sqrt(2), by_top * 0.02 / np.sqrt(3))
    assert found["seed_error"] == pytest.approx(expected, rel=1e-6) and found["statistical"] == pytest.approx(0)


def test_recovered_fraction_agrees_with_a_simulation():
    rng = np.random.default_rng(4)
    twins, gains, tops = 0.5 + 0.01 * rng.normal(size=(500, 5)), 0.01 * rng.normal(size=(500, 5)), rng.normal(
        0.7, 0.01, size=(500, 3))  # fmt: skip
    studies = [
        recovered(sample(*(t + 0.1 + g)), sample(*t), sample(*top)) for t, g, top in zip(twins, gains, tops)
    ]
    scatter = np.std([study["value"] for study in studies])
    assert scatter == pytest.approx(np.sqrt(np.mean([study["seed_error"] ** 2 for study in studies])), rel=0.15)


def test_no_fraction_without_a_way_to_go():
    twin, ceiling = sample(0.60, 0.62), sample(0.60, 0.64)
    assert recovered(sample(0.61, 0.63), twin, ceiling) is None
    assert recovered(sample(0.61, 0.63), sample(0.7, 0.7), sample(0.6, 0.6)) is None


def test_seeds_that_are_no_pairs():
    found = recovered(sample(0.56, 0.58), sample(0.50, 0.52, 0.54), sample(0.60))
    by_kd, by_ce = 1 / 0.08, (0.57 - 0.60) / 0.08**2
    expected = np.hypot(by_kd * 0.01, by_ce * 0.02 / np.sqrt(3))
    assert found["value"] == pytest.approx(0.05 / 0.08) and found["seed_error"] == pytest.approx(expected, rel=1e-6)


def test_rejections_count_by_their_logarithms():
    samples = [logarithm(sample(value)) for value in (20.0, 10.0, 40.0)]
    assert recovered(*samples)["value"] == pytest.approx(0.5)
