"""The input and settings of a converted file: stored in the file, compared when a conversion is resumed."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.datasets.storage import ROW_GROUP
from kd_trainer.errors import InputError

KEY = "kd_trainer.convert"  # metadata key of the settings
FOUND = "kd_trainer.convert.found"  # metadata key of the summary, see Format.finish
VERSION = 1  # increase it when the same input gives a different output


def settings(form: str, source: Path) -> dict[str, Any]:
    """Everything that determines the content of an output file: dict."""
    status = source.stat()
    about = {"input": source.name, "size": status.st_size, "mtime": status.st_mtime_ns}
    return about | {"format": form, "row_group": ROW_GROUP, "version": VERSION}


def with_settings(schema: pa.Schema, made: dict[str, Any]) -> pa.Schema:
    """The Arrow schema with the settings as its only metadata."""
    return schema.with_metadata({KEY: json.dumps(made)})


def found_in(path: Path) -> dict[str, Any]:
    """The summary that the conversion stored in a complete file: dict."""
    return json.loads(pq.read_metadata(path).metadata[FOUND.encode()])


def is_complete(path: Path, made: dict[str, Any]) -> bool:
    """Whether a file with these settings is there; InputError if it has another input or other settings."""
    if not path.exists():
        return False
    try:
        found = json.loads(pq.read_schema(path).metadata[KEY.encode()])
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        raise InputError(f"{path} was not written by 'convert'; move it away or give --overwrite") from None
    different = [f"{key} was {found.get(key)}, now {value}" for key, value in made.items() if found.get(key) != value]
    if different:
        raise InputError(f"{path} was made from another input ({'; '.join(different)}); give --overwrite to replace it")
    return True
