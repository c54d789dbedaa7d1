"""Readers of the public jet files, piece by piece: top tagging (HDF5), quark/gluon (npz), JetClass (ROOT).

Each reader is a context manager. It gives the number of rows, and a function that yields awkward arrays of a given
number of rows. No reader unpickles anything; PyTables and pandas would do so when they open a file.
"""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from kd_trainer import hdf5
from kd_trainer.errors import InputError, some
from kd_trainer.jet_files import within

if TYPE_CHECKING:
    import h5py

# number of rows, and a function that takes a number n and yields n rows at a time
Opened = tuple[int, Callable[[int], Iterator[ak.Array]]]
# the same for arrays by name, together with the index of the first row
Blocks = tuple[int, Callable[[int], Iterator[tuple[int, dict[str, np.ndarray]]]]]

MOMENTA = ("part_px", "part_py", "part_pz", "part_energy", "part_deta", "part_dphi")


@contextlib.contextmanager
def top(path: Path) -> Iterator[Opened]:
    """The top-tagging benchmark (zenodo 2603256): a pandas table with columns E_i, PX_i, PY_i, PZ_i, is_signal_new.

    Yields
    ------
    (int, function)
        Rows are records px, py, pz, energy (variable) in GeV, label.
    """
    with hdf5.opened(path) as file:
        import h5py

        table = file.get("table/table")
        if not isinstance(table, h5py.Dataset) or table.dtype.names is None or table.ndim != 1:
            raise InputError(f"{path} has no pandas table 'table'")
        hdf5.check_compression(table)
        places = _places(table)
        particles = sum(1 for _ in takewhile(lambda i: f"E_{i}" in places, count()))
        wanted = {x: [f"{x}_{i}" for i in range(max(particles, 1))] for x in ("PX", "PY", "PZ", "E")}
        wanted["label"] = ["is_signal_new"]
        require(path, [name for names in wanted.values() for name in names], places)

        def chunks(step: int) -> Iterator[ak.Array]:
            for start in range(0, len(table), step):
                rows = table[start : start + step]
                columns = {x: np.stack([_column(rows, places[n]) for n in wanted[x]], axis=1) for x in wanted}
                label = _binary(path, columns.pop("label")[:, 0])
                columns["energy"] = columns.pop("E")
                columns = {name.lower(): values for name, values in columns.items()}
                yield rows_of(columns, columns["energy"] != 0, {"label": label})

        yield len(table), chunks


def _places(table: h5py.Dataset) -> dict[str, tuple[str, int | None]]:
    """Where each column of a pandas table is: dict of name to (field, position in the field or None)."""
    places: dict[str, tuple[str, int | None]] = {}
    for field in table.dtype.names:
        names = table.attrs.get(f"{field}_kind")
        if table.dtype[field].shape and isinstance(names, bytes):
            try:
                columns = hdf5.PlainUnpickler(names).load()
            except InputError as error:
                raise InputError(f"the list of column names {error}: this is not a file of the benchmark") from None
            places |= {name: (field, i) for i, name in enumerate(columns)}
        else:
            places[field] = (field, None)
    return places


def _column(rows: np.ndarray, place: tuple[str, int | None]) -> np.ndarray:
    field, i = place
    return rows[field] if i is None else rows[field][:, i]


@contextlib.contextmanager
def quark_gluon(path: Path) -> Iterator[Opened]:
    """The quark/gluon benchmark (zenodo 3164691): X (N, P, 4) = pt, y, phi, PDG id padded with zeros; y (N,).

    Yields
    ------
    (int, function)
        Rows are records pt, y, phi, pid (variable), label.
    """
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(zipfile.ZipFile(path))
        require(path, ["X.npy", "y.npy"], file.namelist())
        x, y = (stack.enter_context(file.open(name)) for name in ("X.npy", "y.npy"))
        (x_shape, x_type), (y_shape, y_type) = _npy_header(x), _npy_header(y)
        if len(x_shape) != 3 or x_shape[2] != 4 or y_shape != x_shape[:1]:
            raise InputError(f"{path} has X of shape {x_shape} and y of shape {y_shape}, not (N, P, 4) and (N,)")

        def chunks(step: int) -> Iterator[ak.Array]:
            for start in range(0, x_shape[0], step):
                rows = min(step, x_shape[0] - start)
                values = _npy_rows(x, x_type, (rows, *x_shape[1:]))
                columns = dict(zip(("pt", "y", "phi", "pid"), np.moveaxis(values, 2, 0)))
                label = _binary(path, _npy_rows(y, y_type, (rows,)))
                yield rows_of(columns, columns["pt"] != 0, {"label": label})

        yield x_shape[0], chunks


def _npy_header(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array of plain numbers that is stored row by row."""
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, by_column, dtype = read[np.lib.format.read_magic(file)](file)
    if dtype.kind not in "fiub" or by_column and len(shape) > 1:
        raise InputError(f"{file.name} has to hold plain numbers in C order")
    return shape, dtype


def _npy_rows(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(file.read(int(np.prod(shape)) * dtype.itemsize), dtype).reshape(shape)


@contextlib.contextmanager
def jetclass(path: Path) -> Iterator[Opened]:
    """JetClass (zenodo 6619768): a ROOT file with one tree.

    Yields
    ------
    (int, function)
        Rows are records of all branches.
    """
    with uproot.open(path) as file:
        trees = sorted({key.split(";")[0] for key, kind in file.classnames().items() if kind == "TTree"})
        if len(trees) != 1:
            raise InputError(f"{path} has {len(trees)} trees: {', '.join(trees)}" if trees else f"{path} has no tree")
        tree = file[trees[0]]
        require(path, MOMENTA, tree.keys(recursive=False))
        if "event_number" in tree:
            raise InputError(f"{path} already has a branch event_number")
        yield tree.num_entries, lambda step: map(within, tree.iterate(step_size=step))


@contextlib.contextmanager
def blocks(path: Path, wanted: Mapping[str, tuple[tuple[int | None, ...], slice]]) -> Iterator[Blocks]:
    """Arrays of an HDF5 file with one row per jet.

    Parameters
    ----------
    wanted : dict of name to the shape of a row (None: any length) and the part of its last axis to read

    Yields
    ------
    (int, function)
        Number of rows; the function yields the index of the first row and the arrays.

    Raises
    ------
    InputError
        If an array is not there or has another shape.
    """
    with hdf5.opened(path) as file:
        import h5py

        require(path, wanted, [name for name in file if isinstance(file.get(name), h5py.Dataset)])
        for name, (shape, _) in wanted.items():
            fits = len(file[name].shape) == 1 + len(shape) and all(
                want in (None, found) for want, found in zip(shape, file[name].shape[1:])
            )
            if not fits or file[name].dtype.kind not in "fiu":
                expected = ", ".join(["N", *("P" if length is None else str(length) for length in shape)])
                raise InputError(f"{path} has {name} of shape {file[name].shape}, not numbers of shape ({expected})")
            hdf5.check_compression(file[name])
        rows = {name: len(file[name]) for name in wanted}
        if len(set(rows.values())) > 1:
            lengths = ", ".join(f"{name} {number}" for name, number in rows.items())
            raise InputError(f"{path} has arrays of different length: {lengths}")
        total = next(iter(rows.values()))

        def chunks(step: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
            for start in range(0, total, step):
                rows = slice(start, start + step)
                yield start, {name: file[name][rows, ..., columns] for name, (_, columns) in wanted.items()}

        yield total, chunks


def require(path: Path, names: Iterable[str], present: Iterable[str]) -> None:
    """Raise InputError unless all names are present."""
    missing = sorted(set(names) - set(present))
    if missing:
        raise InputError(f"{path} lacks {some(missing, 4)}")


def refuse(path: Path, bad: np.ndarray, start: int, what: str) -> None:
    """Raise InputError that names the first row for which `bad` (N, ...) is true, if there is one."""
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
    if len(rows):
        raise InputError(f"{path} has {what} in row {start + rows[0]}")


def _binary(path: Path, label: np.ndarray) -> np.ndarray:
    if not np.isin(label, (0, 1)).all():
        raise InputError(f"{path} has labels other than 0 and 1")
    return label


def rows_of(columns: Mapping[str, np.ndarray], real: np.ndarray, jet: Mapping[str, np.ndarray]) -> ak.Array:
    """Records of lists: the entries of each column (N, P) where `real` (N, P) is true; and the columns `jet` (N,)."""
    lists = {name: ak.unflatten(values[real], real.sum(axis=1)) for name, values in columns.items()}
    return ak.zip({**lists, **jet}, depth_limit=1)
