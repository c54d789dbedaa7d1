"""Reading of jets for a cache: in chunks, with weaver's own selection and preprocessing."""

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import torch
from weaver.utils.data.preprocess import _apply_selection, _build_new_variables
from weaver.utils.dataset import DataConfig, _check_labels, _finalize_inputs

from kd_trainer.configs import inputs_to_store, stored, student_view, teacher_inputs
from kd_trainer.errors import InputError, one_line
from kd_trainer.jet_files import check_numbers, chunks, name_in_file
from kd_trainer.weaver_hooks.arrays import to_columns


class Chunk(NamedTuple):
    """Jets that are read together.

    Attributes
    ----------
    rows : int
        Number of jets before the selection.
    table : pyarrow.Table or None
        The student's branches, or its inputs as arrays and what else it reads, for jets that pass the selection; None
        if none does. Types are those of the input file, including whether values may be null, because awkward cannot
        sort nullable lists.
    X : dict of name -> (N, ...) tensor
        The teacher's inputs of the selected jets.
    nan : int
        Number of selected jets with NaN in the variables of X, which weaver replaces by 0.
    """

    rows: int
    table: pa.Table | None
    X: dict[str, torch.Tensor]
    nan: int = 0


class Reader:
    """Reads input files for a cache.

    Parameters
    ----------
    paired : DataConfig
        The paired config.
    dtype : str or None
        Data type in which the student's inputs are stored where its rounding is small; None stores the branches they
        are computed from.
    """

    def __init__(self, paired: DataConfig, dtype: str | None = None) -> None:
        student = student_view(paired)
        self.config: DataConfig = teacher_inputs(paired)
        self.magic, self.dtype = paired.file_magic or {}, dtype
        made: set[str] = set(self.config.train_aux_branches)
        kept, branches = student, self.config.train_load_branches | student.train_load_branches
        self.arrays: DataConfig | None = None
        if dtype:
            kept = DataConfig(print_info=False, **stored(student.options))
            self.arrays = inputs_to_store(student)
            made |= self.arrays.train_aux_branches
        self.functions = {name: text for name, text in paired.var_funcs.items() if name in made}
        self.kept = sorted((kept.train_load_branches | kept.test_load_branches) - {"aux_training_"})
        branches |= student.test_load_branches
        self.names = {name: name_in_file(name, self.config) for name in branches}
        for variable in {*self.magic, "aux_training_"}:
            self.names.pop(variable, None)

    def branches(self) -> set[str]:
        """Names in the files of the branches to read."""
        return set(self.names.values())

    def read(self, path: str, rows: int) -> Iterator[Chunk]:
        """Yield the jets of a file in chunks of `rows`.

        Raises
        ------
        InputError
            If the file cannot be read, or its jets cannot be preprocessed.
        """
        groups = self.arrays.input_names if self.arrays else ()
        dtypes = {f"_{group}": "float32" for group in groups if self.dtype == "float32"}
        for table in chunks(path, self.branches(), rows, self.config.treename):
            try:
                yield self._prepare(table, path, dtypes)
            except Exception as error:
                raise InputError(f"{path}: weaver cannot preprocess its jets: {one_line(error)}") from None

    def _prepare(self, table: ak.Array, path: str, dtypes: dict[str, str]) -> Chunk:
        """The steps of weaver's `_preprocess` for training, without its sampling and shuffling."""
        rows = len(table)
        check_numbers(table, self.names.values())
        for name, there in self.names.items():
            if name != there:
                table[name] = table[there]
        for variable, values in self.magic.items():
            table[variable] = next((value for pattern, value in values.items() if re.search(pattern, path)), 0)
        table["aux_training_"] = True
        table = _apply_selection(table, self.config.selection, funcs=self.config.var_funcs)
        if len(table) == 0:
            return Chunk(rows, None, {})
        table = _build_new_variables(table, self.functions)
        kept = ak.to_arrow_table(ak.to_packed(table[self.kept]), list_to32=True, extensionarray=False)
        if self.config.label_type == "simple":
            _check_labels(table)
        nan = with_nan([table[name] for names in self.config.input_dicts.values() for name in names])
        inputs = _finalize_inputs(table, self.config)
        X = {name: torch.from_numpy(inputs["_" + name]) for name in self.config.input_names}
        return Chunk(rows, self._with_arrays(kept, table, dtypes), X, nan)

    def _with_arrays(self, kept: pa.Table, table: ak.Array, dtypes: dict[str, str]) -> pa.Table:
        """Append the student's inputs to `kept`; `dtypes` by column are chosen for the first jets of a file."""
        if self.arrays is None:
            return kept
        for column in to_columns(_finalize_inputs(table, self.arrays), self.arrays.inputs, dtypes):
            kept = kept.append_column(*column)
        return kept


def with_nan(columns: Sequence[ak.Array]) -> int:
    """Number of jets with NaN in any of the columns, which may contain lists."""
    found = np.zeros(len(columns[0]), dtype=bool)
    for column in columns:
        nan = np.isnan(column)
        while nan.ndim > 1:
            nan = ak.any(nan, axis=-1)
        found |= ak.to_numpy(nan)
    return int(found.sum())


def ahead(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    """Yield chunks, and read the next one in the meantime."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, chunks, None)
        while (chunk := future.result()) is not None:
            future = pool.submit(next, chunks, None)
            yield chunk
