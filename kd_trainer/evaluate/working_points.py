"""Working points: which background rejections are quoted for a set of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_trainer.classes import shown
from kd_trainer.errors import InputError

# Signal efficiencies at which rejections are quoted: those of JetClass (arXiv:2202.03772, Table 1), where the classes
# with a lepton are so distinct that 50 % would leave no background; those of the top-tagging benchmark for two classes,
# and for the few discriminants chosen among very many classes.
EFFICIENCY = 0.5
EFFICIENCY_OF_CLASS = {"Hqql": 0.99, "Tbl": 0.995}
EFFICIENCIES = (0.3, 0.5)

MANY_CLASSES = 20  # more than these: no AUC, as the number of pairs grows with the square, and only these discriminants
DISCRIMINANTS = ("X_bb", "X_cc", "X_cc/X_bb")  # of the 188 classes of JetClass-II


class WorkingPoint(NamedTuple):
    """One background rejection to quote."""

    signal: str
    background: str  # a class, or what the names of several have in common
    efficiency: float
    label: str  # the signal, with its background where a report has several

    @property
    def key(self) -> str:
        """Name in tables and in report.json: 'Hbb@50%', 'X_cc vs X_bb@50%'."""
        return f"{self.label}@{100 * self.efficiency:g}%"


def background_columns(names: Sequence[str], wanted: str) -> list[int]:
    """Columns of the class called `wanted`, or of all classes whose name contains it (the QCD_* of JetClass-II).

    Raises
    ------
    InputError
        When that is none of the classes, or all.
    """
    wanted = shown(wanted)  # it may be called as in the data config
    columns = [i for i, name in enumerate(names) if name == wanted]
    columns = columns or [i for i, name in enumerate(names) if wanted in name]
    if not columns or len(columns) == len(names):
        found = "every" if columns else "no"
        known = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise InputError(f"{found} class has '{wanted}' in its name: give --background with one of {known}")
    return columns


def default_background(names: Sequence[str]) -> str:
    """QCD; where neither of two classes is called so, the second: the gluons of QuarkGluon."""
    return names[1] if len(names) == 2 and not any("QCD" in name for name in names) else "QCD"


def split_pair(text: str, background: str) -> tuple[str, str]:
    """(signal, background) of 'X_cc/X_bb', or of 'X_cc' alone against the background of the report."""
    signal, slash, other = text.partition("/")
    return signal, other if slash else background


def _has_jets(names: Sequence[str], present: Sequence[bool] | np.ndarray, signal: str, background: str) -> bool:
    return present[names.index(signal)] and any(present[i] for i in background_columns(names, background))


def check_chosen(
    names: Sequence[str], background: str, present: Sequence[bool] | np.ndarray, chosen: Sequence[str]
) -> None:
    """Raise InputError unless each of `chosen` is a class and a background that it is no part of, both with jets."""
    for text in chosen:
        pair = split_pair(text, background)
        if pair[0] not in names:
            raise InputError(f"--signals {text}: no class is called '{pair[0]}'")
        if names.index(pair[0]) in background_columns(names, pair[1]):
            raise InputError(f"--signals {text}: {pair[0]} is part of the background {pair[1]}")
        if not _has_jets(names, present, *pair):
            raise InputError(f"--signals {text}: the predictions have no test jets of one of the two")


def working_points(
    names: Sequence[str], background: str, present: Sequence[bool] | np.ndarray, chosen: Sequence[str] | None = None
) -> list[WorkingPoint]:
    """The background rejections to quote.

    By default those of every signal class that has test jets; of more than `MANY_CLASSES` classes, `DISCRIMINANTS`
    when they are among them.

    Parameters
    ----------
    names : (K,) classes as shown.
    background : class, or part of the names of several, that signals are told from.
    present : (K,) whether a class has test jets.
    chosen : 'S' or 'S/B' each, instead of the default.

    Returns
    -------
    list of WorkingPoint
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
