"""The ten JetClass classes: how Pythia makes them and which particles have to lie in the jet."""

from typing import NamedTuple

Settings = tuple[str, ...]  # of Pythia

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "PhaseSpace:bias2Selection = on",  # flattens the steeply falling pT spectrum; the weights are not used
    "PhaseSpace:bias2SelectionRef = 500.",
    "Random:setSeed = on",
    "Random:seed = 1",  # of the initialisation; each part of a file has its own seed
)
QUARKS, LEPTONS, NEUTRINOS = "1 2 3 4 5", "11 13", "12 14 16"

# An off-shell Z makes two scalars with the mass and width of the Higgs boson: both jets of an event have the class.
HIGGS_PAIR = (
    "Higgs:useBSM = on",
    "HiggsBSM:ffbar2A3H1 = on",
    *(
        f"{scalar}:{setting}"
        for scalar in (25, 36)
        for setting in ("m0 = 125.", "mWidth = 0.0041", "doForceWidth = on", "onMode = off")
    ),
    *(f"Higgs{scalar}:{setting}" for scalar in ("H1", "A3") for setting in ("parity = 1", "coup2W = 1.")),
)
Z_PAIR = ("WeakDoubleBoson:ffbar2gmZgmZ = on", "WeakZ0:gmZmode = 2")  # without photon exchange
W_AND_Z = ("WeakDoubleBoson:ffbar2ZW = on",)  # W bosons in pairs are polarised differently
TOP_PAIR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
Z_AND_PARTON = ("WeakBosonAndParton:qqbar2gmZg = on", "WeakBosonAndParton:qg2gmZq = on", "WeakZ0:gmZmode = 2")


class Process(NamedTuple):
    """How one class is made.

    variants : settings of Pythia; with several, each makes the same number of events
    resonances : PDG ids of the particle that makes the jet; the first one is stored; empty for QCD
    prongs : number of its visible decay products; all lie in the jet
    pt_hat : range of the transverse momentum of the hard process in GeV; less than 1 % of the jets come from outside
    power : the hard process is biased by pTHat ** power, such that the mean jet pT is 700 GeV in all classes
    rate : jets per second and core, to schedule the longest jobs first
    """

    variants: tuple[Settings, ...]
    resonances: tuple[int, ...]
    prongs: int
    pt_hat: tuple[float, float]
    power: float
    rate: float


def _only(particle: int, products: str) -> Settings:
    """Settings that allow only one two-body decay."""
    return (f"{particle}:onMode = off", f"{particle}:onIfMatch = {products}")


def _any(particle: int, products: str) -> Settings:
    """Settings that allow only decays with at least one of the products."""
    return (f"{particle}:onMode = off", f"{particle}:onIfAny = {products}")


def _higgs(products: str, *w_decays: str) -> Settings:
    """Settings for a pair of Higgs bosons with one decay mode, and for the W bosons from this decay."""
    return HIGGS_PAIR + _only(25, products) + _only(36, products) + w_decays


def _one_lepton(w_to_quarks: str, w_to_lepton: str) -> Settings:
    """Settings for a pair of W bosons: the signs (Pos or Neg) of the one that decays to quarks and of the other one."""
    return (
        "24:onMode = off",
        f"24:on{w_to_quarks}IfAny = {QUARKS}",
        f"24:on{w_to_lepton}IfAny = {LEPTONS}",
    )


HIGGS, W_TO_QUARKS, W_TO_LEPTON = (25, 36), _any(24, QUARKS), _any(24, LEPTONS)
Z_TO_NEUTRINOS, Z_TO_QUARKS = _any(23, NEUTRINOS), _any(23, QUARKS)

PROCESSES = {
    "QCD": Process((Z_AND_PARTON + Z_TO_NEUTRINOS,), (), 0, (375, 1700), 4.4, 40),
    "Hbb": Process((_higgs("5 -5"),), HIGGS, 2, (395, 1270), 3.4, 70),
    "Hcc": Process((_higgs("4 -4"),), HIGGS, 2, (370, 1200), 3.5, 70),
    "Hgg": Process((_higgs("21 21"),), HIGGS, 2, (370, 1070), 3.6, 70),
    "H4q": Process((_higgs("24 -24", *W_TO_QUARKS),), HIGGS, 4, (370, 1070), 3.2, 60),
    "Hqql": Process(
        (_higgs("24 -24", *_one_lepton("Pos", "Neg")), _higgs("24 -24", *_one_lepton("Neg", "Pos"))),
        HIGGS, 3, (440, 1950), 4.1, 80,
    ),
    "Zqq": Process((Z_PAIR + Z_TO_QUARKS,), (23,), 2, (370, 1140), 3.9, 80),
    "Wqq": Process((W_AND_Z + W_TO_QUARKS + Z_TO_NEUTRINOS,), (24,), 2, (330, 1120), 3.7, 35),
    "Tbqq": Process((TOP_PAIR + W_TO_QUARKS,), (6,), 3, (350, 1140), 3.8, 40),
    "Tbl": Process((TOP_PAIR + W_TO_LEPTON,), (6,), 2, (420, 2200), 5.5, 50),
}  # fmt: skip
# jets of all flavours with a flat spectrum in log(pT)
DIJETS = {
    name: Process(tuple((setting,) for setting in made), (), 0, (30, 400), 4.0, 30)
    for name, made in {
        "QCD": ("HardQCD:all = on",),
        "qq": ("HardQCD:qq2qq = on",),
        "bb": ("HardQCD:hardbbbar = on",),
        "cc": ("HardQCD:hardccbar = on",),
    }.items()
}


def settings(process: Process) -> list[Settings]:
    """All settings of Pythia for a process: a tuple for each variant."""
    low, high = process.pt_hat
    window = (
        f"PhaseSpace:pTHatMin = {low}",
        f"PhaseSpace:pTHatMax = {high}",
        f"PhaseSpace:bias2SelectionPow = {process.power}",
    )
    return [COMMON + window + variant for variant in process.variants]
