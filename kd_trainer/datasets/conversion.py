"""One public jet file -> one parquet file, piece by piece. The output file appears only when it is complete."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.datasets import aspen, collide2v, delphes, lhc_jets, public_formats
from kd_trainer.datasets.layouts import quark_gluon_jets, top_jets
from kd_trainer.datasets.provenance import FOUND, with_settings
from kd_trainer.datasets.storage import ROW_GROUP, to_table
from kd_trainer.errors import InputError
from kd_trainer.files import reading, replacing

STEP = 5 * ROW_GROUP  # rows read at once


class Format(NamedTuple):
    """A public format: suffix of its files, function that opens a file, and function that makes jets of its rows.

    `numbers`: columns that have to be finite. `finish`: function that returns the summary of a file after it was read,
    or raises InputError. `several`: whether a row may hold several jets.
    """

    suffix: str
    open: Callable
    jets: Callable
    numbers: Sequence[str] = public_formats.MOMENTA
    finish: Callable[[], dict[str, Any]] = dict
    several: bool = False


def format_of(name: str, source: Path, options: collide2v.Options | delphes.Options | None) -> Format:
    """How to read a file of a format (key of SUFFIXES)."""
    if isinstance(options, collide2v.Options):
        views = collide2v.Views(source, options)
        return Format(SUFFIXES[name], views.open, views.jets, collide2v.FINITE, views.finish, several=True)
    if isinstance(options, delphes.Options):
        reader = delphes.Reader(source, options)
        return Format(SUFFIXES[name], reader.open, reader.filled, delphes.FINITE, reader.finish, several=True)
    return FORMATS[name]


FORMATS = {
    "top": Format(".h5", public_formats.top, lambda rows: top_jets(rows, rows.label)),
    "qg": Format(".npz", public_formats.quark_gluon, lambda rows: quark_gluon_jets(rows, rows.label)),
    "jetclass": Format(".root", public_formats.jetclass, lambda rows: rows),
    "lhcjet": Format(".h5", lhc_jets.opened, lambda rows: top_jets(rows, rows.label)),
    "aspen": Format(".h5", aspen.opened, aspen.jets),
}
SUFFIXES = {**{name: form.suffix for name, form in FORMATS.items()}, "collide2v": ".parquet", "delphes": ".root"}


def count_rows(form: Format, source: Path) -> int:
    """Number of rows of an input file; InputError if it cannot be opened, has another layout, or no rows."""
    with reading(source), form.open(source) as (rows, _):
        if not rows:
            raise InputError(f"{source} has no jets")
        return rows


def convert_file(
    form: Format, source: Path, made: dict[str, Any], target: Path, progress: Callable[[int], object]
) -> int:
    """Convert a file, without jets that have no particles, and store the settings `made`; returns the number of jets.

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
            form.finish()
            raise InputError(f"{source} has no jets with particles")
        schema = with_settings(first.schema, made)
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for table in chain([first], groups):
                writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=ROW_GROUP)
                jets += len(table)
            writer.add_key_value_metadata({FOUND: json.dumps(form.finish())})
    return jets


def _tables(form: Format, source: Path, progress: Callable[[int], object]) -> Iterator[pa.Table]:
    """Arrow tables of the jets of a file, piece by piece."""
    start = 0
    for rows in _pieces(form, source):
        numbers = np.arange(start, start + len(rows), dtype=np.int64)
        start += len(rows)
        rows = ak.with_field(rows, numbers, "event_number")
        rows = rows[_has_particles(rows)]
        with np.errstate(all="ignore"), reading(source):  # _check_finite finds NaN
            jets = form.jets(rows)
        if "event_number" not in jets.fields:  # one jet for each row
            jets = ak.with_field(jets, rows.event_number, "event_number")
        _check_finite(source, jets, form.numbers)
        if len(jets):
            yield to_table(jets)
        progress(len(numbers))


def _has_particles(rows: ak.Array) -> np.ndarray:
    """Mask (N,) of the rows with particles; all True for rows that are events."""
    lists = [name for name in ("px", "pt", "part_px") if name in rows.fields]
    return ak.to_numpy(ak.num(rows[lists[0]])) > 0 if lists else np.ones(len(rows), bool)


def _pieces(form: Format, source: Path) -> Iterator[ak.Array]:
    with reading(source), form.open(source) as (_, chunks):
        yield from chunks(STEP)


def _check_finite(source: Path, jets: ak.Array, names: Iterable[str]) -> None:
    for name in names:
        bad = ak.any(~np.isfinite(jets[name]), axis=1)
        if ak.any(bad):
            raise InputError(f"{source} has NaN or infinity in {name} of row {jets.event_number[bad][0]}")


def _whole_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Regroup tables: all but the last have whole row groups."""
    rest = None
    for table in tables:
        table = table if rest is None else pa.concat_tables([rest, table])
        whole = len(table) // ROW_GROUP * ROW_GROUP
        if whole:
            yield table[:whole]
        rest = table[whole:]
    if rest is not None and len(rest):
        yield rest
