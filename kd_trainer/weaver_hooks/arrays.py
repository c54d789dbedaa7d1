"""Input groups that the files of a cache store as arrays, as the network takes them.

The column `_<group>` holds, for each jet, the values of the group's variables after standardisation and padding as
bytes of fp16 or fp32; its metadata give the data type and the shape. A variable that an earlier group has too lies
there alone. The loader reads these columns without weaver's preprocessing:

weaver's `_load_next` --> selection, labels, sampling weights, observers by weaver's own functions
                      --> arrays and soft targets of the jets that remain
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from weaver.utils import dataset
from weaver.utils.dataset import DataConfig

from kd_trainer.configs import PREFIX, STORED, Options, stored_groups, without_teacher
from kd_trainer.errors import InputError, one_line

LARGEST = 8.0  # of the first jets of a file, for fp16; its rounding changes such values by at most 0.002
ROW = "_kd_row"  # column of a table: the number of a jet among those that are read together

Place = tuple[str, int]  # the column of a variable, and its number in it


def places(groups: Mapping[str, Any]) -> dict[str, list[Place]]:
    """Where the variables of each input group lie; `groups` as in `inputs` of a data config."""
    found: dict[str, Place] = {}
    result = {}
    for group, spec in groups.items():
        names = [v[0] if isinstance(v, list) else v for v in spec["vars"]]
        new = dict.fromkeys(name for name in names if name not in found)
        found |= {name: (f"_{group}", i) for i, name in enumerate(new)}
        result[group] = [found[name] for name in names]
    return result


def arrays_in(options: Options) -> dict[str, Any]:
    """The input groups that a data config reads as arrays, by name."""
    return {name: options["preprocess"][STORED]["inputs"][name] for name in stored_groups(options)}


def columns_of(options: Options) -> list[str]:
    """Names of the columns with arrays that a data config reads."""
    return sorted({column for group in places(arrays_in(options)).values() for column, _ in group})


def dtype_for(array: np.ndarray) -> str:
    """The data type in which an array is stored: float16 if its rounding is small, else float32."""
    return "float16" if np.abs(array).max(initial=0) <= LARGEST else "float32"


def to_columns(
    table: Mapping[str, np.ndarray], groups: Mapping[str, Any], dtypes: dict[str, str]
) -> Iterator[tuple[pa.Field, pa.Array]]:
    """Columns for input groups, from weaver's table of fp32 arrays `_<group>` (N, ...).

    `dtypes` are the data types by column; a missing one is chosen for these arrays and added.

    Raises
    ------
    InputError
        If a finite value is outside the range of the data type, or if an array has too many dimensions.
    """
    for group, where in places(groups).items():
        name, array = f"_{group}", table[f"_{group}"]
        values = array.reshape(len(array), len(where), -1)
        if _as_weaver(values, groups[group]).shape != array.shape:
            raise InputError(f"the input group {group} has {array.ndim - 1} dimensions: give --store branches")
        own = [where.index((name, i)) for i in range(len({place for place in where if place[0] == name}))]
        if own:
            yield _to_column(name, values[:, own], dtypes.setdefault(name, dtype_for(values[:, own])))


def _to_column(name: str, values: np.ndarray, dtype: str) -> tuple[pa.Field, pa.Array]:
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(values, dtype)
    if np.isinf(narrow).sum() > np.isinf(values).sum():
        raise InputError(f"the input group {name[1:]} has values outside the range of {dtype}, unlike the first jets "
                         "of the file: give --dtype float32")  # fmt: skip
    kind = pa.binary(narrow[0].nbytes)
    field = pa.field(name, kind, nullable=False, metadata={"dtype": dtype, "shape": "{},{}".format(*values.shape[1:])})
    return field, pa.FixedSizeBinaryArray.from_buffers(kind, len(narrow), [None, pa.py_buffer(narrow)])


def _as_weaver(values: Any, spec: Mapping[str, Any]) -> Any:
    """Arrays (N, variables, length) in the shape that weaver gives them: without `length` it drops axes of size 1."""
    if spec["length"] is not None:
        return values
    values = values[:, :, 0] if values.shape[2] == 1 else values
    return values[:, 0] if len(spec["vars"]) == 1 else values


class Stored:
    """The array of an input group, for jets that were read together, as the files store it.

    Parameters
    ----------
    where : list of Place
        Of the variables of the group.
    blocks : dict of column -> (N, variables, length) array in fp16 or fp32
    spec : dict
        The group in the data config.
    """

    def __init__(self, where: Sequence[Place], blocks: Mapping[str, np.ndarray], spec: Mapping[str, Any]) -> None:
        self.blocks, self.spec = blocks, spec
        self.runs = []  # column, first of its variables, after the last
        for _, run in itertools.groupby(enumerate(where), lambda pair: (pair[1][0], pair[1][1] - pair[0])):
            (_, (column, first)), *others = run
            self.runs.append((column, first, first + 1 + len(others)))

    def take(self, rows: np.ndarray, axis: int = 0) -> np.ndarray:
        """The arrays of these jets in fp32, as weaver gives them; torch converts fp16 twenty times as fast as numpy."""
        parts = [torch.from_numpy(self.blocks[column].take(rows, axis))[:, start:stop].float()
                 for column, start, stop in self.runs]  # fmt: skip
        return _as_weaver(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1), self.spec).contiguous().numpy()


def to_arrays(tables: Sequence[pa.Table], groups: Mapping[str, Any], rows: np.ndarray) -> dict[str, Stored]:
    """The input groups of these rows of tables, one after the other, by `_<group>`: the reverse of `to_columns`."""
    found = places(groups)
    columns = {column for where in found.values() for column, _ in where}
    blocks = {column: _block(tables, column, rows) for column in columns}
    return {f"_{group}": Stored(where, blocks, groups[group]) for group, where in found.items()}


def _block(tables: Sequence[pa.Table], name: str, rows: np.ndarray) -> np.ndarray:
    """The values of a column: (N, variables, length); in fp32 if one of the files has fp32."""
    values = np.concatenate([part for table in tables for part in _parts(table, name)])
    return values if len(rows) == len(values) else values[rows]


def _parts(table: pa.Table, name: str) -> Iterator[np.ndarray]:
    dtype, shape = (table.field(name).metadata[key].decode() for key in (b"dtype", b"shape"))
    sizes = [int(size) for size in shape.split(",")]
    for one in table[name].chunks:
        flat = np.frombuffer(one.buffers()[1], dtype, len(one) * math.prod(sizes), one.offset * one.type.byte_width)
        yield flat.reshape(-1, *sizes)


def _soft_targets(column: pa.ChunkedArray, rows: np.ndarray) -> np.ndarray:
    """Soft targets (N,) or (N, K) in fp32, as weaver gives them."""
    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(whole.type):
        array = whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
    else:
        array = whole.to_numpy(zero_copy_only=False)
    return torch.from_numpy(array[rows]).float().numpy()


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
            groups: list[int] = []  # the row groups with these jets
            first = last = 0
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
        groups = arrays_in(config.options)
        if not groups:
            return load_next(config, files, ranges, options)
        weavers, targets = _without_targets(config)
        branches = weavers.train_load_branches if options["training"] else weavers.test_load_branches
        others = sorted(branches - {"aux_training_"})
        names = [*others, *targets, *columns_of(config.options)]
        parts: Sequence[tuple[float, float] | None] = ranges or [None] * len(files)
        tables = [read(path, names, one) for path, one in zip(files, parts, strict=True)]
        table = pa.concat_tables([one.select([*others, *targets]) for one in tables], promote_options="permissive")
        small = table.select(others).append_column(ROW, pa.array(np.arange(len(table)))).combine_chunks()
        found, indices = dataset._preprocess(ak.from_arrow(small), weavers, options)
        rows = found.pop(ROW)
        found |= {f"_{name}": _soft_targets(table[name], rows) for name in targets}
        return found | to_arrays(tables, groups, rows), indices

    return load


def _without_targets(config: DataConfig) -> tuple[DataConfig, list[str]]:
    """A DataConfig without the soft targets, and their columns; the same object for the same config."""
    if "kd_without_targets" not in vars(config):
        config.kd_without_targets = without_teacher(config), [name for name in config.inputs if name.startswith(PREFIX)]
    return config.kd_without_targets
