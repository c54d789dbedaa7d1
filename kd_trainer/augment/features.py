"""Inputs of a network for augmented jets: kinematic features are updated, all other inputs do not change.

A feature changes by the effect of the augmentation on the particle and on its jet. The jet quantities that the config
reads from the file (jet_pt, jet_energy, the jet axis) are not needed. For example, log(pt / jet_pt) changes by
log(pt' / pt) - log(P' / P), where P is the transverse momentum of the sum of the particles. This is exact if the config
computes the jet from its particles. Otherwise the stored jet is scaled and moved in the same way as its particles.
"""

import re
from collections.abc import Collection, Mapping

import torch
from weaver.utils.dataset import DataConfig

from kd_trainer.augment.constituents import Constituents, axis, from_momenta, to_momenta, wrap
from kd_trainer.errors import InputError

# feature -> coefficients: its change is the sum of the changes of these logarithms (arXiv 2202.03772, table 2);
# `_scale`: jets are scaled to the same pT
LOGARITHMS = {
    "pt_log": {"pt": 1},
    "e_log": {"energy": 1},
    "pt_scale_log": {"pt": 1, "jet_pt": -1},
    "e_scale_log": {"energy": 1, "jet_pt": -1},
    "logptrel": {"pt": 1, "jet_pt": -1},
    "logerel": {"energy": 1, "jet_energy": -1},
}
# the same for features that are not logarithms
RATIOS = {"pt": LOGARITHMS["pt_log"], "pt_scale": LOGARITHMS["logptrel"], "pt_rel": LOGARITHMS["logptrel"]}
KINEMATIC = (*LOGARITHMS, *RATIOS, "deta", "dphi", "deltaR")
MOMENTA = (["px", "py", "pz", "energy"], ["px_scale", "py_scale", "pz_scale", "energy_scale"])
FOLLOWERS = re.compile(r"charge|pid|mass|is[A-Z]\w*|d0\w*|dz\w*|z0|dxy")


def feature(variable: str) -> str:
    """The feature name of a variable: without `part_` or `cand_`."""
    return variable.partition("_")[2]


class Inputs:
    """The input groups of a data config, and their changes by augmentation.

    Parameters
    ----------
    followers : sequence of str
        Variables, besides identity and track variables, that stay with a particle and do not depend on its momentum.

    Raises
    ------
    InputError
        If there are no four-momenta, no angles or no mask, or if the change of a variable is not known.
    """

    def __init__(self, data_config: DataConfig, followers: Collection[str] = ()) -> None:
        self.groups = data_config.input_dicts
        self.params = data_config.preprocess_params
        momenta = [feature(name) for name in self.groups.get("pf_vectors", ())]
        if momenta not in MOMENTA:
            raise InputError("augmentation needs four-momenta: pf_vectors with px, py, pz, energy in the data config")
        self.scaled = momenta == MOMENTA[1]
        if "pf_mask" not in self.groups:
            raise InputError("the data config has no pf_mask: augmentation must know which particles are real")
        lengths = {name: shape[2] for name, shape in data_config.input_shapes.items()}
        if len(set(lengths.values())) > 1:
            raise InputError(f"augmentation needs input groups of one length, not {lengths}")
        self.where = {
            name: (group, index)
            for group, names in self.groups.items() if group not in ("pf_vectors", "pf_mask")
            for index, name in enumerate(names)
        }  # fmt: skip
        angles = {feature(name): name for name in self.where}
        if not {"deta", "dphi"} <= angles.keys():
            raise InputError("augmentation needs directions relative to the jet: *_deta and *_dphi in the data config")
        self.deta, self.dphi = angles["deta"], angles["dphi"]
        unknown = [
            name for name in self.where
            if not (feature(name) in KINEMATIC or FOLLOWERS.fullmatch(feature(name)) or name in followers)
        ]  # fmt: skip
        if unknown:
            raise InputError(
                f"the effect of augmentation on {', '.join(unknown)} is not known: "
                "if it does not depend on the momentum, name it with -o aug_followers \"['NAME']\""
            )

    def constituents(self, X: Mapping[str, torch.Tensor]) -> Constituents:
        """The constituents of a batch of inputs X."""
        return from_momenta(X["pf_vectors"], X["pf_mask"])

    def view(self, X: Mapping[str, torch.Tensor], before: Constituents, after: Constituents) -> dict[str, torch.Tensor]:
        """Inputs of the augmented jets.

        Parameters
        ----------
        X : dict of (N, C, P)
            The original inputs.
        before, after : Constituents
            The constituents of X, and the augmented ones.

        Returns
        -------
        dict of (N, C, P)
        """
        values = self._kinematics(X, before, after)
        view = {}
        for group, names in self.groups.items():
            slots = after.source[:, None].expand(-1, len(names), -1)
            view[group] = X[group].gather(2, slots)
            for index, name in enumerate(names):
                if name in values:
                    view[group][:, index] = self._standardise(name, values[name])
                if self.params[name]["pad_mode"] != "wrap":
                    view[group][:, index].masked_fill_(~after.mask, self.params[name]["pad_value"])
            view[group] = torch.where(before.mask.any(dim=1)[:, None, None], view[group], X[group])  # keep empty jets
        view["pf_mask"] = after.mask[:, None].to(X["pf_mask"].dtype)
        return view

    def _kinematics(
        self, X: Mapping[str, torch.Tensor], before: Constituents, after: Constituents
    ) -> dict[str, torch.Tensor]:
        """Augmented values of all kinematic variables, before standardisation; (N, P) each."""
        old, old_axis, new_axis = before.take(after.source), axis(before), axis(after)
        momenta = to_momenta(after)
        logs = {
            "pt": torch.log(after.pt / old.pt),
            "energy": torch.log(momenta[:, 3] / to_momenta(old)[:, 3].clamp(min=1e-9)),
            "jet_pt": torch.log(new_axis.pt / old_axis.pt),
            "jet_energy": torch.log(new_axis.energy / old_axis.energy),
        }
        values = {}
        for name in self.where:
            kind = feature(name)
            if kind in LOGARITHMS or kind in RATIOS:
                terms = (LOGARITHMS.get(kind) or RATIOS[kind]).items()
                change = sum((sign * logs[key] for key, sign in terms), torch.zeros(()))
                original = self._original(X, name).gather(1, after.source)
                values[name] = original + change if kind in LOGARITHMS else original * change.exp()
        deta, dphi = (self._original(X, name).double() for name in (self.deta, self.dphi))
        side = mirrored(before, deta)
        mirrors = (side * (old_axis.eta < 0)).sum() < 0  # the dataset flips the sign of deta for jets at negative eta
        flip = torch.where(mirrors & (old_axis.eta * new_axis.eta < 0), -1, 1)
        moved = (after.eta - old.eta) - (new_axis.eta - old_axis.eta)
        deta = flip * (deta.gather(1, after.source) + side * moved)
        dphi = wrap(dphi.gather(1, after.source) + (after.phi - old.phi) - (new_axis.phi - old_axis.phi))
        angles = {"deta": deta, "dphi": dphi, "deltaR": torch.hypot(deta, dphi)}
        values |= {name: angles[feature(name)] for name in self.where if feature(name) in angles}
        if self.scaled:
            momenta = momenta * (old_axis.pt / new_axis.pt)[:, None]
        return values | dict(zip(self.groups["pf_vectors"], momenta.unbind(1)))

    def _original(self, X: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
        group, index = self.where[name]
        params, values = self.params[name], X[group][:, index]
        return values if params["center"] is None else values / params["scale"] + params["center"]

    def _standardise(self, name: str, values: torch.Tensor) -> torch.Tensor:
        params = self.params[name]
        if params["center"] is None:
            return values
        return ((values - params["center"]) * params["scale"]).clamp(params["min"], params["max"])


def mirrored(jets: Constituents, deta: torch.Tensor) -> torch.Tensor:
    """(N, 1): -1 for jets whose deta (N, P) decreases with eta, as at negative eta in JetClass, 1 for the others."""
    eta, deta = (x - (x * jets.mask).sum(1, keepdim=True) / jets.mask.sum(1, keepdim=True).clamp(min=1)
                 for x in (jets.eta, deta))  # fmt: skip
    return torch.where((eta * deta * jets.mask).sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
