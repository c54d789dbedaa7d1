"""Files of soft targets: whole under their name, or not there."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kd_trainer.cache.fingerprint import KEY
from kd_trainer.errors import InputError
from kd_trainer.files import writing

ROW_GROUP = 1000  # jets; weaver reads files in ranges of row groups
REPEATED = 10  # times that a value occurs on average in a column that gets a dictionary


@contextlib.contextmanager
def turn_in(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait until no other process writes all files of a folder, which is made; `alone`: nor a share of them.

    Where there is no such folder or no lock, it does not wait: what is written then says why it cannot be.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process is writing {folder}: waiting for its end", flush=True)
                fcntl.flock(descriptor, kind)
        yield


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to that gets its name when the block ends well.

    What a killed process leaves behind is overwritten by the next one. Two processes never write the same file.

    Raises
    ------
    InputError
        If another process is writing this file; StopError if it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    with contextlib.ExitStack() as stack:
        stack.enter_context(writing(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(open(unfinished, "ab"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{path} is being written by another process") from None
        except OSError:
            pass  # a file system without locks
        if not _is_still_there(file, unfinished):  # another process has just completed it
            raise InputError(f"{path} is being written by another process")
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(unfinished, path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise


def _is_still_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def encodings(table: pa.Table) -> dict[str, Any]:
    """Arguments of ParquetWriter, from the first jets: momenta hardly repeat, so that a dictionary of them makes a file
    half as large again; charges and momenta on a grid do.

    The bytes of what does not repeat are stored apart (all first bytes, all second bytes, ...), which leaves lz4
    something to find.
    """  # fmt: skip
    leaves = dict(_values_of(name, column.combine_chunks()) for name, column in zip(table.column_names, table.columns))
    floats = {path: values for path, values in leaves.items() if pa.types.is_floating(values.type)}
    once = [path for path, values in floats.items()
            if values.type == pa.float16() or pc.count_distinct(values).as_py() * REPEATED > len(values)]  # fmt: skip
    return {
        "use_dictionary": [path for path in leaves if path not in once],
        "column_encoding": {path: "BYTE_STREAM_SPLIT" for path in once if leaves[path].type != pa.float16()},
    }


def _values_of(path: str, values: pa.Array) -> tuple[str, pa.Array]:
    """Path of a column's values in a parquet file, and these."""
    while isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        path, values = f"{path}.list.element", values.flatten()
    return path, values


class Writer:
    """Tables into a parquet file; the first one decides the columns.

    Parameters
    ----------
    file : binary file
    origin : dict
        The fingerprint.
    """

    def __init__(self, file: BinaryIO, origin: dict[str, Any]) -> None:
        self.file = file
        self.metadata = {KEY: json.dumps(origin)}
        self.parquet: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        if self.parquet is None:
            schema = table.schema.with_metadata(self.metadata)
            self.parquet = pq.ParquetWriter(self.file, schema, compression="lz4", write_page_checksum=True,
                                             **encodings(table))  # fmt: skip
        self.parquet.write_table(table.cast(self.parquet.schema), row_group_size=ROW_GROUP)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if self.parquet is None:
            return
        try:
            self.parquet.close()
        except OSError:
            self.parquet.is_open = False  # it would try again when it is forgotten
            if not failed:
                raise
        self.file.flush()
