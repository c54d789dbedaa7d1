"""A number that may change from epoch to epoch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import is_number

Value = float | Sequence[tuple[int, float]]  # a number, or pairs of an epoch and a number


class Schedule:
    """A constant, or values at given epochs: linear between them, constant before the first and after the last.

    Epochs are counted from 0 and increase; InputError for any other value. `name` is for messages.
    """

    def __init__(self, name: str, value: Value) -> None:
        points: Any = [(0, value)] if is_number(value) else value
        self.points: list[tuple[float, float]]
        try:
            self.points = [(epoch, number) for epoch, number in points]
        except (TypeError, ValueError):
            self.points = []
        if not self.points or not all(is_number(x) for point in self.points for x in point):
            raise InputError(f"{name} is {value!r}: it must be a number, or a schedule like [(0, 0.9), (20, 0.5)]")
        epochs = [epoch for epoch, _ in self.points]
        if epochs[0] < 0 or any(a >= b for a, b in pairwise(epochs)):
            raise InputError(f"{name} is {value!r}: its epochs must increase, from 0 or later")

    def values(self) -> list[float]:
        """The values at the given epochs; all other values lie between the smallest and the largest of them."""
        return [value for _, value in self.points]

    def __call__(self, epoch: int) -> float:
        """The value in an epoch."""
        before = [point for point in self.points if point[0] <= epoch] or self.points[:1]
        after = [point for point in self.points if point[0] > epoch] or self.points[-1:]
        (start, low), (end, high) = before[-1], after[0]
        if not start < epoch < end:
            return low
        return low + (high - low) * (epoch - start) / (end - start)

    def __str__(self) -> str:
        if len(self.points) == 1:
            return str(self.points[0][1])
        return ", ".join(f"{value} in epoch {epoch}" for epoch, value in self.points)
