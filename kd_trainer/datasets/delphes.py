"""Delphes files -> jets with the columns of JetClass-II, without labels. Only uproot is needed.

A jet refers to its constituents by the unique ids of objects in the same event. As in JetClass-II, the constituents
have to be objects of ParticleFlowCandidate (Delphes 3.5.0 or newer). The columns are those that Sophon's analyser gives
to its network: lengths in mm, d0 with the sign convention of Delphes, dz relative to the first vertex, which is that of
the hard collision.
"""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import uproot

from kd_trainer.datasets.kinematics import Columns, wrap
from kd_trainer.datasets.public_formats import MOMENTA, Opened
from kd_trainer.errors import InputError
from kd_trainer.files import reading
from kd_trainer.jet_files import within

EVENTS = 1000  # read at once; the candidates of an event have 10 kB
TREE, CANDIDATES, VERTICES, JETS = "Delphes", "ParticleFlowCandidate", "Vertex", "JetPUPPIAK8"
JET = ("PT", "Eta", "Phi", "Mass", "Tau[5]", "SoftDroppedP4[5]", "Constituents")
CANDIDATE = ("fUniqueID", "PT", "Eta", "Phi", "Mass", "Charge", "PID", "D0", "ErrorD0", "DZ", "ErrorDZ")
TRACK = {"d0val": "D0", "d0err": "ErrorD0", "dzval": "DZ", "dzerr": "ErrorDZ"}
ETAS = {"stored": "Eta", "momentum": "CtgTheta"}  # member of the candidates from which eta is computed
FINITE = (*MOMENTA, *(f"part_{name}" for name in TRACK))
COLUMNS = ("pt", "eta", "phi", "energy", "sdmass", "tau1", "tau2", "tau3", "tau4", "nparticles")  # of jets
ID_BITS = 24  # bits of a unique id within a process; the higher bits are the number of the process


class Options(NamedTuple):
    """Jet collection, and eta of particles: as stored (in Delphes 3.5.0 at the calorimeter) or of the momentum."""

    jets: str = JETS
    eta: str = "stored"


def is_delphes(path: str | Path) -> bool:
    """Whether a file is a ROOT file with a tree Delphes; InputError if it cannot be read."""
    if Path(path).suffix != ".root":
        return False
    with reading(path), uproot.open(path) as file:
        return file.classnames(cycle=False).get(TREE) == "TTree"


class Reader:
    """Reader of one file: it makes the jets and counts them."""

    def __init__(self, source: Path, options: Options) -> None:
        self.source, self.options = source, options
        self.counts: Counter[str] = Counter()

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[Opened]:
        """Read the events of a file, a few at a time.

        Yields
        ------
        (int, function)
            Rows are events: records of lists jet_<member>, cand_<member>, vertex_z; jet_Constituents are positions
            among the candidates of the event.

        Raises
        ------
        InputError
            If there is no tree Delphes, no event or no such jets, or if the constituents are other objects.
        """
        with uproot.open(path) as file:
            if file.classnames(cycle=False).get(TREE) != "TTree":
                raise InputError(f"{path} has no tree {TREE}: it is not a Delphes file, or Delphes did not finish")
            tree = file[TREE]
            if not tree.num_entries:
                raise InputError(f"{path} has no events: its tree {TREE} is empty")
            wanted = self._wanted(tree)

            def chunks(step: int) -> Iterator[ak.Array]:
                start = 0
                for events in tree.iterate(filter_branch=lambda x: x.name in wanted, step_size=min(step, EVENTS)):
                    stop = start + len(events)
                    columns = {ours: within(events[theirs]) for theirs, ours in wanted.items()}
                    ids = columns["jet_Constituents"]["refs"]
                    columns["jet_Constituents"] = places(ids, columns["cand_fUniqueID"])
                    if ak.any(columns["jet_Constituents"] < 0, axis=None):
                        raise InputError(f"{path}: {self._other_constituents(tree, start, stop)}")
                    yield ak.zip(columns, depth_limit=1)
                    start = stop

            yield tree.num_entries, chunks

    def _wanted(self, tree: uproot.TTree) -> dict[str, str]:
        """Branches to read: dict of the name in the file to the name in the records."""
        jets = self.options.jets
        if f"{jets}/{jets}.Constituents" not in tree:
            found = _collections(tree, JET[4])
            hint = f"its jets are {', '.join(found)} (--jets)" if found else "it has none at all"
            raise InputError(f"{self.source} has no jets {jets}: {hint}")
        if CANDIDATES not in tree:
            raise InputError(f"{self.source}: {self._other_constituents(tree, 0, EVENTS)}")
        candidate = dict.fromkeys((*CANDIDATE, ETAS[self.options.eta]))
        wanted = {f"{jets}.{member}": f"jet_{member}" for member in JET}
        wanted |= {f"{CANDIDATES}.{member}": f"cand_{member}" for member in candidate}
        wanted |= {f"{VERTICES}.Z": "vertex_z"} if VERTICES in tree else {}
        missing = [name for name in wanted if f"{name.partition('.')[0]}/{name}" not in tree]
        if missing:
            raise InputError(f"{self.source} lacks {', '.join(missing)}: its Delphes is too old, or it is incomplete")
        return wanted

    def _other_constituents(self, tree: uproot.TTree, start: int, stop: int) -> str:
        """Text that says which objects the constituents of some events are, and what to do."""
        jets, found = self.options.jets, {}
        ids = tree[f"{jets}/{jets}.Constituents"].array(entry_start=start, entry_stop=stop)["refs"]
        total = missing = ak.count(ids, axis=None)
        for name in _collections(tree, "fUniqueID"):
            theirs = tree[f"{name}/{name}.fUniqueID"].array(entry_start=start, entry_stop=stop)
            found[name] = int(ak.sum(places(ids, theirs) >= 0, axis=None))
            missing -= found[name]
        parts = [f"{number} {name}" for name, number in found.items() if number]
        parts += [f"{missing} that are not in the file"] if missing else []
        puppi = [name for name in _collections(tree, JET[4]) if "puppi" in name.lower() and name != jets]
        hint = "use the Delphes card of JetClass-II"
        if puppi and CANDIDATES in tree:
            hint = f"give --jets {' or '.join(puppi)}"
        return (
            f"the {total} constituents of {jets} are {', '.join(parts)}; as in JetClass-II they all have to be "
            f"{CANDIDATES}: {hint}"
        )

    def jets(self, events: ak.Array) -> ak.Array:
        """All jets of events, in their order.

        Parameters
        ----------
        events : (E,) records as `open` yields them, with event_number

        Returns
        -------
        (J,) records
            jet_*, part_*, named and typed as in JetClass-II, particles by decreasing pT; event_number. sdmass and
            tau are NaN where the card does not compute them. Jets can be without particles.

        Raises
        ------
        InputError
            If an event has no vertex, or if the file has no vertices although tracks are displaced along the beam.
        """
        number = ak.to_numpy(ak.num(events.jet_PT))
        event = np.repeat(np.arange(len(events)), number)
        jet = {name: ak.to_numpy(ak.flatten(events[f"jet_{name}"])).astype(np.float64) for name in JET[:4]}
        parts, counts = self._particles(events, jet, event)
        columns: dict[str, Any] = {name: ak.unflatten(values, counts) for name, values in parts.items()}
        energy = np.hypot(jet["PT"] * np.cosh(jet["Eta"]), jet["Mass"])
        about = {"pt": jet["PT"], "eta": jet["Eta"], "phi": jet["Phi"], "energy": energy}
        about |= _substructure(events, counts)
        columns |= {f"jet_{name}": values.astype(np.float32) for name, values in about.items()}
        columns["jet_nparticles"] = counts.astype(np.int32)
        columns["event_number"] = ak.to_numpy(events.event_number)[event]
        return ak.zip(columns, depth_limit=1)

    def _particles(self, events: ak.Array, jet: Columns, event: np.ndarray) -> tuple[Columns, np.ndarray]:
        """Columns (P,) of the constituents of all jets, jet after jet by decreasing pT, and their numbers (J,)."""
        first = np.cumsum(number := ak.to_numpy(ak.num(events.cand_PT))) - number  # first candidate of each event
        members = ak.flatten(events.jet_Constituents)
        of = np.repeat(np.arange(len(event)), ak.to_numpy(ak.num(members)))  # which jet
        place = ak.to_numpy(ak.flatten(members)) + first[event[of]]
        names = [name for name in events.fields if name.startswith("cand_") and name != "cand_fUniqueID"]
        cand = {name[5:]: ak.to_numpy(ak.flatten(events[name]))[place].astype(np.float64) for name in names}
        pt, phi = cand["PT"], cand["Phi"]
        with np.errstate(all="ignore"):
            eta = cand["Eta"] if self.options.eta == "stored" else np.arcsinh(cand["CtgTheta"])
            pz = pt * np.sinh(eta)
        kept = np.flatnonzero(~((pt <= 0) | (np.abs(pz) > 10_000) | (np.abs(eta) > 5)))  # keeps NaN
        order = kept[np.lexsort((-pt[kept], of[kept]))]
        cand = {name: values[order] for name, values in cand.items()}
        of, pt, eta, phi, pz = of[order], pt[order], eta[order], phi[order], pz[order]
        charge, pid = cand["Charge"], np.abs(cand["PID"])
        height = self._heights(events, cand, event)[event[of]]
        tracks = {ours: cand[theirs] for ours, theirs in TRACK.items()}
        tracks["dzval"] = np.where(cand["DZ"] != 0, cand["DZ"] - height, 0)
        electron, muon, photon = (pid == number for number in (11, 13, 22))
        columns = {
            "px": pt * np.cos(phi),
            "py": pt * np.sin(phi),
            "pz": pz,
            "energy": np.hypot(pt * np.cosh(eta), cand["Mass"]),
            "deta": (eta - jet["Eta"][of]) * np.where(jet["Eta"][of] > 0, 1, -1),
            "dphi": wrap(phi - jet["Phi"][of]),
            **tracks,
        }
        columns = {name: values.astype(np.float32) for name, values in columns.items()}
        columns |= {
            "charge": charge.astype(np.int32),
            "isChargedHadron": (charge != 0) & ~electron & ~muon,
            "isNeutralHadron": (charge == 0) & ~photon,
            "isPhoton": photon,
            "isElectron": electron,
            "isMuon": muon,
        }
        return {f"part_{name}": values for name, values in columns.items()}, np.bincount(of, minlength=len(event))

    def _heights(self, events: ak.Array, cand: Columns, event: np.ndarray) -> np.ndarray:
        """Position of the hard collision along the beam for each event (E,), in mm; 0 for files without vertices."""
        if "vertex_z" not in events.fields:
            far = np.abs(cand["DZ"][cand["Charge"] != 0])
            if len(far) and np.median(far) > 10:
                raise InputError(f"{self.source} has no {VERTICES}, but tracks far from z = 0: dz cannot be computed")
            return np.zeros(len(events))
        none = np.flatnonzero(ak.to_numpy(ak.num(events.vertex_z)) == 0)
        if np.isin(none, event).any():
            raise InputError(f"{self.source} has no {VERTICES} in event {events.event_number[none[0]]}")
        return ak.to_numpy(ak.fill_none(ak.firsts(events.vertex_z), 0)).astype(np.float64)

    def filled(self, events: ak.Array) -> ak.Array:
        """Jets with particles, for a file of jets; InputError if mass or N-subjettiness are missing."""
        jets = self.jets(events)
        for column, module in {"sdmass": "ComputeSoftDrop", "tau1": "ComputeNsubjettiness"}.items():
            if ak.any(np.isnan(jets[f"jet_{column}"])):
                raise InputError(
                    f"{self.source} has no {column} of {self.options.jets}: run Delphes with {module} true for them, "
                    "as the card of JetClass-II does"
                )
        there = jets.jet_nparticles > 0
        self.counts.update(events=len(events), jets=len(jets), empty=int(ak.sum(~there)))
        return jets[there]

    def finish(self) -> dict[str, Any]:
        """Summary of the file after it was read."""
        return dict(self.counts)


def _collections(tree: uproot.TTree, member: str) -> list[str]:
    """Names of the collections whose objects have a member."""
    return [name for name in tree.keys(recursive=False) if f"{name}/{name}.{member}" in tree]


def places(ids: ak.Array, theirs: ak.Array) -> ak.Array:
    """Positions of objects in their event, by unique id.

    Parameters
    ----------
    ids : (E, variable, variable) integers
        Ids of the constituents of each jet.
    theirs : (E, variable) integers
        Ids of the objects of the event.

    Returns
    -------
    (E, variable, variable) integers, -1 for ids that the event does not have
    """
    number = ak.to_numpy(ak.num(theirs))
    flat = ak.flatten(ids)
    events = np.arange(len(ids))
    event = np.repeat(np.repeat(events, ak.to_numpy(ak.num(ids))), ak.to_numpy(ak.num(flat)))
    wanted = _unique(ak.flatten(flat), event)
    known = _unique(ak.flatten(theirs), np.repeat(events, number))
    order = np.argsort(known, kind="stable")
    known = np.append(known[order], -1)
    at = np.searchsorted(known[:-1], wanted)
    first = (np.cumsum(number) - number)[event]
    position = np.where(known[at] == wanted, np.append(order, 0)[at] - first, -1)
    return ak.unflatten(ak.unflatten(position, ak.num(flat)), ak.num(ids))


def _unique(ids: ak.Array, event: np.ndarray) -> np.ndarray:
    """Ids (N,) that also differ between events."""
    return (ak.to_numpy(ids).astype(np.int64) & ((1 << ID_BITS) - 1)) | event << ID_BITS


def _substructure(events: ak.Array, counts: np.ndarray) -> Columns:
    """sdmass and tau1 to tau4 of all jets (J,); NaN if Delphes has not computed them."""
    groomed = ak.flatten(events["jet_SoftDroppedP4[5]"])[:, 0]
    energy, *momentum = (ak.to_numpy(x) for x in (groomed.fE, groomed.fP.fX, groomed.fP.fY, groomed.fP.fZ))
    mass = np.sqrt(np.maximum(energy**2 - sum(p**2 for p in momentum), 0))
    tau = ak.to_numpy(ak.flatten(events["jet_Tau[5]"])).astype(np.float64)
    lacking = {"sdmass": not energy.any(), "tau": (counts > 2).any() and not tau.any()}
    columns = {"sdmass": np.where(lacking["sdmass"], np.nan, mass)}
    return columns | {f"tau{i + 1}": np.where(lacking["tau"], np.nan, tau[:, i]) for i in range(4)}


def report(found: Iterable[Mapping[str, int]]) -> str:
    """One line with the numbers of events and jets, from the dicts of `Reader.finish`."""
    total: Counter[str] = Counter()
    for counts in found:
        total.update(counts)
    return f"{total['events']} events, {total['jets']} jets, {total['empty']} of them left out (no particles)"
