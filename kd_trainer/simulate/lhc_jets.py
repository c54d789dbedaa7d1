"""Jets like the LHC jets of hls4ml (zenodo 3602260): g, q, W, Z and t with a transverse momentum of about 1 TeV."""

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.datasets.layouts import top_jets
from kd_trainer.simulate.benchmarks import LHC_JETS
from kd_trainer.simulate.clustering import cluster, constituents
from kd_trainer.simulate.detector import reconstruct
from kd_trainer.simulate.events import flatten, resonances, stable_particles
from kd_trainer.simulate.selection import keep, match_resonances

PT_MIN, PT_MAX, ETA_MAX = 800.0, 1600.0, 2.0
MAX_CONSTITUENTS = 150
RESONANCES = {"W": (24, 2), "Z": (23, 2), "t": (6, 3)}  # PDG id, decay products


def make_jets(batch: ak.Array, name: str, rng: np.random.Generator) -> ak.Array | None:
    """The two hardest jets of each event, if they are in the window; W, Z and t with all decay products in the jet.

    Arguments and result are those of `jetclass.make_jets`, with the classes g, q, W, Z and t.
    """
    record = flatten(batch)
    parts = reconstruct(stable_particles(record), rng)
    jets, members = cluster(parts, len(batch), PT_MIN)
    accepted = leading_in_window(jets)
    if name in RESONANCES:
        pid, prongs = RESONANCES[name]
        accepted &= match_resonances(jets, resonances(record, (pid,), prongs)) >= 0
    jets, members = keep(jets, members, accepted)
    if len(jets["event"]) == 0:
        return None
    momenta = constituents(parts, members, jets["count"])[:, :MAX_CONSTITUENTS]
    return top_jets(momenta, np.full(len(momenta), LHC_JETS[name].label))


def leading_in_window(jets: Columns) -> np.ndarray:
    """Jets that are one of the two hardest of their event, with 800 < pT < 1600 GeV and |eta| < 2: (J,) mask."""
    pt, eta, _ = directions(jets)
    same_event = jets["event"][:, None] == jets["event"]
    harder = (same_event & (pt[:, None] < pt)).sum(axis=1)
    return (harder < 2) & (pt > PT_MIN) & (pt < PT_MAX) & (np.abs(eta) < ETA_MAX)
