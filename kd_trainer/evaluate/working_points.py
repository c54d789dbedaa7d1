"""Working points: which background rejections are quoted for a set of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_trainer.classes import shown
from kd_trainer.errors import InputError

# Signal efficiencies at which rejections are quoted. JetClass (arXiv:2202.03772, Table 1): the classes with a lepton
# are so distinct that 50 % would leave no background. Two classes, or a few discriminants of very many classes: the
# efficiencies of the top-tagging benchmark.
EFFICIENCY = 0.5
EFFICIENCY_OF_CLASS = {"Hqql": 0.99, "Tbl": 0.995}
EFFICIENCIES = (0.3, 0.5)

MANY_CLASSES = 20  # with more classes there is no AUC (too many pairs), and only these discriminants are used:
DISCRIMINANTS = ("X_bb", "X_cc", "X_cc/X_bb")  # for the 188 classes of JetClass-II


class WorkingPoint(NamedTuple):
    """One background rejection to quote."""

    signal: str
    background: str  # a class, or the common part of several names
    efficiency: float
    label: str  # the signal, with its background if a report has several

    @property
    def key(self) -> str:
        """Name in tables and in report.json: 'Hbb@50%', 'X_cc vs X_bb@50%'."""
        return f"{self.label}@{100 * self.efficiency:g}%"


def background_columns(names: Sequence[str], wanted: str) -> list[int]:
    """Columns of the class with the name `wanted`, or of all classes whose names contain it (QCD_* of JetClass-II).

    Raises
    ------
    InputError
        If there is no such class, or if it is every class.
    """
    wanted = shown(wanted)  # the user may give the name in the data config
    columns = [i for i, name in enumerate(names) if name == wanted]
    columns = columns or [i for i, name in enumerate(names) if wanted in name]
    if not columns or len(columns) == len(names):
        found = "every" if columns else "no"
        known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise InputError(f"{found} class has '{wanted}' in its name: give --background with one of {known}")
    return columns


def default_background(names: Sequence[str]) -> str:
    """QCD; or the second of two classes if none has this name, such as the gluons of QuarkGluon."""
    return names[1] if len(names) == 2 and not any("QCD" in name for name in names) else "QCD"


def split_pair(text: str, background: str) -> tuple[str, str]:
    """(signal, background) of 'X_cc/X_bb'; 'X_cc' alone is against the background of the report."""
    signal, slash, other = text.partition("/")
    return signal, other if slash else background


def _has_jets(names: Sequence[str], present: Sequence[bool] | np.ndarray, signal: str, background: str) -> bool:
    return present[names.index(signal)] and any(present[i] for i in background_columns(names, background))


def check_chosen(
    names: Sequence[str], background: str, present: Sequence[bool] | np.ndarray, chosen: Sequence[str]
) -> None:
    """Raise InputError unless each of `chosen` is a class and a background without this class, both with test jets."""
    for text in chosen:
        pair = split_pair(text, background)
        if pair[0] not in names:
            raise InputError(f"--signals {text}: there is no class '{pair[0]}'")
        if names.index(pair[0]) in background_columns(names, pair[1]):
            raise InputError(f"--signals {text}: {pair[0]} is part of the background {pair[1]}")
        if not _has_jets(names, present, *pair):
            raise InputError(f"--signals {text}: the signal or the background has no test jets")


def working_points(
    names: Sequence[str], background: str, present: Sequence[bool] | np.ndarray, chosen: Sequence[str] | None = None
) -> list[WorkingPoint]:
    """The background rejections to quote.

    By default there is one for every signal class with test jets; for more than `MANY_CLASSES` classes, `DISCRIMINANTS`
    if they are among the classes.

    Parameters
    ----------
    names : (K,) names of the classes as shown.
    background : class to reject, or a common part of several names.
    present : (K,) whether a class has test jets.
    chosen : 'S' or 'S/B' each, instead of the default.
    """
    many = len(names) > MANY_CLASSES
    if chosen:
        check_chosen(names, background, present, chosen)
    elif many and {"X_bb", "X_cc"} <= set(names):
        chosen = [text for text in DISCRIMINANTS if _has_jets(names, present, *split_pair(text, background))]
    columns = background_columns(names, background)
    every = [(name, background) for i, name in enumerate(names) if present[i] and i not in columns]
    pairs = [split_pair(text, background) for text in chosen] if chosen else every
    several = len({of for _, of in pairs}) > 1
    points = []
    for signal, of in dict.fromkeys(pairs):
        both = len(names) == 2 or (many and chosen)
        efficiencies = EFFICIENCIES if both else (EFFICIENCY_OF_CLASS.get(signal, EFFICIENCY),)
        label = f"{signal} vs {of}" if several else signal
        points += [WorkingPoint(signal, of, efficiency, label) for efficiency in efficiencies]
    return points
