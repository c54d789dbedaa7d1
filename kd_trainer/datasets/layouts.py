"""The columns of converted files, named and typed as in the converted public benchmarks TopLandscape and QuarkGluon."""

import functools
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions, wrap

CHARGED_HADRONS, NEUTRAL_HADRONS = (211, 321, 2212), (130, 2112)


def top_jets(momenta: Columns, label: np.ndarray) -> ak.Array:
    """Jets with known momenta only: the top-tagging benchmark (arXiv 1902.09914), the LHC jets of hls4ml.

    Parameters
    ----------
    momenta : dict of (J, variable) awkward arrays px, py, pz, energy
        In GeV, in any order.
    label : (J,)
        The class; 1 for a top jet.

    Returns
    -------
    awkward array of J records: label, jet_*, part_*; particles by decreasing transverse momentum
    """
    momenta = {name: ak.values_astype(momenta[name], np.float64) for name in ("px", "py", "pz", "energy")}
    order = ak.argsort(np.hypot(momenta["px"], momenta["py"]), axis=1, ascending=False, stable=True)
    return records({name: values[order] for name, values in momenta.items()}, {"label": np.asarray(label, np.int32)})


def quark_gluon_jets(particles: Columns, label: np.ndarray) -> ak.Array:
    """Jets of the quark/gluon benchmark (arXiv 1810.05165); as in the public conversion, particles are massless.

    Parameters
    ----------
    particles : dict of (J, variable) awkward arrays pt, y, phi, pid
        pT in GeV, rapidity, azimuth, PDG id, in any order.
    label : (J,)
        1 for a quark jet.

    Returns
    -------
    awkward array of J records: label, jet_*, part_* with particle types; particles by decreasing transverse momentum
    """
    order = ak.argsort(particles["pt"], axis=1, ascending=False, stable=True)
    pt, eta, phi = (ak.values_astype(particles[name][order], np.float64) for name in ("pt", "y", "phi"))
    momenta = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta),
    }
    return records(momenta, {"label": np.asarray(label, np.int32), **identities(particles["pid"][order])})


def identities(pid: ak.Array) -> dict[str, ak.Array]:
    """Columns that follow from PDG ids: part_pid, part_is*, part_charge."""
    pid = ak.values_astype(pid, np.int32)
    kind = kinds(pid, CHARGED_HADRONS, NEUTRAL_HADRONS)
    sign = ak.values_astype(np.sign(pid), np.int32)
    leptons = kind["Electron"] | kind["Muon"]
    charge = sign * kind["ChargedHadron"] - sign * leptons
    columns = {"pid": pid, **{f"is{name}": flag for name, flag in kind.items()}, "charge": charge}
    return {f"part_{name}": ak.values_astype(values, np.float32) for name, values in columns.items()}


def kinds(
    pid: ak.Array, charged: Sequence[int], neutral: Sequence[int], photons: Sequence[int] = (22,)
) -> dict[str, ak.Array]:
    """Which particles are charged hadrons, neutral hadrons, photons, electrons and muons: dict of name to flags."""
    ids = {"ChargedHadron": charged, "NeutralHadron": neutral, "Photon": photons, "Electron": (11,), "Muon": (13,)}
    return {name: functools.reduce(operator.or_, [abs(pid) == one for one in of]) for name, of in ids.items()}


def records(momenta: Mapping[str, ak.Array], more: Mapping[str, Any]) -> ak.Array:
    """Jets whose axis is the sum of their particles.

    Parameters
    ----------
    momenta : dict of (J, variable) awkward arrays px, py, pz, energy
        In GeV, double precision, by decreasing transverse momentum.
    more : dict of further columns

    Returns
    -------
    awkward array of J records: jet_*, part_*, `more`
    """
    total = {name: ak.to_numpy(ak.sum(values, axis=1)) for name, values in momenta.items()}
    pt, eta, phi = directions(total)
    mass2 = total["energy"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    jet = {"pt": pt, "eta": eta, "phi": phi, "energy": total["energy"], "mass": np.sqrt(np.maximum(mass2, 0))}
    _, part_eta, part_phi = directions(momenta)
    columns = {f"part_{name}": values for name, values in momenta.items()}
    columns["part_deta"] = (part_eta - eta) * np.where(eta < 0, -1, 1)
    columns["part_dphi"] = wrap(part_phi - phi)
    columns |= {f"jet_{name}": values for name, values in jet.items()}
    columns = {name: ak.values_astype(values, np.float32) for name, values in columns.items()}
    columns["jet_nparticles"] = ak.values_astype(ak.num(momenta["px"]), np.int32)
    return ak.zip({**columns, **more}, depth_limit=1)
