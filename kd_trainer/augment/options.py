"""The options of augmentations, given to weaver with `-o name value`."""

import dataclasses

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import HookOptions, check_numbers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentations(HookOptions):
    """Options of hooks that train on augmented jets; 0 switches an augmentation off.

    Attributes
    ----------
    aug_rotation : float
        Largest angle of the rotation about the jet axis.
    aug_translation : float
        Largest shift in eta and phi, in units of the extent of the jet.
    aug_distortion : float
        Standard deviation of the shift of a 1 GeV particle in eta and phi; proportional to 1 / pT.
    aug_distortion_pt_min : float
        Below this pT (GeV) the standard deviation is constant.
    aug_splitting : float
        Fraction of the particles that are split into two, limited by the free slots.
    aug_smearing : float
        Relative resolution of momenta.
    aug_dropping : float
        Probability of removing a particle below aug_dropping_pt_max.
    aug_dropping_pt_max : float
        Largest pT of removed particles, in GeV.
    aug_boost : float
        Largest rapidity of a boost along the beam.
    aug_followers : sequence of str
        Variables that do not depend on the momentum of a particle, besides charge, is*, pid, d0*, dz*.
    """

    aug_rotation: float = 0.0
    aug_translation: float = 0.0
    aug_distortion: float = 0.0
    aug_distortion_pt_min: float = 0.1
    aug_splitting: float = 0.0
    aug_smearing: float = 0.0
    aug_dropping: float = 0.0
    aug_dropping_pt_max: float = 1.0
    aug_boost: float = 0.0
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
