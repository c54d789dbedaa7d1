"""Reading Pythia's event record in batches: flat arrays, stable particles, decay products of a resonance."""

from collections.abc import Sequence

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions

NEUTRINOS = (12, 14, 16)
ETA_MAX = 5.0  # reach of the calorimeters
LIGHT = 299792458e3  # mm / s


def flatten(batch: ak.Array) -> Columns:
    """The needed columns of a batch of events from `pythia.nextBatch`, as flat arrays.

    Returns
    -------
    dict of (P,) arrays
        event, first (index of the first entry of the event), pid, status, mother (index in the event), px, py, pz,
        energy in GeV, production vertex x, y, z in mm and t in s
    """
    entries = ak.flatten(batch.prt).layout  # a record of arrays; reading these is much faster than awkward's operations
    counts = ak.to_numpy(ak.num(batch.prt))
    momentum, vertex = entries["p"], entries["vProd"]
    columns = {"pid": entries["id"], "status": entries["status"], "mother": entries["mother1"]}
    columns |= {"px": momentum["px"], "py": momentum["py"], "pz": momentum["pz"], "energy": momentum["e"]}
    record = {name: values.data for name, values in columns.items()}
    displaced = vertex.index.data  # -1 for particles without a vertex
    for name, component in {"x": "px", "y": "py", "z": "pz", "t": "e"}.items():
        record[name] = np.append(vertex.content[component].data, 0.0)[displaced]
    record["t"] /= LIGHT
    record["event"] = np.repeat(np.arange(len(counts)), counts)
    record["first"] = np.repeat(np.cumsum(counts) - counts, counts)
    return record


def select(columns: Columns, which: np.ndarray | slice) -> Columns:
    """Rows of a table of columns, by mask, index or slice."""
    return {name: values[which] for name, values in columns.items()}


def stable_particles(record: Columns) -> Columns:
    """Final particles of a record (`flatten`) that a detector could see, with its columns: no neutrinos, |eta| < 5."""
    final = np.flatnonzero(record["status"] > 0)
    pid, px, py, pz = (record[name][final] for name in ("pid", "px", "py", "pz"))
    seen = ~np.isin(np.abs(pid), NEUTRINOS) & (np.abs(pz) < np.hypot(px, py) * np.sinh(ETA_MAX))
    return select(record, final[seen])


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
