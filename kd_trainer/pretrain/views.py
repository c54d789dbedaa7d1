"""Random views of jets: each augmentation that is switched on, one after the other."""

from collections.abc import Mapping

import torch

from kd_trainer.pretrain import augment
from kd_trainer.pretrain.constituents import Constituents
from kd_trainer.pretrain.features import Inputs
from kd_trainer.pretrain.options import Options


class Views:
    """Makes randomly augmented views of a batch of inputs, on the device where they are.

    Parameters
    ----------
    inputs : features.Inputs
    options : options.Options
    """

    def __init__(self, inputs: Inputs, options: Options) -> None:
        self.inputs = inputs
        self.options = options

    def __call__(
        self, X: Mapping[str, torch.Tensor], number: int = 2, generator: torch.Generator | None = None
    ) -> list[dict[str, torch.Tensor]]:
        """A list of augmented batches, each like X: dict of (N, C, P)."""
        before = self.inputs.constituents(X)
        return [self.inputs.view(X, before, self.augmented(before, generator)) for _ in range(number)]

    def augmented(self, jets: Constituents, generator: torch.Generator | None = None) -> Constituents:
        """Constituents with the augmentations of the options."""
        o = self.options

        def uniform(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.rand(shape, generator=generator, device=jets.pt.device, dtype=jets.pt.dtype)

        def normal(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=jets.pt.device, dtype=jets.pt.dtype)

        per_jet, per_particle = (len(jets.pt), 1), jets.pt.shape
        if o.aug_rotation:
            jets = augment.rotate(jets, o.aug_rotation * (2 * uniform(per_jet) - 1))
        if o.aug_distortion:
            jets = augment.distort(
                jets, eta_noise=normal(per_particle), phi_noise=normal(per_particle),
                strength=o.aug_distortion, pt_min=o.aug_distortion_pt_min,
            )  # fmt: skip
        if o.aug_smearing:
            jets = augment.smear(jets, normal(per_particle), o.aug_smearing)
        if o.aug_dropping:
            jets = augment.drop(
                jets, draw=uniform(per_particle), probability=o.aug_dropping, pt_max=o.aug_dropping_pt_max
            )
        if o.aug_smearing or o.aug_dropping:
            jets = augment.by_decreasing_pt(jets)
        if o.aug_splitting:
            jets = augment.split(
                jets, order=uniform(per_particle), share=uniform(per_particle), fraction=o.aug_splitting
            )
            jets = augment.by_decreasing_pt(jets)
        if o.aug_translation:
            deta, dphi = (o.aug_translation * x * (2 * uniform(per_jet) - 1) for x in augment.extent(jets))
            jets = augment.translate(jets, deta, dphi)
        if o.aug_boost:
            jets = augment.boost(jets, o.aug_boost * (2 * uniform(per_jet) - 1))
        return augment.refill(jets)

    def describe(self) -> str:
        """'rotation 3.14, translation 1, ...': the augmentations that are switched on."""
        names = ("rotation", "translation", "distortion", "splitting", "smearing", "dropping", "boost")
        sizes = {name: getattr(self.options, f"aug_{name}") for name in names}
        return ", ".join(f"{name} {size:.3g}" for name, size in sizes.items() if size) or "none"
