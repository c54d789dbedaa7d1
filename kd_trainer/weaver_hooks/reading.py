"""Reading of whole files: weaver logs a file that it cannot read and continues; here such a file ends the run.

weaver's `_read_files` -> its reader of a format  fails, or gives fewer jets than the metadata say --> `Unread`
                      <- InputError, one line that names the file
weaver's `_preprocess` if all jets fail the selection, `_finalize_inputs` if branches do not fit <- InputError
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import awkward as ak
import pyarrow.parquet
from weaver.utils import dataset
from weaver.utils.data import fileio, preprocess

from kd_trainer.errors import InputError, one_line
from kd_trainer.jet_files import contents, within
from kd_trainer.weaver_hooks.arrays import ROW, promised, with_arrays
from kd_trainer.weaver_hooks.hook import loud

READERS = ("_read_hdf5", "_read_parquet", "_read_root")  # readers of weaver; arguments: path, branches, ...
AT_ONCE = "_read_hdf5"  # reads whole arrays; other arrays in the file may have other lengths
ROWS: dict[str, int] = {}  # number of jets by path, as far as known in this process


class Unread(BaseException):
    """A file was not read completely. A BaseException, because weaver catches Exception and skips the file."""


class Verified(pyarrow.parquet.ParquetFile):
    """A parquet file whose pages are verified by their checksums, if they have any."""

    def __init__(self, source: Any, *args: Any, page_checksum_verification: bool = True, **kwargs: Any) -> None:
        super().__init__(source, *args, page_checksum_verification=page_checksum_verification, **kwargs)


def read_whole(rows: Mapping[str, int] | None = None) -> None:
    """Make weaver read whole files or raise InputError, in this process.

    Parameters
    ----------
    rows : dict of path -> number of jets, or None
        Files that are already checked; the metadata of other files are read when needed.
    """
    ROWS.update(rows or {})
    if hasattr(fileio._read_files, "whole"):
        return
    for name in READERS:
        setattr(fileio, name, _counting(getattr(fileio, name)))
    whole = _naming(fileio._read_files)
    fileio._read_files = dataset._read_files = whole
    preprocess._read_files = loud(whole)  # weaver calls it before any hook
    dataset._finalize_inputs = _explaining(dataset._finalize_inputs)
    dataset._preprocess = _selecting(dataset._preprocess)
    dataset._load_next = with_arrays(dataset._load_next)
    pyarrow.parquet.ParquetFile = Verified


def in_worker(rows: Mapping[str, int], worker: int) -> None:
    """`read_whole` as the `worker_init_fn` of a loader, which torch calls with the number of the worker."""
    read_whole(rows)


def _counting(read: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(read)
    def counting(path: str, branches: list[str], load_range: tuple[float, float] | None = None, **kwargs: Any) -> Any:
        try:
            table = within(read(path, branches, load_range=load_range, **kwargs))
            expected = len(table) if read.__name__ == AT_ONCE else promised(_rows_of(path, **kwargs), load_range)
        except Exception as error:
            raise Unread(f"{path} cannot be read completely: {one_line(error)}") from None
        if len(table) != expected:
            raise Unread(f"{path} cannot be read completely: it gave {len(table)} of {expected} jets")
        return ak.to_packed(table)  # weaver fails for sliced lists that no expression has copied

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
            made = finalize(table, config)
            return made | {ROW: ak.to_numpy(table[ROW])} if ROW in table.fields else made
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
                f"none of the {jets} jets that are read at once passes the selection: read more at once "
                "(--data-split-num 1 --fetch-step 1), or inspect the files with kd_trainer check"
            )
        return found

    return selecting


def _rows_of(path: str, treename: str | None = None, **_: Any) -> int:
    if path not in ROWS:
        ROWS[path] = contents(path, treename)[1]
    return ROWS[path]
