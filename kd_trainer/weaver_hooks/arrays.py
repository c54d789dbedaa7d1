"""Input groups that the files of a cache store as arrays, as the network takes them.

The column `_<group>` holds the array of a jet after standardisation and padding, as bytes of fp16 or fp32; its metadata
give the data type and the shape. The loader reads it without weaver's preprocessing:

weaver's `_load_next` --> all other columns, with selection, labels and sampling weights, by weaver's own functions
                      --> the arrays of the jets that remain
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from weaver.utils import dataset

from kd_trainer.configs import Options, stored_groups
from kd_trainer.errors import InputError, one_line

LARGEST = 8.0  # of values that are stored in fp16; its rounding changes them by at most 0.002
ROW = "_kd_row"  # column of a table: the number of a jet among those that are read together


def columns_of(options: Options) -> list[str]:
    """Names of the columns with arrays that the options of a data config ask for."""
    return [f"_{group}" for group in stored_groups(options)]


def dtype_for(array: np.ndarray) -> str:
    """The data type in which an array is stored: float16 if its rounding is small, else float32."""
    return "float16" if np.abs(array).max(initial=0) <= LARGEST else "float32"


def to_column(name: str, array: np.ndarray, dtype: str) -> tuple[pa.Field, pa.Array]:
    """A column of arrays (N, ...) in fp32.

    Raises
    ------
    InputError
        If a finite value is outside the range of the data type.
    """
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype)
    if np.isinf(values).sum() > np.isinf(array).sum():
        raise InputError(f"the input group {name[1:]} has values outside the range of {dtype}, unlike the first jets "
                         "of the file: give --dtype float32")  # fmt: skip
    kind = pa.binary(values[0].nbytes)
    made = pa.FixedSizeBinaryArray.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    shape = ",".join(map(str, array.shape[1:]))
    return pa.field(name, kind, nullable=False, metadata={"dtype": dtype, "shape": shape}), made


def to_array(column: pa.ChunkedArray, field: pa.Field) -> np.ndarray:
    """The arrays (N, ...) of a column that `to_column` has made, in the data type of the column."""
    dtype, shape = (field.metadata[key].decode() for key in (b"dtype", b"shape"))
    sizes = [int(size) for size in shape.split(",") if size]
    values = math.prod(sizes)
    parts = [np.frombuffer(one.buffers()[1], dtype, len(one) * values, one.offset * one.type.byte_width)
             for one in column.chunks]  # fmt: skip
    return np.concatenate(parts).reshape(-1, *sizes)


def part(rows: int, load_range: tuple[float, float] | None) -> tuple[int, int]:
    """The jets (first, after the last) that weaver reads from a file with `rows` jets for a range in [0, 1]."""
    if load_range is None:
        return 0, rows
    start, stop = (math.trunc(edge * rows) for edge in load_range)
    return start, min(max(start + 1, stop), rows)


def promised(rows: int, load_range: tuple[float, float] | None) -> int:
    """Number of jets that weaver reads from a file with `rows` jets for a range (begin, end) in [0, 1]; None: all."""
    start, stop = part(rows, load_range)
    return stop - start


def read(path: str, names: Sequence[str], load_range: tuple[float, float] | None = None) -> pa.Table:
    """Columns of a part of a file; InputError if it cannot be read completely."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            start, stop = part(file.metadata.num_rows, load_range)
            groups, first, last = [], 0, 0  # the row groups with these jets
            for i in range(file.num_row_groups):
                end = last + file.metadata.row_group(i).num_rows
                if end > start and last < stop:
                    first = first if groups else last
                    groups.append(i)
                last = end
            table = file.read_row_groups(groups, columns=list(names), use_threads=False)
            table = table.slice(start - first, stop - start).select(list(names))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read completely: {one_line(error)}") from None
    if len(table) != stop - start:
        raise InputError(f"{path} cannot be read completely: it gave {len(table)} of {stop - start} jets")
    return table


def with_arrays(load_next: Callable[..., Any]) -> Callable[..., Any]:
    """Weaver's `_load_next`, which also reads arrays if the data config asks for them."""

    @functools.wraps(load_next)
    def load(
        config: Any, files: Sequence[str], ranges: Sequence[tuple[float, float]] | None, options: dict[str, Any]
    ) -> Any:
        columns = columns_of(config.options)
        if not columns:
            return load_next(config, files, ranges, options)
        others = [*(config.train_load_branches if options["training"] else config.test_load_branches)]
        others.remove("aux_training_") if "aux_training_" in others else None
        tables = [read(path, [*others, *columns], one) for path, one in zip(files, ranges or [None] * len(files))]
        table = pa.concat_tables(tables)
        small = ak.from_arrow(table.select(others).combine_chunks())
        small[ROW] = np.arange(len(small))
        found, indices = dataset._preprocess(small, config, options)
        rows = found.pop(ROW)
        for name in columns:
            array = to_array(table[name], table.field(name))
            array = array if len(rows) == len(array) else array[rows]
            found[name] = torch.from_numpy(array).float().numpy()  # numpy converts fp16 20 times slower
        return found, indices

    return load
