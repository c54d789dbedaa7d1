"""From stable particles to PUPPI candidates with pile-up, as in Delphes with the card of JetClass-II.

The peculiarities of that card can be switched off; they are on by default, because JetClass-II has them
(docs/measurements/simulation.md): `tower_tracks`, `count_primary` of PUPPI, and the step `momenta_at_calorimeter`.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.simulate import cms_calorimeter, cms_tracks, minimum_bias, puppi
from kd_trainer.simulate.calorimeter import smear_energy
from kd_trainer.simulate.cms_calorimeter import ECAL, HCAL, Towers
from kd_trainer.simulate.detector import charges
from kd_trainer.simulate.energy_flow import flow
from kd_trainer.simulate.events import select
from kd_trainer.simulate.propagation import HALF_LENGTH, RADIUS, to_calorimeter
from kd_trainer.simulate.tracker import perigee

MASSES = {11: 0.000511, 13: 0.10566, 211: 0.13957, 321: 0.49368, 2212: 0.93827}  # GeV, of the stable charged particles
BLOCK = 8192  # particles that are propagated together; small enough for the processor cache
PHOTON, NEUTRAL_HADRON = 22, 0  # PDG ids of neutral candidates in Delphes


class Detector(NamedTuple):
    """The parameters of a Delphes card. The functions take flat arrays (P,).

    efficiency, momentum_resolution : functions of |PDG id|, pT in GeV and eta at the calorimeter
    impact_parameter_errors : function of pT and eta: sigma(d0), sigma(dz) in mm
    same_vertex : function of pT and eta: distance along the beam in mm from the primary vertex, beyond which charged
        particles of pile-up are removed
    ecal_resolution, hcal_resolution : functions of energy in GeV and eta: sigma(E)
    ecal_threshold, hcal_threshold : smallest energy in GeV, and in units of the resolution
    tower_tracks : if True, as in the card of JetClass-II, the momenta of tracks are exact but get no weight compared to
        the energy of their tower; if False, tracks are smeared with the resolution of the card and weighted with it
    weighting : parameters of PUPPI
    """

    efficiency: Callable = cms_tracks.efficiency
    momentum_resolution: Callable = cms_tracks.momentum_resolution
    impact_parameter_errors: Callable = cms_tracks.impact_parameter_errors
    same_vertex: Callable = lambda pt, _: np.full(len(pt), 0.1)
    ecal_resolution: Callable = cms_calorimeter.ecal_resolution
    hcal_resolution: Callable = cms_calorimeter.hcal_resolution
    ecal_threshold: tuple[float, float] = cms_calorimeter.ECAL_THRESHOLD
    hcal_threshold: tuple[float, float] = cms_calorimeter.HCAL_THRESHOLD
    tower_tracks: bool = True
    weighting: puppi.Parameters = puppi.CARD


CARD = Detector()


def reconstruct(
    particles: Columns,
    n_events: int,
    pileup: float,
    rng: np.random.Generator,
    *,
    pool: Columns | None = None,
    detector: Detector = CARD,
) -> Columns:
    """Candidates of a batch of events after PUPPI: `collide`, then `detect`, with their arguments."""
    return detect(*collide(particles, n_events, pileup, rng, pool), rng, detector)


def collide(
    particles: Columns, n_events: int, pileup: float, rng: np.random.Generator, pool: Columns | None = None
) -> tuple[Columns, np.ndarray]:
    """Add pile-up to the hard events and propagate all particles to the calorimeters, before any detector response.

    Parameters
    ----------
    particles : dict of (P,) arrays
        event, pid, px, py, pz, energy (GeV) and x, y, z of the production vertex (mm) of the stable, visible particles
        of the hard events; the primary vertex is at the origin
    n_events : number E of events; event numbers run from 0
    pileup : mean number of pile-up collisions in an event, 0 for none
    rng : numpy Generator
    pool : minimum-bias events; from `minimum_bias.load_pool` if not given

    Returns
    -------
    dict of (Q,) arrays, and the number of collisions in each event (E,)
    """
    primary_z = minimum_bias.draw_vertices(n_events, rng)
    counts = rng.poisson(pileup, n_events)
    particles = _add_pileup(particles, primary_z, counts, rng, pool)
    return _reach_calorimeter(particles, primary_z), counts + 1


def detect(particles: Columns, collisions: np.ndarray, rng: np.random.Generator, detector: Detector = CARD) -> Columns:
    """Candidates of a batch of events after PUPPI.

    Parameters
    ----------
    particles, collisions : from `collide`; they are not modified

    Returns
    -------
    dict of (Q,) arrays, ordered by event
        event, px, py, pz, energy (multiplied by `puppi_weight`), d0val, d0err, dzval, dzerr (mm, relative to the
        primary vertex), charge, isChargedHadron, isNeutralHadron, isPhoton, isElectron, isMuon, puppi_weight, and
        calorimeter_eta for `momenta_at_calorimeter`. Candidates of weight 0 or without momentum are dropped.
    """
    chance = detector.efficiency(particles["pdg"], particles["pt"], particles["calorimeter_eta"])
    tracked = (particles["charge"] != 0) & (rng.random(len(particles["pt"])) < chance)
    far = np.abs(particles["z"]) > detector.same_vertex(particles["pt"], particles["eta"])
    particles = particles | {"far": particles["pileup"] & far}
    scale, neutrals = _particle_flow(particles, tracked, detector, rng)
    tracks = select(particles, tracked)
    for name in ("px", "py", "pt"):
        tracks[name] = tracks[name] * scale[tracked]
    tracks["pz"], tracks["energy"] = _with_rapidity(tracks["pt"], tracks["eta"], tracks["mass"])
    names = ("event", "pdg", "charge", "px", "py", "pz", "pt", "eta", "phi", "mass", "energy", "calorimeter_eta", "far")
    candidates = {name: np.concatenate([tracks[name], *(part[name] for part in neutrals)]) for name in names}
    for name in ("x", "y", "z"):  # of the production vertex, and the momentum there
        candidates[name] = np.zeros(len(candidates["event"]))
        candidates[name][: len(tracks["event"])] = tracks[name]
    candidates = select(candidates, candidates["pt"] > 0)
    candidates = select(candidates, np.argsort(candidates["event"], kind="stable"))

    candidates["puppi_weight"] = _weights(candidates, collisions, detector.weighting)
    return _measured(select(candidates, candidates["puppi_weight"] > 0), detector, rng)


def momenta_at_calorimeter(candidates: Columns) -> Columns:
    """Candidates with the pz and energy that JetClass-II stores: computed with the eta at the calorimeter.

    Delphes up to 3.5.0 stored the pseudorapidity of the point where a track reaches the calorimeter, seen from the
    origin, together with pT, phi and mass of the momentum. Its jets are made before that step, with the true momenta.
    """
    pt, eta = np.hypot(candidates["px"], candidates["py"]), candidates["calorimeter_eta"]
    momentum = np.sqrt(pt**2 + candidates["pz"] ** 2)
    mass2 = np.maximum(candidates["energy"] ** 2 - momentum**2, 0)
    return candidates | {"pz": pt * np.sinh(eta), "energy": np.sqrt((pt * np.cosh(eta)) ** 2 + mass2)}


def _add_pileup(
    particles: Columns, primary_z: np.ndarray, counts: np.ndarray, rng: np.random.Generator, pool: Columns | None
) -> Columns:
    """Particles of all collisions, z relative to the primary vertex; the column `pileup` marks those of pile-up."""
    hard = {name: particles[name] for name in ("event", *minimum_bias.COLUMNS)}
    hard["pileup"] = np.zeros(len(hard["event"]), dtype=bool)
    if not counts.any():
        return hard
    z = minimum_bias.draw_vertices(counts.sum(), rng) - np.repeat(primary_z, counts)
    soft = minimum_bias.mix(minimum_bias.load_pool() if pool is None else pool, counts, z, rng)
    soft["pileup"] = np.ones(len(soft["event"]), dtype=bool)
    return {name: np.concatenate([hard[name], soft[name]]) for name in hard}


def _reach_calorimeter(particles: Columns, primary_z: np.ndarray) -> Columns:
    """Particles that reach the calorimeters, with pt, eta, phi, mass, pdg, charge, and eta and phi at that point."""
    starts = range(0, max(1, len(particles["event"])), BLOCK)
    blocks = [_reach_in_block(select(particles, slice(i, i + BLOCK)), primary_z) for i in starts]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _reach_in_block(particles: Columns, primary_z: np.ndarray) -> Columns:
    z = particles["z"] + primary_z[particles["event"]]
    inside = (particles["x"] ** 2 + particles["y"] ** 2 < RADIUS**2) & (np.abs(z) < HALF_LENGTH)
    particles, z = select(particles, inside), z[inside]
    charge = charges(particles["pid"])
    particles["calorimeter_eta"], particles["calorimeter_phi"] = to_calorimeter(
        particles["px"], particles["py"], particles["pz"], charge, np.stack([particles["x"], particles["y"], z], axis=1)
    )
    particles["charge"], particles["pdg"] = charge, np.abs(particles["pid"])
    particles = select(particles, np.abs(particles["calorimeter_eta"]) < cms_calorimeter.ETA_MAX)
    particles["pt"], particles["eta"], particles["phi"] = directions(particles)
    particles["mass"] = np.select([particles["pdg"] == pdg for pdg in MASSES], list(MASSES.values()), 0.0)
    return particles


def _particle_flow(
    particles: Columns, tracked: np.ndarray, detector: Detector, rng: np.random.Generator
) -> tuple[np.ndarray, list[Columns]]:
    """Particle flow in both calorimeters: scale factor of each track momentum (P,), photons and neutral hadrons."""
    scale = np.ones(len(tracked))
    sigma = np.zeros(len(tracked))
    if not detector.tower_tracks:
        pdg, pt, eta = (particles[name][tracked] for name in ("pdg", "pt", "calorimeter_eta"))
        resolution = detector.momentum_resolution(pdg, pt, eta)
        scale[tracked] = smear_energy(np.ones(len(pt)), resolution, rng)
        sigma[tracked] = resolution
    momentum = np.hypot(particles["pt"], particles["pz"]) * scale
    track_energy = np.where(tracked, np.hypot(momentum, particles["mass"]), 0)
    electromagnetic = np.isin(particles["pdg"], (11, 22))
    neutrals = []
    hadronic = ~electromagnetic & (particles["pdg"] != 13)
    for which, pdg, towers, resolution_of, threshold in (
        (electromagnetic, PHOTON, ECAL, detector.ecal_resolution, detector.ecal_threshold),
        (hadronic, NEUTRAL_HADRON, HCAL, detector.hcal_resolution, detector.hcal_threshold),
    ):
        event, towers_hit, tower = _hit(select(particles, which), towers)
        centre, _ = towers.place(towers_hit, np.full((2, len(towers_hit)), 0.5))
        excess, rescaled = flow(
            tower,
            particles["energy"][which],
            track_energy[which],
            (sigma * track_energy)[which],
            functools.partial(resolution_of, eta=centre),
            *threshold,
            rng,
        )
        scale[which] *= rescaled
        seen = excess > 0
        eta, phi = towers.place(towers_hit[seen], rng.random((2, seen.sum())))
        neutrals.append(_neutrals(event[seen], excess[seen], eta, phi, pdg))
    return scale, neutrals


def _with_rapidity(pt: np.ndarray, rapidity: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """pz and energy (P,) of tracks after PUPPI in Delphes, which uses their pseudorapidity as rapidity."""
    transverse = np.hypot(pt, mass)
    return transverse * np.sinh(rapidity), transverse * np.cosh(rapidity)


def _hit(particles: Columns, towers: Towers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Towers that are hit: event and tower index (T,), and for each particle which of these towers it hits (P,)."""
    n_towers = int(towers.segments.sum())
    number = towers.find(particles["calorimeter_eta"], particles["calorimeter_phi"])
    key, tower = np.unique(particles["event"] * n_towers + number, return_inverse=True)
    return key // n_towers, key % n_towers, tower


def _neutrals(event: np.ndarray, energy: np.ndarray, eta: np.ndarray, phi: np.ndarray, pdg: int) -> Columns:
    """Massless candidates of calorimeter towers."""
    pt = energy / np.cosh(eta)
    columns = {"event": event, "energy": energy, "pt": pt, "eta": eta, "phi": phi, "calorimeter_eta": eta}
    columns |= {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns |= {name: np.zeros(len(event), dtype=int) for name in ("charge", "far", "mass")}
    return columns | {"pdg": np.full(len(event), pdg)}


def _weights(candidates: Columns, vertices: np.ndarray, parameters: puppi.Parameters) -> np.ndarray:
    """PUPPI weights. Electrons and muons bypass PUPPI, but charged particles of pile-up are removed for all kinds."""
    kind = np.where(candidates["charge"] == 0, puppi.NEUTRAL, np.where(candidates["far"], puppi.PILEUP, puppi.PRIMARY))
    weight = np.where(kind == puppi.PILEUP, 0.0, 1.0)
    others = ~np.isin(candidates["pdg"], (11, 13))
    event, pt, eta, phi, mass = (candidates[name][others] for name in ("event", "pt", "eta", "phi", "mass"))
    weight[others] = puppi.weights(event, pt, eta, phi, mass, kind[others], vertices, parameters)
    return weight


def _measured(candidates: Columns, detector: Detector, rng: np.random.Generator) -> Columns:
    """The output columns: weighted momenta, impact parameters of tracks, particle types."""
    weight, charge, pdg = (candidates[name] for name in ("puppi_weight", "charge", "pdg"))
    result = {"event": candidates["event"]}
    result |= {name: candidates[name] * weight for name in ("px", "py", "pz", "energy")}
    track = charge != 0
    vertex = np.stack([candidates[name][track] for name in ("x", "y", "z")], axis=1)
    px, py, pz = (candidates[name][track] for name in ("px", "py", "pz"))
    true = perigee(px, py, pz, charge[track], vertex)
    errors = detector.impact_parameter_errors(candidates["pt"][track], candidates["eta"][track])
    for name, value, error in zip(("d0", "dz"), true, errors, strict=True):
        for column, values in ((f"{name}val", value + error * rng.standard_normal(len(error))), (f"{name}err", error)):
            result[column] = np.zeros(len(charge))
            result[column][track] = values
    result |= {"charge": charge, "isElectron": pdg == 11, "isMuon": pdg == 13}
    result |= {"isPhoton": pdg == PHOTON, "isNeutralHadron": pdg == NEUTRAL_HADRON}
    result["isChargedHadron"] = track & (pdg != 11) & (pdg != 13)
    return result | {"puppi_weight": weight, "calorimeter_eta": candidates["calorimeter_eta"]}
