"""Propagate particles to the calorimeters: straight lines and helices to a cylinder around the beam line."""

import numpy as np

from kd_trainer.simulate.tracker import FIELD

RADIUS, HALF_LENGTH = 1290.0, 3000.0  # mm, of the cylinder


def to_calorimeter(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, charge: np.ndarray, vertex: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Direction, seen from the origin, of the points at which particles reach the calorimeters.

    A particle leaves the cylinder through its wall. It leaves through an end if it reaches the end first, or if it
    curls up before the wall.

    Parameters
    ----------
    px, py, pz : (P,) momentum at the production vertex in GeV, with pT > 0
    charge : (P,) -1, 0 or +1
    vertex : (P, 3) production vertex x, y, z in mm, inside the cylinder

    Returns
    -------
    eta, phi : (P,)
    """
    x, y, z = vertex.T
    pt = np.hypot(px, py)
    slope = pz / pt
    with np.errstate(divide="ignore"):
        to_end = (np.copysign(HALF_LENGTH, pz) - z) / slope  # path length to the end, in the transverse plane
    end_x, end_y, path = np.empty((3, len(pt)))
    for which, step in ((charge == 0, _straight), (charge != 0, _helix)):
        arguments = (x, y, px / pt, py / pt, charge, pt, to_end)
        end_x[which], end_y[which], path[which] = step(*(argument[which] for argument in arguments))
    return np.arcsinh((z + path * slope) / np.hypot(end_x, end_y)), np.arctan2(end_y, end_x)


def _straight(
    x: np.ndarray, y: np.ndarray, cos: np.ndarray, sin: np.ndarray, _: np.ndarray, __: np.ndarray, to_end: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exit points of straight tracks with direction cos, sin: x, y and path length in the transverse plane."""
    along = x * cos + y * sin
    path = np.minimum(np.sqrt(RADIUS**2 - (x * sin - y * cos) ** 2) - along, to_end)
    return x + path * cos, y + path * sin, path


def _helix(
    x: np.ndarray,
    y: np.ndarray,
    cos: np.ndarray,
    sin: np.ndarray,
    charge: np.ndarray,
    pt: np.ndarray,
    to_end: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_straight`, for circles of radius R = pT / (0.3 B). Positive charges move clockwise.

    Let v be the angle between the direction of the track and that of the centre of the circle, times the charge, and c
    the distance of the centre from the beam. The track is inside while sin(v) > (c^2 + R^2 - RADIUS^2) / (2 R c); v
    decreases by path / R.
    """
    radius = pt / (0.299792458e-3 * FIELD)
    centre_x, centre_y = x + charge * radius * sin, y - charge * radius * cos
    centre = np.hypot(centre_x, centre_y)
    wall = (centre**2 + radius**2 - RADIUS**2) / (2 * radius * np.maximum(centre, 1e-9))
    leaves = np.arcsin(np.maximum(wall, -1))
    angle = charge * np.arctan2(sin * centre_x - cos * centre_y, cos * centre_x + sin * centre_y)
    turn = (angle - leaves) % (2 * np.pi)  # 0 to pi - 2 asin(wall)
    path = np.minimum(np.where(wall > -1, radius * turn, np.inf), to_end)
    turn = charge * path / radius
    end_cos, end_sin = cos * np.cos(turn) + sin * np.sin(turn), sin * np.cos(turn) - cos * np.sin(turn)
    return centre_x - charge * radius * end_sin, centre_y + charge * radius * end_cos, path
