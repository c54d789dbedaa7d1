"""What a converted file was made from: stored in it, compared when a conversion is resumed."""

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.datasets.storage import ROW_GROUP
from kd_trainer.errors import InputError

KEY = "kd_trainer.convert"  # of the settings in the metadata
FOUND = "kd_trainer.convert.found"  # of what was found on the way
VERSION = 1  # to be raised when the same input gives another output


def settings(form: str, source: Path) -> dict[str, Any]:
    """What decides the content of an output file: dict."""
    status = source.stat()
    about = {"input": source.name, "size": status.st_size, "mtime": status.st_mtime_ns}
    return about | {"format": form, "row_group": ROW_GROUP, "version": VERSION}


def with_settings(schema: pa.Schema, made: dict[str, Any]) -> pa.Schema:
    """The Arrow schema with the settings as its only metadata."""
    return schema.with_metadata({KEY: json.dumps(made)})


def found_in(path: Path) -> dict[str, Any]:
    """What the conversion of a complete file has remembered: dict."""
    return json.loads(pq.read_metadata(path).metadata[FOUND.encode()])


def is_complete(path: Path, made: dict[str, Any]) -> bool:
    """Whether a file with these settings is already there.

    Raises
    ------
    InputError
        If the file was made from something else.
    """
    if not path.exists():
        return False
    try:
        found = json.loads(pq.read_schema(path).metadata[KEY.encode()])
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        raise InputError(f"{path} is not a file of 'convert'; move it away or give --overwrite") from None
    different = [f"{key} {found.get(key)}, now {value}" for key, value in made.items() if found.get(key) != value]
    if different:
        raise InputError(f"{path} was made from another input ({'; '.join(different)}); give --overwrite to replace it")
    return True


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose process was killed."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        process = temporary.name.rpartition(".")[2]
        if process.isdecimal():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                temporary.unlink(missing_ok=True)
            except PermissionError:  # of another user, so it is alive
                pass
