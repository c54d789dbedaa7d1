"""The samples of `simulate`: their classes and their random seeds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.simulate import benchmarks, grids, processes
from kd_trainer.simulate.benchmarks import Window

SEEDS = 900_000_000  # largest seed of Pythia


class Sample(NamedTuple):
    """A set of classes that a tagger distinguishes.

    processes : dict of class to its process, which has at least a `rate` in jets per second and core
    settings : function of a process that returns the settings of Pythia for each variant
    window : events without a jet in it early in the shower are vetoed; None keeps all events
    draw : function of a process and a random generator that returns a line of its grid; None without a grid
    digits : of the number in the file names
    pileup : mean number of pile-up collisions in an event; None without pile-up
    """

    processes: dict[str, Any]
    settings: Callable
    window: Window | None = None
    draw: Callable | None = None
    digits: int = 3
    pileup: int | None = None


SAMPLES = {
    "jetclass": Sample(processes.PROCESSES, processes.settings),
    "top": Sample(benchmarks.TOP, benchmarks.settings, benchmarks.TOP_WINDOW),
    "qg": Sample(benchmarks.QUARK_GLUON, benchmarks.settings, benchmarks.QUARK_GLUON_WINDOW),
    "jetclass2": Sample(grids.GROUPS, grids.settings, draw=grids.draw, digits=4, pileup=50),
    "collide2v": Sample(processes.DIJETS, processes.settings, pileup=200),
    "lhcjet": Sample(benchmarks.LHC_JETS, benchmarks.settings),
}
# the position in this list is part of every seed: append new samples and classes at the end
STREAMS = [(sample, name) for sample, (classes, *_) in SAMPLES.items() for name in classes]


def recorded(sample: str, name: str, pileup: float) -> dict[str, Any]:
    """Description of how a class was made, to be stored in the files: dict that json can hold."""
    processes, settings, window, *_ = SAMPLES[sample]
    made = {"pythia": settings(processes[name])}
    made |= {"sample": sample, "veto": window._asdict()} if window else {}
    return made | ({"sample": sample, "pileup": pileup} if SAMPLES[sample].pileup else {})


def pythia_seed(seed: int, sample: str, name: str, file: int, part: int) -> int:
    """The seed of Pythia for one part of one file of a class, between 1 and 900 million."""
    return 1 + int(seed_sequence(seed, sample, name, file, part).generate_state(1)[0]) % SEEDS


def seed_sequence(seed: int, sample: str, name: str, file: int, part: int) -> np.random.SeedSequence:
    """The seed of all random numbers of a part."""
    return np.random.SeedSequence([seed, STREAMS.index((sample, name)), file, part])
