"""Jets as in JetClass-II (arXiv 2405.12972): reconstructed, clustered, and labelled by the partons in them."""

from typing import Any

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.simulate import truth
from kd_trainer.simulate.clustering import cluster, members_of
from kd_trainer.simulate.cms_card import momenta_at_calorimeter, reconstruct
from kd_trainer.simulate.columns import generated, reconstructed, records, summary
from kd_trainer.simulate.events import flatten, select, stable_particles
from kd_trainer.simulate.selection import keep, match_once

PT_MIN, ETA_MAX = 200.0, 2.5  # of jets; particle-level jets have the same threshold
GENJET: dict[str, type] = dict.fromkeys(("pt", "eta", "phi", "energy", "sdmass"), np.float32) | {"nparticles": np.int32}
IDS = {36: 25}  # the second X of a pair counts as the first


def make_jets(batch: ak.Array, name: str, rng: np.random.Generator, pileup: float) -> ak.Array | None:
    """All jets of a batch of events that have a label.

    Arguments and result are those of `jetclass.make_jets`, with the groups Res2P, Res34P and QCD. `pileup` is the mean
    number of pile-up collisions.
    """
    record = flatten(batch)
    particles = stable_particles(record)
    parts = reconstruct(particles, len(batch), pileup, rng)
    jets, members = cluster(parts, len(batch), PT_MIN)
    jets, members = keep(jets, members, np.abs(directions(jets)[1]) < ETA_MAX)
    particles = select(particles, np.isin(particles["event"], jets["event"]))
    genjets, genmembers = cluster(particles, len(batch), PT_MIN)
    nearest = match_once(jets, genjets)

    found = truth.match(jets, record, qcd=name == "QCD")
    if len(found.jet) == 0:
        return None
    labelled = np.isin(np.arange(len(nearest)), found.jet)
    jets, members = keep(jets, members, labelled)
    nearest = nearest[labelled]
    genmembers, gencounts = members_of(genmembers, np.append(genjets["count"], 0), nearest)  # -1: none
    genparts, parts = select(particles, genmembers), select(parts, members)
    columns = reconstructed(jets, parts, momenta_at_calorimeter(parts))
    columns["jet_label"] = found.label
    columns |= {f"genpart_{key}": values for key, values in generated(genparts, gencounts, jets).items()}
    columns |= {f"genjet_{key}": values for key, values in _genjets(genjets, genparts, nearest).items()}
    columns |= {f"aux_genpart_{key}": values for key, values in _truth(record, found).items()}
    return records(columns)


def _genjets(genjets: Columns, genparts: Columns, nearest: np.ndarray) -> Columns:
    """The particle-level jet of each jet; 0 where there is none."""
    there = nearest >= 0
    columns: Columns = {key: np.zeros(len(nearest), dtype) for key, dtype in GENJET.items()}
    if there.any():
        for key, values in summary(select(genjets, nearest[there]), genparts).items():
            columns[key][there] = values
    return columns


def _truth(record: Columns, found: truth.Truth) -> dict[str, Any]:
    """Kinematics and kind of the particles that give each jet its label."""
    chosen = select({key: record[key] for key in ("pid", "px", "py", "pz", "energy")}, found.particle)
    pt, eta, phi = directions(chosen)
    mass = np.sqrt(np.maximum(chosen["energy"] ** 2 - pt**2 - chosen["pz"] ** 2, 0))
    columns = {"pt": pt, "eta": eta, "phi": phi, "mass": mass}
    columns = {key: values.astype(np.float32) for key, values in columns.items()}
    columns["pid"] = np.array([IDS.get(pid, pid) for pid in chosen["pid"].tolist()], dtype=np.int32)
    columns |= {key: found.kind == i for i, key in enumerate(truth.KINDS)}
    return {key: ak.unflatten(values, found.counts) for key, values in columns.items()}
