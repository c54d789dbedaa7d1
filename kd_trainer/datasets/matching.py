"""Two views of the same events: matching of their jets, and the position of the hard collision."""

import numpy as np

from kd_trainer.datasets.kinematics import Columns, wrap


def pairs(
    ours: Columns, number: np.ndarray, theirs: Columns, their_number: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of jets of two views: each is the nearest to the other, within a radius.

    Parameters
    ----------
    ours, theirs : dict of (J,) and (K,)
        Eta and Phi of the jets of all events.
    number, their_number : (E,)
        Number of jets in each event.

    Returns
    -------
    (M,), (M,), (M,)
        Positions in `ours` and in `theirs`, and Delta R.
    """
    places, partners, distances = [np.arange(0)], [np.arange(0)], [np.zeros(0)]
    start = their_start = 0
    for n, k in zip(number, their_number):
        if n and k:
            a, b = slice(start, start + n), slice(their_start, their_start + k)
            away = np.hypot(ours["Eta"][a, None] - theirs["Eta"][b], wrap(ours["Phi"][a, None] - theirs["Phi"][b]))
            each, nearest = np.arange(n), away.argmin(axis=1)
            mutual = (away.argmin(axis=0)[nearest] == each) & (away[each, nearest] < radius)
            places.append(start + each[mutual])
            partners.append(their_start + nearest[mutual])
            distances.append(away[each, nearest][mutual])
        start, their_start = start + n, their_start + k
    return np.concatenate(places), np.concatenate(partners), np.concatenate(distances)


def vertices(event: np.ndarray, pt: np.ndarray, z: np.ndarray, events: int) -> np.ndarray:
    """Position (E,) of the hard collision along the beam: the median z of the tracks, weighted with pT; or else 0.

    Parameters
    ----------
    event, pt, z : (T,)
        Of the tracks that PUPPI keeps; event in ascending order.
    """
    order = np.lexsort((z, event))
    total = np.bincount(event, pt, minlength=events)
    below = np.cumsum(pt[order]) - (np.cumsum(total) - total)[event]
    reached = below >= total[event] / 2
    which, first = np.unique(event[reached], return_index=True)
    found = np.zeros(events)
    found[which] = z[order][reached][first]
    return found
