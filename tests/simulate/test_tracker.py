"""The tracker against closed forms: circles drawn by hand, plateaus and limits of the parametrisations."""

import numpy as np
import pytest

from kd_trainer.simulate.tracker import (
    FIELD,
    impact_parameter_errors,
    momentum_resolution,
    perigee,
    track_efficiency,
)


def track(px, py, pz, charge, vertex):
    d0, dz = perigee(*(np.array([float(value)]) for value in (px, py, pz, charge)), np.array([vertex], dtype=float))
    return d0[0], dz[0]


def test_stiff_track_is_a_straight_line():
    phi, vertex = 0.3, (5.0, -2.0, 7.0)
    momentum = 1e7 * np.cos(phi), 1e7 * np.sin(phi), 5e6
    d0, dz = track(*momentum, 1, vertex)
    assert d0 == pytest.approx(5 * np.sin(phi) + 2 * np.cos(phi), abs=1e-4)
    assert dz == pytest.approx(7 - 0.5 * (5 * np.cos(phi) - 2 * np.sin(phi)), abs=1e-4)


@pytest.mark.parametrize("charge", [-1, 1])
def test_prompt_track_has_no_impact_parameter(charge):
    assert track(0.4, 0.3, 1.0, charge, (0, 0, 0)) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize("turn", [0.01, 0.7, -0.4])
def test_vertex_moved_along_a_helix_through_a_known_perigee(charge, turn):
    """A helix that starts at its perigee (0, d) and runs for an angle `turn` gives back d and the z it started from."""
    distance, z0, pt, pz = 3.0, -12.0, 0.8, 0.5
    radius = pt / (0.299792458e-3 * FIELD)
    # at the perigee the track runs along +x; the centre is to the right of it for a positive charge
    centre = np.array([0.0, distance - charge * radius])
    spoke = np.array([0.0, charge * radius])
    angle = -charge * turn
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    x, y = centre + rotation @ spoke
    px, py = rotation @ np.array([pt, 0.0])
    d0, dz = track(px, py, pz, charge, (x, y, z0 + radius * turn * pz / pt))
    assert d0 == pytest.approx(-distance)  # x sin(phi) - y cos(phi) with phi = 0
    assert dz == pytest.approx(z0)


def test_d0_of_a_decay_length_is_its_sine():
    """A track that leaves the end of a flight path L at an angle a has |d0| = L sin(a)."""
    d0, _ = track(1e6 * np.cos(0.1), 1e6 * np.sin(0.1), 0, 1, (4.0, 0, 0))
    assert d0 == pytest.approx(4 * np.sin(0.1), rel=1e-5)


def test_efficiency():
    def efficiency(pdg, pt, eta, radius):
        return track_efficiency(*(np.array([value]) for value in (pdg, pt, eta, radius)))[0]

    assert efficiency(211, 10.0, 0.0, 0.0) == 0.94
    assert efficiency(211, 10.0, 2.0, 0.0) == 0.85
    assert efficiency(13, 10.0, 2.0, 0.0) == 0.99
    assert efficiency(211, 10.0, 0.0, 300.0) == pytest.approx(0.47)
    for lost in ((211, 0.05, 0.0, 0.0), (211, 10.0, 2.6, 0.0), (211, 10.0, 0.0, 700.0)):
        assert efficiency(*lost) == 0


def test_resolutions_of_published_points():
    pt = np.array([100.0])
    d0_error, dz_error = impact_parameter_errors(pt, np.array([0.0]))
    assert momentum_resolution(pt, np.array([0.5])) == pytest.approx(0.028, rel=0.02)
    assert d0_error == pytest.approx(0.010, rel=0.1)
    assert dz_error == pytest.approx(0.030, rel=0.1)


def test_impact_parameters_of_hard_and_central_tracks_are_the_best():
    pt, eta = np.array([0.5, 1.0, 5.0, 50.0]), np.array([0.0, 1.0, 2.0])
    for errors in impact_parameter_errors(pt[:, None], eta):
        assert (np.diff(errors, axis=0) < 0).all() and (np.diff(errors, axis=1) > 0).all()
