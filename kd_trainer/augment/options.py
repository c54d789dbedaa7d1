"""The options of augmentations, given to weaver with `-o name value`."""

import dataclasses

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import HookOptions, check_numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentations(HookOptions):
    """Options of hooks that train on augmented jets; 0 switches an augmentation off."""

    aug_rotation: float = 0.0  # largest angle of the rotation about the jet axis
    aug_translation: float = 0.0  # largest shift in eta and phi, in units of the extent of the jet
    aug_distortion: float = 0.0  # standard deviation of the shift in eta and phi at 1 GeV; proportional to 1 / pT
    aug_distortion_pt_min: float = 0.1  # below this pT (GeV) the standard deviation is constant
    aug_splitting: float = 0.0  # fraction of the particles that are split into two, limited by the free slots
    aug_smearing: float = 0.0  # relative resolution of momenta
    aug_dropping: float = 0.0  # probability of removing a particle below aug_dropping_pt_max
    aug_dropping_pt_max: float = 1.0  # largest pT of removed particles, in GeV
    aug_boost: float = 0.0  # largest rapidity of a boost along the beam
    # variables that do not depend on the momentum of a particle, besides charge, is*, pid, d0*, dz*
    aug_followers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, [f.name for f in dataclasses.fields(Augmentations) if f.type is float])
        for name in ("aug_distortion_pt_min", "aug_dropping_pt_max"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("aug_rotation", "aug_translation", "aug_distortion", "aug_smearing", "aug_boost"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be 0 or above")
        for name in ("aug_splitting", "aug_dropping"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")

    def describe(self) -> str:
        """'rotation 3.14, translation 1, ...': the augmentations that are switched on; '' if there are none."""
        names = ("rotation", "translation", "distortion", "splitting", "smearing", "dropping", "boost")
        sizes = {name: getattr(self, f"aug_{name}") for name in names}
        return ", ".join(f"{name} {size:.3g}" for name, size in sizes.items() if size)
