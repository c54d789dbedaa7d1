"""Edge cases for a network, made from real jets: no particle, one particle, and too many particles."""

import awkward as ak
import numpy as np
from weaver.utils.dataset import DataConfig

from kd_trainer.deploy.inputs import Inputs, Jets, prepare

EMPTY = "no particles"


def edge_cases(events: ak.Array, jets: Jets, config: DataConfig) -> dict[str, Inputs]:
    """Inputs of modified jets, by name of the case, from jets as they are in files and the same jets, prepared."""
    counts = _counts(jets.inputs, config)
    cases = {EMPTY: _cut(jets.inputs, np.zeros_like(counts), config)}
    some = {name: x[counts > 0] for name, x in jets.inputs.items()}
    counts = counts[counts > 0]
    if len(counts):
        cases["one particle"] = _cut(some, np.ones_like(counts), config)
        length = _longest(config)
        cases["full length"] = _cut(_repeated(some, counts, length, config), np.full_like(counts, length), config)
    longer = _more_particles(events, config)
    if longer is not None:
        cases["more than full length"] = prepare(longer, config).inputs
    return cases


def _particle_groups(config: DataConfig) -> list[str]:
    return [name for name in config.input_names if config.input_shapes[name][2] is not None]


def _longest(config: DataConfig) -> int:
    return max(config.input_shapes[name][2] for name in _particle_groups(config))


def _counts(inputs: Inputs, config: DataConfig) -> np.ndarray:
    """(N,) number of particles in each jet, from the mask; without a mask, the full length."""
    masks = [name for name in config.input_names if name.endswith("_mask")]
    if not masks:
        return np.full(len(next(iter(inputs.values()))), _longest(config))
    return inputs[masks[0]].sum(axis=(1, 2)).astype(int)


def _padding(config: DataConfig, name: str) -> str:
    first = config.input_dicts[name][0]
    return config.preprocess_params[first]["pad_mode"]


def _repeated(inputs: Inputs, counts: np.ndarray, length: int, config: DataConfig) -> Inputs:
    """Fill every slot by repeating the particles of the jet."""
    index = np.arange(length) % counts[:, None]  # (N, P)
    groups = _particle_groups(config)
    return {k: np.take_along_axis(x, index[:, None], axis=2) if k in groups else x for k, x in inputs.items()}


def _cut(inputs: Inputs, counts: np.ndarray, config: DataConfig) -> Inputs:
    """Keep the first particles of each jet, and pad the rest as weaver does."""
    result = dict(inputs)
    for name in _particle_groups(config):
        x = inputs[name]
        slots = np.arange(x.shape[2])
        if _padding(config, name) == "wrap":  # a jet without particles is all zeros
            index = slots % np.maximum(counts, 1)[:, None]
            result[name] = np.take_along_axis(x, index[:, None], axis=2) * (counts > 0)[:, None, None]
        else:
            values = [config.preprocess_params[variable]["pad_value"] for variable in config.input_dicts[name]]
            padding = np.array(values, x.dtype)[None, :, None]
            result[name] = np.where(slots < counts[:, None, None], x, padding)
    return result


def _more_particles(events: ak.Array, config: DataConfig, jets: int = 64) -> ak.Array | None:
    """Some jets whose particles are repeated until they exceed the full length; None if no jet has particles."""
    lists = [name for name in config.test_load_branches if events[name].ndim > 1]
    counts = ak.to_numpy(ak.num(events[lists[0]], axis=1)) if lists else np.zeros(0, int)
    if not counts.any():
        return None
    enough = np.median(counts[counts > 0])
    chosen = events[np.flatnonzero(counts >= enough)[:jets]]
    times = int(np.ceil(2 * _longest(config) / enough))
    columns = {name: chosen[name] for name in config.test_load_branches}
    columns |= {name: ak.concatenate([columns[name]] * times, axis=1) for name in lists}
    return ak.zip(columns, depth_limit=1)
