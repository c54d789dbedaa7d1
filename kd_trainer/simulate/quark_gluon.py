"""Jets as in the quark/gluon benchmark (arXiv 1810.05165): true particles, no detector."""

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, rapidity
from kd_trainer.datasets.layouts import quark_gluon_jets
from kd_trainer.simulate.benchmarks import QUARK_GLUON
from kd_trainer.simulate.clustering import cluster, constituents
from kd_trainer.simulate.events import flatten, stable_particles
from kd_trainer.simulate.selection import keep

RADIUS, PT_MIN, PT_MAX, RAPIDITY_MAX = 0.4, 500.0, 550.0, 1.7


def make_jets(batch: ak.Array, name: str, _: np.random.Generator) -> ak.Array | None:
    """All jets in the window; as in the benchmark, they do not have to be the hardest jets of their events.

    Arguments and result are those of `jetclass.make_jets`, with the classes quark and gluon.
    """
    particles = stable_particles(flatten(batch))
    jets, members = cluster(particles, len(batch), PT_MIN, RADIUS)
    jets, members = keep(jets, members, in_window(jets))
    if len(jets["event"]) == 0:
        return None
    pt, _, phi = directions(particles)
    columns = {"pt": pt, "y": rapidity(particles), "phi": phi, "pid": particles["pid"]}
    labels = np.full(len(jets["event"]), QUARK_GLUON[name].label)
    return quark_gluon_jets(constituents(columns, members, jets["count"]), labels)


def in_window(jets: Columns) -> np.ndarray:
    """Jets with 500 < pT < 550 GeV and |y| < 1.7: (J,) mask."""
    pt, _, _ = directions(jets)
    return (pt > PT_MIN) & (pt < PT_MAX) & (np.abs(rapidity(jets)) < RAPIDITY_MAX)
