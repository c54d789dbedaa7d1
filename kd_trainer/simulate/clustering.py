"""Jets from particles with FastJet: anti-kT jets, their constituents, soft drop and N-subjettiness."""

import contextlib

import awkward as ak
import fastjet
import numpy as np

from kd_trainer.datasets.kinematics import Columns

RADIUS = 0.8
COMPONENTS = ("px", "py", "pz", "energy")

# a banner from every worker would break the progress bar; docs/howto/simulate.md asks to cite FastJet instead
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
    lists = ak.unflatten(ak.zip({name: particles[name] for name in COMPONENTS}), counts)
    sequence = fastjet.ClusterSequence(_momenta(lists), fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
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
    flat = {name: values[members] for name, values in particles.items()}
    return ak.unflatten(ak.zip(flat), counts)


def soft_drop_mass(constituents: ak.Array) -> np.ndarray:
    """Soft-drop mass of jets with beta = 0 and z = 0.1 as in JetClass (arXiv:1402.2657).

    Parameters
    ----------
    constituents : (J, variable) awkward array of px, py, pz, energy in GeV, J > 0

    Returns
    -------
    (J,) in GeV
    """
    groomed = _tree(constituents).exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=RADIUS)
    return ak.to_numpy(ak.flatten(groomed.msoftdrop, axis=None))


def n_subjettiness(constituents: ak.Array) -> np.ndarray:
    """N-subjettiness tau_1 to tau_4 with beta = 1 and one-pass kT axes as in JetClass (arXiv:1011.2268).

    Parameters
    ----------
    constituents : as for `soft_drop_mass`

    Returns
    -------
    (J, 4)
    """
    taus = _tree(constituents).njettiness(njets=[1, 2, 3, 4], beta=1.0, R0=RADIUS)
    return np.asarray(taus).reshape(len(constituents), 4)


def _tree(constituents: ak.Array) -> fastjet.ClusterSequence:
    """Cambridge/Aachen trees of jets; no jet reaches the radius, so all constituents end up in one jet again."""
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 10 * RADIUS)
    return fastjet.ClusterSequence(_momenta(constituents), definition)


def _momenta(particles: ak.Array) -> ak.Array:
    """FastJet's input: per event or jet a list of four-momenta, contiguous in memory."""
    flat = {name: ak.to_numpy(ak.flatten(particles[name])).astype(np.float64) for name in COMPONENTS}
    flat["E"] = flat.pop("energy")
    return ak.unflatten(ak.zip(flat, with_name="Momentum4D"), ak.num(particles["px"]))
