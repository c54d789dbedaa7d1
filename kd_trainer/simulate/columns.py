"""The columns of a jet file, named and typed as in JetClass, and `genpart_*` and `genjet_*` as in JetClass-II."""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap
from kd_trainer.simulate.clustering import lists, n_subjettiness, soft_drop_mass
from kd_trainer.simulate.processes import PROCESSES

MOMENTUM = ("px", "py", "pz", "energy")
TRACK = ("d0val", "d0err", "dzval", "dzerr")
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")


def jet_table(
    name: str, jets: Columns, parts: Columns, resonances: Columns, genjets: Columns, genparts: Columns
) -> ak.Array:
    """All columns of J jets: awkward array of J records.

    Parameters
    ----------
    name : the class
    jets, genjets : dicts of (J,) arrays px, py, pz, energy in GeV, and count, the number of constituents
    parts, genparts : dicts of (sum of count,) arrays of constituents, jet by jet, by decreasing transverse momentum
    resonances : dict of (J,) arrays pid, pt, eta, phi
    """
    columns = reconstructed(jets, parts, parts)
    columns |= {f"label_{other}": np.full(len(jets["count"]), other == name, dtype=np.int32) for other in PROCESSES}
    columns["aux_genpart_pid"] = resonances["pid"].astype(np.int32)
    columns |= {f"aux_genpart_{name}": resonances[name].astype(np.float32) for name in ("pt", "eta", "phi")}
    columns |= {f"genpart_{name}": values for name, values in generated(genparts, genjets["count"], jets).items()}
    columns |= {f"genjet_{name}": values for name, values in summary(genjets, genparts).items()}
    return records(columns)


def records(columns: Mapping[str, Any]) -> ak.Array:
    """An awkward array of records from awkward and numpy columns, as `ak.zip` makes it, but faster."""
    contents = [x.layout if isinstance(x, ak.Array) else ak.contents.NumpyArray(x) for x in columns.values()]
    return ak.Array(ak.contents.RecordArray(contents, list(columns)))


def reconstructed(jets: Columns, parts: Columns, stored: Columns) -> dict[str, Any]:
    """Columns part_* and jet_* of J > 0 jets. Arguments as for `jet_table`; part_* describes the particles `stored`."""
    columns = {f"part_{name}": values for name, values in _constituents(stored, jets).items()}
    columns |= {f"jet_{name}": values for name, values in summary(jets, parts).items()}
    taus = enumerate(n_subjettiness(parts, jets["count"]).T, start=1)
    return columns | {f"jet_tau{i}": tau.astype(np.float32) for i, tau in taus}


def _constituents(parts: Columns, jets: Columns) -> dict[str, ak.Array]:
    """Momenta, position relative to the jet axis, impact parameters, charge and type of reconstructed particles."""
    deta, dphi = _relative(parts, jets["count"], jets)
    columns = {name: parts[name] for name in MOMENTUM} | {"deta": deta, "dphi": dphi}
    columns = _float32(columns | {name: parts[name] for name in TRACK})
    columns["charge"] = parts["charge"].astype(np.int32)
    return _listed(columns | {name: parts[name] for name in FLAGS}, jets["count"])


def generated(genparts: Columns, counts: np.ndarray, jets: Columns) -> dict[str, ak.Array]:
    """Momenta, vertices (mm, s), position relative to the axis of the reconstructed jet, and ids of true particles.

    `counts` (J,) is the number of `genparts` that belong to each reconstructed jet.
    """
    deta, dphi = _relative(genparts, counts, jets)
    columns = {name: genparts[name] for name in (*MOMENTUM, "x", "y", "z", "t")}
    columns = _float32(columns | {"jet_deta": deta, "jet_dphi": dphi})
    columns["pid"] = genparts["pid"].astype(np.int32)
    return _listed(columns, counts)


def summary(jets: Columns, parts: Columns) -> Columns:
    """Kinematics of jets, number of constituents and soft-drop mass."""
    pt, eta, phi = directions(jets)
    mass = soft_drop_mass(parts, jets["count"])
    columns = {"pt": pt, "eta": eta, "phi": phi, "energy": jets["energy"], "sdmass": mass}
    columns = {name: np.asarray(values, dtype=np.float32) for name, values in columns.items()}
    return columns | {"nparticles": jets["count"].astype(np.int32)}


def _relative(parts: Columns, counts: np.ndarray, jets: Columns) -> tuple[np.ndarray, np.ndarray]:
    """eta and phi of constituents relative to the jet axis; eta is mirrored for jets at negative eta."""
    _, jet_eta, jet_phi = directions(jets)
    _, eta, phi = directions(parts)
    jet_eta, jet_phi = np.repeat(jet_eta, counts), np.repeat(jet_phi, counts)
    return (eta - jet_eta) * np.where(jet_eta > 0, 1, -1), wrap(phi - jet_phi)


def _float32(columns: Columns) -> Columns:
    return {name: values.astype(np.float32) for name, values in columns.items()}


def _listed(columns: Columns, counts: np.ndarray) -> dict[str, ak.Array]:
    return {name: lists(ak.contents.NumpyArray(values), counts) for name, values in columns.items()}
