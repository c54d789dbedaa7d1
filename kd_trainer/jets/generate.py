"""Jets of one class: events from Pythia, reconstructed, clustered, selected and matched to the truth."""

import functools

import awkward as ak
import numpy as np
import pythia8mc

from kd_trainer.jets.clustering import cluster
from kd_trainer.jets.columns import jet_table
from kd_trainer.jets.detector import reconstruct
from kd_trainer.jets.events import flatten, resonances, select, stable_particles
from kd_trainer.jets.processes import PROCESSES, pythia_seed, seed_sequence, settings
from kd_trainer.jets.selection import PT_MIN, in_window, keep, match_nearest, match_resonances

MAX_BATCH = 100  # events; larger batches are not faster
GENJET_PT_MIN = 250.0  # GeV; far enough below the window for every response
NO_RESONANCE = {name: np.zeros(1) for name in ("pid", "pt", "eta", "phi")}


def generate(name, n_jets, seed, file=0, part=0):
    """Jets of one class, batch by batch.

    Parameters
    ----------
    name : one of `processes.CLASSES`
    n_jets : jets to make
    seed, file, part : what the random numbers depend on

    Yields
    ------
    awkward array of jets, `n_jets` in total
    """
    pythias = [start_pythia(name, variant) for variant in range(len(PROCESSES[name].variants))]
    for offset, pythia in enumerate(pythias):
        pythia.rndm.init(pythia_seed(seed, name, file, part) + offset)
    rng = np.random.default_rng(seed_sequence(seed, name, file, part))
    while n_jets > 0:
        n_events = min(MAX_BATCH, max(10, n_jets)) // len(pythias)
        batch = ak.concatenate([pythia.nextBatch(n_events) for pythia in pythias])
        jets = make_jets(batch, name, rng)
        if jets is not None:
            # shuffled, so that the cut at the end does not prefer a variant or the first jet of an event
            yield jets[rng.permutation(len(jets))[:n_jets]]
            n_jets -= len(jets)


@functools.cache
def start_pythia(name, variant):
    """An initialised Pythia, kept for the next part: the start takes as long as 20 to 100 jets.

    Every start has the same seed, so that the maxima found at the start do not depend on who came first; `generate`
    then sets the seed of the part.

    Raises
    ------
    RuntimeError
        if Pythia refuses a setting or cannot start
    """
    pythia = pythia8mc.Pythia("", False)
    for line in settings(PROCESSES[name], variant):
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting '{line}'")
    if not pythia.init():
        raise RuntimeError(f"Pythia cannot start with the settings of {name}")
    return pythia


def make_jets(batch, name, rng):
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
    genparts = constituents(particles, genmembers, genjets["count"])[nearest]
    parts = constituents(parts, members, jets["count"])
    resonance = select({column: truth[column] for column in NO_RESONANCE}, match)
    if process.resonances:  # the partner of the Higgs boson in a pair counts as one
        resonance["pid"] = np.sign(resonance["pid"]) * process.resonances[0]
    return jet_table(name, jets, parts, resonance, select(genjets, nearest), genparts)


def constituents(particles, members, counts):
    """Particles listed jet by jet: (J, variable) awkward array."""
    return ak.unflatten(ak.zip(select(particles, members)), counts)
