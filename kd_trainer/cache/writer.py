"""Atomic writing of files of soft targets: a file is complete, or it does not exist."""

import contextlib
import fcntl
import io
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

ROW_GROUP = 1000  # jets in a row group; weaver reads ranges of row groups
COMPRESSION = "lz4"
REPEATED = 10  # a column gets a dictionary if its values repeat at least so often on average


@contextlib.contextmanager
def turn_in(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait until no other process writes the whole folder, and create it; with `alone`, also wait for partial writers.

    It does not wait if the folder cannot be created or locked; writing the files then gives the error.
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
                print(f"another process is writing {folder}: waiting until it ends", flush=True)
                fcntl.flock(descriptor, kind)
        yield


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file that is renamed to `path` when the block ends without an error.

    The next process overwrites the temporary file of a killed one. Two processes never write the same file.

    Raises
    ------
    InputError
        If another process is writing this file. StopError if it cannot be written.
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
    """Arguments of ParquetWriter, chosen from the first jets.

    Columns with repeated values (charges, momenta on a grid) get a dictionary. Other columns get byte stream split (all
    first bytes, all second bytes, ...), so that lz4 can compress them; a dictionary would make files 1.5 times larger.
    Arrays are written as they are: their padding repeats values, which lz4 finds only if they lie together.
    """  # fmt: skip
    leaves = dict(_values_of(name, column.combine_chunks()) for name, column in zip(table.column_names, table.columns))
    floats = {path: values for path, values in leaves.items() if pa.types.is_floating(values.type)}
    once = [path for path, values in floats.items()
            if values.type == pa.float16() or pc.count_distinct(values).as_py() * REPEATED > len(values)]  # fmt: skip
    arrays = [path for path, values in leaves.items() if pa.types.is_fixed_size_binary(values.type)]
    return {
        "use_dictionary": [path for path in leaves if path not in (*once, *arrays)],
        "column_encoding": {path: "BYTE_STREAM_SPLIT" for path in once if leaves[path].type != pa.float16()},
    }


def size(table: pa.Table, **encoding: Any) -> int:
    """Size of a parquet file with a table and these arguments of ParquetWriter, in bytes."""
    with io.BytesIO() as file:
        pq.write_table(table, file, compression=COMPRESSION, row_group_size=ROW_GROUP, **encoding)
        return file.tell()


def _values_of(path: str, values: pa.Array) -> tuple[str, pa.Array]:
    """Path of the values of a column in a parquet file, and the values."""
    while isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        path, values = f"{path}.list.element", values.flatten()
    return path, values


class Writer:
    """Writes tables with a fingerprint (`origin`) to a parquet file; the first one determines the columns."""

    def __init__(self, file: BinaryIO, origin: dict[str, Any]) -> None:
        self.file = file
        self.metadata = {KEY: json.dumps(origin)}
        self.parquet: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        if self.parquet is None:
            schema = table.schema.with_metadata(self.metadata)
            self.parquet = pq.ParquetWriter(self.file, schema, compression=COMPRESSION, write_page_checksum=True,
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
            self.parquet.is_open = False  # otherwise its destructor would try to write again
            if not failed:
                raise
        self.file.flush()
