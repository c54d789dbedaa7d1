"""Jets of given multiplicities, for networks."""

import torch


def jets(counts, particles=30, seed=1):
    """points, features, vectors, mask of random jets"""
    torch.manual_seed(seed)
    p3 = torch.randn(len(counts), 3, particles) * 10
    energy = (p3.square().sum(1, keepdim=True) + 0.02).sqrt()
    mask = (torch.arange(particles) < torch.tensor(counts)[:, None]).float()[:, None]
    features = torch.randn(len(counts), 7, particles)
    return features[:, :2], features, torch.cat([p3, energy], 1), mask
