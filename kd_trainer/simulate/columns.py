"""The columns of a jet file, named and typed as in JetClass, and `genpart_*` and `genjet_*` as in JetClass-II."""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap
from kd_trainer.simulate.clustering import n_subjettiness, soft_drop_mass
from kd_trainer.simulate.processes import PROCESSES

MOMENTUM = ("px", "py", "pz", "energy")
TRACK = ("d0val", "d0err", "dzval", "dzerr")
FLAGS = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")


def jet_table(
    name: str, jets: Columns, parts: ak.Array, resonances: Columns, genjets: Columns, genparts: ak.Array
) -> ak.Array:
    """All columns of J jets.

    Parameters
    ----------
    name : the class
    jets, genjets : dicts of (J,) arrays px, py, pz, energy in GeV
    parts, genparts : (J, variable) awkward arrays of constituents, by decreasing transverse momentum
    resonances : dict of (J,) arrays pid, pt, eta, phi

    Returns
    -------
    awkward array of J records
    """
    columns = reconstructed(jets, parts, parts)
    columns |= {f"label_{other}": np.full(len(parts), other == name, dtype=np.int32) for other in PROCESSES}
    columns["aux_genpart_pid"] = resonances["pid"].astype(np.int32)
    columns |= {f"aux_genpart_{name}": resonances[name].astype(np.float32) for name in ("pt", "eta", "phi")}
    columns |= {f"genpart_{name}": values for name, values in generated(genparts, jets).items()}
    columns |= {f"genjet_{name}": values for name, values in summary(genjets, genparts).items()}
    return ak.zip(columns, depth_limit=1)


def reconstructed(jets: Columns, parts: ak.Array, stored: ak.Array) -> dict[str, Any]:
    """The columns part_* and jet_* of J > 0 jets; arguments as for `jet_table`, `stored` the constituents of part_*."""
    columns = {f"part_{name}": values for name, values in _constituents(stored, jets).items()}
    columns |= {f"jet_{name}": values for name, values in summary(jets, parts).items()}
    taus = enumerate(n_subjettiness(parts).T, start=1)
    return columns | {f"jet_tau{i}": tau.astype(np.float32) for i, tau in taus}


def _constituents(parts: ak.Array, jets: Columns) -> dict[str, ak.Array]:
    """Momenta, position relative to the jet axis, impact parameters, charge and kind of reconstructed particles."""
    deta, dphi = _relative(parts, jets)
    columns = {name: parts[name] for name in MOMENTUM} | {"deta": deta, "dphi": dphi}
    columns = _float32(columns | {name: parts[name] for name in TRACK})
    columns["charge"] = ak.values_astype(parts["charge"], np.int32)
    return columns | {name: parts[name] for name in FLAGS}


def generated(genparts: ak.Array, jets: Columns) -> dict[str, ak.Array]:
    """Momenta, vertices (mm, s), position relative to the axis of the reconstructed jet, and ids of true particles."""
    deta, dphi = _relative(genparts, jets)
    columns = {name: genparts[name] for name in (*MOMENTUM, "x", "y", "z", "t")}
    columns = _float32(columns | {"jet_deta": deta, "jet_dphi": dphi})
    columns["pid"] = ak.values_astype(genparts["pid"], np.int32)
    return columns


def summary(jets: Columns, parts: ak.Array) -> Columns:
    """Kinematics of jets, number of constituents and soft-drop mass."""
    pt, eta, phi = directions(jets)
    columns = {"pt": pt, "eta": eta, "phi": phi, "energy": jets["energy"], "sdmass": soft_drop_mass(parts)}
    columns = {name: np.asarray(values, dtype=np.float32) for name, values in columns.items()}
    return columns | {"nparticles": ak.to_numpy(ak.num(parts)).astype(np.int32)}


def _relative(parts: ak.Array, jets: Columns) -> tuple[ak.Array, ak.Array]:
    """eta and phi of constituents relative to the jet axis; eta is mirrored for jets at negative eta."""
    _, jet_eta, jet_phi = directions(jets)
    eta, phi = np.arcsinh(parts["pz"] / np.hypot(parts["px"], parts["py"])), np.arctan2(parts["py"], parts["px"])
    return (eta - jet_eta) * np.where(jet_eta > 0, 1, -1), wrap(phi - jet_phi)


def _float32(columns: Mapping[str, ak.Array]) -> dict[str, ak.Array]:
    return {name: ak.values_astype(values, np.float32) for name, values in columns.items()}
