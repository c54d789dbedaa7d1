"""The options of a contrastive pre-training, as given to weaver with `-o name value`."""

import dataclasses
import math
from typing import ClassVar

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import HookOptions, check_numbers


@dataclasses.dataclass(frozen=True)
class Options(HookOptions):
    """What `networks/contrastive.py` understands; everything else goes to the encoder's network.

    The temperature and the four augmentations that are on by default are those of JetCLR (arXiv 2108.04253 and its
    program); 0 switches an augmentation off.

    Attributes
    ----------
    encoder : str
        Network file of the encoder.
    cl_temperature : float
        Divides the cosine similarities, above 0.
    cl_projection : sequence of int
        Widths of the projection that the loss looks through; empty for none.
    cl_val_jets : int
        Jets among which a view looks for its partner in validation; fewer if a batch has fewer.
    aug_rotation : float
        Largest angle of rotation about the jet axis.
    aug_translation : float
        Largest shift in eta and in phi, in units of the jet's extent.
    aug_distortion : float
        Spread of a particle of 1 GeV in eta and phi; falls as 1 / pT.
    aug_distortion_pt_min : float
        Below this pT (GeV) the spread is constant.
    aug_splitting : float
        Fraction of the particles that are split into two, as far as there are free slots.
    aug_smearing : float
        Relative resolution of momenta.
    aug_dropping : float
        Probability to lose a particle below aug_dropping_pt_max.
    aug_dropping_pt_max : float
        In GeV.
    aug_boost : float
        Largest rapidity of a boost along the beam.
    aug_followers : sequence of str
        Variables that belong to a particle whatever becomes of its momentum, besides charge, is*, pid, d0*, dz*.
    """

    encoder: str
    cl_temperature: float = 0.1
    cl_projection: tuple[int, ...] = (128, 128)
    cl_val_jets: int = 64
    aug_rotation: float = math.pi
    aug_translation: float = 1.0
    aug_distortion: float = 0.1
    aug_distortion_pt_min: float = 0.1
    aug_splitting: float = 1.0
    aug_smearing: float = 0.0
    aug_dropping: float = 0.0
    aug_dropping_pt_max: float = 1.0
    aug_boost: float = 0.0
    aug_followers: tuple[str, ...] = ()

    PREFIXES: ClassVar = ("cl_", "aug_")
    NETWORK: ClassVar = "encoder"

    def __post_init__(self):
        super().__post_init__()
        numbers = [f.name for f in dataclasses.fields(self) if f.type in ("float", "int", float, int)]
        check_numbers(self, numbers)
        widths = self.cl_projection
        if not isinstance(widths, tuple | list) or not all(isinstance(w, int) and w > 0 for w in widths):
            raise InputError(f"cl_projection is {widths!r}: it must be widths like (128, 128), () for none")
        for name in ("cl_temperature", "aug_distortion_pt_min", "aug_dropping_pt_max"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be above 0")
        for name in ("aug_rotation", "aug_translation", "aug_distortion", "aug_smearing", "aug_boost"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}: it must be 0 or above")
        for name in ("aug_splitting", "aug_dropping"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is {getattr(self, name)}: it must lie between 0 and 1")
        if not self.cl_val_jets >= 2:
            raise InputError(f"cl_val_jets is {self.cl_val_jets}: it takes two jets to tell them apart")
