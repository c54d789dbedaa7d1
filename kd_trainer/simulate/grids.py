"""JetClass-II (arXiv 2405.12972): processes, masses and decay tables of its three groups of files, as lines of a grid.

A line of the grid is one choice of the masses and of the lowest transverse momentum of the hard process. Pythia makes
the same number of events for each line. Pythia processes replace those of MadGraph (docs/measurements/simulation.md).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

Settings = tuple[str, ...]  # of Pythia

EVENTS = 100  # per line, as in the dataset
COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "Check:epTolErr = 0.01",
    "Random:setSeed = on",
)
SCALARS = (
    "Higgs:useBSM = on",
    "HiggsH1:parity = 1",
    "HiggsA3:parity = 1",
)
SCALAR_IDS = (25, 35, 36, 45, 46)  # the neutral Higgs bosons that Pythia knows
X_MASSES = range(15, 505, 5)  # GeV
PT_MINS = (
    *(100, 106, 114, 121, 130, 138, 148, 158, 169, 180, 192, 205, 219, 234, 250, 267, 286, 305, 326, 348, 372, 397),
    *(424, 453, 483, 516, 551, 589, 629, 671, 717, 766, 818, 873, 933, 996, 1064, 1136, 1213, 1296, 1384, 1478, 1578),
    *(1685, 1800, 1922, 2052, 2192, 2341, 2499),
)  # GeV, for each X
QCD_PT_MINS = tuple(np.geomspace(100, 5000, 200).round(1).tolist())

# our own choice: the grid of the dataset is not public; its four known pairs have the mass ratios 0.40, 0.57, 0.67 and
# 0.68, and the relative width 2.2 %
Y_MASSES = tuple(round(0.3 + 0.01 * i, 2) for i in range(51))  # in units of the mass of X
Y_WIDTH = 0.022  # in units of the mass of Y
X_WIDTH = 0.004  # GeV; practically on shell

PAIRS_OF_UP_AND_DOWN = tuple((up, -down) for up in (2, 4) for down in (1, 3, 5))
NEUTRAL = (
    *((0.125, (quark, -quark)) for quark in (5, 4, 3)),
    (0.125, (21, 21)),
    *((0.0625, (fermion, -fermion)) for fermion in (2, 1, 11, 13)),
    (0.25, (15, -15)),
)
CHARGED = tuple((1 / 6, pair) for pair in PAIRS_OF_UP_AND_DOWN)
CHARGED_Y = (
    *((0.104167, pair) for pair in PAIRS_OF_UP_AND_DOWN),
    *((0.0625, (-lepton, lepton + 1)) for lepton in (11, 13)),
    (0.25, (-15, 16)),
)
PAIRS_OF_Y = ((0.5, (37, -37)), (0.5, (35, 35)))
Decays = Iterable[tuple[float, tuple[int, int]]]


class Kind(NamedTuple):
    """One process of a group.

    share : relative number of lines; the number of jobs in the production of the dataset
    process : settings of Pythia
    x : PDG id and decays of the resonances X; Pythia's ids are 25, 36 and 37
    y : the same for Y; empty for decays to two prongs
    isotropic : veto events such that pairs of X are distributed as those from a scalar (`veto.IsotropicPair`)
    """

    share: int
    process: Settings
    x: dict[int, Decays] = {}
    y: dict[int, Decays] = {}
    isotropic: bool = False


class Line(NamedTuple):
    """A line of the grid: settings of Pythia, their kind of process, lowest transverse momentum in GeV."""

    settings: Settings
    kind: Kind
    pt_min: float


class Group(NamedTuple):
    """A group of files: its processes, the lowest transverse momenta in GeV, jets per second and core."""

    kinds: tuple[Kind, ...]
    pt_mins: tuple[float, ...]
    rate: float


PAIR = (*SCALARS, "HiggsBSM:ffbar2A3H1 = on")
GROUPS = {
    "Res2P": Group(
        (
            Kind(192, PAIR, {25: NEUTRAL, 36: NEUTRAL}),
            Kind(144, (*SCALARS, "HiggsBSM:ffbar2H+H- = on"), {37: CHARGED}),
        ),
        PT_MINS,
        35,
    ),
    "Res34P": Group(
        (Kind(1440, PAIR, {25: PAIRS_OF_Y, 36: PAIRS_OF_Y}, {35: NEUTRAL, 37: CHARGED_Y}, True),), PT_MINS, 28
    ),
    "QCD": Group((Kind(240, ("HardQCD:all = on",)),), QCD_PT_MINS, 100),
}


def draw(group: Group, rng: np.random.Generator) -> Line:
    """Draw a line of the grid; all lines are equally likely."""
    shares = np.array([kind.share for kind in group.kinds])
    kind = group.kinds[rng.choice(len(shares), p=shares / shares.sum())]
    pt_min, m_x, ratio = (rng.choice(values) for values in (group.pt_mins, X_MASSES, Y_MASSES))
    return Line(line(kind, float(pt_min), float(m_x), float(np.round(ratio * m_x))), kind, float(pt_min))


def line(kind: Kind, pt_min: float, m_x: float = 0.0, m_y: float = 0.0) -> Settings:
    """The settings of Pythia for one line.

    Parameters
    ----------
    kind : `Kind`
    pt_min : lowest transverse momentum of each outgoing particle of the hard process in GeV
    m_x, m_y : masses in GeV, used if the process has X and Y
    """
    settings = [*COMMON, *kind.process, f"PhaseSpace:pTHatMin = {pt_min}"]
    for pid, decays in kind.x.items():
        settings += _resonance(pid, m_x, X_WIDTH, min(5.0, m_x), decays)
    for pid, decays in kind.y.items():
        settings += _resonance(pid, m_y, Y_WIDTH * m_y, 1e-6, decays)
    return tuple(settings)


def unused(kind: Kind) -> Settings:
    """A dummy decay for each scalar that the process does not contain, so that Pythia computes no widths for it."""
    return tuple(f"{pid}:oneChannel = 1 1. 100 5 -5" for pid in SCALAR_IDS if pid not in {*kind.x, *kind.y})


def _resonance(pid: int, mass: float, width: float, lowest: float, decays: Decays) -> Settings:
    """Mass, width and isotropic decays of a scalar; it may be off shell down to a lowest mass."""
    shape = (f"{pid}:m0 = {mass}", f"{pid}:mWidth = {width}", f"{pid}:doForceWidth = on", f"{pid}:mMin = {lowest}")
    channels = [f"1 {probability} 100 {first} {second}" for probability, (first, second) in decays]
    return (*shape, f"{pid}:oneChannel = {channels[0]}", *(f"{pid}:addChannel = {text}" for text in channels[1:]))


def settings(group: Group) -> list[dict]:
    """Description of the processes of a group for the metadata of its files: a dict for each, which json can hold."""
    return [
        {
            "share": kind.share,
            "line": line(kind, group.pt_mins[0], 100.0, 50.0),
            "events": EVENTS,
            "isotropic": kind.isotropic,
        }
        for kind in group.kinds
    ]
