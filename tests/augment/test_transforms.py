"""Physics of the augmentations."""

import math

import pytest
import torch

from kd_trainer.augment import transforms
from kd_trainer.augment.constituents import Constituents, axis, from_momenta, to_momenta

N, P = 30, 24


@pytest.fixture
def jets():
    """Narrow jets of 2 to 20 particles in 24 slots."""
    g = torch.Generator().manual_seed(4)
    counts = torch.randint(2, 21, (N, 1), generator=g)
    uniform = torch.rand(4, N, P, generator=g, dtype=torch.float64)
    centre = torch.rand(2, N, 1, generator=g, dtype=torch.float64) * 4 - 2
    return Constituents(
        pt=torch.exp(5 * uniform[0]),
        eta=centre[0] + 0.1 * (uniform[1] - 0.5),
        phi=centre[1] + 0.1 * (uniform[2] - 0.5),
        mass=0.3 * uniform[3],
        mask=torch.arange(P) < counts,
        source=torch.arange(P).expand(N, P),
    )


def uniform(*shape, seed=5):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def total(jets):
    return (to_momenta(jets) * jets.mask[:, None]).sum(dim=2)


def all_jets(value):
    return torch.full((N, 1), value, dtype=torch.float64)


def pair_distances(jets):
    return torch.hypot(jets.eta[:, :, None] - jets.eta[:, None], jets.phi[:, :, None] - jets.phi[:, None])


def pair_masses(jets):
    p = to_momenta(jets)
    px, py, pz, energy = (p[..., None] + p[:, :, None]).unbind(1)
    return (energy**2 - px**2 - py**2 - pz**2).clamp(min=0).sqrt()


def close(a, b, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def test_momenta_survive_the_round_trip(jets):
    momenta = to_momenta(jets)
    close(to_momenta(from_momenta(momenta, jets.mask[:, None])), momenta)


def test_rotation(jets):
    turned = transforms.rotate(jets, all_jets(0.7))
    close(pair_distances(turned), pair_distances(jets))
    close(turned.pt, jets.pt)
    massless = jets._replace(mass=torch.zeros_like(jets.mass))
    ratio = pair_masses(transforms.rotate(massless, all_jets(0.7))) / pair_masses(massless)
    wide = pair_distances(jets) > 0.02
    assert (ratio[wide] - 1).abs().max() < 0.15**2 / 12  # cosh(deta) - cos(dphi) is deltaR^2 / 2 up to this
    close(transforms.rotate(turned, all_jets(-0.7)).eta, jets.eta, atol=1e-3)
    close(transforms.rotate(jets, all_jets(2 * math.pi)).phi, jets.phi)
    hard = jets._replace(pt=torch.where(torch.arange(P) == 0, 1e12, jets.pt))  # one particle is the axis
    close(transforms.rotate(hard, all_jets(1.0)).eta[:, 0], hard.eta[:, 0])


def test_rotation_across_the_seam_of_phi(jets):
    turned = [transforms.rotate(transforms.translate(jets, 0, shift), all_jets(0.7)) for shift in (0.0, 3.0)]
    seam = transforms.translate(jets, 0, 3.0)
    seam = from_momenta(to_momenta(seam), jets.mask[:, None])  # phi in [-pi, pi)
    direction = to_momenta(transforms.rotate(seam, all_jets(0.7)))
    close(direction, to_momenta(turned[1]))
    close(turned[1].eta, turned[0].eta)


def test_translation(jets):
    moved = transforms.translate(jets, 0.8, -2.0)
    close(pair_distances(moved), pair_distances(jets))
    massless = jets._replace(mass=torch.zeros_like(jets.mass))
    close(pair_masses(transforms.translate(massless, 0.8, -2.0)), pair_masses(massless), rtol=1e-3, atol=1e-3)
    deta, dphi = transforms.extent(jets)
    assert (deta > 0).all() and (deta <= 0.1).all() and (dphi <= 0.1).all()
    close(deta[:, 0], torch.stack([e[m].max() - e[m].min() for e, m in zip(jets.eta, jets.mask)]))


def test_boost_keeps_all_masses(jets):
    boosted = transforms.boost(jets, all_jets(0.8))
    close(pair_masses(boosted), pair_masses(jets), rtol=1e-4, atol=1e-4)
    close(boosted.pt, jets.pt)
    energy, pz = to_momenta(jets)[:, 3], to_momenta(jets)[:, 2]
    close(to_momenta(boosted)[:, 3], math.cosh(0.8) * energy + math.sinh(0.8) * pz)


def test_distortion_falls_with_momentum(jets):
    noise = torch.ones(N, P, dtype=torch.float64)
    moved = transforms.distort(jets, eta_noise=noise, phi_noise=-2 * noise, strength=0.1, pt_min=2.0)
    close(moved.eta - jets.eta, 0.1 / jets.pt.clamp(min=2.0))
    close(moved.phi - jets.phi, -0.2 / jets.pt.clamp(min=2.0))


def test_splitting_conserves_momentum(jets):
    parts = transforms.split(jets, order=uniform(N, P), share=uniform(N, P, seed=6), fraction=1.0)
    counts = jets.mask.sum(dim=1)
    assert torch.equal(parts.mask.sum(dim=1), torch.minimum(2 * counts, torch.tensor(P)))
    close(total(parts), total(jets))
    for before, after, source in zip(jets.mask, parts.mask, parts.source):
        daughters = source[after].bincount(minlength=P)  # of each particle
        assert daughters.max() <= 2 and torch.equal(daughters > 0, before)
    close(parts.eta, jets.eta.gather(1, parts.source))
    half = transforms.split(jets, order=uniform(N, P), share=uniform(N, P), fraction=0.5)
    assert torch.equal(half.mask.sum(dim=1), torch.minimum(counts + counts // 2, torch.tensor(P)))
    close(total(half), total(jets))


def test_infrared_and_collinear_limits(jets):
    """A very unequal splitting, or the loss of a very soft particle, does not change the jet."""
    share = torch.full((N, P), 1 - 1e-12, dtype=torch.float64)
    tiny = transforms.split(jets, order=uniform(N, P), share=share, fraction=1.0)
    close(to_momenta(tiny)[:, :, :2], to_momenta(jets)[:, :, :2])
    close(axis(tiny).eta, axis(jets).eta)
    soft = jets._replace(pt=torch.where(torch.arange(P) == 1, 1e-9, jets.pt))
    lost = transforms.drop(soft, draw=torch.zeros(N, P), probability=1.0, pt_max=1e-6)
    assert (lost.mask.sum(dim=1) == jets.mask.sum(dim=1) - 1).all()
    close(total(lost)[:, :2], total(soft)[:, :2], atol=1e-8)


def test_dropping_keeps_the_hardest(jets):
    left = transforms.by_decreasing_pt(transforms.drop(jets, draw=torch.zeros(N, P), probability=0.5, pt_max=1e9))
    assert (left.mask.sum(dim=1) == 1).all() and left.mask[:, 0].all()
    close(left.pt[:, 0], (jets.pt * jets.mask).amax(dim=1))
    kept = transforms.drop(jets, draw=torch.full((N, P), 0.5), probability=0.5, pt_max=1e9)
    assert torch.equal(kept.mask, jets.mask)


def test_smearing_keeps_directions_and_scales_masses(jets):
    smeared = transforms.smear(jets, torch.full((N, P), 2.0, dtype=torch.float64), 0.1)
    close(to_momenta(smeared), math.exp(0.2) * to_momenta(jets))


def test_free_slots_repeat_the_particles(jets):
    filled = transforms.refill(transforms.by_decreasing_pt(jets))
    for pt, mask in zip(filled.pt, filled.mask):
        count = int(mask.sum())
        assert mask[:count].all() and (pt[:count].diff() <= 0).all()
        assert torch.equal(pt, pt[torch.arange(P) % count])


def test_a_jet_without_particles_stays_finite():
    empty = from_momenta(torch.zeros(1, 4, P), torch.zeros(1, 1, P))
    for result in (
        transforms.rotate(empty, torch.ones(1, 1)),
        transforms.boost(empty, torch.ones(1, 1)),
        transforms.split(empty, order=uniform(1, P), share=uniform(1, P), fraction=1.0),
        transforms.refill(transforms.by_decreasing_pt(empty)),
    ):
        assert not result.mask.any() and torch.isfinite(to_momenta(result)).all()
