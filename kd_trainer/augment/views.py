"""Random views of jets: apply all augmentations that are switched on, one after the other."""

from collections.abc import Mapping

import torch

from kd_trainer.augment import transforms
from kd_trainer.augment.constituents import Constituents
from kd_trainer.augment.features import Inputs
from kd_trainer.augment.options import Augmentations
from kd_trainer.errors import InputError


class Views:
    """Makes randomly augmented views of a batch of inputs, on the same device."""

    def __init__(self, inputs: Inputs, options: Augmentations) -> None:
        self.inputs = inputs
        self.options = options
        self.begun = False

    def __call__(
        self, X: Mapping[str, torch.Tensor], number: int = 2, generator: torch.Generator | None = None
    ) -> list[dict[str, torch.Tensor]]:
        """A list of augmented batches, each like X: dict of (N, C, P); InputError if there is no particle to drop."""
        before = self.inputs.constituents(X)
        if not self.begun:
            self._check_dropping(before)
            self.begun = True
        return [self.inputs.view(X, before, self.augmented(before, generator)) for _ in range(number)]

    def _check_dropping(self, jets: Constituents) -> None:
        pt_max = self.options.aug_dropping_pt_max
        if self.options.aug_dropping and not (jets.mask & (jets.pt < pt_max)).any():
            raise InputError(f"aug_dropping: no particle of the first batch is below aug_dropping_pt_max, {pt_max} GeV")

    def augmented(self, jets: Constituents, generator: torch.Generator | None = None) -> Constituents:
        """Constituents after the augmentations of the options."""
        o = self.options

        def uniform(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.rand(shape, generator=generator, device=jets.pt.device, dtype=jets.pt.dtype)

        def normal(shape: tuple[int, ...]) -> torch.Tensor:
            return torch.randn(shape, generator=generator, device=jets.pt.device, dtype=jets.pt.dtype)

        per_jet, per_particle = (len(jets.pt), 1), jets.pt.shape
        if o.aug_rotation:
            jets = transforms.rotate(jets, o.aug_rotation * (2 * uniform(per_jet) - 1))
        if o.aug_distortion:
            jets = transforms.distort(
                jets, eta_noise=normal(per_particle), phi_noise=normal(per_particle),
                strength=o.aug_distortion, pt_min=o.aug_distortion_pt_min,
            )  # fmt: skip
        if o.aug_smearing:
            jets = transforms.smear(jets, normal(per_particle), o.aug_smearing)
        if o.aug_dropping:
            jets = transforms.drop(
                jets, draw=uniform(per_particle), probability=o.aug_dropping, pt_max=o.aug_dropping_pt_max
            )
        if o.aug_smearing or o.aug_dropping:
            jets = transforms.by_decreasing_pt(jets)
        if o.aug_splitting:
            jets = transforms.split(
                jets, order=uniform(per_particle), share=uniform(per_particle), fraction=o.aug_splitting
            )
            jets = transforms.by_decreasing_pt(jets)
        if o.aug_translation:
            deta, dphi = (o.aug_translation * x * (2 * uniform(per_jet) - 1) for x in transforms.extent(jets))
            jets = transforms.translate(jets, deta, dphi)
        if o.aug_boost:
            jets = transforms.boost(jets, o.aug_boost * (2 * uniform(per_jet) - 1))
        return transforms.refill(jets)
