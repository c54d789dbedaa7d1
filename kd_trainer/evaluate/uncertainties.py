"""Figures of merit with their uncertainties, as plain numbers: of test jets, of seeds, and both in quadrature."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def figure(
    value: float | np.floating, statistical: float | np.floating, seed_error: float | None, **more: Any
) -> dict[str, Any]:
    """A dict of value, statistical, seed_error (None for one seed), total, and more entries."""
    total = float(np.hypot(statistical, seed_error or 0.0))
    return {"value": float(value), "statistical": float(statistical), "seed_error": seed_error, "total": total, **more}


def standard_error(values: Sequence[float] | np.ndarray) -> float | None:
    """Standard error of the mean over seeds; None for one seed."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def in_quadrature(errors: Sequence[float | None]) -> float | None:
    """The errors that are known, added in quadrature; None if there are none."""
    known = [error for error in errors if error is not None]
    return float(np.hypot.reduce(known)) if known else None


def relative(replicas: np.ndarray) -> float:
    """Relative uncertainty from replicas (R,) of a positive number, by logarithms: those of a rejection are skewed."""
    return float(np.std(np.log(replicas), ddof=1))
