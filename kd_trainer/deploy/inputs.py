"""Network inputs of jets. Weaver's own functions make them, so that they agree with its loader bit for bit."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
from weaver.utils.data.preprocess import _apply_selection, _build_new_variables
from weaver.utils.dataset import DataConfig, _finalize_inputs

from kd_trainer.errors import InputError, one_line
from kd_trainer.jet_files import check_numbers

# flags of a jet; their sum is stored, 0 if nothing is wrong
NO_PARTICLES, NOT_FINITE_INPUT, NOT_FINITE_SCORE = 1, 2, 4


Inputs = dict[str, np.ndarray]  # (N, C, P) by the name of the input group


class Jets(NamedTuple):
    """Network inputs of N jets."""

    inputs: Inputs  # float32
    flags: np.ndarray  # (N,) uint8
    rows: np.ndarray  # (N,) positions among the given jets; with a selection, N is smaller than their number


def input_view(options: Mapping[str, Any]) -> DataConfig:
    """DataConfig of the inputs alone: jets to be tagged do not need labels, observers or weights.

    Raises
    ------
    InputError
        If the config asks for automatic standardisation that has not been computed.
    """
    options = {
        **copy.deepcopy(options),
        **dict.fromkeys(("observers", "monitor_variables", "weights", "bucketing")),
        "labels": {"type": "custom", "value": {}},
    }
    config = DataConfig(print_info=False, **options)
    if config._missing_standardization_info:
        raise InputError("the data config asks for automatic standardisation that has not been computed")
    return config


def label_view(options: Mapping[str, Any]) -> DataConfig:
    """DataConfig of the true classes alone."""
    kept = ("treename", "branch_magic", "file_magic", "new_variables", "labels")
    return DataConfig(print_info=False, inputs={}, **{key: copy.deepcopy(options.get(key)) for key in kept})


def labels(events: ak.Array, config: DataConfig) -> np.ndarray:
    """(N,) true classes of jets; `config` is a `label_view`."""
    table, _ = variables(events, config)
    return ak.to_numpy(table[config.label_names[0]]).astype(int)


def prepare(events: ak.Array, config: DataConfig, selected: bool = False) -> Jets:
    """Selection, new variables, standardisation and padding of a data config, for jets in memory.

    Parameters
    ----------
    events : awkward record array
        N jets with the branches that the config reads.
    config : DataConfig
        See `input_view`.
    selected : bool
        Leave out the jets that fail the selection of the config (its `test_time_selection`, if it has one).

    Raises
    ------
    InputError
        If branches are missing, or if a variable cannot be computed from them.
    """
    table, rows = variables(events, config, selected)
    if len(rows) == 0:
        shapes = {name: [n for n in shape[1:] if n is not None] for name, shape in config.input_shapes.items()}
        return Jets({k: np.zeros((0, *s), "float32") for k, s in shapes.items()}, np.zeros(0, "uint8"), rows)
    with _one_line():
        flags = NO_PARTICLES * _without_particles(table, config) + NOT_FINITE_INPUT * _not_finite(table, config)
        inputs = _finalize_inputs(table, config)
    return Jets({name: inputs["_" + name] for name in config.input_names}, flags.astype("uint8"), rows)


def variables(events: ak.Array, config: DataConfig, selected: bool = False) -> tuple[ak.Array, np.ndarray]:
    """The variables of the network's inputs before standardisation and padding: (record array, rows), see `prepare`."""
    table = _table(events, config)
    table["_row_"] = np.arange(len(table))
    with _one_line():
        if selected:
            table = _apply_selection(table, config.test_time_selection, funcs=config.var_funcs)
        rows = ak.to_numpy(table["_row_"])
        if len(rows):
            table = _build_new_variables(table, config.test_var_funcs)
    return table, rows


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    try:
        with np.errstate(all="ignore"):  # the flags mark such jets
            yield
    except Exception as error:  # an expression of the config can raise any exception
        raise InputError(f"the inputs cannot be computed from these jets: {one_line(error)}") from error


def _table(events: ak.Array, config: DataConfig) -> ak.Array:
    """A copy of only the branches that the config reads; weaver would use other branches as its variables."""
    if not isinstance(events, ak.Array) or not events.fields:
        raise InputError("the jets have to be an awkward array with a field for each branch")
    missing = sorted(config.test_load_branches - set(events.fields))
    if missing:
        raise InputError(f"the jets lack {', '.join(missing)}")
    check_numbers(events, config.test_load_branches)
    return ak.to_packed(events[sorted(config.test_load_branches)])  # weaver mishandles sliced arrays


def _not_finite(table: ak.Array, config: DataConfig) -> np.ndarray:
    """(N,) whether any number of a jet, in the branches read or in the inputs, is NaN or infinite."""
    bad = np.zeros(len(table), bool)
    for name in config.test_load_branches | set(config.preprocess_params):
        finite = ak.fill_none(np.isfinite(table[name]), False, axis=-1)
        while finite.ndim > 1:
            finite = ak.all(finite, axis=-1)
        bad |= ~ak.to_numpy(ak.fill_none(finite, False, axis=0))
    return bad


def _without_particles(table: ak.Array, config: DataConfig) -> np.ndarray:
    """(N,) whether a jet has no particles in any of the inputs that are lists."""
    empty = np.zeros(len(table), bool)
    for name in config.preprocess_params:
        if table[name].ndim > 1:
            empty |= ak.to_numpy(ak.fill_none(ak.num(table[name], axis=1), 0, axis=0)) == 0
    return empty
