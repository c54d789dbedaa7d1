"""Augmentations of jets: pure functions of their particles, with the random numbers as arguments.

Rotation, translation, soft distortion and collinear splitting are those of JetCLR (arXiv 2108.04253).
"""

import torch

from kd_trainer.augment.constituents import Constituents, axis, wrap


def rotate(jets: Constituents, angle: torch.Tensor) -> Constituents:
    """Rotate the particles about the jet axis in the (eta, phi) plane by an angle (N, 1); distances do not change."""
    centre = axis(jets)
    deta, dphi = jets.eta - centre.eta, wrap(jets.phi - centre.phi)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return jets._replace(eta=centre.eta + cos * deta - sin * dphi, phi=centre.phi + sin * deta + cos * dphi)


def translate(jets: Constituents, deta: torch.Tensor, dphi: torch.Tensor) -> Constituents:
    """Move jets by deta, dphi (N, 1): distances do not change, nor do masses of pairs of massless particles."""
    return jets._replace(eta=jets.eta + deta, phi=jets.phi + dphi)


def extent(jets: Constituents) -> list[torch.Tensor]:
    """Extent of jets in eta and in phi, largest minus smallest value: two tensors (N, 1)."""
    centre = axis(jets)
    offsets = [(jets.eta - centre.eta) * jets.mask, wrap(jets.phi - centre.phi) * jets.mask]
    return [x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True) for x in offsets]


def distort(
    jets: Constituents, *, eta_noise: torch.Tensor, phi_noise: torch.Tensor, strength: float, pt_min: float
) -> Constituents:
    """Shift particles by noise (N, P) * strength / max(pt, pt_min), soft ones more than hard ones; strength in GeV."""
    spread = strength / jets.pt.clamp(min=pt_min)
    return jets._replace(eta=jets.eta + spread * eta_noise, phi=jets.phi + spread * phi_noise)


def split(jets: Constituents, *, order: torch.Tensor, share: torch.Tensor, fraction: float) -> Constituents:
    """Split particles into two collinear ones that share the four-momentum and have the same identity and tracks.

    Parameters
    ----------
    order : (N, P)
        The real particles with the lowest numbers are split, each once.
    share : (N, P)
        Fraction of the four-momentum, 0 to 1, that the first of the two particles keeps.
    fraction : float
        Fraction of the real particles of a jet that are split, limited by the free slots.
    """
    slots = torch.arange(jets.pt.shape[1], device=jets.pt.device)[None]  # (1, P)
    counts = jets.mask.sum(dim=1, keepdim=True)  # (N, 1)
    number = torch.minimum((fraction * counts).floor().long(), slots.shape[1] - counts)
    ranking = order.masked_fill(~jets.mask, torch.inf).argsort(dim=1)
    chosen = jets.mask & (ranking.argsort(dim=1) < number)
    new = (slots >= counts) & (slots < counts + number)
    parent = torch.where(new, ranking.gather(1, (slots - counts).clamp(min=0)), slots)
    kept = torch.where(chosen, share, 1.0)
    kept = torch.where(new, 1 - share.gather(1, parent), kept)
    jets = jets.take(parent)
    return jets._replace(pt=jets.pt * kept, mass=jets.mass * kept, mask=jets.mask | new)


def smear(jets: Constituents, noise: torch.Tensor, resolution: float) -> Constituents:
    """Scale momenta by exp(resolution * noise (N, P)), with a relative resolution; directions do not change."""
    scale = torch.exp(resolution * noise)
    return jets._replace(pt=jets.pt * scale, mass=jets.mass * scale)


def drop(jets: Constituents, *, draw: torch.Tensor, probability: float, pt_max: float) -> Constituents:
    """Remove particles below pt_max (GeV) for which draw (N, P) is below probability; the hardest particle stays."""
    pt = jets.pt * jets.mask
    lost = (pt < pt_max) & (draw < probability) & (pt < pt.amax(dim=1, keepdim=True))
    return jets._replace(mask=jets.mask & ~lost)


def boost(jets: Constituents, rapidity: torch.Tensor) -> Constituents:
    """Boost jets along the beam by rapidity (N, 1); invariant masses do not change."""
    transverse_mass = torch.hypot(jets.pt, jets.mass)
    y = torch.asinh(jets.pt * torch.sinh(jets.eta) / transverse_mass)
    return jets._replace(eta=torch.asinh(transverse_mass * torch.sinh(y + rapidity) / jets.pt))


def by_decreasing_pt(jets: Constituents) -> Constituents:
    """Sort particles: real ones first, by decreasing pT, as in the data configs."""
    key = torch.where(jets.mask, -jets.pt, torch.inf)
    return jets.take(key.argsort(dim=1, stable=True))


def refill(jets: Constituents) -> Constituents:
    """Fill free slots with copies of the real particles in turn, like weaver's padding mode `wrap`."""
    slots = torch.arange(jets.pt.shape[1], device=jets.pt.device)[None]
    return jets.take(slots % jets.mask.sum(dim=1, keepdim=True).clamp(min=1))._replace(mask=jets.mask)
