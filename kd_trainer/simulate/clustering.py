"""Jets from particles with FastJet: anti-kT jets, their constituents, soft drop and N-subjettiness."""

import contextlib
from collections.abc import Sequence
from typing import Any

import awkward as ak
import fastjet
import numpy as np

from kd_trainer.datasets.kinematics import Columns
from kd_trainer.simulate.events import select

RADIUS = 0.8
COMPONENTS = ("px", "py", "pz", "energy")
# Cambridge/Aachen; the radius is larger than any jet, so all constituents are clustered into one jet again
TREE = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10 * RADIUS)
SYMMETRY_CUT = 0.1  # of soft drop
UNUSED = (999.0, 999, 999.0)  # parameters of N-subjettiness that its one-pass axes do not use
bare_pseudojet = fastjet._swig._fastjet_swig.new_PseudoJet  # without its Python class, which takes most of the time

# the banner of every worker would break the progress bar; docs/howto/simulate.md asks users to cite FastJet instead
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
    sequence = _cluster(particles, counts, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    *momenta, offsets = sequence.to_numpy(min_pt)
    constituents, index, _ = sequence.to_numpy_with_constituents(min_pt)  # longer than the jets fill them
    event = np.repeat(np.arange(n_events), np.diff(offsets))
    count, first = np.diff(constituents[: len(event) + 1]).astype(int), np.cumsum(counts) - counts
    members = index[: count.sum()] + np.repeat(first[event], count)
    pt = np.hypot(particles["px"][members], particles["py"][members])
    members = members[np.lexsort((-pt, np.repeat(np.arange(len(count)), count)))]
    return {"event": event, **dict(zip(COMPONENTS, momenta)), "count": count}, members


def constituents(particles: Columns, members: np.ndarray, counts: np.ndarray) -> ak.Array:
    """Particles listed jet by jet: (J, variable) awkward array."""
    flat = select(particles, members)
    columns = [ak.contents.NumpyArray(values) for values in flat.values()]
    return lists(ak.contents.RecordArray(columns, list(flat)), counts)


def lists(values: ak.contents.Content, counts: np.ndarray) -> ak.Array:
    """Split a layout (sum of counts,) into lists of `counts` (N,) elements; much faster than `ak.unflatten`."""
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


def soft_drop_mass(particles: Columns, counts: np.ndarray) -> np.ndarray:
    """Soft-drop mass (J,) of jets in GeV with beta = 0 and z = 0.1 as in JetClass (arXiv:1402.2657).

    It is computed jet by jet: the time of FastJet's function for many jets grows with the square of their constituents.

    Parameters
    ----------
    particles : dict of (sum of counts,) arrays px, py, pz, energy in GeV, jet by jet
    counts : (J,) number of constituents of the jets, each above 0
    """
    components = [particles[name].tolist() for name in COMPONENTS]
    stops = np.cumsum(counts)
    slices = map(slice, (stops - counts).tolist(), stops.tolist())
    return np.array([_groomed_mass([component[part] for component in components]) for part in slices])


def _groomed_mass(components: Sequence[list[float]]) -> float:
    """Soft-drop mass of one jet: follow the harder branch of its tree until both branches pass the symmetry cut."""
    sequence = fastjet._swig.ClusterSequence(list(map(bare_pseudojet, *components)), TREE)
    (jet,) = sequence.exclusive_jets(1)
    while True:
        one, two = fastjet._swig.PseudoJet(), fastjet._swig.PseudoJet()
        if not jet.has_parents(one, two):
            return jet.m()
        pts = one.pt(), two.pt()
        if min(pts) / sum(pts) > SYMMETRY_CUT:
            return jet.m()
        jet = one if pts[0] >= pts[1] else two


def n_subjettiness(particles: Columns, counts: np.ndarray) -> np.ndarray:
    """N-subjettiness tau_1 to tau_4 (J, 4) with beta = 1 and one-pass kT axes as in JetClass (arXiv:1011.2268).

    The arguments are those of `soft_drop_mass`.
    """
    sequence = _cluster(particles, counts, TREE)
    (taus,) = sequence.to_numpy_njettiness("NormalizedMeasure", "OnePass_KT_Axes", [1, 2, 3, 4], 1.0, RADIUS, *UNUSED)
    return taus.reshape(-1, 4)


def _cluster(particles: Columns, counts: np.ndarray, definition: fastjet.JetDefinition) -> Any:
    """The arrays of FastJet's clustering of each event or jet; its awkward arrays take longer than the clustering."""
    momenta = (np.ascontiguousarray(particles[name], np.float64) for name in COMPONENTS)
    stops = np.cumsum(counts)
    return fastjet._ext.interfacemulti(*momenta, stops - counts, stops, definition)
