"""Jets as in the top-tagging benchmark (arXiv 1902.09914): the hardest jet of an event, massless constituents."""

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.datasets.layouts import top_jets
from kd_trainer.simulate.benchmarks import TOP
from kd_trainer.simulate.clustering import cluster, constituents
from kd_trainer.simulate.detector import reconstruct
from kd_trainer.simulate.events import flatten, resonances, stable_particles
from kd_trainer.simulate.selection import keep, match_resonances
from kd_trainer.simulate.towers import energy_flow

PT_MIN, PT_MAX, ETA_MAX = 550.0, 650.0, 2.0
MAX_CONSTITUENTS = 200


def make_jets(batch: ak.Array, name: str, rng: np.random.Generator) -> ak.Array | None:
    """The hardest jet of each event, if it is in the window; in top events it has to contain the top and its quarks.

    Arguments and result are those of `jetclass.make_jets`, with the classes top and QCD.
    """
    record = flatten(batch)
    parts = energy_flow(reconstruct(stable_particles(record), rng))
    jets, members = cluster(parts, len(batch), PT_MIN)
    accepted = hardest_in_window(jets)
    if name == "top":
        accepted &= match_resonances(jets, with_itself(resonances(record, (6,), 3))) >= 0
    jets, members = keep(jets, members, accepted)
    if len(jets["event"]) == 0:
        return None
    momenta = constituents(parts, members, jets["count"])[:, :MAX_CONSTITUENTS]
    return top_jets(momenta, np.full(len(momenta), TOP[name].label))


def hardest_in_window(jets: Columns) -> np.ndarray:
    """Jets that are the hardest of their event, with 550 < pT < 650 GeV and |eta| < 2: (J,) mask."""
    pt, eta, _ = directions(jets)
    hardest = np.zeros(jets["event"].max(initial=-1) + 1)
    np.maximum.at(hardest, jets["event"], pt)
    return (pt == hardest[jets["event"]]) & (pt > PT_MIN) & (pt < PT_MAX) & (np.abs(eta) < ETA_MAX)


def with_itself(resonances: Columns) -> Columns:
    """Add the resonance itself to its decay products: one more column in prong_eta and prong_phi."""
    eta = np.column_stack([resonances["prong_eta"], resonances["eta"]])
    phi = np.column_stack([resonances["prong_phi"], resonances["phi"]])
    return resonances | {"prong_eta": eta, "prong_phi": phi}
