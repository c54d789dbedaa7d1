"""One view of the events of COLLIDE-2V: its jets and its candidates, flat."""

from collections.abc import Iterable, Mapping

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap
from kd_trainer.datasets.matching import vertices
from kd_trainer.errors import InputError

JET = ("PT", "Eta", "Phi", "Mass")
CANDIDATE = (*JET, "Charge", "PID", "D0", "DZ", "PuppiW")
ENOUGH = 20  # smallest number of jets or events for the checks of means and medians


class View:
    """Jets and candidates of events in one view, flat: jets (J,), particles (P,)."""

    def __init__(self, events: ak.Array, view: str, jet: str, unit: str) -> None:
        self.name = view
        self.jets, self.number = lists_of(events, f"{view}_{jet}", JET)
        self.event = np.repeat(np.arange(len(events)), self.number)
        particles, counts = lists_of(events, f"{view}_PUPPIPart", CANDIDATE)
        self.place, self.length = self._constituents(events[f"{view}_{jet}_ConstituentsIdx"], particles["PT"], counts)
        event = np.repeat(np.arange(len(events)), counts)
        charged = particles["Charge"] != 0
        scale = {"mm": 1.0, "cm": 10.0}[unit]
        dz = particles["DZ"] * scale
        self.height = vertices(event[charged], particles["PT"][charged], dz[charged], len(events))
        self.has_tracks = np.bincount(event[charged], minlength=len(events)) > 0
        pid = np.abs(particles["PID"])
        flags = {"Electron": pid == 11, "Muon": pid == 13}
        lepton = flags["Electron"] | flags["Muon"]
        flags |= {"ChargedHadron": charged & ~lepton, "Photon": ~charged & (pid == 22)}
        flags["NeutralHadron"] = ~charged & ~lepton & (pid != 22)  # their PID is 0
        self.particles = four_momenta(particles) | {
            "charge": particles["Charge"],
            "d0val": np.where(charged, particles["D0"] * scale, 0),
            "dzval": np.where(charged, dz - self.height[event], 0),
            "puppiw": particles["PuppiW"],
            **{f"is{name}": flag for name, flag in flags.items()},
        }

    def _constituents(self, indices: ak.Array, pt: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places (C,) of the constituents of all jets, jet after jet by decreasing pT, and their numbers (J,)."""
        if not np.array_equal(ak.num(indices), self.number):
            raise InputError(f"ConstituentsIdx of {self.name} does not have as many jets as PT")
        indices = ak.flatten(indices)
        jet = np.repeat(np.arange(len(indices)), ak.num(indices))
        index = ak.to_numpy(ak.flatten(indices))
        jet, index = jet[index >= 0], index[index >= 0]
        event = self.event[jet]
        if (index >= counts[event]).any():
            raise InputError(f"ConstituentsIdx of {self.name} has indices beyond the particles of the event")
        place = index + (np.cumsum(counts) - counts)[event]
        order = np.lexsort((-pt[place], jet))
        return place[order], np.bincount(jet, minlength=len(indices))

    def columns(self, prefix: str, chosen: np.ndarray) -> dict[str, ak.Array]:
        """Output columns of the chosen jets (K,)."""
        lists = {name: ak.unflatten(v[self.place], self.length)[chosen] for name, v in self.particles.items()}
        jets = {name: values[chosen] for name, values in self.jets.items()}
        check_sums(self.name, lists, jets)
        columns = {f"{prefix}part_{name}": ak.values_astype(values, np.float32) for name, values in lists.items()}
        columns |= {f"{prefix}jet_{name.lower()}": values.astype(np.float32) for name, values in jets.items()}
        return columns | {f"{prefix}jet_nparticles": self.length[chosen].astype(np.int32)}


def four_momenta(columns: Mapping[str, np.ndarray]) -> Columns:
    """px, py, pz, energy (N,) from PT, Eta, Phi, Mass; the stored E has eleven bits and can be below the momentum."""
    pt, eta, phi, mass = (columns[name].astype(np.float64) for name in JET)
    momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    return momenta | {"energy": np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)}


def column_of(events: ak.Array, prefix: str, name: str) -> np.ndarray:
    return ak.to_numpy(ak.flatten(events[f"{prefix}_{name}"]))


def lists_of(events: ak.Array, prefix: str, names: Iterable[str]) -> tuple[Columns, np.ndarray]:
    """Columns (N,) of a collection, and the number of entries of each event (E,)."""
    number = ak.to_numpy(ak.num(events[f"{prefix}_PT"]))
    for name in names:
        if not np.array_equal(ak.num(events[f"{prefix}_{name}"]), number):
            raise InputError(f"{prefix}_{name} does not have as many entries as {prefix}_PT")
    columns = {name: column_of(events, prefix, name).astype(np.float64) for name in names}
    largest = np.abs(columns["Phi"]).max(initial=0)
    if largest > 3.2:  # pi, rounded to few bits
        raise InputError(f"{prefix}_Phi has values up to {largest:.4g}, above pi: it has to be in radians")
    return columns, number


def check_sums(name: str, lists: Mapping[str, ak.Array], jets: Columns) -> None:
    """Raise InputError if the momenta of most jets are not the sums of their candidates."""
    if len(jets["PT"]) < ENOUGH:
        return
    pt, eta, phi = directions({x: ak.to_numpy(ak.sum(lists[x], axis=1)) for x in ("px", "py", "pz")})
    ratio = np.nanmedian(pt / jets["PT"])
    away = np.nanmedian(np.hypot(eta - jets["Eta"], wrap(phi - jets["Phi"])))
    if not (0.67 < ratio < 1.5 and away < 0.1):
        raise InputError(
            f"the particles of {name} do not add up to its jets (median pT ratio {ratio:.3g}, median distance "
            f"{away:.2g}): the indices or the units are not as expected"
        )
