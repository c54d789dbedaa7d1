"""Particle flow as in Delphes (`SimpleCalorimeter`, arXiv:1307.6346): excesses of towers, rescaled tracks."""

from collections.abc import Callable

import numpy as np

from kd_trainer.simulate.calorimeter import smear_energy


def flow(
    tower: np.ndarray,
    energy: np.ndarray,
    track_energy: np.ndarray,
    track_sigma: np.ndarray,
    resolution: Callable[[np.ndarray], np.ndarray],
    minimum: float,
    n_sigma: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Response of a calorimeter to the particles that reach it.

    The energy of a tower is smeared, and set to 0 below a threshold. If it is significantly larger than the energy of
    the tracks that point to the tower, the excess is a neutral particle and the tracks are not changed. If not, the
    tracks are rescaled to the weighted mean of tower and tracks, with weights from their resolutions; tracks without
    uncertainty get no weight.

    Parameters
    ----------
    tower : (P,) index of the tower that a particle reaches; each of the T towers is reached by at least one
    energy : (P,) energy that a particle deposits, in GeV
    track_energy, track_sigma : (P,) measured energy of a particle's track and its uncertainty; 0 without a track
    resolution : function of the energy of towers (T,): its uncertainty (T,)
    minimum, n_sigma : smallest energy of a tower and of an excess, in GeV and in units of the resolution
    rng : numpy Generator

    Returns
    -------
    excess : (T,) energy of neutral particles, 0 where there is none
    scale : (P,) factor of the momentum of a particle's track
    """
    deposited, tracks = np.bincount(tower, energy), np.bincount(tower, track_energy)
    measured = smear_energy(deposited, resolution(deposited), rng)
    sigma = resolution(measured)
    measured[(measured < minimum) | (measured < n_sigma * sigma)] = 0
    track_variance = np.bincount(tower, track_sigma**2)
    excess = np.maximum(measured - tracks, 0)
    excess[(excess <= minimum) | (excess <= n_sigma * np.sqrt(track_variance + sigma**2))] = 0

    # Delphes gives tracks with an uncertainty of 0 the weight 0: the tower alone counts
    weight = np.where(track_variance > 0, sigma**2 / np.maximum(sigma**2 + track_variance, 1e-30), 0)
    best = weight * tracks + (1 - weight) * measured
    scale = np.where(excess > 0, 1, best / np.maximum(tracks, 1e-9))
    return excess, scale[tower]
