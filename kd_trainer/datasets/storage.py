"""Jet files: they are written in one step, store their settings, and are recognised when a run is resumed."""

import contextlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from kd_trainer.errors import InputError
from kd_trainer.files import replacing

KEY = "kd_trainer.simulate"  # metadata key of the settings
ROW_GROUP = 1000  # jets; weaver reads parquet files in ranges of row groups
TREE = "tree"  # as in JetClass
NUMBER = "event_number"
LISTS = ("part", "genpart", "aux_genpart", "l1part")


def versions() -> dict[str, str]:
    """Versions of the installed packages that a file depends on: dict."""
    found = {}
    for package in ("weaver-kd", "pythia8mc", "fastjet"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def is_complete(path: Path, settings: dict[str, Any]) -> bool:
    """Whether a file with these settings is already there.

    A file gets its name only when it is complete. Therefore only the settings have to be compared.

    Raises
    ------
    InputError
        if the file was made with other settings or by another program
    """
    if not path.exists():
        return False
    try:
        found = read_settings(path)
    except (KeyError, ValueError, OSError, pa.ArrowException, uproot.exceptions.KeyInFileError):
        raise InputError(f"{path} was not written by 'simulate'; move it away or give --overwrite") from None
    found.pop("versions", None)
    expected = json.loads(json.dumps(settings))
    different = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    if different:
        raise InputError(
            f"{path} was made with other settings ({', '.join(different)}); give another directory or --overwrite"
        )
    return True


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings and program versions stored in a jet file: dict."""
    if Path(path).suffix == ".root":
        with uproot.open(path) as file:
            return json.loads(str(file[KEY]))
    return json.loads(pq.read_schema(path).metadata[KEY.encode()])


def to_table(jets: ak.Array) -> pa.Table:
    """Arrow table of jets with plain lists, as weaver reads them."""
    return ak.to_arrow_table(jets, list_to32=True, extensionarray=False)


def numbered(tables: Iterable[pa.Table]) -> pa.Table:
    """Concatenate tables and add a column event_number as `convert` does: the position in the file.

    Tables that already have the column number their events from 0. The numbers of each table are shifted to follow
    those of the table before.
    """
    field, found, start = pa.field(NUMBER, pa.int64(), nullable=False), [], 0
    for table in tables:
        given = NUMBER in table.column_names
        numbers = start + (table.column(NUMBER).to_numpy() if given else np.arange(len(table)))
        start = int(numbers.max(initial=start - 1)) + 1
        found.append((table.drop_columns(NUMBER) if given else table).append_column(field, pa.array(numbers)))
    return pa.concat_tables(found)


def write(path: Path, tables: Iterable[pa.Table], settings: dict[str, Any]) -> None:
    """Write a parquet or ROOT file of numbered jets under a temporary name, and rename it when it is complete.

    Raises
    ------
    StopError
        if the file cannot be written
    """
    table = numbered(tables)
    text = json.dumps(settings | {"versions": versions()}, sort_keys=True)
    with replacing(path) as temporary:
        if path.suffix == ".root":
            _write_root(temporary, ak.from_arrow(table), text)
        else:
            table = table.replace_schema_metadata({KEY: text})
            pq.write_table(table, temporary, row_group_size=ROW_GROUP, compression="zstd")


def _write_root(path: Path, jets: ak.Array, text: str) -> None:
    """A tree with one counter for each group of lists, and the settings as a TObjString."""
    columns = {name: jets[name] for name in jets.fields if jets[name].ndim == 1}
    for prefix in LISTS:
        names = [name for name in jets.fields if name not in columns and name.startswith(f"{prefix}_")]
        lists = {name.removeprefix(f"{prefix}_"): jets[name] for name in names}
        if lists:  # the benchmarks have no generated particles
            columns[prefix] = ak.zip(lists)
    with uproot.recreate(path, compression=uproot.ZSTD(3)) as file:
        tree = file.mktree(TREE, {name: values.type for name, values in columns.items()})
        for start in range(0, len(jets), ROW_GROUP):  # each piece becomes a basket, which is read as a whole
            tree.extend({name: values[start : start + ROW_GROUP] for name, values in columns.items()})
        file[KEY] = text


def file_path(directory: str | Path, name: str, index: int, suffix: str, digits: int = 3) -> Path:
    """Where the jets of a class are written, for example QCD_000.parquet."""
    return Path(directory) / f"{name}_{index:0{digits}d}.{suffix}"
