"""Figures of merit with uncertainties, as plain numbers: from test jets, from seeds, and both in quadrature."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def figure(
    value: float | np.floating, statistical: float | np.floating, seed_error: float | None, **more: Any
) -> dict[str, Any]:
    """A dict with value, statistical, seed_error (None for one seed), total, and further entries."""
    total = float(np.hypot(statistical, seed_error or 0.0))
    return {"value": float(value), "statistical": float(statistical), "seed_error": seed_error, "total": total, **more}


def standard_error(values: Sequence[float] | np.ndarray) -> float | None:
    """Standard error of the mean over seeds; None for one seed."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def in_quadrature(errors: Sequence[float | None]) -> float | None:
    """The known errors, added in quadrature; None if there are none."""
    known = [error for error in errors if error is not None]
    return float(np.hypot.reduce(known)) if known else None


def relative(replicas: np.ndarray) -> float:
    """Relative uncertainty from replicas (R,) of a positive number, from logarithms because replicas may be skewed."""
    return float(np.std(np.log(replicas), ddof=1))
