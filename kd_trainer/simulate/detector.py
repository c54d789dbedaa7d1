"""From stable to reconstructed particles: tracks, photons and neutral hadrons from a simple particle flow."""

import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.simulate.calorimeter import (
    cells,
    ecal_cell_size,
    ecal_resolution,
    hcal_cell_size,
    hcal_resolution,
    smear_energy,
)
from kd_trainer.simulate.events import select
from kd_trainer.simulate.tracker import FIELD, impact_parameter_errors, momentum_resolution, perigee, track_efficiency

ELECTRON_MASS, MUON_MASS, PION_MASS = 0.000511, 0.10566, 0.13957  # GeV
CALORIMETER_RADIUS = 1.29  # m
# a softer charged particle curls up before the calorimeter: pT = 0.3 B R, and the diameter 2 R has to reach it
CURL_UP_PT = 0.299792458 * FIELD * CALORIMETER_RADIUS / 2
ECAL_MIN, HCAL_MIN = 0.5, 1.0  # GeV, zero suppression
HADRONS = (211, 321, 2212)


def charges(pdg: np.ndarray) -> np.ndarray:
    """Electric charge of stable particles from their PDG id: (P,) -1, 0 or +1."""
    absolute = np.abs(pdg)
    lepton = (absolute == 11) | (absolute == 13)
    return np.sign(pdg) * (np.isin(absolute, HADRONS).astype(int) - lepton)


def reconstruct(particles: Columns, rng: np.random.Generator) -> Columns:
    """The response of the detector to the stable, visible particles of a batch of events.

    The tracker measures a charged particle with a track (electrons: the better of tracker and calorimeter). Photons and
    electrons without a track deposit their energy in electromagnetic cells, hadrons with or without a track in hadronic
    towers; muons without a track are lost. An electromagnetic cell becomes a photon. A hadronic tower becomes a neutral
    hadron with the energy in excess of the tracks that point to it, if the excess exceeds the resolution of the tower
    (the principle of the CMS particle flow, arXiv:1706.04965). Photons and neutral hadrons are massless. Their
    direction is a random point in the cell, because the detector only measures the cell.

    Parameters
    ----------
    particles : dict of (P,) arrays
        event, pid, px, py, pz, energy (GeV) and x, y, z of the production vertex (mm)
    rng : numpy Generator

    Returns
    -------
    dict of (Q,) arrays, ordered by event: event, px, py, pz, energy, d0val, d0err, dzval, dzerr (mm), charge,
    isChargedHadron, isNeutralHadron, isPhoton, isElectron, isMuon
    """
    pt, eta, phi = directions(particles)
    pdg, charge = np.abs(particles["pid"]), charges(particles["pid"])
    particles = particles | {"pt": pt, "eta": eta, "phi": phi, "pdg": pdg, "charge": charge}

    radius = np.hypot(particles["x"], particles["y"])
    tracked = (charge != 0) & (rng.random(len(pt)) < track_efficiency(pdg, pt, eta, radius))
    in_reach = (charge == 0) | (pt > CURL_UP_PT)
    electromagnetic = in_reach & np.isin(pdg, (11, 22)) & ~tracked
    hadronic = in_reach & ~np.isin(pdg, (11, 13, 22))

    tracks = measure_tracks(select(particles, tracked), rng)
    track_energy = np.zeros(len(pt))
    track_energy[tracked] = tracks["energy"]
    photons = measure_photons(select(particles, electromagnetic), rng)
    neutrals = measure_neutral_hadrons(select(particles, hadronic), track_energy[hadronic], rng)

    parts = (tracks, photons, neutrals)
    merged = {name: np.concatenate([part.get(name, np.zeros(len(part["event"]))) for part in parts]) for name in tracks}
    kind = np.repeat([0, 1, 2], [len(part["event"]) for part in parts])
    pdg = merged.pop("pdg")
    merged["isElectron"], merged["isMuon"] = pdg == 11, pdg == 13
    merged["isChargedHadron"] = (kind == 0) & (pdg != 11) & (pdg != 13)
    merged["isPhoton"], merged["isNeutralHadron"] = kind == 1, kind == 2
    return select(merged, np.argsort(merged["event"], kind="stable"))


def measure_tracks(particles: Columns, rng: np.random.Generator) -> Columns:
    """Momentum, energy and impact parameters of particles with a track; hadrons get the pion mass."""
    pdg, pt, eta = particles["pdg"], particles["pt"], particles["eta"]
    sigma = momentum_resolution(pt, eta)
    momentum = pt * np.cosh(eta)
    sigma = np.where(pdg == 11, np.minimum(sigma, ecal_resolution(momentum, eta) / momentum), sigma)
    scale = smear_energy(np.ones(len(pt)), sigma, rng)
    mass = np.select([pdg == 11, pdg == 13], [ELECTRON_MASS, MUON_MASS], PION_MASS)
    vertex = np.stack([particles["x"], particles["y"], particles["z"]], axis=1)
    d0, dz = perigee(particles["px"], particles["py"], particles["pz"], particles["charge"], vertex)
    d0_error, dz_error = impact_parameter_errors(pt, eta)
    return {
        "event": particles["event"],
        "px": particles["px"] * scale,
        "py": particles["py"] * scale,
        "pz": particles["pz"] * scale,
        "energy": np.hypot(momentum * scale, mass),
        "d0val": d0 + d0_error * rng.standard_normal(len(pt)),
        "d0err": d0_error,
        "dzval": dz + dz_error * rng.standard_normal(len(pt)),
        "dzerr": dz_error,
        "charge": particles["charge"],
        "pdg": pdg,
    }


def measure_photons(particles: Columns, rng: np.random.Generator) -> Columns:
    """Electromagnetic cells above threshold (0.5 GeV and twice the resolution)."""
    size = ecal_cell_size(np.abs(particles["eta"]))
    first, cell = cells(particles["event"], particles["eta"], particles["phi"], size)
    eta, phi = _within_cells(particles, size, first, rng)
    energy = np.bincount(cell, particles["energy"], minlength=len(first))
    energy = smear_energy(energy, ecal_resolution(energy, eta), rng)
    seen = energy > np.maximum(ECAL_MIN, 2 * ecal_resolution(energy, eta))
    return _massless(particles["event"][first][seen], energy[seen], eta[seen], phi[seen])


def measure_neutral_hadrons(particles: Columns, track_energy: np.ndarray, rng: np.random.Generator) -> Columns:
    """Hadronic towers with more energy than their tracks explain; `track_energy` (P,) is 0 without a track."""
    size = hcal_cell_size(np.abs(particles["eta"]))
    first, cell = cells(particles["event"], particles["eta"], particles["phi"], size)
    eta, phi = _within_cells(particles, size, first, rng)
    energy = np.bincount(cell, particles["energy"], minlength=len(first))
    energy = smear_energy(energy, hcal_resolution(energy, eta), rng)
    tracks = np.bincount(cell, track_energy, minlength=len(first))
    excess = energy - tracks
    seen = excess > np.maximum(HCAL_MIN, np.where(tracks > 0, hcal_resolution(energy, eta), 0))
    return _massless(particles["event"][first][seen], excess[seen], eta[seen], phi[seen])


def _within_cells(
    particles: Columns, size: np.ndarray, first: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """A random direction within the cell of each of the particles `first`: eta, phi."""
    side = size[first]
    directions = []
    for coordinate, offset in ((particles["eta"], 0.0), (particles["phi"], np.pi)):
        corner = np.floor((coordinate[first] + offset) / side)
        directions.append((corner + rng.random(len(first))) * side - offset)
    return directions


def _massless(event: np.ndarray, energy: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> Columns:
    pt = energy / np.cosh(eta)
    return {"event": event, "px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": energy}
