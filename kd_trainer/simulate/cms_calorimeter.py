"""Calorimeters of the CMS card of JetClass-II: towers and energy resolutions. Energies in GeV.

Towers end at |eta| = 3.475 here, which is sufficient for jets of R = 0.8 with |eta| < 2.5.
"""

from typing import NamedTuple

import numpy as np

ETA_MAX = 3.475
FORWARD = (3.125, 3.3, ETA_MAX)


class Towers(NamedTuple):
    """Towers in R rings of constant eta: R + 1 edges of the rings, and the number of towers in each ring."""

    edges: np.ndarray
    segments: np.ndarray

    def find(self, eta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """Index of the tower in the direction eta, phi: (P,), below `self.segments.sum()`."""
        ring = np.clip(np.searchsorted(self.edges, eta) - 1, 0, len(self.segments) - 1)
        in_ring = ((phi + np.pi) * (self.segments[ring] / (2 * np.pi))).astype(np.int64)
        return (np.cumsum(self.segments) - self.segments)[ring] + np.minimum(in_ring, self.segments[ring] - 1)

    def place(self, tower: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Direction of points in towers: eta, phi (P,); `where` (2, P) is the position between the edges, 0 to 1."""
        last = np.cumsum(self.segments)
        ring = np.searchsorted(last, tower, side="right")
        eta = self.edges[ring] + where[0] * (self.edges[ring + 1] - self.edges[ring])
        in_ring = tower - (last - self.segments)[ring]
        return eta, (in_ring + where[1]) * (2 * np.pi / self.segments[ring]) - np.pi


def _symmetric(edges: list[float], segments: list[int]) -> Towers:
    """Towers at positive and negative eta from the edges above 0 and the numbers of towers below each of them."""
    both = np.array([*(-edge for edge in reversed(edges)), 0.0, *edges])
    return Towers(both, np.array([*reversed(segments), *segments]))


ECAL_RINGS = 170  # of 0.0174 x 1 degree, to |eta| = 2.958
ECAL = _symmetric([0.0174 * i for i in range(1, ECAL_RINGS + 1)] + [*FORWARD], [360] * ECAL_RINGS + [36] * len(FORWARD))
ENDCAP = (1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95, *FORWARD)
HCAL_RINGS = 19  # of 0.087 x 5 degrees, to |eta| = 1.653
HCAL = _symmetric([0.087 * i for i in range(1, HCAL_RINGS + 1)] + [*ENDCAP], [72] * HCAL_RINGS + [36] * len(ENDCAP))
# smallest energy in GeV, and in units of the resolution
ECAL_THRESHOLD, HCAL_THRESHOLD = (0.5, 2.0), (1.0, 1.0)


def ecal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Resolution of electromagnetic towers at eta: sigma(E), (T,)."""
    absolute = np.abs(eta)
    shape = np.where(absolute <= 1.5, 1 + 0.64 * eta**2, 2.16 + 5.6 * (absolute - 2) ** 2)
    central = shape * np.sqrt((0.008 * energy) ** 2 + 0.11**2 * energy + 0.40**2)
    return np.where(absolute <= 2.5, central, np.sqrt((0.107 * energy) ** 2 + 2.08**2 * energy))


def hcal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Resolution of hadronic towers at eta: sigma(E), (T,)."""
    central = np.abs(eta) <= 3.0
    return np.sqrt((np.where(central, 0.05, 0.13) * energy) ** 2 + np.where(central, 1.5, 2.7) ** 2 * energy)
