"""Write tables of jets in parts, to parquet or ROOT."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from kd_trainer.errors import InputError, one_line
from kd_trainer.files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".parquet", ".root")
Append = Callable[[ak.Array], None]


@contextlib.contextmanager
def writer(path: Path, tree: str = "Events", counter: str | None = None) -> Iterator[Append]:
    """Yield a function that appends awkward records to a file. The file appears when the block ends without an error.

    In ROOT the records are entries of a tree. Each list has its own counter, or all lists share `counter`.

    The first records define the types of the columns. In parquet, later records are cast to these types if no value is
    lost; in ROOT they need to have the same types. Otherwise the function raises InputError.
    """
    with replacing(path) as temporary:
        opened = _parquet(temporary) if path.suffix == ".parquet" else _root(temporary, tree, counter)
        with opened as append:
            yield append


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[Append]:
    import pyarrow.parquet

    files: list[pyarrow.parquet.ParquetWriter] = []

    def append(records: ak.Array) -> None:
        table = ak.to_arrow_table(records, extensionarray=False)
        if not files:
            files.append(pyarrow.parquet.ParquetWriter(path, table.schema))
        files[0].write_table(_cast(table, files[0].schema))

    try:
        yield append
    finally:
        for file in files:
            file.close()


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Cast a table to the types of a schema with the same columns."""
    import pyarrow

    columns = []
    for field in schema:
        column = table[field.name]
        try:
            columns.append(column.cast(field.type))
        except pyarrow.ArrowException as error:
            both = f"{field.name} is {column.type}, which does not fit the {field.type} of earlier files"
            raise InputError(f"{both}: {one_line(error)}") from None
        if column.null_count and not field.nullable:
            raise InputError(f"{field.name} has missing values, unlike in earlier files")
    return pyarrow.table(columns, schema=schema)


@contextlib.contextmanager
def _root(path: Path, tree: str, counter: str | None) -> Iterator[Append]:
    import uproot

    with uproot.recreate(path) as file:
        trees: list[uproot.WritableTree] = []
        types: dict[str, Any] = {}

        def append(records: ak.Array) -> None:
            columns = {name: _plain(records[name], name) for name in records.fields}
            kinds = {name: column.type.content for name, column in columns.items()}
            if not trees:
                types.update(kinds)
                group = {"": ak.zip(columns).type} if counter else kinds
                name_of = {"field_name": lambda _, inner: inner, "counter_name": lambda _: counter} if counter else {}
                trees.append(file.mktree(tree, group, **name_of))
            for name, kind in kinds.items():
                if kind != types[name]:
                    raise InputError(f"{name} is {kind}, but {types[name]} in earlier files")
            trees[0].extend({"": ak.zip(columns)} if counter else columns)

        yield append


def _plain(array: ak.Array, name: str) -> ak.Array:
    """Remove the option types of parquet columns, which ROOT does not have."""

    def visit(layout: ak.contents.Content, **_: Any) -> ak.contents.Content | None:
        if not layout.is_option:
            return None
        if np.any(np.asarray(layout.mask_as_bool(valid_when=False))):
            raise InputError(f"{name} has missing values, which a ROOT file cannot store: write parquet")
        return ak.transform(visit, layout.project(), highlevel=False)

    return ak.to_packed(ak.transform(visit, array))
