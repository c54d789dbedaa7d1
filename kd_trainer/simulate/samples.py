"""What `simulate` can make: the samples, their classes, and where their random numbers come from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kd_trainer.simulate import benchmarks, grids, processes
from kd_trainer.simulate.benchmarks import Window

SEEDS = 900_000_000  # Pythia's largest


class Sample(NamedTuple):
    """A set of classes that a tagger tells apart.

    processes : class to how it is made, at least its `rate` in jets per second and core
    settings : function of a process: the settings of Pythia, variant by variant
    window : events without a jet there early in the shower are given up; None keeps all
    draw : function of a process and a random generator: the settings of a line of its grid, if it has one
    digits : of the number in the names of files
    pileup : mean number of other collisions in an event, if there are any
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
}
# the position in this list is part of every seed: new samples and classes go to the end
STREAMS = [(sample, name) for sample, (classes, *_) in SAMPLES.items() for name in classes]


def recorded(sample: str, name: str, pileup: float) -> dict[str, Any]:
    """What is stored in a file about the making of a class: dict that json can hold."""
    processes, settings, window, *_ = SAMPLES[sample]
    made = {"pythia": settings(processes[name])}
    made |= {"sample": sample, "veto": window._asdict()} if window else {}
    return made | ({"sample": sample, "pileup": pileup} if SAMPLES[sample].pileup else {})


def pythia_seed(seed: int, sample: str, name: str, file: int, part: int) -> int:
    """The seed of Pythia for one part of one file of a class, one of 900 million.

    Returns
    -------
    int
    """
    return 1 + int(seed_sequence(seed, sample, name, file, part).generate_state(1)[0]) % SEEDS


def seed_sequence(seed: int, sample: str, name: str, file: int, part: int) -> np.random.SeedSequence:
    """Where all random numbers of a part come from."""
    return np.random.SeedSequence([seed, STREAMS.index((sample, name)), file, part])
