"""The tracker: track efficiency, and the resolutions of momentum and impact parameters.

Every function works on flat arrays of P charged particles; momenta in GeV, lengths in mm.
"""

import numpy as np

FIELD = 3.8  # tesla, along +z
TRACKER_REACH = 600.0  # mm; a particle born further out leaves too few hits for a track
ETA_MAX = 2.5


def perigee(
    px: np.ndarray, py: np.ndarray, pz: np.ndarray, charge: np.ndarray, vertex: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Impact parameters of helices with respect to the beam line and the origin.

    In the transverse plane a track is a circle of radius R = pT / (0.3 B); positive charges move clockwise. d0 is the
    distance of the circle from the origin, with the sign of x sin(phi) - y cos(phi) for a straight track. dz is z at
    the point of closest approach, found by following the arc back.

    Parameters
    ----------
    px, py, pz : (P,) momentum at the production vertex in GeV
    charge : (P,) +1 or -1
    vertex : (P, 3) production vertex x, y, z in mm

    Returns
    -------
    d0, dz : (P,) in mm
    """
    x, y, z = vertex.T
    pt = np.hypot(px, py)
    radius = pt / (0.299792458e-3 * FIELD)  # p = 0.2998 B R with R in m
    sin, cos = py / pt, px / pt
    centre_x, centre_y = x + charge * radius * sin, y - charge * radius * cos
    centre = np.hypot(centre_x, centre_y)
    # |centre| - R, in a form without the difference of two large numbers
    d0 = charge * (x**2 + y**2 + 2 * charge * radius * (x * sin - y * cos)) / (centre + radius)
    # angle from (perigee - centre), which points to the origin, to (vertex - centre)
    to_perigee_x, to_perigee_y = -centre_x / centre, -centre_y / centre
    to_vertex_x, to_vertex_y = -charge * sin, charge * cos
    turn = np.arctan2(
        to_perigee_x * to_vertex_y - to_perigee_y * to_vertex_x,
        to_perigee_x * to_vertex_x + to_perigee_y * to_vertex_y,
    )
    dz = z + charge * radius * turn * pz / pt
    return d0, dz


def track_efficiency(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray, production_radius: np.ndarray) -> np.ndarray:
    """Probability that a charged particle is reconstructed as a track.

    Hadrons above 1 GeV: 94 % in |eta| < 0.9 and 85 % up to 2.5; muons: 99 %. The efficiency decreases linearly with the
    production radius (values from CMS, arXiv:1405.6569; the linear form is our choice). Below 1 GeV and for electrons
    the values are those of Delphes for CMS (arXiv:1307.6346).

    Parameters
    ----------
    pdg : (P,) absolute PDG id, 11, 13 or that of a hadron
    pt, eta : (P,) transverse momentum in GeV, pseudorapidity
    production_radius : (P,) transverse distance of the production vertex from the beam line in mm

    Returns
    -------
    (P,) in [0, 1]; 0 below 0.1 GeV and beyond |eta| = 2.5
    """
    central, soft = np.abs(eta) < 0.9, pt < 1.0
    hadron = np.where(central, np.where(soft, 0.70, 0.94), np.where(soft, 0.60, 0.85))
    electron = np.where(central, np.where(soft, 0.73, 0.95), np.where(soft, 0.50, 0.83))
    muon = np.where(soft, 0.75, 0.99)
    plateau = np.select([pdg == 11, pdg == 13], [electron, muon], hadron)
    inside = (pt > 0.1) & (np.abs(eta) < ETA_MAX)
    return plateau * inside * np.clip(1 - production_radius / TRACKER_REACH, 0, 1)


def momentum_resolution(pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Relative resolution (P,) of the transverse momentum: multiple scattering and a term that grows with pT.

    1 to 2 % at low pT and 2.8 % at 100 GeV for |eta| < 1.4; for larger |eta| the slope is doubled (CMS,
    arXiv:1405.6569).
    """
    region = np.digitize(np.abs(eta), [0.9, 1.4])
    return np.hypot(np.array([0.010, 0.015, 0.020])[region], np.array([2.6e-4, 2.6e-4, 5.2e-4])[region] * pt)


def impact_parameter_errors(pt: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resolutions (P,) of d0 and dz in mm: a constant, and multiple scattering (falls with pT, grows with |eta|).

    Fitted to the errors stored in the public JetClass-II example jets; the fit agrees within 20 % for d0 and 30 % for
    dz. The stored errors are those of the CMS tracking paper (arXiv:1405.6569).
    """
    path = np.cosh(eta)
    d0_error = np.hypot(0.010, 0.065 * pt**-0.62 * path**0.5)
    dz_error = np.hypot(0.027, 0.068 * pt**-0.39 * path**1.4)
    return d0_error, dz_error
