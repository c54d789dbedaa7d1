"""Files of jets in the public layouts of hls4ml and AspenOpenJets, with random numbers in them."""

import h5py
import numpy as np

IDS = np.array([211, -211, 130, 22, 11, -11, 13, -13, 1, 2])


def momenta(rng, number, particles, at_most=30):
    """px, py, pz, e and pt (N, P) by decreasing pt and padded with zeros, and which are real."""
    pt = -np.sort(-rng.exponential(30, (number, particles)), axis=1) + 1
    eta, phi = (rng.uniform(-x, x, (number, 1)) + rng.normal(0, 0.1, pt.shape) for x in (1.5, np.pi))
    real = np.arange(particles) < rng.integers(2, at_most, number)[:, None]
    pt = pt * real
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta), pt], axis=2), real


def write(path, arrays, **options):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, **options)


def lhc_arrays(number=300, seed=1):
    """As jetImage_<i>_150p_<a>_<b>.h5."""
    rng = np.random.default_rng(seed)
    p, real = momenta(rng, number, 150)
    particles = rng.normal(0, 1, (number, 150, 16)) * real[:, :, None]
    particles[..., :4], particles[..., 5] = p[..., :4], p[..., 4]
    jets = rng.normal(0, 1, (number, 59))
    jets[:, 53:] = np.eye(6)[np.arange(number) % 5]
    names = {"particleFeatureNames": np.bytes_(["j1_px", "j1_py", "j1_pdgid"])}
    image = {"jetImage": np.zeros((number, 2, 2), np.float32)}
    return {"jets": jets, "jetConstituentList": particles.astype(np.float32), **names, **image}


def aspen_arrays(number=300, seed=2):
    """As Run{G,H}_batch<i>.h5; the third particle of each jet has no weight."""
    rng = np.random.default_rng(seed)
    p, real = momenta(rng, number, 150)
    pid = rng.choice(IDS, real.shape)
    weight = np.where(abs(pid) > 2, rng.uniform(0.3, 1, real.shape), 1)
    weight[:, 2] = 0
    tracks = rng.uniform(0.001, 0.5, (number, 150, 4))
    tracks[np.isin(pid, (130, 22, 1, 2))] = -1
    charge = np.sign(pid) * np.isin(abs(pid), (211, 11, 13)) * np.where(abs(pid) == 211, 1, -1)
    cands = np.dstack([p[..., :4], tracks, charge, pid, weight]) * real[:, :, None]
    total = (p[..., :4] * weight[..., None]).sum(axis=1)
    pt = np.hypot(total[:, 0], total[:, 1])
    eta, phi = np.arcsinh(total[:, 2] / pt), np.arctan2(total[:, 1], total[:, 0])
    jets = np.stack([1.05 * pt, eta, phi, rng.uniform(30, 300, number)], axis=1)
    return {
        "event_info": rng.integers(0, 10**9, (number, 3)),
        "jet_kinematics": jets.astype(np.float32),
        "PFCands": cands.astype(np.float32),
        "jet_tagging": rng.uniform(0, 1, (number, 13)).astype(np.float32),
    }
