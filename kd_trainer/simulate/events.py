"""Reading Pythia's event record in batches: flat arrays, stable particles, decay products of a resonance."""

from collections.abc import Sequence

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions

NEUTRINOS = (12, 14, 16)
ETA_MAX = 5.0  # reach of the calorimeters
LIGHT = 299792458e3  # mm / s


def flatten(batch: ak.Array) -> Columns:
    """The needed columns of a batch of events, as flat arrays.

    Parameters
    ----------
    batch : awkward array of E events from `pythia.nextBatch`

    Returns
    -------
    dict of (P,) arrays
        event, first (index of the first entry of the event), pid, status, mother (index in the event), px, py, pz,
        energy in GeV, production vertex x, y, z in mm and t in s
    """
    entries = batch.prt
    counts = ak.to_numpy(ak.num(entries.id))
    first = np.cumsum(counts) - counts
    vertex = ak.fill_none(ak.flatten(entries.vProd), {"px": 0.0, "py": 0.0, "pz": 0.0, "e": 0.0})
    columns = {"pid": entries.id, "status": entries.status, "mother": entries.mother1}
    columns |= {"px": entries.p.px, "py": entries.p.py, "pz": entries.p.pz, "energy": entries.p.e}
    record = {name: ak.to_numpy(ak.flatten(values)) for name, values in columns.items()}
    record |= {"x": ak.to_numpy(vertex.px), "y": ak.to_numpy(vertex.py), "z": ak.to_numpy(vertex.pz)}
    record["t"] = ak.to_numpy(vertex.e) / LIGHT
    record["event"], record["first"] = np.repeat(np.arange(len(counts)), counts), np.repeat(first, counts)
    return record


def select(columns: Columns, which: np.ndarray | slice) -> Columns:
    """Rows of a table of columns, by mask, index or slice."""
    return {name: values[which] for name, values in columns.items()}


def stable_particles(record: Columns) -> Columns:
    """Final particles that a detector could see: no neutrinos, |eta| < 5.

    Parameters
    ----------
    record : dict of (P,) arrays from `flatten`

    Returns
    -------
    dict of (Q,) arrays with the columns of `record`
    """
    seen = (record["status"] > 0) & ~np.isin(np.abs(record["pid"]), NEUTRINOS)
    central = np.abs(record["pz"]) < np.hypot(record["px"], record["py"]) * np.sinh(ETA_MAX)
    return select(record, seen & central)


def resonances(record: Columns, pids: Sequence[int], prongs: int) -> Columns:
    """The resonances of a class with the directions of their visible decay products.

    Decay products have |status| = 23 (also quarks and leptons from W bosons of a top or Higgs decay). The chain of
    mothers leads from them to the last copy of the resonance, the one that decays.

    Parameters
    ----------
    record : dict of (P,) arrays from `flatten`
    pids : absolute PDG ids of the resonance
    prongs : number K of visible decay products; resonances with another number are left out

    Returns
    -------
    dict
        event, pid, pt, eta, phi : (M,) of the resonance
        prong_eta, prong_phi : (M, K) of its decay products
    """
    pid, mother = np.abs(record["pid"]), record["mother"] + record["first"]
    product = np.flatnonzero((np.abs(record["status"]) == 23) & ~np.isin(pid, NEUTRINOS))
    ancestor = mother[product]
    while True:
        climbing = ~np.isin(pid[ancestor], pids) & (record["mother"][ancestor] > 0)
        if not climbing.any():
            break
        ancestor[climbing] = mother[ancestor[climbing]]
    from_resonance = np.isin(pid[ancestor], pids)
    product, ancestor = product[from_resonance], ancestor[from_resonance]
    order = np.argsort(ancestor, kind="stable")
    last, counts = np.unique(ancestor, return_counts=True)
    product = product[order][np.repeat(counts == prongs, counts)].reshape(-1, prongs)
    last = last[counts == prongs]
    pt, eta, phi = directions(select(record, last))
    _, prong_eta, prong_phi = directions(select(record, product))
    found = {"event": record["event"][last], "pid": record["pid"][last], "pt": pt, "eta": eta, "phi": phi}
    return found | {"prong_eta": prong_eta, "prong_phi": prong_phi}
