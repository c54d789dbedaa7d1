"""Selection of jets, and the matching of particle-level jets and resonances to them."""

import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap
from kd_trainer.simulate.clustering import RADIUS
from kd_trainer.simulate.events import select

PT_MIN, PT_MAX, ETA_MAX = 500.0, 1000.0, 2.0


def in_window(jets: Columns) -> np.ndarray:
    """Jets with 500 < pT < 1000 GeV and |eta| < 2: (J,) mask."""
    pt, eta, _ = directions(jets)
    return (pt > PT_MIN) & (pt < PT_MAX) & (np.abs(eta) < ETA_MAX)


def match_resonances(jets: Columns, resonances: Columns) -> np.ndarray:
    """The resonance that has all visible decay products in the jet: (J,) index, -1 without one.

    Parameters
    ----------
    jets : dict of (J,) arrays event, px, py, pz
    resonances : dict from `events.resonances` of M resonances
    """
    _, eta, phi = directions(jets)
    jet, resonance = np.nonzero(jets["event"][:, None] == resonances["event"])
    deta = resonances["prong_eta"][resonance] - eta[jet, None]
    dphi = wrap(resonances["prong_phi"][resonance] - phi[jet, None])
    inside = (np.hypot(deta, dphi) < RADIUS).all(axis=1)
    match = np.full(len(eta), -1)
    match[jet[inside]] = resonance[inside]
    return match


def match_once(jets: Columns, others: Columns) -> np.ndarray:
    """As `match_nearest`, but without the other jets that are matched to a harder jet."""
    distance = distances(jets, others)
    nearest = np.full(len(distance), -1)
    for jet in np.argsort(-np.hypot(jets["px"], jets["py"]), kind="stable") if distance.size else ():
        other = distance[jet].argmin()
        if distance[jet, other] < RADIUS:
            nearest[jet] = other
            distance[:, other] = np.inf
    return nearest


def match_nearest(jets: Columns, others: Columns) -> np.ndarray:
    """The nearest other jet of the same event within Delta R = 0.8: (J,) index, -1 without one.

    `jets` and `others` are dicts of (J,) and (K,) arrays event, px, py, pz.
    """
    distance = distances(jets, others)
    if distance.size == 0:
        return np.full(len(distance), -1)
    nearest = distance.argmin(axis=1)
    return np.where(distance[np.arange(len(distance)), nearest] < RADIUS, nearest, -1)


def distances(jets: Columns, others: Columns) -> np.ndarray:
    """Delta R of each pair of jets: (J, K), infinite for those of different events."""
    _, eta, phi = directions(jets)
    _, other_eta, other_phi = directions(others)
    distance = np.hypot(eta[:, None] - other_eta, wrap(phi[:, None] - other_phi))
    distance[jets["event"][:, None] != others["event"]] = np.inf
    return distance


def keep(jets: Columns, members: np.ndarray, mask: np.ndarray) -> tuple[Columns, np.ndarray]:
    """The jets of a mask (J,) and their constituents; `jets` and `members` are those of `clustering.cluster`."""
    return select(jets, mask), members[np.repeat(mask, jets["count"])]
