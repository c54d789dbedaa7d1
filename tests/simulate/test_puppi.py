"""PUPPI weights of events made by hand."""

import numpy as np
import pytest

from kd_trainer.simulate import puppi
from kd_trainer.simulate.puppi import NEUTRAL, PILEUP, PRIMARY, centre_and_spread, metric, significance


def weigh(pt, eta, phi, kind, *, event=None, vertices=(50,), mass=0.0, count_primary=True):
    pt, eta, phi, kind, mass = np.broadcast_arrays(*(np.atleast_1d(value) for value in (pt, eta, phi, kind, mass)))
    event = np.zeros(len(pt), int) if event is None else event
    parameters = puppi.CARD._replace(count_primary=count_primary)
    return puppi.weights(event, pt * 1.0, eta * 1.0, phi, mass, kind, np.array(vertices), parameters)


def soft(rng, n, kind):
    """Soft particles everywhere: pt, eta, phi, kind."""
    return np.array(
        [rng.exponential(0.6, n) + 0.1, rng.uniform(-2.5, 2.5, n), rng.uniform(-np.pi, np.pi, n), [kind] * n]
    )


def jet(rng, n, kind, eta=0.5, phi=3.0):
    return np.array([rng.exponential(10, n) + 2, rng.normal(eta, 0.1, n), rng.normal(phi, 0.1, n), [kind] * n])


@pytest.mark.parametrize("count_primary", [True, False])
def test_without_pileup_all_stay(count_primary):
    rng = np.random.default_rng(0)
    event = np.concatenate([jet(rng, 20, PRIMARY), jet(rng, 20, NEUTRAL)], axis=1)
    assert (weigh(*event, vertices=(1,), count_primary=count_primary) == 1).all()
    assert weigh(0.205, 0.3, 0.1, NEUTRAL, vertices=(1,)) == 0  # below 0.2 + 0.006 GeV
    assert weigh(0.207, 0.3, 0.1, NEUTRAL, vertices=(1,)) == 1


@pytest.mark.parametrize("count_primary", [True, False])
def test_a_jet_stays_and_pileup_goes(count_primary):
    rng = np.random.default_rng(1)
    pieces = [jet(rng, 20, PRIMARY), jet(rng, 20, NEUTRAL), soft(rng, 20, PRIMARY), soft(rng, 800, PILEUP)]
    pieces += [soft(rng, 800, NEUTRAL)]
    weight = weigh(*np.concatenate(pieces, axis=1), count_primary=count_primary)
    hard, pileup = weight[20:40], weight[-800:]
    assert (weight[:20] == 1).all() and (weight[40:60] == 1).all() and (weight[60:860] == 0).all()  # charged: CHS
    assert hard.min() > 0.95
    assert pileup.mean() < 0.1 and ((pileup == 0) | (pileup >= puppi.MIN_WEIGHT)).all()


def test_pileup_alone_goes():
    rng = np.random.default_rng(2)
    weight = weigh(*np.concatenate([soft(rng, 300, PILEUP), soft(rng, 300, NEUTRAL)], axis=1))
    assert (weight == 0).all()  # nothing of the primary vertex is near: the metric is that of nothing


def test_events_do_not_see_each_other():
    rng = np.random.default_rng(3)
    one = np.concatenate([jet(rng, 20, PRIMARY), jet(rng, 20, NEUTRAL), soft(rng, 300, PILEUP)], axis=1)
    other = np.concatenate([soft(rng, 30, PRIMARY), soft(rng, 300, PILEUP), soft(rng, 300, NEUTRAL)], axis=1)
    event = np.repeat([0, 2], [one.shape[1], other.shape[1]])
    both = weigh(*np.concatenate([one, other], axis=1), event=event, vertices=(40, 1, 60))
    assert both.tolist() == [*weigh(*one, vertices=(40,)), *weigh(*other, vertices=(60,))]


@pytest.mark.parametrize(("eta", "threshold"), [(1.0, 0.2 + 0.006 * 35), (2.7, 0.2 + 0.013 * 35)])
def test_neutral_threshold_grows_with_vertices(eta, threshold):
    """A hard particle nearby gives the weight 1; 35 of 51 vertices count."""
    pt = np.array([500.0, 1.0, 1.0, threshold - 0.001, threshold + 0.001])
    kind = np.array([PRIMARY, PILEUP, PILEUP, NEUTRAL, NEUTRAL])
    etas = np.array([eta - 0.3, eta, -1.0, eta, eta])
    weight = weigh(pt, etas, np.array([0.0, 2.0, 2.0, 0.1, 0.1]), kind, vertices=(51,), count_primary=False)
    assert weight.tolist() == [1, 0, 0, 0, 1]


def test_metric_against_pairs():
    rng = np.random.default_rng(4)
    pt, eta, phi, kind = np.concatenate([soft(rng, 100, PRIMARY), soft(rng, 200, NEUTRAL)], axis=1)
    dphi = np.abs(phi[:, None] - phi)
    dphi = np.minimum(dphi, 2 * np.pi - dphi)
    distance = np.hypot(eta[:, None] - eta, dphi)
    near = (distance < 0.4) & (distance > 0.01) & (kind == PRIMARY)
    total = np.where(near, (pt / np.maximum(distance, 1e-9)) ** 2, 0).sum(axis=1)
    expected = np.where(total > 0, np.log(np.maximum(total, 1e-300)), 0)
    found = metric(np.zeros(300, int), pt, eta, eta, phi, kind == PRIMARY, 0.4)
    assert found == pytest.approx(expected, abs=1e-9)
    assert (found == 0).any() and (found != 0).any()


def test_centre_and_spread():
    median, rms = centre_and_spread(np.array([3.0, 0.0, 1.0, -1.0, 0.0, 2.0]), np.zeros(0))
    assert median == 2.0  # of 0, 1, 2, 3: the last zero and what follows
    assert rms == pytest.approx(np.sqrt((3**2 + 1**2) / 3))  # -1, 1 and 2
    shifted, smaller = centre_and_spread(np.array([3.0, 0.0, 1.0, -1.0, 0.0, 2.0]), np.array([1.0, 5.0]))
    shift = np.sqrt(0.1015310 * rms)  # the chi^2 that one of 1 + 6 / 2 values is below
    assert (shifted, smaller) == (pytest.approx(2 - shift, abs=1e-6), pytest.approx(rms - shift, abs=1e-6))


def test_significance():
    values = significance(np.array([0.0, 1.0, 3.0, 5.0]), 1.0, 2.0)
    assert values == pytest.approx([0, 0, 0.6826895, 0.9544997])


def test_slow_heavy_particles_count_beyond_the_tracker():
    """A proton of 0.6 GeV at eta 2.4 gets eta 3 in Delphes' PUPPI and is used for the pile-up estimate there."""
    pt, eta = np.array([0.6, 5.0]), np.array([2.4, 3.2])
    kind = np.array([PILEUP, NEUTRAL])
    phi = np.array([0.0, 2.0])
    assert weigh(pt, eta, phi, kind, mass=np.array([0.938, 0])).tolist() == [0, 0]
    assert weigh(pt, eta, phi, kind, mass=np.array([0.139, 0])).tolist() == [0, 1]
