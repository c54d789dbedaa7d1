"""The calorimeters: cells that sum energy, and energy resolutions. Flat arrays; energies in GeV."""

from collections.abc import Sequence

import numpy as np

DEGREE = np.pi / 180


def ecal_cell_size(abs_eta: np.ndarray) -> np.ndarray:
    """Side of an electromagnetic cell in eta and phi: one crystal in the barrel and endcaps, HF beyond |eta| = 3."""
    return np.select([abs_eta < 1.5, abs_eta < 3.0], [DEGREE, 0.02], 10 * DEGREE)


def hcal_cell_size(abs_eta: np.ndarray) -> np.ndarray:
    """Side of a hadronic tower in eta and phi: 5 degrees, twice that beyond |eta| = 1.74."""
    return np.where(abs_eta < 1.74, 5 * DEGREE, 10 * DEGREE)


def ecal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Absolute energy resolution sigma(E) (P,) for photons and electrons: stochastic term, noise and constant term.

    Barrel: 2.8 % sqrt(E), 0.12 GeV and 1 %. Endcaps: 5.7 % sqrt(E), 0.2 GeV and 2 %. These are test-beam values, with
    constant terms measured in collisions (CMS, arXiv:1306.2016). The forward values are those of Delphes for CMS
    (arXiv:1307.6346). `energy` and `eta`, the pseudorapidity, are (P,).
    """
    stochastic, noise, constant = _by_region(eta, [(0.028, 0.12, 0.01), (0.057, 0.20, 0.02), (2.08, 0.0, 0.107)])
    return np.sqrt(stochastic**2 * energy + noise**2 + (constant * energy) ** 2)


def hcal_resolution(energy: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Absolute energy resolution for hadrons, as in `ecal_resolution`.

    110 % sqrt(E) and 9 % (CMS, arXiv:1706.04965); the forward values are those of Delphes.
    """
    stochastic, constant = _by_region(eta, [(1.1, 0.09), (1.1, 0.09), (2.7, 0.13)])
    return np.sqrt(stochastic**2 * energy + (constant * energy) ** 2)


def _by_region(eta: np.ndarray, values: Sequence[tuple[float, ...]]) -> np.ndarray:
    """Columns of `values` for each particle's region: barrel, endcap (|eta| > 1.5), forward (|eta| > 3)."""
    return np.array(values).T[:, np.digitize(np.abs(eta), [1.5, 3.0])]


def cells(event: np.ndarray, eta: np.ndarray, phi: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Group particles of the same event that point to the same cell.

    Parameters
    ----------
    event : (P,) event number
    eta, phi : (P,) direction
    size : (P,) side of the cell, a function of |eta|

    Returns
    -------
    first : (C,) the first particle of each cell
    cell : (P,) index of the particle's cell
    """
    column = np.floor(eta / size).astype(np.int64) + 512
    row = np.floor((phi + np.pi) / size).astype(np.int64)
    region = np.round(200 * size).astype(np.int64)  # 3, 4, 17 or 35: distinguishes the four cell sizes
    key = ((event * 64 + region) * 1024 + column) * 512 + row
    _, first, cell = np.unique(key, return_index=True, return_inverse=True)
    return first, cell


def smear_energy(energy: np.ndarray, sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Smear energies (P,) with a log-normal of mean `energy` and width `sigma`: unbiased, never negative, 0 stays 0."""
    spread = np.log1p((sigma / np.maximum(energy, 1e-9)) ** 2)  # sigma^2 of the logarithm
    return energy * np.exp(np.sqrt(spread) * rng.standard_normal(len(energy)) - spread / 2)
