"""The top-tagging (arXiv 1902.09914) and quark/gluon (arXiv 1810.05165) benchmarks: how Pythia makes their classes."""

from typing import NamedTuple

from kd_trainer.simulate.processes import TOP_PAIR, W_TO_QUARKS, Z_TO_NEUTRINOS

COMMON = ("Print:quiet = on", "Beams:eCM = 14000.", "Random:setSeed = on", "Random:seed = 1")
NO_UNDERLYING_EVENT = ("PartonLevel:MPI = off",)
Z_AND_GLUON = ("WeakBosonAndParton:qqbar2gmZg = on", "WeakZ0:gmZmode = 2")
# the outgoing quark has the flavour of the incoming one
Z_AND_LIGHT_QUARK = ("WeakBosonAndParton:qg2gmZq = on", "WeakZ0:gmZmode = 2", "PDFinProcess:nQuarkIn = 3")


class Benchmark(NamedTuple):
    """How one class is made; hard processes are not enhanced, so the jets have the physical spectrum.

    label : 1 for signal
    process : settings of Pythia
    pt_hat_min : smallest transverse momentum of the hard process in GeV
    rate : jets per second and core, to schedule the longest jobs first
    """

    label: int
    process: tuple[str, ...]
    pt_hat_min: float
    rate: float


class Window(NamedTuple):
    """Jets that can end up among the accepted ones, as the shower has formed them down to a scale.

    Wider than what is accepted, by what softer emissions change. There is no upper limit: a jet can lose any part of
    its momentum in a late splitting, but not gain much. The larger radius holds what may be clustered into the jet.

    radius : of the anti-kT jets
    scale : transverse momentum of the evolution in GeV where they are looked at
    pt_min, rapidity : limits of transverse momentum in GeV and of |y|
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
TOP_WINDOW = Window(1.0, 30.0, 440.0, 2.5)
QUARK_GLUON_WINDOW = Window(0.6, 30.0, 470.0, 2.0)


def settings(process: Benchmark) -> list[tuple[str, ...]]:
    """All settings of Pythia for a class: list of one tuple of str."""
    return [(*COMMON, f"PhaseSpace:pTHatMin = {process.pt_hat_min}", *process.process)]
