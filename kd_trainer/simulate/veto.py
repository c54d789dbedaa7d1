"""Veto events early: those without a jet in a narrow window (most events), and pairs of particles that are too hard.

Most of the time of an event is spent after the veto.
"""

import random

import pythia8mc

from kd_trainer.simulate.benchmarks import Window

# arguments of SlowJet; its last argument switches off its copy of FastJet, which would print a banner
ANTI_KT, VISIBLE, TRUE_MASS = -1, 2, 2
ETA_MAX = 5.0
RESONANCE_DECAY = 5  # Pythia calls the veto again in the showers of resonances, when the rest of the event is complete


class EarlyVeto(pythia8mc.UserHooks):
    """Veto an event without a jet in the window when the shower reaches a scale; Pythia then starts another event."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window
        selection = window.radius, window.pt_min, ETA_MAX, VISIBLE, TRUE_MASS
        self.jets = pythia8mc.SlowJet(ANTI_KT, *selection, None, False)

    def canVetoPT(self) -> bool:
        """Tell Pythia to call `doVetoPT`."""
        return True

    def scaleVetoPT(self) -> float:
        """The scale in GeV."""
        return self.window.scale

    def doVetoPT(self, position: int, event: pythia8mc.Event) -> bool:
        """Whether to veto the event; called when the evolution in transverse momentum reaches the scale."""
        if position == RESONANCE_DECAY:
            return False
        self.jets.analyze(event)
        return not any(abs(self.jets.y(i)) < self.window.rapidity for i in range(self.jets.sizeJet()))


class IsotropicPair(pythia8mc.UserHooks):
    """Veto pairs of scalars from a vector boson such that the remaining ones are as isotropic as pairs from a scalar.

    Pairs from a vector boson are distributed as pT^2 / s^3 (sin^2 of the scattering angle, and a P wave), those from a
    scalar as 1 / s^3. Therefore an event is kept with probability (pt_min / pT)^2. `pt_min` is the lowest transverse
    momentum of the pair's particles in GeV.
    """

    def __init__(self, pt_min: float, seed: int) -> None:
        super().__init__()
        self.pt_min, self.rng = pt_min, random.Random(seed)

    def canVetoProcessLevel(self) -> bool:
        """Tell Pythia to call `doVetoProcessLevel`."""
        return True

    def doVetoProcessLevel(self, process: pythia8mc.Event) -> bool:
        """Whether to veto the event; called before its showers. Particles 5 and 6 are the pair."""
        return self.rng.random() > (self.pt_min / process[5].pT()) ** 2
