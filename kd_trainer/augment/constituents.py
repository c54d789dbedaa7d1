"""The particles of a batch of jets in transverse coordinates, for augmentations."""

from typing import NamedTuple

import torch

TINY = 1e-9  # GeV, keeps directions of empty slots defined


class Constituents(NamedTuple):
    """Particles (N, P) of N jets in P slots, real ones first; in double precision, so that conversions lose none."""

    pt: torch.Tensor  # GeV
    eta: torch.Tensor
    phi: torch.Tensor
    mass: torch.Tensor  # GeV
    mask: torch.Tensor  # bool, True for a real particle
    source: torch.Tensor  # int, the slot in the original jet that gives identity and track variables

    def take(self, slots: torch.Tensor) -> "Constituents":
        """The same particles, reordered by slots (N, P)."""
        return Constituents(*(values.gather(1, slots) for values in self))


class Axis(NamedTuple):
    """Direction and momentum of jets, from the sum of their particles; (N, 1) each."""

    pt: torch.Tensor
    eta: torch.Tensor
    phi: torch.Tensor
    energy: torch.Tensor


def from_momenta(vectors: torch.Tensor, mask: torch.Tensor) -> Constituents:
    """Constituents from four-momenta (N, 4, P) = [px, py, pz, E] in GeV; mask (N, 1, P) > 0 marks real particles."""
    px, py, pz, energy = vectors.double().unbind(1)
    pt = torch.hypot(px, py).clamp(min=TINY)
    mass2 = energy**2 - pt**2 - pz**2
    source = torch.arange(pt.shape[1], device=pt.device).expand(pt.shape)
    return Constituents(
        pt=pt,
        eta=torch.asinh(pz / pt),
        phi=torch.atan2(py, px),
        mass=mass2.clamp(min=0).sqrt(),
        mask=mask[:, 0] > 0,
        source=source,
    )


def to_momenta(jets: Constituents) -> torch.Tensor:
    """Four-momenta (N, 4, P) = [px, py, pz, E] of all slots."""
    pz = jets.pt * torch.sinh(jets.eta)
    energy = torch.sqrt(jets.pt**2 + pz**2 + jets.mass**2)
    return torch.stack([jets.pt * torch.cos(jets.phi), jets.pt * torch.sin(jets.phi), pz, energy], dim=1)


def axis(jets: Constituents) -> Axis:
    """The axis of each jet."""
    px, py, pz, energy = (to_momenta(jets) * jets.mask[:, None]).sum(dim=2, keepdim=True).unbind(1)
    pt = torch.hypot(px, py).clamp(min=TINY)
    return Axis(pt, torch.asinh(pz / pt), torch.atan2(py, px), energy.clamp(min=TINY))


def wrap(phi: torch.Tensor) -> torch.Tensor:
    """Map an angle to [-pi, pi)."""
    return torch.remainder(phi + torch.pi, 2 * torch.pi) - torch.pi
