"""One public jet file -> one parquet file, piece by piece; it appears whole or not at all."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.datasets import public_formats
from kd_trainer.datasets.layouts import quark_gluon_jets, top_jets
from kd_trainer.datasets.provenance import with_settings
from kd_trainer.datasets.storage import ROW_GROUP, to_table
from kd_trainer.errors import InputError
from kd_trainer.files import reading, replacing

STEP = 5 * ROW_GROUP  # rows read at once


class Format(NamedTuple):
    """A public format: ending of its files, reader, and the jets of the rows that it reads."""

    suffix: str
    open: Callable
    jets: Callable


FORMATS = {
    "top": Format(".h5", public_formats.top, lambda rows: top_jets(rows, rows.label)),
    "qg": Format(".npz", public_formats.quark_gluon, lambda rows: quark_gluon_jets(rows, rows.label)),
    "jetclass": Format(".root", public_formats.jetclass, lambda rows: rows),
}


def count_rows(form: str, source: Path) -> int:
    """Number of rows of an input file.

    Raises
    ------
    InputError
        If it cannot be opened, has another layout, or no rows.
    """
    with reading(source), FORMATS[form].open(source) as (rows, _):
        if not rows:
            raise InputError(f"{source} has no jets")
        return rows


def convert_file(form: str, source: Path, made: dict[str, Any], target: Path, progress: Callable[[int], object]) -> int:
    """Convert a file; jets without particles are left out.

    Parameters
    ----------
    form : key of FORMATS
    source, target : Path
    made : dict, the settings to store
    progress : function of a number of rows

    Returns
    -------
    int
        Number of jets.

    Raises
    ------
    InputError
        If the input is damaged.
    StopError
        If the output cannot be written.
    """
    groups = _whole_groups(_tables(form, source, progress))
    jets = 0
    with replacing(target) as temporary:
        first = next(groups, None)
        if first is None:
            raise InputError(f"{source} has no jets with particles")
        schema = with_settings(first.schema, made)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in chain([first], groups):
                writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=ROW_GROUP)
                jets += len(table)
    return jets


def _tables(form: str, source: Path, progress: Callable[[int], object]) -> Iterator[pa.Table]:
    """Arrow tables of the jets of a file, piece by piece."""
    start = 0
    for rows in _pieces(form, source):
        numbers = np.arange(start, start + len(rows), dtype=np.int64)
        start += len(rows)
        if "label" in rows.fields and not np.isin(ak.to_numpy(rows.label), (0, 1)).all():
            raise InputError(f"{source} has labels other than 0 and 1")
        some = ak.to_numpy(ak.num(rows[_a_list(rows)])) > 0
        with np.errstate(all="ignore"):  # a NaN is found below
            jets = FORMATS[form].jets(rows[some])
        jets = ak.with_field(jets, numbers[some], "event_number")
        _check_momenta(source, jets)
        if len(jets):
            yield to_table(jets)
        progress(len(rows))


def _a_list(rows: ak.Array) -> str:
    """Name of a column with an entry for each particle."""
    return next(name for name in ("px", "pt", "part_px") if name in rows.fields)


def _pieces(form: str, source: Path) -> Iterator[ak.Array]:
    with reading(source), FORMATS[form].open(source) as (_, chunks):
        yield from chunks(STEP)


def _check_momenta(source: Path, jets: ak.Array) -> None:
    for name in public_formats.MOMENTA:
        bad = ak.any(~np.isfinite(jets[name]), axis=1)
        if ak.any(bad):
            raise InputError(f"{source} has NaN or infinity in {name} of row {jets.event_number[bad][0]}")


def _whole_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows as tables of whole row groups, but for the last."""
    rest = None
    for table in tables:
        table = table if rest is None else pa.concat_tables([rest, table])
        whole = len(table) // ROW_GROUP * ROW_GROUP
        if whole:
            yield table[:whole]
        rest = table[whole:]
    if rest is not None and len(rest):
        yield rest
