"""The options of a contrastive pre-training, given to weaver with `-o name value`."""

import dataclasses
import math
from typing import ClassVar

from kd_trainer.augment.options import Augmentations
from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import check_numbers


@dataclasses.dataclass(frozen=True)
class Options(Augmentations):
    """The options of `networks/contrastive.py`; all others go to the encoder's network.

    The temperature and the four augmentations that are on by default are those of JetCLR (arXiv 2108.04253 and its
    code). 0 switches an augmentation off.
    """

    encoder: str  # network file of the encoder
    cl_temperature: float = 0.1  # divides the cosine similarities, above 0
    cl_projection: tuple[int, ...] = (128, 128)  # widths of the projection before the loss; empty for no projection
    cl_val_jets: int = 64  # jets among which a view must find its partner in validation; limited by the batch size
    _: dataclasses.KW_ONLY
    aug_rotation: float = math.pi
    aug_translation: float = 1.0
    aug_distortion: float = 0.1
    aug_splitting: float = 1.0

    PREFIXES: ClassVar = ("cl_", "aug_")
    NETWORK: ClassVar = "encoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, ("cl_temperature", "cl_val_jets"))
        widths = self.cl_projection
        if not isinstance(widths, tuple | list) or not all(isinstance(w, int) and w > 0 for w in widths):
            raise InputError(f"cl_projection is {widths!r}: it must be widths like (128, 128), or () for no projection")
        if not self.cl_temperature > 0:
            raise InputError(f"cl_temperature is {self.cl_temperature}: it must be above 0")
        if not self.cl_val_jets >= 2:
            raise InputError(f"cl_val_jets is {self.cl_val_jets}: it must be at least 2")
