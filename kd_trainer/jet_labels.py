"""Classes of the jets in input files, computed from the label branches of a data config."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
from weaver.utils.data import fileio
from weaver.utils.data.eval_utils import _get_data_var_names
from weaver.utils.data.preprocess import _apply_selection, _build_new_variables

from kd_trainer.definitions import needed_by

if TYPE_CHECKING:
    from weaver.utils.dataset import DataConfig


def plan(config: "DataConfig") -> tuple[set[str], dict[str, str]]:
    """What labels and selection need: (branches to read, {variable: expression to compute})."""
    wanted = [config.label_names[0], *_get_data_var_names(config.selection or "True")]
    needed, branches = needed_by(wanted, config.var_funcs)
    return branches, {k: v for k, v in config.var_funcs.items() if k in needed}


def classes_in(table: ak.Array, config: "DataConfig") -> np.ndarray:
    """Class indices (N,) of the jets that pass the selection, from a table with the branches of `plan`.

    -1 marks a jet in no class or in several classes.
    """
    table = _apply_selection(table, config.selection, funcs=config.var_funcs)
    table = _build_new_variables(table, plan(config)[1])
    values = ak.to_numpy(table[config.label_names[0]]).astype(int)
    if config.label_type == "simple":
        flags = np.stack([ak.to_numpy(table[name]) for name in config.label_value], axis=1)
        values = np.where(flags.sum(axis=1) == 1, values, -1)
    return values


def counts(paths: Sequence[str], config: "DataConfig", number: int, part: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Numbers of jets (K,) of each class in files, read with weaver until every class has at least one jet.

    Parameters
    ----------
    paths : list of str
        Read in a shuffled order, because neighbouring files often hold the same class.
    number : int
        Number of classes K.
    part : (begin, end)
        Range of each file to read, between 0 and 1.
    """
    made = {*(config.file_magic or {}), "aux_training_"}
    branches = plan(config)[0] - made or config.train_load_branches - made
    found = np.zeros(number, dtype=int)
    for i in np.random.default_rng(0).permutation(len(paths)):
        table = fileio._read_files(
            [paths[i]], branches, [part], treename=config.treename, branch_magic=config.branch_magic,
            file_magic=config.file_magic,
        )  # fmt: skip
        table["aux_training_"] = True
        values = classes_in(table, config)
        found += np.bincount(values[(values >= 0) & (values < number)], minlength=number)
        if found.all():
            break
    return found
