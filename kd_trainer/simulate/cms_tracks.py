"""Tracks of the CMS card of JetClass-II: efficiencies and resolutions, in part from arXiv:1405.6569.

Every function works on flat arrays of P charged particles.
"""

import numpy as np

PT_MIN, ETA_MAX = 0.1, 2.5  # limits of tracks, pT in GeV
# lower pT edge of the row in GeV; sigma(d0) and sigma(dz) in micrometres for |eta| < 0.9, < 1.4 and < 2.5
IMPACT_PARAMETERS = np.array([
    (0.1823, 354.3, 456.4, 697, 369.3, 706.2, 2171.7),
    (0.2227, 280.9, 358, 604.6, 313.5, 601, 2071.5),
    (0.272, 230.4, 301, 531.5, 312.5, 599.2, 2067.9),
    (0.3323, 191.7, 235.3, 430.6, 257.8, 495.9, 1767.9),
    (0.406, 173.7, 202.6, 339.8, 222.1, 387.7, 1439.3),
    (0.4959, 143.4, 159.5, 278.8, 193.6, 319.9, 1199.7),
    (0.6058, 106, 138.3, 238.7, 168.6, 264.9, 980),
    (0.7401, 89.3, 111.9, 181.4, 135.1, 251.8, 825.1),
    (0.9041, 75.3, 92.6, 155.7, 111.3, 198.2, 669.5),
    (1.1044, 67, 81.6, 123, 98.3, 158.7, 554.5),
    (1.3492, 57.7, 66.3, 100.9, 88.2, 139.9, 436.6),
    (1.6481, 52.4, 55.3, 91.4, 78.6, 119.9, 371.1),
    (2.0134, 45.2, 48.8, 76.7, 68.4, 103.1, 331.9),
    (2.4595, 37.6, 43.1, 63.8, 61.5, 96.7, 272.1),
    (3.0045, 35, 39.9, 54.4, 55.1, 80.5, 244.3),
    (3.6703, 32.4, 35.7, 46.8, 51.6, 73.6, 208.5),
    (4.4837, 28.3, 31.3, 42.5, 48.4, 70.7, 181.6),
    (5.4772, 25.8, 27.7, 38.5, 45, 60.3, 164.1),
    (6.691, 23.7, 23.3, 33.1, 41.6, 60.9, 145.1),
    (8.1737, 21.1, 22.1, 27.8, 41.6, 54.1, 131.7),
    (9.9849, 19.1, 21.4, 25.6, 38.2, 51.1, 111.7),
    (12.1976, 16.4, 18, 23.6, 35, 44.3, 102),
    (14.9005, 15, 15.5, 21.7, 31.7, 40.9, 101.7),
    (18.2024, 14.3, 14.1, 19.6, 31.6, 40.8, 98.3),
    (22.236, 13, 12.8, 17.6, 31.6, 40.9, 88.2),
    (27.1635, 13, 13.4, 16.5, 31.6, 37.7, 84.7),
    (33.1828, 11.6, 12.1, 15.7, 34.8, 37.5, 81.4),
    (40.536, 11.6, 10.8, 15, 31.6, 37.7, 78.4),
    (49.5187, 11, 10.1, 14.4, 31.6, 34.2, 81.7),
    (60.4919, 11, 10.1, 14.4, 31.6, 34.2, 75),
    (73.8967, 11, 10.1, 13.7, 28.4, 34.3, 81.6),
    (90.272, 10.4, 10.2, 13, 28.3, 34.3, 82),
    (110.276, 10.9, 8.8, 13.7, 31.5, 30.9, 81.4),
    (134.713, 11, 9.5, 13.7, 31.8, 31, 85),
])  # fmt: skip
IMPACT_ETA = (0.9, 1.4, 2.5)


def efficiency(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Probability that a charged particle leaves a track: (P,).

    Parameters
    ----------
    pdg : (P,) absolute PDG id, 11, 13 or that of a hadron
    pt, eta : (P,) transverse momentum in GeV, pseudorapidity at the calorimeter
    """
    central, soft = np.abs(eta) <= 1.5, pt <= 1.0
    hadron = np.where(central, np.where(soft, 0.70, 0.95), np.where(soft, 0.60, 0.85))
    hard_electron = np.where(central, np.where(pt <= 100, 0.95, 0.99), np.where(pt <= 100, 0.83, 0.90))
    electron = np.where(soft, np.where(central, 0.73, 0.50), hard_electron)
    hard_muon = np.where(central, 0.99, 0.98) * np.exp(np.minimum(0.5 - 5e-4 * pt, 0))
    muon = np.where(soft, np.where(central, 0.75, 0.70), hard_muon)
    inside = (pt > PT_MIN) & (np.abs(eta) <= ETA_MAX)
    return np.select([pdg == 11, pdg == 13], [electron, muon], hadron) * inside


def momentum_resolution(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Relative resolution of the transverse momentum, at most 1: (P,). Arguments as for `efficiency`."""
    region = np.digitize(np.abs(eta), [0.5, 1.5], right=True)
    hadron, electron, muon = (0.06, 0.10, 0.25), (0.03, 0.05, 0.15), (0.01, 0.015, 0.025)
    slope, muon_slope = (1.3e-3, 1.7e-3, 3.1e-3), (1.0e-4, 1.5e-4, 3.5e-4)
    kinds = [pdg == 11, pdg == 13]
    constant = np.select(kinds, [np.array(electron)[region], np.array(muon)[region]], np.array(hadron)[region])
    rise = np.where(pdg == 13, np.array(muon_slope)[region], np.array(slope)[region])
    return np.minimum(np.hypot(constant, rise * pt), 1)


def impact_parameter_errors(pt: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resolutions (P,) of d0 and dz in mm from the card's table; 0 below 0.1823 GeV and beyond |eta| = 2.5.

    `pt` in GeV and `eta`, the pseudorapidity of the momentum, are (P,).
    """
    row = np.digitize(pt, IMPACT_PARAMETERS[:, 0], right=True)
    table = np.zeros((len(IMPACT_PARAMETERS) + 1, 2, len(IMPACT_ETA) + 1))
    table[1:, :, :-1] = IMPACT_PARAMETERS[:, 1:].reshape(-1, 2, len(IMPACT_ETA)) * 1e-3
    d0_error, dz_error = table[row, :, np.digitize(np.abs(eta), IMPACT_ETA, right=True)].T
    return d0_error, dz_error
