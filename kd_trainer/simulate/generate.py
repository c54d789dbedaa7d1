"""Jets of one class: batches of Pythia events until there are enough jets."""

import functools
from collections.abc import Iterator, Sequence

import awkward as ak
import numpy as np
import pythia8mc

from kd_trainer.simulate import collide2v, grids, jetclass, jetclass2, lhc_jets, quark_gluon, top
from kd_trainer.simulate.samples import SAMPLES, SEEDS, pythia_seed, seed_sequence
from kd_trainer.simulate.veto import EarlyVeto, IsotropicPair

MAKE_JETS = {
    "jetclass": jetclass.make_jets,
    "top": top.make_jets,
    "qg": quark_gluon.make_jets,
    "lhcjet": lhc_jets.make_jets,
}
# reuseInit = -1: take the integrals of multiparton interactions from INTEGRALS; if it is empty, compute and store them
REUSE, INTEGRALS = "MultipartonInteractions:reuseInit", "Init:reuseMPIiDiffSys0"
MAX_BATCH = 100  # events; larger batches are not faster
MAX_BATCH_PILEUP = 25  # an event with 200 pile-up collisions takes about 10 MB


def lines(name: str, n_jets: int, seed: int, file: int = 0, part: int = 0, pileup: float = 0) -> Iterator[ak.Array]:
    """Yield the jets of one group of JetClass-II, one line of its grid at a time, until there are at least `n_jets`.

    The arguments are those of `generate`; `name` is Res2P, Res34P or QCD.
    """
    rng = np.random.default_rng(seed_sequence(seed, "jetclass2", name, file, part))
    while n_jets > 0:
        line = grids.draw(grids.GROUPS[name], rng)
        line_seed = int(rng.integers(1, SEEDS + 1))
        veto = IsotropicPair(line.pt_min, line_seed) if line.kind.isotropic else None
        settings = *line.settings, *grids.unused(line.kind), f"Random:seed = {line_seed}"
        pythia = start(settings, veto, _defaults_of_lines(), grids.SCALAR_IDS)
        jets = jetclass2.make_jets(pythia.nextBatch(grids.EVENTS), name, rng, pileup)
        if jets is not None:
            yield jets
            n_jets -= len(jets)


def shuffled(jets: ak.Array, name: str, n_jets: int, seed: int, file: int, part: int) -> ak.Array:
    """Choose `n_jets` jets of all lines of a part at random; cutting the last line would prefer lines with few jets."""
    rng = np.random.default_rng(seed_sequence(seed, "jetclass2", name, file, part).spawn(1)[0])
    return jets[rng.permutation(len(jets))[:n_jets]]


def generate(
    sample: str, name: str, n_jets: int, seed: int, file: int = 0, part: int = 0, pileup: float = 0
) -> Iterator[ak.Array]:
    """Jets of one class, batch by batch: awkward arrays with `n_jets` jets in total.

    Parameters
    ----------
    sample, name : one of `samples.SAMPLES` and one of its classes
    n_jets : jets to make
    seed, file, part : determine the random numbers
    pileup : mean number of pile-up collisions, for samples with pile-up
    """
    pythias = start_pythias(sample, name)
    for offset, (pythia, _) in enumerate(pythias):
        pythia.rndm.init(pythia_seed(seed, sample, name, file, part) + offset)
    rng = np.random.default_rng(seed_sequence(seed, sample, name, file, part))
    largest, n_done = MAX_BATCH_PILEUP if SAMPLES[sample].pileup else MAX_BATCH, 0
    while n_jets > 0:
        n_events = min(largest, max(10, n_jets)) // len(pythias)
        batches = [pythia.nextBatch(n_events) for pythia, _ in pythias]
        batch = batches[0] if len(batches) == 1 else ak.concatenate(batches)
        if SAMPLES[sample].pileup:
            jets = collide2v.make_jets(batch, name, rng, pileup, n_done)
        else:
            jets = MAKE_JETS[sample](batch, name, rng)
        n_done += len(batch)
        if jets is not None:
            # shuffle: otherwise the cut at the end would prefer a variant or the first jet of an event
            yield jets[rng.permutation(len(jets))[:n_jets]]
            n_jets -= len(jets)


@functools.cache
def start_pythias(sample: str, name: str) -> list[tuple[pythia8mc.Pythia, EarlyVeto | None]]:
    """Initialised Pythia objects, one for each variant of a class.

    They are kept for the next part, because initialisation takes as long as 20 to 100 jets. It always uses the same
    seed, so that the maxima of the cross sections do not depend on the order of the parts; `generate` then sets the
    seed of the part.

    Returns
    -------
    list of (Pythia, its veto or None)
        Pythia does not keep the veto alive.

    Raises
    ------
    RuntimeError
        if Pythia refuses a setting or cannot start
    """
    processes, settings, window, *_ = SAMPLES[sample]
    vetoes = [window and EarlyVeto(window) for _ in settings(processes[name])]
    return [(start(variant, veto), veto) for variant, veto in zip(settings(processes[name]), vetoes, strict=True)]


def start(
    settings: Sequence[str],
    veto: pythia8mc.UserHooks | None = None,
    defaults: pythia8mc.Pythia | None = None,
    generic: Sequence[int] = (),
) -> pythia8mc.Pythia:
    """An initialised Pythia object.

    Parameters
    ----------
    settings : of Pythia
    veto : hook
    defaults : a Pythia object with the other settings and the particle data; None for the defaults of Pythia
    generic : PDG ids of resonances whose decays are all given by the settings. Pythia then computes no tables of their
        widths, which takes 0.1 s for a Higgs boson

    Raises
    ------
    RuntimeError
        if Pythia refuses a setting or cannot start
    """
    defaults = defaults or _defaults()
    pythia = pythia8mc.Pythia(defaults.settings, defaults.particleData, False)  # copies
    for line in settings:
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting '{line}'")
    if veto:
        pythia.setUserHooksPtr(veto)
    for pid in generic:
        pythia.addResonancePtr(pythia8mc.ResonanceGeneric(pid))
    if not pythia.init():
        raise RuntimeError(f"Pythia cannot start with the settings {'; '.join(settings)}")
    return pythia


@functools.cache
def _defaults() -> pythia8mc.Pythia:
    """Default settings and particle data of Pythia; reading them takes 0.05 s."""
    return pythia8mc.Pythia("", False)


@functools.cache
def _defaults_of_lines() -> pythia8mc.Pythia:
    """The same with the integrals of multiparton interactions, which take 0.2 s and depend only on the beams.

    They are computed with a fixed seed, so that a line does not depend on the lines before it.
    """
    made = start((*grids.COMMON, "HardQCD:all = on", "PhaseSpace:pTHatMin = 100", "Random:seed = 1", f"{REUSE} = -1"))
    defaults = pythia8mc.Pythia(_defaults().settings, _defaults().particleData, False)
    defaults.readString(f"{REUSE} = -1")
    defaults.settings.wvec(INTEGRALS, made.settings.wvec(INTEGRALS))
    return defaults
