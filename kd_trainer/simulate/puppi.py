"""Pile-up per particle identification (arXiv:1407.6013): how likely a particle is to come from the primary vertex.

As in Delphes, the metric is log(sum of (pT / Delta R)^2) over the charged particles of the primary vertex in a cone.
Its median and left-sided spread come from the charged particles in regions of |eta|. The parameters are those of a
Delphes card. Two effects of the public Delphes events are reproduced (docs/measurements/simulation.md):

* Delphes passes eta to PUPPI as rapidity, and PUPPI converts it to pseudorapidity. For slow kaons and protons the
  result is larger by up to one unit. Therefore nearly every event has charged particles beyond 2.5; without them all
  neutral particles there would be kept.
* `count_primary`: Delphes does not pass the charge of tracks. Therefore PUPPI counts particles of the primary vertex as
  pile-up when it computes median and spread, and its correction for them (`ApplyLowPUCorr`) has no effect.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtr, chdtri

MIN_DISTANCE = 0.01  # Delta R
MIN_WEIGHT = 0.05
VERTEX_EFFICIENCY = 0.7  # of the vertices that `slope` counts
NEUTRAL, PRIMARY, PILEUP = 0, 1, 2  # kinds of particles: neutral, charged from the primary vertex, from another one


class Region(NamedTuple):
    """A region of |eta|.

    eta_max : upper end; the lower end is that of the previous region
    rms_pt_min : lowest pT in GeV of the particles that are used for median and spread
    neutral_pt, slope : lowest weighted pT of neutral particles in GeV, and its increase per vertex
    charged : metric, median and spread use charged particles; if False (no tracks in the region), all particles
    """

    eta_max: float
    rms_pt_min: float
    neutral_pt: float
    slope: float
    charged: bool = True


class Parameters(NamedTuple):
    """The regions from the centre outwards, the cone (Delta R) of the metric, and `count_primary`."""

    regions: tuple[Region, ...]
    cone: float
    count_primary: bool = True


CARD = Parameters((Region(2.5, 0.1, 0.2, 0.006), Region(np.inf, 0.5, 0.2, 0.013)), 0.4)  # of JetClass-II


def weights(
    event: np.ndarray,
    pt: np.ndarray,
    eta: np.ndarray,
    phi: np.ndarray,
    mass: np.ndarray,
    kind: np.ndarray,
    vertices: np.ndarray,
    parameters: Parameters = CARD,
) -> np.ndarray:
    """Weights of the particles of E events.

    Parameters
    ----------
    event : (P,) number of the event, in increasing order
    pt, eta, phi, mass : (P,) in GeV, pT > 0
    kind : (P,) NEUTRAL, PRIMARY or PILEUP
    vertices : (E,) number of vertices, the primary one included
    parameters : with `count_primary`, particles of the primary vertex count as pile-up in median and spread

    Returns
    -------
    (P,) in [0, 1]: 1 for PRIMARY, 0 for PILEUP. Neutral particles get 1 in regions without charged particles, where
    median and spread are unknown, and in events without charged particles of pile-up.
    """
    regions, cone, count_primary = parameters
    edges = [region.eta_max for region in regions[:-1]]
    taken_eta = np.arcsinh(np.hypot(1, mass / pt) * np.sinh(eta))
    region_of, counted_in = (np.digitize(np.abs(values), edges, right=True) for values in (eta, taken_eta))
    alpha = metric(event, pt, eta, taken_eta, phi, kind == PRIMARY, cone)
    blind = np.array([not region.charged for region in regions])
    if blind.any():
        near = blind[region_of] | blind[np.digitize(np.abs(eta) + cone, edges)]
        alpha = np.where(blind[region_of], metric(event, pt, eta, taken_eta, phi, near, cone), alpha)
    weight = np.ones(len(pt))
    some_pileup = np.zeros(len(vertices), dtype=bool)
    some_pileup[event[kind == PILEUP]] = True
    start = np.searchsorted(event, np.arange(len(vertices) + 1))
    for first, stop in zip(start[:-1][some_pileup], start[1:][some_pileup], strict=True):
        here = slice(first, stop)
        for number, region in enumerate(regions):
            chosen = region_of[here] == number
            counted = (counted_in[here] == number) & (pt[here] >= region.rms_pt_min)
            pileup = counted & ((kind[here] == PILEUP) | ((kind[here] == PRIMARY) & count_primary))
            pileup |= counted & (not region.charged)
            primary = counted & (kind[here] == PRIMARY) & ~pileup
            if pileup.any():
                median, rms = centre_and_spread(alpha[here][pileup], alpha[here][primary])
                weight[here][chosen] = significance(alpha[here][chosen], median, rms)
    weight[kind == PRIMARY], weight[kind == PILEUP] = 1, 0
    counted_vertices = np.where(some_pileup, np.maximum((VERTEX_EFFICIENCY * vertices).astype(int), 1), 1)
    lowest, slope = np.array([(region.neutral_pt, region.slope) for region in regions])[region_of].T
    threshold = lowest + slope * counted_vertices[event]
    weight[(weight < MIN_WEIGHT) | ((kind == NEUTRAL) & (weight * pt < threshold))] = 0
    return weight


def metric(
    event: np.ndarray,
    pt: np.ndarray,
    eta: np.ndarray,
    taken_eta: np.ndarray,
    phi: np.ndarray,
    source: np.ndarray,
    cone: float,
) -> np.ndarray:
    """Logarithm (P,) of the sum of (pT / Delta R)^2 over the particles of the mask `source`, 0.01 < Delta R < cone.

    Neighbours are selected with `eta` and weighted with their distance in `taken_eta`. The search uses a grid of
    squares as wide as the cone: each source is entered in its own square and the eight squares around it. The result is
    0 without neighbours.
    """
    rows, columns = 64, int(2 * np.pi / cone)  # columns are slightly wider than the cone and periodic
    row = np.clip(np.floor(eta / cone).astype(np.int64) + rows // 2, 1, rows - 2) + event * rows
    column = np.floor((phi + np.pi) * (columns / (2 * np.pi))).astype(np.int64) % columns
    source = np.flatnonzero(source & (pt > 0))
    shifts = np.arange(-1, 2)
    squares = (row[source, None, None] + shifts[:, None]) * columns + (column[source, None, None] + shifts) % columns
    order = np.argsort(squares, axis=None, kind="stable")
    entered = np.repeat(source, len(shifts) ** 2)[order]
    in_square = np.bincount(squares.ravel(), minlength=(int(row.max(initial=0)) + 1) * columns)

    square = row * columns + column
    count, first = in_square[square], (np.cumsum(in_square) - in_square)[square]
    target = np.repeat(np.arange(len(pt)), count)
    neighbour = entered[np.arange(len(target)) + np.repeat(first - np.cumsum(count) + count, count)]
    dphi = np.abs(phi[target] - phi[neighbour])
    dphi2 = np.minimum(dphi, 2 * np.pi - dphi) ** 2
    distance = (taken_eta[target] - taken_eta[neighbour]) ** 2 + dphi2
    near = ((eta[target] - eta[neighbour]) ** 2 + dphi2 < cone**2) & (distance >= MIN_DISTANCE**2)
    terms = pt[neighbour[near]] ** 2 / distance[near]
    total = np.bincount(target[near], terms, minlength=len(pt))
    return np.log(np.where(total > 0, total, 1))


def centre_and_spread(pileup: np.ndarray, primary: np.ndarray) -> tuple[float, float]:
    """Median and left-sided spread of the metric (N,) of charged particles of pile-up, N > 0, as in Delphes.

    A value of 0 means that there are no neighbours. Zeros are left out of the spread, and the median is that of the
    sorted values after the last zero. Both are lowered if values (M,) of the primary vertex are below the median.
    """
    values = np.sort(pileup)
    zeros = np.flatnonzero(values == 0)
    last_zero = zeros[-1] if len(zeros) else 0
    median = values[last_zero + (len(values) - last_zero) // 2]
    left = values[(values != 0) & (values <= median)]
    rms = np.sqrt(np.mean((left - median) ** 2)) if len(left) else 0.0
    rms = rms or np.sqrt(1e-5)
    below = np.count_nonzero(primary <= median)
    if below:
        fraction = below / (below + 0.5 * len(values))
        shift = np.sqrt(chdtri(1, 1 - fraction) * rms)
        median, rms = median - shift, rms - shift
    return float(median), float(rms)


def significance(alpha: np.ndarray, median: float, rms: float) -> np.ndarray:
    """Probability that pile-up has a smaller metric, from a chi^2 of one degree of freedom; 0 below the median."""
    distance = np.where(alpha == 0, 0, np.maximum(alpha - median, 0))
    return chdtr(1, (distance / rms) ** 2)
