"""How Pythia makes the classes of top tagging (arXiv 1902.09914), quark/gluon (1810.05165) and of hls4ml's LHC jets."""

from typing import NamedTuple

from kd_trainer.simulate.processes import TOP_PAIR, W_TO_QUARKS, Z_PAIR, Z_TO_NEUTRINOS, Z_TO_QUARKS

COMMON = ("Print:quiet = on", "Beams:eCM = 14000.", "Random:setSeed = on", "Random:seed = 1")
NO_UNDERLYING_EVENT = ("PartonLevel:MPI = off",)
Z_AND_GLUON = ("WeakBosonAndParton:qqbar2gmZg = on", "WeakZ0:gmZmode = 2")
# the outgoing quark has the flavour of the incoming one
Z_AND_LIGHT_QUARK = ("WeakBosonAndParton:qg2gmZq = on", "WeakZ0:gmZmode = 2", "PDFinProcess:nQuarkIn = 3")
# pairs of partons or bosons with a transverse momentum of 1 TeV within 1 %
PAIRS_AT_1_TEV = ("Beams:eCM = 13000.", "PhaseSpace:pTHatMax = 1010.")
GLUON_PAIR = ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on")
QUARK_PAIR = ("HardQCD:qq2qq = on", "HardQCD:gg2qqbar = on", "HardQCD:qqbar2qqbarNew = on")


class Benchmark(NamedTuple):
    """How one class is made. The hard processes are not biased, so the jets have the physical spectrum.

    label : 1 for signal; or the position of the class
    process : settings of Pythia
    pt_hat_min : smallest transverse momentum of the hard process in GeV
    rate : jets per second and core, to schedule the longest jobs first
    """

    label: int
    process: tuple[str, ...]
    pt_hat_min: float
    rate: float


class Window(NamedTuple):
    """Window for jets in the middle of the shower, when its evolution has reached a scale.

    Events without a jet in this window are vetoed. The window is wider than the final selection, because softer
    emissions still change the jets. It has no upper pT limit: a late splitting can take away any part of the momentum
    of a jet, but cannot add much. The jet radius is larger too, so that the jet contains everything that may be
    clustered into it later.

    radius : of the anti-kT jets
    scale : transverse momentum of the evolution in GeV at which the veto is applied
    pt_min, rapidity : smallest transverse momentum in GeV, largest |y|
    """

    radius: float
    scale: float
    pt_min: float
    rapidity: float


TOP = {
    "top": Benchmark(1, NO_UNDERLYING_EVENT + TOP_PAIR + W_TO_QUARKS, 150, 12),
    "QCD": Benchmark(0, (*NO_UNDERLYING_EVENT, "HardQCD:all = on"), 250, 35),
}
QUARK_GLUON = {
    "quark": Benchmark(1, Z_AND_LIGHT_QUARK + Z_TO_NEUTRINOS, 275, 14),
    "gluon": Benchmark(0, Z_AND_GLUON + Z_TO_NEUTRINOS, 275, 15),
}
LHC_JETS = {
    "g": Benchmark(0, PAIRS_AT_1_TEV + GLUON_PAIR, 990, 100),
    "q": Benchmark(1, PAIRS_AT_1_TEV + QUARK_PAIR, 990, 100),
    "W": Benchmark(2, (*PAIRS_AT_1_TEV, "WeakDoubleBoson:ffbar2WW = on", *W_TO_QUARKS), 990, 100),
    "Z": Benchmark(3, PAIRS_AT_1_TEV + Z_PAIR + Z_TO_QUARKS, 990, 100),
    "t": Benchmark(4, PAIRS_AT_1_TEV + TOP_PAIR + W_TO_QUARKS, 990, 100),
}
TOP_WINDOW = Window(1.0, 30.0, 440.0, 2.5)
QUARK_GLUON_WINDOW = Window(0.6, 30.0, 470.0, 2.0)


def settings(process: Benchmark) -> list[tuple[str, ...]]:
    """All settings of Pythia for a class: list of one tuple of str."""
    return [(*COMMON, f"PhaseSpace:pTHatMin = {process.pt_hat_min}", *process.process)]
