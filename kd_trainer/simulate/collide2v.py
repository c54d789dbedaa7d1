"""Jets as in COLLIDE-2V: an offline and a Level-1 detector see the same events; `convert collide2v` makes the jets."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from kd_trainer.datasets.collide2v import Options, Views
from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.simulate.clustering import cluster
from kd_trainer.simulate.cms_card import PHOTON, collide, detect
from kd_trainer.simulate.columns import records
from kd_trainer.simulate.events import flatten, select, stable_particles
from kd_trainer.simulate.phase2 import LEVEL1, OFFLINE
from kd_trainer.simulate.selection import distances, keep

DETECTORS = {"FullReco": OFFLINE, "L1T": LEVEL1}
RADIUS, PT_MIN, GENJET_PT_MIN, ETA_MAX = 0.4, 15.0, 5.0, 2.5
PARTON_PT_MIN, FLAVOUR_RADIUS = 10.0, 0.5
PARTONS = (1, 2, 3, 4, 5, 21)


def make_jets(batch: ak.Array, _: str, rng: np.random.Generator, pileup: float, first: int) -> ak.Array | None:
    """Jets of a batch of events that both detectors see and that have a flavour and a particle-level jet.

    Arguments and result are those of `jetclass.make_jets`, with the columns of `datasets.collide2v.Views.jets`.
    `pileup` is the mean number of pile-up collisions, `first` the number of the first event.
    """
    record = flatten(batch)
    particles = stable_particles(record)
    reached, collisions = collide(particles, len(batch), pileup, rng)
    columns = _generated(particles, len(batch)) | {"event_number": first + np.arange(len(batch))}
    for view, detector in DETECTORS.items():
        columns |= _seen(view, detect(reached, collisions, rng, detector), record, len(batch))
    events = records(columns)
    if not all(ak.any(ak.num(events[f"{view}_JetPuppiAK4_PT"])) for view in DETECTORS):
        return None
    jets = Views(Path("simulated events"), Options(gen=True)).jets(events)
    return jets if len(jets) else None


def flavours(jets: Columns, record: Columns) -> np.ndarray:
    """Jet flavours as in Delphes: 5 or 4 if a b or c quark is near the jet, else that of the hardest near parton.

    Parameters
    ----------
    jets : dict of (J,) arrays event, px, py, pz
    record : dict of (P,) arrays from `events.flatten`

    Returns
    -------
    (J,) absolute PDG ids of partons above 10 GeV within Delta R = 0.5, at any stage of the shower; 0 without one
    """
    pt = np.hypot(record["px"], record["py"])
    partons = select(record, np.isin(np.abs(record["pid"]), PARTONS) & (pt > PARTON_PT_MIN))
    pid, pt = np.abs(partons["pid"]), np.hypot(partons["px"], partons["py"])
    near = distances(jets, partons) < FLAVOUR_RADIUS
    if near.size == 0:
        return np.zeros(len(near), dtype=int)
    hardest = pid[np.where(near, pt, 0).argmax(axis=1)]
    light = np.where(near.any(axis=1), hardest, 0)
    return np.select([near[:, pid == 5].any(axis=1), near[:, pid == 4].any(axis=1)], [5, 4], light)


def _seen(view: str, parts: Columns, record: Columns, n_events: int) -> dict[str, Any]:
    """Candidates and jets of a view, in the columns of COLLIDE-2V."""
    jets, members = cluster(parts, n_events, PT_MIN, RADIUS)
    jets, members = keep(jets, members, np.abs(directions(jets)[1]) < ETA_MAX)
    hadron, photon = (parts[name] for name in ("isChargedHadron", "isPhoton"))
    pid = np.select([parts["isElectron"], parts["isMuon"], photon, hadron], [11, 13, PHOTON, 211], 0)
    candidates = _kinematics(parts) | {"Charge": parts["charge"], "PID": pid, "PuppiW": parts["puppi_weight"]}
    candidates |= {"D0": parts["d0val"], "DZ": parts["dzval"]}
    columns = _lists(f"{view}_PUPPIPart", candidates, parts["event"], n_events)
    found = _kinematics(jets) | {"Flavor": flavours(jets, record)}
    columns |= _lists(f"{view}_JetPuppiAK4", found, jets["event"], n_events)
    index = members - np.repeat(np.searchsorted(parts["event"], jets["event"]), jets["count"])
    number = np.bincount(jets["event"], minlength=n_events)
    return columns | {f"{view}_JetPuppiAK4_ConstituentsIdx": ak.unflatten(ak.unflatten(index, jets["count"]), number)}


def _generated(particles: Columns, n_events: int) -> dict[str, Any]:
    """Stable particles and their jets, in the columns of COLLIDE-2V."""
    jets, _ = cluster(particles, n_events, GENJET_PT_MIN, RADIUS)
    pid = particles["pid"]
    stable = _kinematics(particles) | {"PID": pid, "Status": np.ones_like(pid), "IsPU": np.zeros_like(pid)}
    columns = _lists("Gen_JetAK4", _kinematics(jets), jets["event"], n_events)
    return columns | _lists("Gen_Part", stable, particles["event"], n_events)


def _kinematics(columns: Columns) -> Columns:
    """PT, Eta, Phi and Mass (P,) in GeV."""
    pt, eta, phi = directions(columns)
    mass2 = columns["energy"] ** 2 - pt**2 - columns["pz"] ** 2
    return {"PT": pt, "Eta": eta, "Phi": phi, "Mass": np.sqrt(np.maximum(mass2, 0))}


def _lists(prefix: str, columns: Columns, event: np.ndarray, n_events: int) -> dict[str, ak.Array]:
    """Flat columns (P,), ordered by event, as lists of events."""
    counts = np.bincount(event, minlength=n_events)
    return {f"{prefix}_{name}": ak.unflatten(values, counts) for name, values in columns.items()}
