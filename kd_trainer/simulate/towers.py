"""Energy flow as in the top-tagging benchmark: tracks, and coarse towers of photons and of neutral hadrons."""

import numpy as np

from kd_trainer.datasets.kinematics import Columns, directions
from kd_trainer.simulate.calorimeter import DEGREE, cells

# Hadronic towers are those of the ATLAS card of Delphes. With electromagnetic towers of this size jets have as many
# constituents as in the benchmark (docs/measurements/simulation.md); with cells of 1 degree they have 15 % more.
PHOTON_TOWER, HADRON_TOWER = 4 * DEGREE, 10 * DEGREE
MOMENTUM = ("px", "py", "pz")


def energy_flow(parts: Columns) -> Columns:
    """Massless constituents without particle types: event, px, py, pz, energy (Q,), ordered by event.

    `parts` are the columns (P,) of `detector.reconstruct`.
    """
    tracks = parts["charge"] != 0
    pieces = [{name: parts[name][tracks] for name in ("event", *MOMENTUM)}]
    pieces += [sum_in_towers(parts, parts["isPhoton"], PHOTON_TOWER)]
    pieces += [sum_in_towers(parts, parts["isNeutralHadron"], HADRON_TOWER)]
    merged = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    order = np.argsort(merged["event"], kind="stable")
    merged = {name: values[order] for name, values in merged.items()}
    return merged | {"energy": np.sqrt(sum(merged[name] ** 2 for name in MOMENTUM))}


def sum_in_towers(parts: Columns, which: np.ndarray, size: float) -> Columns:
    """Sum the momenta of the particles of a mask in towers of one size in eta and phi: dict of event, px, py, pz."""
    chosen = {name: parts[name][which] for name in ("event", *MOMENTUM)}
    _, eta, phi = directions(chosen)
    first, tower = cells(chosen["event"], eta, phi, np.full(len(eta), size))
    sums = {name: np.bincount(tower, chosen[name], minlength=len(first)) for name in MOMENTUM}
    return {"event": chosen["event"][first]} | sums
