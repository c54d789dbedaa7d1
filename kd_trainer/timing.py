"""Comparing the speed of functions: run alternately, several times, in one process."""

import time
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from tqdm import tqdm

Side = TypeVar("Side", bound=Hashable)  # name of a timed function
Spread = dict[str, float]  # median, lowest, highest

LONG = 30.0  # seconds


def alternate(
    sides: Mapping[Side, Callable[[], object]], repetitions: int, progress: bool = True
) -> dict[Side, list[float]]:
    """Run each side in turn, `repetitions` times after one warm-up; returns the seconds of each run, by side.

    The alternation makes a temporary slowdown of the machine affect all sides. A warm-up of half a minute or more
    counts as a measurement.
    """
    seconds: dict[Side, list[float]] = {name: [] for name in sides}
    turns = [(i, name) for i in range(repetitions + 1) for name in sides]
    for i, name in tqdm(turns, disable=not progress):
        if i and len(seconds[name]) == repetitions:
            continue
        start = time.perf_counter()
        sides[name]()
        passed = time.perf_counter() - start
        if i or passed > LONG:
            seconds[name].append(passed)
    return seconds


def rates(seconds: Iterable[float], amount: float) -> Spread:
    """Median and spread of amount / second: dict with median, lowest, highest."""
    return spread([amount / s for s in seconds])


def ratio(first: Sequence[float], second: Sequence[float]) -> Spread:
    """Time of the second side over time of the first, turn by turn: dict with median, lowest, highest."""
    return spread([b / a for a, b in zip(first, second, strict=True)])


def spread(values: Sequence[float]) -> Spread:
    """Median and spread of numbers: dict with median, lowest, highest."""
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def text(value: Mapping[str, float], digits: int = 3) -> str:
    """'1.02 (0.99 to 1.05)' for a median and its spread."""
    median_, lowest, highest = (f"{value[key]:.{digits}g}" for key in ("median", "lowest", "highest"))
    return f"{median_} ({lowest} to {highest})"
