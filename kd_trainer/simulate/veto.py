"""Giving up events early: most never have a jet in a narrow window, and the rest of an event is what takes time."""

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
