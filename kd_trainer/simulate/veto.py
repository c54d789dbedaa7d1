"""Giving up events early: without a jet in a narrow window, as most are, or with too hard a pair of particles.

The rest of an event is what takes time.
"""

import random

import pythia8mc

from kd_trainer.simulate.benchmarks import Window

# numbers of SlowJet; without its copy of FastJet (the last argument), which prints a banner
ANTI_KT, VISIBLE, TRUE_MASS = -1, 2, 2
ETA_MAX = 5.0
RESONANCE_DECAY = 5  # Pythia asks again in the showers of resonances, when all the rest of the event is made


class EarlyVeto(pythia8mc.UserHooks):
    """Ends an event that has no jet in the window when the shower has come down to a scale; Pythia starts another one.

    Parameters
    ----------
    window : `benchmarks.Window`
    """

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window
        selection = window.radius, window.pt_min, ETA_MAX, VISIBLE, TRUE_MASS
        self.jets = pythia8mc.SlowJet(ANTI_KT, *selection, None, False)

    def canVetoPT(self) -> bool:
        """Pythia asks whether it should call `doVetoPT`."""
        return True

    def scaleVetoPT(self) -> float:
        """The scale in GeV."""
        return self.window.scale

    def doVetoPT(self, position: int, event: pythia8mc.Event) -> bool:
        """Whether the event is given up; called when the evolution in transverse momentum reaches the scale."""
        if position == RESONANCE_DECAY:
            return False
        self.jets.analyze(event)
        return not any(abs(self.jets.y(i)) < self.window.rapidity for i in range(self.jets.sizeJet()))


class IsotropicPair(pythia8mc.UserHooks):
    """Gives up pairs of scalars from a vector boson such that the others are as isotropic as those from a scalar.

    The first are made as pT^2 / s^3 (sin^2 of the scattering angle, and a P wave), those from a scalar as 1 / s^3: a
    share of (lowest pT / pT)^2 is kept.

    Parameters
    ----------
    pt_min : lowest transverse momentum of the pair's particles in GeV
    seed : of the choice
    """

    def __init__(self, pt_min: float, seed: int) -> None:
        super().__init__()
        self.pt_min, self.rng = pt_min, random.Random(seed)

    def canVetoProcessLevel(self) -> bool:
        """Pythia asks whether it should call `doVetoProcessLevel`."""
        return True

    def doVetoProcessLevel(self, process: pythia8mc.Event) -> bool:
        """Whether the event is given up; called before its showers. Particles 5 and 6 are the pair."""
        return self.rng.random() > (self.pt_min / process[5].pT()) ** 2
