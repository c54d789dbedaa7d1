"""Particles and minimum-bias events made by hand, for the detectors of the simulation."""

import numpy as np

from kd_trainer.simulate import cms_card, minimum_bias


def particles(pid, pt, eta, phi, event=None, vertex=(0.0, 0.0, 0.0)):
    pid, pt, eta, phi = np.broadcast_arrays(*(np.atleast_1d(value) for value in (pid, pt, eta, phi)))
    mass = np.select([np.abs(pid) == pdg for pdg in cms_card.MASSES], list(cms_card.MASSES.values()), 0.0)
    columns = {"pid": pid, "px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    columns["energy"] = np.hypot(pt * np.cosh(eta), mass)
    columns |= {axis: np.full(len(pid), value) for axis, value in zip("xyz", vertex, strict=True)}
    return columns | {"event": np.zeros(len(pid), int) if event is None else event}


def toy_pool(rng, n_events=50, size=60):
    """Minimum bias made by hand: soft pions and photons."""
    n = n_events * size
    pool = particles(rng.choice([211, -211, 22], n), rng.exponential(0.5, n) + 0.1, rng.uniform(-3, 3, n),
                     rng.uniform(-np.pi, np.pi, n))  # fmt: skip
    return {name: pool[name] for name in minimum_bias.COLUMNS} | {"first": np.arange(n_events + 1) * size}
