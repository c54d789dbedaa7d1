"""Transverse coordinates of momenta, for numpy and awkward arrays alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

Columns = dict[str, np.ndarray]  # (P,) of particles or of jets, by name


def directions(columns: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Transverse momentum, pseudorapidity and azimuth, (P,) each, of particles with px, py, pz."""
    pt = np.hypot(columns["px"], columns["py"])
    return pt, np.arcsinh(columns["pz"] / pt), np.arctan2(columns["py"], columns["px"])


def rapidity(columns: Mapping[str, Any]) -> Any:
    """Rapidity of particles with pz and energy: (P,)."""
    return np.arctanh(columns["pz"] / columns["energy"])


def wrap(angle: Any) -> Any:
    """Angles in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
