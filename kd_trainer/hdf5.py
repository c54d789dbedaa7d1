"""Reading HDF5 files with h5py, which executes nothing from the file.

Weaver reads HDF5 files with PyTables, which unpickles attributes when it opens a file. A pickle can execute any code.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from kd_trainer.errors import InputError

if TYPE_CHECKING:
    import h5py


class PlainUnpickler(pickle.Unpickler):
    """Reads pickled numbers, strings and lists of them; InputError for a pickle that uses a class or a function."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        raise InputError(f"asks for {module}.{name}")


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; InputError if h5py is not installed."""
    try:
        import h5py
    except ImportError:
        raise InputError("h5py is not installed; pip install 'weaver-kd[convert]'") from None
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  adds compression filters that h5py lacks
    with h5py.File(path) as file:
        yield file


def check_compression(dataset: h5py.Dataset) -> None:
    """Raise InputError for a compression filter that h5py does not know."""
    import h5py

    pipeline = dataset.id.get_create_plist()
    for code, _, _, name in map(pipeline.get_filter, range(pipeline.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            raise InputError(f"{dataset.file.filename} is compressed with {name.decode()}: pip install hdf5plugin")


@contextlib.contextmanager
def arrays(path: str | Path) -> Iterator[dict[str, h5py.Dataset]]:
    """The arrays of a file by name, as weaver reads them; InputError if PyTables would execute something in it."""
    with opened(path) as file:
        _check_attributes(file)
        import h5py

        yield {
            name: node
            for name in file
            if isinstance(file.get(name, getlink=True), h5py.HardLink)
            and isinstance(node := file[name], h5py.Dataset)
            and node.ndim
        }


def table(
    arrays: dict[str, h5py.Dataset], branches: Iterable[str], start: int = 0, stop: int | None = None
) -> ak.Array:
    """Rows of selected `arrays` as an awkward record array."""
    return ak.Array({name: _rows(arrays[name], start, stop) for name in branches})


def _rows(array: h5py.Dataset, start: int, stop: int | None) -> np.ndarray | list[Any]:
    """Rows of an array, with the types that PyTables gives them."""
    import h5py

    check_compression(array)
    values = array[start:stop]
    if array.id.get_type().get_class() == h5py.h5t.BITFIELD:  # PyTables stores booleans in this way
        return values.astype(bool)
    return list(values) if values.dtype == object else values  # object: rows of different lengths


def _check_attributes(file: h5py.File) -> None:
    """Raise InputError for an attribute or an array that PyTables would unpickle and that is not plain data."""

    def look(name: str, node: h5py.HLObject) -> None:
        for key in node.attrs:
            for text in _texts(node.attrs[key]):
                place = f"attribute {key} of /{name}"
                if key == "PSEUDOATOM" and text == b"object":
                    raise InputError(f"/{name} holds pickled objects, which weaver would execute: remove it")
                try:
                    PlainUnpickler(text).load()
                except InputError as error:
                    raise InputError(f"{place} is a pickled program ({error}), which weaver would execute") from None
                except Exception:  # the text is not a pickle
                    continue

    look("", file)
    file.visititems(look)


def _texts(value: Any) -> Iterator[bytes]:
    """The texts in the value of an attribute."""
    for item in np.asarray(value).ravel().tolist() if not isinstance(value, str | bytes) else [value]:
        if isinstance(item, str):
            yield item.encode(errors="surrogateescape")
        elif isinstance(item, bytes):
            yield item
