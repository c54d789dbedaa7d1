"""The truth of JetClass-II jets: resonances, their decay products and quarks, matched to jets (arXiv 2405.12972).

The rules are those of the dataset. Jets that get no label are dropped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap
from kd_trainer.simulate.clustering import RADIUS
from kd_trainer.simulate.events import NEUTRINOS
from kd_trainer.simulate.labels import qcd_label, resonance_label

X, Y, TAU = (25, 36, 37), (35, 37), 15  # absolute PDG ids; 37 is an X if its mother is not an X
BEFORE_HADRONISATION = -71  # status
QUARK_PT_MIN = 10.0  # GeV
LETTERS = {1: "q", 2: "q", 3: "s", 4: "c", 5: "b", 21: "g", 11: "e", 13: "m"}
LEPTONS = (11, 13, 15, *NEUTRINOS)
KINDS = ("isResX", "isResY", "isResDecayProd", "isTauDecayProd", "isQcdParton")

Family = Callable[[int], list[int]]  # the daughters of a particle
Near = Callable[[Any], Any]  # whether a particle is within the matching distance of a jet


class Resonance(NamedTuple):
    """An X and its decay products; the numbers are positions in a record.

    x : last copy of X
    ys : last copies of its daughters Y, the hadronic one first; empty if X decays to two prongs
    pairs : decay products of each Y, or of X; a charged lepton comes before its neutrino
    taus : for each tau among the products, the decay products of its last copy
    """

    x: int
    ys: list[int]
    pairs: list[list[int]]
    taus: dict[int, list[int]]


class Truth(NamedTuple):
    """Jets with a label.

    jet, label : (M,) position among all jets, label
    counts : (M,) number of particles that define the label
    particle, kind : (sum of counts,) their positions in the record, and their kinds, as positions in `KINDS`
    """

    jet: np.ndarray
    label: np.ndarray
    counts: np.ndarray
    particle: np.ndarray
    kind: np.ndarray


def match(jets: Columns, record: Columns, qcd: bool) -> Truth:
    """Jets with a label, and the particles that define it.

    Parameters
    ----------
    jets : dict of (J,) arrays event, px, py, pz
    record : dict of (P,) arrays from `events.flatten`
    qcd : bool
        Whether the quarks in a jet define its label.

    Raises
    ------
    ValueError
        If a resonance does not have two daughters, or if there is no label for its products.
    """
    found = [] if qcd else resonances(record)
    quarks = hard_quarks(record) if qcd else np.zeros(0, dtype=int)
    _, eta, phi = directions(jets)
    with np.errstate(divide="ignore", invalid="ignore"):  # the beams have no transverse momentum
        _, others_eta, others_phi = directions(record)
    jet, label, entries = [], [], []
    for i, event in enumerate(jets["event"]):
        near = partial(_near, others_eta, others_phi, eta[i], phi[i])
        if qcd:
            mine = quarks[record["event"][quarks] == event]
            mine = mine[near(mine)]
            value: int | None = qcd_label(LETTERS[pid] for pid in np.abs(record["pid"][mine]).tolist())
            truth = [(int(quark), 4) for quark in mine]
        else:
            mothers = (resonance for resonance in found if record["event"][resonance.x] == event)
            labels = ((label_of(resonance, record["pid"], near), listed(resonance)) for resonance in mothers)
            value, truth = next((pair for pair in labels if pair[0] is not None), (None, []))
        if value is not None:
            jet.append(i)
            label.append(value)
            entries.append(truth)
    particle, kind = np.array([pair for truth in entries for pair in truth], dtype=int).reshape(-1, 2).T
    counts = np.array([len(truth) for truth in entries], dtype=int)
    return Truth(np.array(jet, dtype=int), np.array(label, dtype=np.int32), counts, particle, kind)


def hard_quarks(record: Columns) -> np.ndarray:
    """Quarks above 10 GeV just before hadronisation: positions in the record."""
    quark = (record["status"] == BEFORE_HADRONISATION) & (np.abs(record["pid"]) <= 5)
    return np.flatnonzero(quark & (np.hypot(record["px"], record["py"]) > QUARK_PT_MIN))


def resonances(record: Columns) -> list[Resonance]:
    """All X of a record, event by event.

    Raises
    ------
    ValueError
        If one does not have two daughters.
    """
    mother = record["mother"] + record["first"]
    order = np.argsort(mother, kind="stable")
    stop, pid = np.cumsum(np.bincount(mother, minlength=len(mother))), record["pid"]

    def family(i: int) -> list[int]:
        return order[stop[i - 1] if i else 0 : stop[i]].tolist()

    found: list[Resonance] = []
    visited: set[int] = set()
    for first in np.flatnonzero(np.isin(np.abs(pid), X)).tolist():
        if first in visited:
            continue
        copies = _copies(first, pid, family)
        resonance = _decay(copies[-1], pid, family)
        visited.update(copies, *(_copies(daughter, pid, family) for daughter in family(copies[-1])))
        found.append(resonance)
    return found


def _copies(i: int, pid: np.ndarray, family: Family) -> list[int]:
    """A particle and its copies; the last one decays."""
    copies = [i]
    while same := [daughter for daughter in family(copies[-1]) if pid[daughter] == pid[i]]:
        copies.append(same[0])
    return copies


def _decay(x: int, pid: np.ndarray, family: Family) -> Resonance:
    """The decay of the last copy of an X."""
    daughters = _two(x, pid, family)
    ys = [_copies(daughter, pid, family)[-1] for daughter in daughters if abs(pid[daughter]) in Y]
    pairs = [_two(y, pid, family) for y in ys] or [daughters]
    if len(ys) == 2 and _leptonic(pairs[0], pid) and not _leptonic(pairs[1], pid):
        ys, pairs = ys[::-1], pairs[::-1]
    pairs = [sorted(pair, key=lambda i: abs(pid[i]) in NEUTRINOS) for pair in pairs]
    products = [i for pair in pairs for i in pair if abs(pid[i]) == TAU]
    return Resonance(x, ys, pairs, {tau: family(_copies(tau, pid, family)[-1]) for tau in products})


def _two(i: int, pid: np.ndarray, family: Family) -> list[int]:
    daughters = family(i)
    if len(daughters) != 2:
        raise ValueError(f"a resonance with the PDG id {pid[i]} has {len(daughters)} daughters instead of two")
    return daughters


def _leptonic(pair: list[int], pid: np.ndarray) -> bool:
    return abs(pid[pair[0]]) in LEPTONS


def listed(resonance: Resonance) -> list[tuple[int, int]]:
    """The particles of a resonance in the order of the dataset, each with its position in `KINDS`."""
    taus = [i for products in resonance.taus.values() for i in products]
    groups = ([resonance.x], resonance.ys, [i for pair in resonance.pairs for i in pair], taus)
    return [(i, kind) for kind, group in enumerate(groups) for i in group]


def label_of(resonance: Resonance, pid: np.ndarray, near: Near) -> int | None:
    """The label that a resonance gives to a jet; None if too few of the decay products are in the jet.

    `pid` (P,) are the PDG ids of the record, `near` is a function of a position in it.
    """
    prongs = [_matched(pair, resonance.taus, pid, near) for pair in resonance.pairs]
    if not resonance.ys:
        return resonance_label("X", prongs[0]) if len(prongs[0]) == 2 else None
    hadronic = not _leptonic(resonance.pairs[0], pid)
    together = [prong for pair in prongs for prong in pair]
    enough = len(together) - together.count("v") >= 3
    return resonance_label("X_YY", together) if hadronic and enough else None


def _matched(pair: list[int], taus: dict[int, list[int]], pid: np.ndarray, near: Near) -> list[str]:
    """The decay products of one resonance that are in a jet; a neutrino counts if its lepton does."""
    if all(i in taus for i in pair):
        kinds = [_tau(taus[i], pid) for i in pair]
        inside = "tauh" in kinds and all(_tau_near(i, taus[i], pid, near) for i in pair)
        return kinds if inside else []
    prongs = []
    for i in pair:
        if i in taus:
            prongs += [_tau(taus[i], pid)] if _tau_near(i, taus[i], pid, near) else []
        elif abs(pid[i]) in NEUTRINOS:
            prongs += ["v"] if prongs else []
        elif near(i):
            prongs.append(LETTERS[abs(pid[i])])
    return prongs


def _tau(products: list[int], pid: np.ndarray) -> str:
    """tauh, taue or taum."""
    found = {abs(pid[i]) for i in products}
    return "taue" if 11 in found else "taum" if 13 in found else "tauh"


def _tau_near(tau: int, products: list[int], pid: np.ndarray, near: Near) -> bool:
    """Whether a tau is in the jet: a hadronic tau itself, for a leptonic tau its first decay product, the neutrino."""
    return bool(near(tau if _tau(products, pid) == "tauh" else products[0]))


def _near(others_eta: np.ndarray, others_phi: np.ndarray, eta: float, phi: float, i: Any) -> Any:
    return np.hypot(others_eta[i] - eta, wrap(others_phi[i] - phi)) < RADIUS
