"""Files that are read whole: weaver logs a file that it cannot read and goes on without it; here that ends the run.

weaver's `_read_files` -> its reader of a format  fails, or gives fewer jets than the metadata promise --> `Unread`
                      <- InputError, one line that names the file
weaver's `_preprocess` of jets that all fail the selection, `_finalize_inputs` of unfit branches <- InputError
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import awkward as ak
import pyarrow.parquet
from weaver.utils import dataset
from weaver.utils.data import fileio, preprocess

from kd_trainer.errors import InputError, one_line
from kd_trainer.jet_files import contents, within
from kd_trainer.weaver_hooks.hook import loud

READERS = ("_read_hdf5", "_read_parquet", "_read_root")  # of weaver; arguments: path, branches, ...
AT_ONCE = "_read_hdf5"  # reads all, and what else is in such a file may have another length
ROWS: dict[str, int] = {}  # jets of files, by the path; what is known of them in this process


class Unread(BaseException):
    """Why a file was not read whole; it passes the `except Exception` in which weaver goes on to the next file."""


class Verified(pyarrow.parquet.ParquetFile):
    """A parquet file of which pages that have a checksum are compared with it."""

    def __init__(self, source: Any, *args: Any, page_checksum_verification: bool = True, **kwargs: Any) -> None:
        super().__init__(source, *args, page_checksum_verification=page_checksum_verification, **kwargs)


def read_whole(rows: Mapping[str, int] | None = None) -> None:
    """Let weaver read whole files or raise InputError, in this process.

    Parameters
    ----------
    rows : dict of path -> number of jets, or None
        Files that have been looked at; the metadata of others are read when it comes to them.
    """
    ROWS.update(rows or {})
    if hasattr(fileio._read_files, "whole"):
        return
    for name in READERS:
        setattr(fileio, name, _counting(getattr(fileio, name)))
    whole = _naming(fileio._read_files)
    fileio._read_files = dataset._read_files = whole
    preprocess._read_files = loud(whole)  # called before any hook is
    dataset._finalize_inputs = _explaining(dataset._finalize_inputs)
    dataset._preprocess = _selecting(dataset._preprocess)
    pyarrow.parquet.ParquetFile = Verified


def in_workers(rows: Mapping[str, int]) -> Callable[[int], None]:
    """The `worker_init_fn` of a loader whose workers read whole files."""
    return functools.partial(_in_worker, rows)


def _in_worker(rows: Mapping[str, int], worker: int) -> None:
    read_whole(rows)


def _counting(read: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(read)
    def counting(path: str, branches: list[str], load_range: tuple[float, float] | None = None, **kwargs: Any) -> Any:
        try:
            table = within(read(path, branches, load_range=load_range, **kwargs))
            expected = len(table) if read.__name__ == AT_ONCE else promised(_rows_of(path, **kwargs), load_range)
        except Exception as error:
            raise Unread(f"{path} cannot be read whole: {one_line(error)}") from None
        if len(table) != expected:
            raise Unread(f"{path} cannot be read whole: it gave {len(table)} of {expected} jets")
        return ak.to_packed(table)  # weaver fails at lists of a part of a file, if no expression makes new ones

    return counting


def _naming(read: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(read)
    def naming(*args: Any, **kwargs: Any) -> Any:
        try:
            return read(*args, **kwargs)
        except Unread as error:
            raise InputError(str(error)) from None

    naming.__dict__["whole"] = True
    return naming


def _explaining(finalize: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(finalize)
    def explaining(table: Any, config: Any) -> Any:
        try:
            return finalize(table, config)
        except Exception as error:
            lists = [name for name, params in config.preprocess_params.items()
                     if params["length"] is None and getattr(table[name], "ndim", 1) > 1]  # fmt: skip
            why = f"{', '.join(lists)} with a list for each jet, but `length` is null" if lists else one_line(error)
            raise InputError(f"the inputs of the data config cannot be made: {why}") from None

    return explaining


def _selecting(preprocess: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(preprocess)
    def selecting(table: Any, config: Any, options: Any) -> Any:
        jets, found = len(table), preprocess(table, config, options)
        if not len(found):
            raise InputError(
                f"none of the {jets} jets that are read at a time passes the selection: read more at a time "
                "(--data-split-num 1 --fetch-step 1), or look at the files with kd_trainer check"
            )
        return found

    return selecting


def _rows_of(path: str, treename: str | None = None, **_: Any) -> int:
    if path not in ROWS:
        ROWS[path] = contents(path, treename)[1]
    return ROWS[path]


def promised(rows: int, load_range: tuple[float, float] | None) -> int:
    """Jets that weaver reads of a file with so many for a range (begin, end) from 0 to 1; None is all."""
    if load_range is None:
        return rows
    start, stop = (math.trunc(edge * rows) for edge in load_range)
    return min(max(start + 1, stop), rows) - start
