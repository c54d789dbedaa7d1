"""Input files: the files that an argument names, and their content.

Weaver logs a file that it cannot read and continues without it. Here such a file is an error.
"""

import contextlib
import functools
import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import awkward as ak
import pyarrow.parquet
import uproot

from kd_trainer import hdf5
from kd_trainer.errors import InputError, one_line, some
from kd_trainer.files import reading

if TYPE_CHECKING:
    from weaver.utils.dataset import DataConfig

Found = tuple[int, str]  # number of rows of a file, and a description of its error


def named_files(arguments: Iterable[str]) -> list[tuple[str, str]]:
    """The files that arguments like weaver's `--data-train` name.

    Parameters
    ----------
    arguments : iterable of str
        `[NAME:]PATTERN`; the pattern may have shell wildcards.

    Returns
    -------
    list of (NAME or '', path)
        In the order of the arguments; the files of each argument are sorted.

    Raises
    ------
    InputError
        If a pattern matches no file (weaver would continue without it), or if a path contains a colon.
    """
    arguments = list(arguments)
    found, unmatched = [], []
    for argument in arguments:
        name, _, pattern = argument.rpartition(":")
        if "/" in name or ":" in name:
            raise InputError(f"{argument} has a colon in its path: weaver takes the text before it as a group name")
        paths = sorted(glob.glob(pattern))
        found += [(name, path) for path in paths]
        unmatched += [] if paths else [argument]
    if unmatched:
        raise InputError(_absent(unmatched, arguments))
    return found


def series(path: str) -> str:
    """The name of a file without its number: Res2P for Res2P_0001.parquet."""
    return re.sub(r"_?\d+$", "", Path(path).stem)


def series_of(arguments: Iterable[str]) -> dict[str, list[str]]:
    """Arguments of `named_files` by the `series` of their files; files without a number form their own series."""
    found: dict[str, list[str]] = {}
    for argument in arguments:
        path = argument.rpartition(":")[2]
        found.setdefault(series(path) if Path(path).stem[-1:].isdecimal() else argument, []).append(argument)
    return found


def _absent(unmatched: Sequence[str], arguments: Iterable[str]) -> str:
    """The message for arguments that match no file; for a partial dataset it counts the missing files."""
    patterns = [argument.rpartition(":")[2] for argument in unmatched]
    every, lacking = series_of(arguments), series_of(unmatched)
    if all(len(every[name]) > 1 for name in lacking) and len(unmatched) < sum(map(len, every.values())):
        counts = ", ".join(f"{len(lacking[name])} of the {len(every[name])} files of {name}" for name in lacking)
        return f"{counts} are missing, for example {patterns[0]}: download them, or use the existing ones (FILES=found)"
    return f"no file matches {some(patterns, 3)}: is the path (DATADIR) right?"


def those_there(arguments: Sequence[str]) -> tuple[list[str], str]:
    """The arguments of `named_files` that match a file, and a sentence that counts them for each series of files.

    Raises
    ------
    InputError
        If no file of a series exists.
    """
    there, texts = [], []
    for members in series_of(arguments).values():
        matching = [argument for argument in members if glob.glob(argument.rpartition(":")[2])]
        ends = [Path(members[i].rpartition(":")[2]) for i in (0, -1)]
        files = f"the {len(members)} files {ends[0].name} to {ends[1].name}" if len(members) > 1 else ends[0].name
        if not matching:
            raise InputError(f"none of {files} is in {ends[0].parent}: each group needs at least one")
        there += matching
        texts += [f"{len(matching)} of {files}"] if len(members) > 1 else []
    return there, ", ".join(texts)


def files_of(arguments: Iterable[str]) -> list[str]:
    """Paths of `named_files`, without the group names."""
    return [path for _, path in named_files(arguments)]


def needed_branches(config: "DataConfig", training: bool = True) -> set[str]:
    """Names in the files of the branches that weaver reads for a DataConfig."""
    names = set(config.train_load_branches if training else config.test_load_branches)
    names -= {*(config.file_magic or {}), "aux_training_"}  # weaver makes these
    return {name_in_file(name, config) for name in names}


def name_in_file(name: str, config: "DataConfig") -> str:
    """The name in the files of a branch of a DataConfig (`branch_magic`)."""
    for ours, theirs in (config.branch_magic or {}).items():
        name = name.replace(ours, theirs)
    return name


class Opened(NamedTuple):
    """An open file: names of its branches, number of its rows, and a function that reads rows as `first_rows` does."""

    names: set[str]
    rows: int
    first: Callable[[Iterable[str], int], ak.Array]


@contextlib.contextmanager
def opened(path: str | Path, treename: str | None = None) -> Iterator[Opened]:
    """Open a parquet, ROOT or HDF5 file once, for its description and its first rows.

    Raises
    ------
    InputError
        If the file cannot be read, or has another format.
    """
    extension = Path(path).suffix
    with reading(path):
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError("is not a regular file")  # reading a pipe would block
        if extension == ".parquet":
            with pyarrow.parquet.ParquetFile(path) as file:
                first = functools.partial(_first_of_parquet, file)
                yield Opened(set(file.schema_arrow.names), file.metadata.num_rows, first)
        elif extension == ".root":
            with uproot.open(path) as file:
                tree = _tree(file, treename)
                first = functools.partial(_first_of_root, tree)
                yield Opened(set(tree.keys(recursive=False)), tree.num_entries, first)
        elif extension == ".h5":
            with hdf5.arrays(path) as arrays:
                first = functools.partial(_first_of_hdf5, arrays)
                yield Opened(set(arrays), len(next(iter(arrays.values()), ())), first)
        else:
            raise InputError("is not a parquet, ROOT or HDF5 file")


def _first_of_parquet(file: pyarrow.parquet.ParquetFile, branches: Iterable[str], rows: int) -> ak.Array:
    return ak.from_arrow(next(file.iter_batches(batch_size=rows, columns=sorted(branches))))


def _first_of_root(tree: uproot.TTree, branches: Iterable[str], rows: int) -> ak.Array:
    return within(tree.arrays(sorted(branches), entry_stop=rows))


def _first_of_hdf5(arrays: dict[str, Any], branches: Iterable[str], rows: int) -> ak.Array:
    return hdf5.table(arrays, sorted(branches), stop=rows)


def contents(path: str | Path, treename: str | None = None) -> tuple[set[str], int]:
    """Branch names and number of rows of a parquet, ROOT or HDF5 file; errors as in `opened`."""
    with opened(path, treename) as file:
        return file.names, file.rows


def _tree(file: uproot.ReadOnlyDirectory, treename: str | None) -> uproot.TTree:
    kinds = {key.split(";")[0]: kind for key, kind in file.classnames().items()}
    trees = {name for name, kind in kinds.items() if kind == "TTree"}
    if not trees and any(kind.endswith("RNTuple") for kind in kinds.values()):
        raise InputError("holds an RNTuple, which weaver cannot read: write a TTree (in uproot: mktree)")
    if treename is None and len(trees) != 1:
        raise InputError(f"has {len(trees)} trees: name one in the data config (treename)")
    return file[treename or trees.pop()]


def first_rows(path: str | Path, branches: Iterable[str], rows: int, treename: str | None = None) -> ak.Array:
    """The first rows of a file as an awkward record array of the branches."""
    with opened(path, treename) as file:
        return file.first(branches, rows)


def chunks(path: str | Path, branches: Iterable[str], rows: int, treename: str | None = None) -> Iterator[ak.Array]:
    """Yield all rows of a file in chunks of `rows`, as awkward record arrays of the branches."""
    branches = sorted(branches)
    extension = Path(path).suffix
    with reading(path):
        if extension == ".parquet":
            file = pyarrow.parquet.ParquetFile(path, pre_buffer=False)  # pre_buffer keeps the whole file
            for batch in file.iter_batches(batch_size=rows, columns=branches):
                yield ak.from_arrow(batch)
        elif extension == ".root":
            with uproot.open(path) as file:
                tree = _tree(file, treename)
                for table in tree.iterate(filter_name=branches, step_size=rows):  # it keeps decompressed baskets
                    yield within(table)
        else:
            with hdf5.arrays(path) as arrays:
                for start in range(0, len(arrays[branches[0]]), rows):
                    yield hdf5.table(arrays, branches, start, start + rows)


def within(table: ak.Array) -> ak.Array:
    """The table; InputError if its lists reach beyond their values, which uproot does not check."""
    trouble = ak.validity_error(table)
    if trouble:
        raise InputError(f"its lists do not fit their values: {one_line(trouble)}")
    return table


def check_numbers(table: ak.Array, names: Iterable[str]) -> None:
    """Raise InputError if columns of a table hold text."""
    texts = [name for name in sorted(names) if "string" in str(table[name].type) or "bytes" in str(table[name].type)]
    if texts:
        raise InputError(f"text stands where numbers are expected, in {', '.join(texts)}")


def inspect(
    path: str | Path,
    branches: Iterable[str],
    treename: str | None = None,
    look: Callable[[Opened], object] = lambda file: None,
) -> Found:
    """Number of rows, and a description of what is wrong with the file ('' if nothing is).

    `look` is called with the open file if nothing is wrong.
    """
    try:
        with opened(path, treename) as file:
            missing = sorted(set(branches) - file.names)
            trouble = f"lacks {', '.join(missing)}" if missing else "" if file.rows else "has no jets"
            if not trouble:
                look(file)
            return file.rows, trouble
    except InputError as error:
        return 0, str(error).removeprefix(f"{path} ")


def inspect_all(paths: Sequence[str], branches: Iterable[str], treename: str | None = None) -> list[Found]:
    """`inspect` for many files in parallel; results in the order of the files."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: inspect(path, branches, treename), paths))


def checked_rows(paths: Sequence[str], branches: Iterable[str], treename: str | None = None) -> int:
    """Number of rows of all files; InputError for the first file with which `inspect` finds something wrong."""
    found = inspect_all(paths, branches, treename)
    for path, (_, trouble) in zip(paths, found):
        if trouble:
            raise InputError(f"{path} {trouble}")
    return sum(rows for rows, _ in found)
