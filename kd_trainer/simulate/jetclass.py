"""Jets as in JetClass: reconstructed, clustered, selected and matched to the truth."""

import awkward as ak
import numpy as np

from kd_trainer.simulate.clustering import cluster, members_of
from kd_trainer.simulate.columns import jet_table
from kd_trainer.simulate.detector import reconstruct
from kd_trainer.simulate.events import flatten, resonances, select, stable_particles
from kd_trainer.simulate.processes import PROCESSES
from kd_trainer.simulate.selection import PT_MIN, in_window, keep, match_nearest, match_resonances

GENJET_PT_MIN = 250.0  # GeV; low enough below the window for any detector response
NO_RESONANCE = {name: np.zeros(1) for name in ("pid", "pt", "eta", "phi")}


def make_jets(batch: ak.Array, name: str, rng: np.random.Generator) -> ak.Array | None:
    """The accepted jets of a batch of events.

    Parameters
    ----------
    batch : awkward array of E events from `pythia.nextBatch`
    name : the class
    rng : numpy Generator of the detector

    Returns
    -------
    awkward array of jets, or None if none is accepted
    """
    process, record = PROCESSES[name], flatten(batch)
    particles = stable_particles(record)
    parts = reconstruct(particles, rng)
    jets, members = cluster(parts, len(batch), PT_MIN)
    jets, members = keep(jets, members, in_window(jets))

    truth = resonances(record, process.resonances, process.prongs) if process.resonances else NO_RESONANCE
    match = match_resonances(jets, truth) if process.resonances else np.zeros(len(jets["event"]), dtype=int)
    jets, members = keep(jets, members, match >= 0)
    match = match[match >= 0]

    particles = select(particles, np.isin(particles["event"], jets["event"]))
    genjets, genmembers = cluster(particles, len(batch), GENJET_PT_MIN)
    nearest = match_nearest(jets, genjets)
    jets, members = keep(jets, members, nearest >= 0)
    match, nearest = match[nearest >= 0], nearest[nearest >= 0]
    if len(nearest) == 0:
        return None
    genmembers, _ = members_of(genmembers, genjets["count"], nearest)
    resonance = select({column: truth[column] for column in NO_RESONANCE}, match)
    if process.resonances:  # the second scalar of a pair counts as a Higgs boson
        resonance["pid"] = np.sign(resonance["pid"]) * process.resonances[0]
    genjets, genparts = select(genjets, nearest), select(particles, genmembers)
    return jet_table(name, jets, select(parts, members), resonance, genjets, genparts)
