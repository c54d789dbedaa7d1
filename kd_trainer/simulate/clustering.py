"""Jets from particles with FastJet: anti-kT jets, their constituents, soft drop and N-subjettiness."""

import contextlib

import awkward as ak
import fastjet
import numpy as np

from kd_trainer.datasets.kinematics import Columns
from kd_trainer.simulate.events import select

RADIUS = 0.8
COMPONENTS = ("px", "py", "pz", "energy")

# a banner from every worker would break the progress bar; docs/simulation.md asks to cite FastJet instead
with contextlib.suppress(AttributeError):
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)


def cluster(particles: Columns, n_events: int, min_pt: float, radius: float = RADIUS) -> tuple[Columns, np.ndarray]:
    """Anti-kT jets of a batch of events.

    Parameters
    ----------
    particles : dict of (P,) arrays, ordered by event
        event and px, py, pz, energy in GeV
    n_events : number E of events; event numbers run from 0 to E - 1
    min_pt : smallest transverse momentum of a jet in GeV
    radius : of the jets

    Returns
    -------
    jets : dict of (J,) arrays
        event, px, py, pz, energy, and `count`, the number of constituents
    members : (sum of count,) indices into `particles`, jet by jet, by decreasing transverse momentum
    """
    counts = np.bincount(particles["event"], minlength=n_events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(_momenta(particles, counts), definition)
    momenta = sequence.inclusive_jets(min_pt)
    index = sequence.constituent_index(min_pt)
    event = np.repeat(np.arange(n_events), ak.to_numpy(ak.num(momenta)))
    count = ak.to_numpy(ak.flatten(ak.num(index, axis=2)))
    first = np.cumsum(counts) - counts
    members = ak.to_numpy(ak.flatten(index, axis=None)) + np.repeat(first[event], count)
    pt = np.hypot(particles["px"][members], particles["py"][members])
    members = members[np.lexsort((-pt, np.repeat(np.arange(len(count)), count)))]
    flat = ak.flatten(momenta)
    jets = {"event": event, "px": flat.px, "py": flat.py, "pz": flat.pz, "energy": flat.E, "count": count}
    return {name: np.asarray(values) for name, values in jets.items()}, members


def constituents(particles: Columns, members: np.ndarray, counts: np.ndarray) -> ak.Array:
    """Particles listed jet by jet: (J, variable) awkward array."""
    flat = select(particles, members)
    return lists(ak.contents.RecordArray([ak.contents.NumpyArray(values) for values in flat.values()], list(flat)), counts)


def lists(values: ak.contents.Content, counts: np.ndarray) -> ak.Array:
    """Lists of `counts` (N,) elements of a layout (sum of counts,); as `ak.unflatten`, which takes much longer."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), values))


def members_of(members: np.ndarray, counts: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The constituents of some jets.

    Parameters
    ----------
    members, counts : as `cluster` returns them
    which : (K,) jets, in any order

    Returns
    -------
    indices, jet by jet, and their number (K,) for each jet
    """
    first, count = (np.cumsum(counts) - counts)[which], counts[which]
    return members[np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)], count


def trees(particles: Columns, counts: np.ndarray) -> fastjet.ClusterSequence:
    """Cambridge/Aachen trees of jets; no jet reaches the radius, so all constituents end up in one jet again.

    Parameters
    ----------
    particles : dict of (sum of counts,) arrays px, py, pz, energy in GeV, jet by jet
    counts : (J,) number of constituents, J > 0
    """
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10 * RADIUS)
    return fastjet.ClusterSequence(_momenta(particles, counts), definition)


def soft_drop_mass(jets: fastjet.ClusterSequence) -> np.ndarray:
    """Soft-drop mass of `trees` with beta = 0 and z = 0.1 as in JetClass (arXiv:1402.2657): (J,) in GeV."""
    groomed = jets.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=RADIUS)
    return ak.to_numpy(ak.flatten(groomed.msoftdrop, axis=None))


def n_subjettiness(jets: fastjet.ClusterSequence) -> np.ndarray:
    """N-subjettiness tau_1 to tau_4 of `trees`, beta = 1, one-pass kT axes as in JetClass (arXiv:1011.2268): (J, 4)."""
    return np.asarray(jets.njettiness(njets=[1, 2, 3, 4], beta=1.0, R0=RADIUS)).reshape(-1, 4)


def _momenta(particles: Columns, counts: np.ndarray) -> ak.Array:
    """FastJet's input: per event or jet a list of four-momenta, contiguous in memory."""
    flat = [ak.contents.NumpyArray(np.ascontiguousarray(particles[name], np.float64)) for name in COMPONENTS]
    record = ak.contents.RecordArray(flat, ["px", "py", "pz", "E"], parameters={"__record__": "Momentum4D"})
    return lists(record, counts)
