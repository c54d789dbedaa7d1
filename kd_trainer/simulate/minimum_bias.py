"""Pile-up: a pool of minimum-bias events from Pythia, made once and kept on disk, and vertices along the beam."""

import functools
import os
from pathlib import Path

import numpy as np
import pythia8mc
from scipy.special import ndtr, ndtri

from kd_trainer.datasets.kinematics import Columns
from kd_trainer.datasets.storage import versions
from kd_trainer.files import reading, replacing
from kd_trainer.simulate.events import flatten, select, stable_particles

EVENTS = 10_000  # in the pool; each is reused with other vertices and rotated around the beam
SETTINGS = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "SoftQCD:inelastic = on",
    "Random:setSeed = on",
    "Random:seed = 1",
)
ETA_MAX = 3.7  # slightly beyond the calorimeter of this simulation, because vertices are displaced
COLUMNS = ("pid", "px", "py", "pz", "energy", "x", "y", "z")
VERTEX_SPREAD, VERTEX_REACH = 53.0, 250.0  # mm


def draw_vertices(n: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of vertices along the beam: (n,) in mm, from a Gaussian of width 53 mm, truncated at 250 mm."""
    edge = VERTEX_REACH / VERTEX_SPREAD
    return VERTEX_SPREAD * ndtri(rng.uniform(ndtr(-edge), ndtr(edge), n))


def mix(pool: Columns, counts: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> Columns:
    """Particles of minimum-bias events, drawn at random from the pool and rotated around the beam by a random angle.

    Parameters
    ----------
    pool : from `load_pool`
    counts : (E,) number of minimum-bias events in each event
    z : (sum of counts,) positions of their vertices in mm
    rng : numpy Generator

    Returns
    -------
    dict of (P,) arrays: event (0 to E - 1, in order) and pid, px, py, pz, energy, x, y, z
    """
    chosen = rng.integers(len(pool["first"]) - 1, size=len(z))
    size = pool["first"][chosen + 1] - pool["first"][chosen]
    index = np.arange(size.sum()) + np.repeat(pool["first"][chosen] - np.cumsum(size) + size, size)
    particles = select({name: pool[name] for name in COLUMNS}, index)
    angle = rng.uniform(0, 2 * np.pi, len(z))
    cos, sin = np.repeat(np.cos(angle), size), np.repeat(np.sin(angle), size)
    for along_x, along_y in (("px", "py"), ("x", "y")):
        first, second = particles[along_x], particles[along_y]
        particles[along_x], particles[along_y] = cos * first - sin * second, sin * first + cos * second
    particles["z"] = particles["z"] + np.repeat(z, size)
    return particles | {"event": np.repeat(np.repeat(np.arange(len(counts)), counts), size)}


@functools.cache
def load_pool(n_events: int = EVENTS) -> Columns:
    """Load the pool; make it first if it is not on disk (13 TeV, `SoftQCD:inelastic`, fixed seed).

    Returns
    -------
    dict of arrays
        COLUMNS (P,): stable, visible particles with |eta| < 3.7, and first (n_events + 1,): where events start

    Raises
    ------
    InputError, StopError
        if the file in the cache cannot be read or written
    """
    path = pool_path(n_events)
    if not path.exists():
        print(f"simulate: making {n_events} minimum-bias events for the pile-up in {path} (only once)", flush=True)
        pool = make_pool(n_events)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **pool)
    with reading(path), np.load(path) as file:
        return {name: file[name] for name in (*COLUMNS, "first")}


def pool_path(n_events: int) -> Path:
    """Path of the pool, in $XDG_CACHE_HOME/weaver-kd (by default ~/.cache); the name contains Pythia's version."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "weaver-kd" / f"minimum_bias_{n_events}_pythia_{versions()['pythia8mc']}.npz"


def make_pool(n_events: int) -> Columns:
    """Make the content of the pool, as `load_pool` returns it; this takes 5 s and 2 ms per event."""
    pythia = pythia8mc.Pythia("", False)
    for line in SETTINGS:
        if not pythia.readString(line):
            raise RuntimeError(f"Pythia does not know the setting '{line}'")
    if not pythia.init():
        raise RuntimeError("Pythia cannot start with minimum-bias events")
    pieces, counts = [], []
    for start in range(0, n_events, 500):
        n = min(500, n_events - start)
        particles = stable_particles(flatten(pythia.nextBatch(n)))
        pt = np.hypot(particles["px"], particles["py"])
        particles = select(particles, np.abs(particles["pz"]) < pt * np.sinh(ETA_MAX))
        counts.append(np.bincount(particles["event"], minlength=n))
        pieces.append({name: particles[name] for name in COLUMNS})
    pool = {name: np.concatenate([piece[name] for piece in pieces]) for name in COLUMNS}
    pool = {name: values.astype(np.int16 if name == "pid" else np.float32) for name, values in pool.items()}
    return pool | {"first": np.concatenate([[0], np.cumsum(np.concatenate(counts))])}
