"""The two detectors of COLLIDE-2V: CMS Phase 2 offline and at Level-1.

Parameters are those of the card CMS_PhaseII_200PU_COLLIDE2V_v1 where they are known. All others are those of the card
of JetClass-II, for both views. Every function works on flat arrays of P particles or towers.
"""

import numpy as np

from kd_trainer.simulate.cms_card import CARD
from kd_trainer.simulate.puppi import Parameters, Region

TRACK_ETA = 2.4  # largest |eta| of Level-1 tracks
HADRONS = (2, 3, 4, 5, 8, 15, 25), (0, 0.59, 0.71, 0.76, 0.82, 0.90, 0.92, 0.93)  # lower pT edges, efficiencies
ELECTRONS = HADRONS[0], (0, 0.42, 0.58, 0.63, 0.71, 0.80, 0.86, 0.89)
MUONS = (2, 3, 4, 5, 10), (0, 0.93, 0.96, 0.97, 0.98, 1)
MOMENTUM = (1, 10, 100), (0.0046, 0.0050, 0.0092), (0.029, 0.017, 0.0215)  # pT in GeV; sigma(pT) / pT at these |eta|:
MOMENTUM_ETA = (0.1, 2.3)
ECAL_ETA = (1.48, 1.75, 2.15)
ECAL = np.array([(0.009, 0.12, 0.45), (0.006, 0.20, 0), (0.007, 0.21, 0), (0.008, 0.24, 0)])  # E, sqrt(E), constant


def level1_efficiency(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Probability that a charged particle leaves a track at Level-1; arguments as for `cms_tracks.efficiency`."""
    tables = [np.array(values)[np.digitize(pt, edges)] for edges, values in (ELECTRONS, MUONS, HADRONS)]
    return np.select([pdg == 11, pdg == 13], tables[:2], tables[2]) * (np.abs(eta) < TRACK_ETA)


def momentum_resolution(_: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Relative resolution of pT, the same for all particles: interpolated linearly in log(pT) and |eta|."""
    central, outer = (np.interp(np.log(pt), np.log(MOMENTUM[0]), values) for values in MOMENTUM[1:])
    low, high = MOMENTUM_ETA
    return central + (outer - central) * np.clip((np.abs(eta) - low) / (high - low), 0, 1)


def level1_momentum_resolution(pdg: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Twice `momentum_resolution`."""
    return 2 * momentum_resolution(pdg, pt, eta)


def level1_z_resolution(pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Resolution of z of tracks in mm; also the largest distance of a track from the primary vertex."""
    return 0.01 * np.where(pt < 10, 1 - 0.8 * np.log10(pt), 0.2) * 10 ** (0.5 * np.abs(eta) + 1.5)


def level1_impact_parameter_errors(pt: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Resolutions of d0 and dz in mm; d0 ten times that of `tracker`, as in the tier `l1trk` of JetClass."""
    return np.hypot(0.1, 0.65 * pt**-0.62 * np.cosh(eta) ** 0.5), level1_z_resolution(pt, eta)


def ecal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Resolution of electromagnetic towers: sigma(E) in GeV."""
    slope, stochastic, noise = ECAL[np.digitize(np.abs(eta), ECAL_ETA)].T
    return np.sqrt((slope * energy) ** 2 + stochastic**2 * energy + noise**2)


def level1_ecal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """As `ecal_resolution`, with 1 % added in quadrature."""
    return np.hypot(ecal_resolution(energy, eta), 0.01 * energy)


def hcal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Resolution of hadronic towers, at every eta: sigma(E) in GeV."""
    return np.sqrt((0.05 * energy) ** 2 + energy)


OFFLINE = CARD._replace(
    momentum_resolution=momentum_resolution,
    ecal_resolution=ecal_resolution,
    hcal_resolution=hcal_resolution,
    ecal_threshold=(0.5, 1.0),
    tower_tracks=False,
    weighting=CARD.weighting._replace(count_primary=False),
)
LEVEL1_PUPPI = Parameters(
    (
        Region(1.5, 0.1, 1, 0.006),
        Region(2.5, 0.5, 1, 0.013),
        Region(3.0, 0.5, 4, 0.03, charged=False),
        Region(np.inf, 0.5, 10, 0.03, charged=False),
    ),
    cone=0.3,
    count_primary=False,
)
LEVEL1 = OFFLINE._replace(
    efficiency=level1_efficiency,
    momentum_resolution=level1_momentum_resolution,
    impact_parameter_errors=level1_impact_parameter_errors,
    same_vertex=level1_z_resolution,
    ecal_resolution=level1_ecal_resolution,
    weighting=LEVEL1_PUPPI,
)
