"""HDF5 files by h5py, which runs nothing that they hold.

PyTables, by which weaver reads them, unpickles attributes when it opens a file: a pickle can run any program.
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
    """Reads what is pickled of numbers, strings and lists of them; InputError for what asks for a class or function."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")

    def find_class(self, module: str, name: str) -> Any:
        raise InputError(f"asks for {module}.{name}")


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """An HDF5 file to read; InputError if h5py is not installed."""
    try:
        import h5py
    except ImportError:
        raise InputError("h5py is not installed; pip install 'weaver-kd[convert]'") from None
    with contextlib.suppress(ImportError):
        import hdf5plugin  # noqa: F401  kinds of compression that h5py has not
    with h5py.File(path) as file:
        yield file


def check_compression(dataset: h5py.Dataset) -> None:
    """Raise InputError for a compression that h5py does not know."""
    import h5py

    pipeline = dataset.id.get_create_plist()
    for code, _, _, name in map(pipeline.get_filter, range(pipeline.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            raise InputError(f"{dataset.file.filename} is compressed with {name.decode()}: pip install hdf5plugin")


@contextlib.contextmanager
def arrays(path: str | Path) -> Iterator[dict[str, h5py.Dataset]]:
    """The arrays of a file by name, as weaver would read them, which has one for each branch.

    Raises
    ------
    InputError
        If PyTables would run something that the file holds.
    """
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
    """Rows of some `arrays` as an awkward record array."""
    return ak.Array({name: _rows(arrays[name], start, stop) for name in branches})


def _rows(array: h5py.Dataset, start: int, stop: int | None) -> np.ndarray | list[Any]:
    """Rows of an array, with the types that PyTables gives them."""
    import h5py

    check_compression(array)
    values = array[start:stop]
    if array.id.get_type().get_class() == h5py.h5t.BITFIELD:  # as PyTables stores truth
        return values.astype(bool)
    return list(values) if values.dtype == object else values  # of different lengths


def _check_attributes(file: h5py.File) -> None:
    """Raise InputError for an attribute or an array that PyTables unpickles and that is more than plain data."""

    def look(name: str, node: h5py.HLObject) -> None:
        for key in node.attrs:
            for text in _texts(node.attrs[key]):
                place = f"attribute {key} of /{name}"
                if key == "PSEUDOATOM" and text == b"object":
                    raise InputError(f"/{name} holds pickled objects, which weaver would run: remove it")
                try:
                    PlainUnpickler(text).load()
                except InputError as error:
                    raise InputError(f"{place} is a pickled program ({error}), which weaver would run") from None
                except Exception:  # whatever a text that is no pickle makes of it
                    continue

    look("", file)
    file.visititems(look)


def _texts(value: Any) -> Iterator[bytes]:
    """What is text in the value of an attribute."""
    for item in np.asarray(value).ravel().tolist() if not isinstance(value, str | bytes) else [value]:
        if isinstance(item, str):
            yield item.encode(errors="surrogateescape")
        elif isinstance(item, bytes):
            yield item
