"""Families of the 188 classes of JetClass-II (arXiv 2405.12972) for readable tables; other classes have no families."""

import re
from collections.abc import Iterable

import numpy as np

TOKEN = re.compile(r"tau[hem]|[bcsqgemv]")
PRODUCTS = re.compile(rf"(?:{TOKEN.pattern})+")
LIGHT = "light"
ORDER = (
    *("X bb", "X cc", "X other qq", "X gg", "X ll", "X tau tau"),
    *("YY 4-prong with bb", "YY 4-prong", "YY 3-prong with bb", "YY 3-prong"),
    *("YY 2-prong + ll", "YY ll, one lost", "YY tau tau", "YY qq l nu", "YY qq tau nu"),
    *("QCD bb", "QCD b", "QCD cc", "QCD c", "QCD light"),
)


def family(name: str) -> str:
    """The family of a class.

    X -> two particles: the decay products (quarks by flavour, gluons, leptons). X -> YY: the number of decay products
    in the jet, whether two of them are b quarks, and the leptons. QCD: the heaviest quarks. The names are like X_bb,
    X_YY_bbtauhtaue and QCD_bcss; any other class is its own family.
    """
    origin, _, products = name.rpartition("_")
    if origin not in ("X", "X_YY", "QCD") or not (products == LIGHT or PRODUCTS.fullmatch(products)):
        return name
    found = ["l" if token in "em" else token[:3] for token in TOKEN.findall(products if products != LIGHT else "")]
    if origin == "QCD":
        heavy = next((flavour for flavour in ("bb", "b", "cc", "c") if flavour in products), LIGHT)
        return f"QCD {LIGHT if products == LIGHT else heavy}"
    return _two_prongs(found) if origin == "X" else _more_prongs(found)


def _two_prongs(found: list[str]) -> str:
    pair = "".join(found)
    if "tau" in found:
        return "X tau tau"
    return f"X {pair}" if pair in ("bb", "cc", "gg", "ll") else "X other qq"


def _more_prongs(found: list[str]) -> str:
    if "v" in found:
        return "YY qq tau nu" if "tau" in found else "YY qq l nu"
    if "tau" in found:
        return "YY tau tau"
    if "l" in found:
        return "YY 2-prong + ll" if len(found) == 4 else "YY ll, one lost"
    return f"YY {len(found)}-prong{' with bb' if found.count('b') > 1 else ''}"


def part(name: str) -> str:
    """The part of the dataset whose files contain the jets of a class; '' for classes of other datasets."""
    if family(name) not in ORDER:
        return ""
    return "QCD" if name.startswith("QCD") else "Res34P" if name.startswith("X_YY") else "Res2P"


def columns_of(names: Iterable[str]) -> dict[str, list[int]]:
    """{family: columns of its classes}."""
    found: dict[str, list[int]] = {}
    for column, name in enumerate(names):
        found.setdefault(family(name), []).append(column)
    known = {name: found[name] for name in ORDER if name in found}
    return known | found


def confusion(labels: np.ndarray, scores: np.ndarray, columns: Iterable[list[int]]) -> np.ndarray:
    """Fractions (F, F) of the jets of a family (row) that have their largest summed score in a family (column).

    Rows of families without jets are NaN.

    Parameters
    ----------
    labels : (N,) true classes
    scores : (N, K) probabilities
    columns : F lists of columns; together they contain each of the K classes once
    """
    columns = list(columns)
    of_class = np.empty(scores.shape[1], dtype=int)
    for number, members in enumerate(columns):
        of_class[members] = number
    found = np.stack([scores[:, members].sum(axis=1) for members in columns], axis=1).argmax(axis=1)
    counts = np.zeros((len(columns), len(columns)))
    np.add.at(counts, (of_class[labels], found), 1)
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0)
