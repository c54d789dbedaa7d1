"""Input files in the format of weaver's arguments, and the paths of their soft targets."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from kd_trainer.errors import InputError
from kd_trainer.jet_files import named_files


class Target(NamedTuple):
    """A file of a cache, and its group of files ('' for none)."""

    group: str
    output: Path


def targets_of(arguments: Iterable[str], folder: Path) -> dict[str, Target]:
    """{input file: file of the cache}, for arguments like weaver's `--data-train`.

    Parameters
    ----------
    arguments : list of str
        `PATTERN` or `GROUP:PATTERN`.
    folder : Path
        Folder of the cache; its subfolders have the name of the group, or else of the folder of the input files.

    Raises
    ------
    InputError
        If an argument matches no file, or if two files would get the same name.
    """
    found: dict[str, Target] = {}
    taken: dict[Path, str] = {}
    for group, path in named_files(arguments):
        output = output_of(path, group, folder)
        other = taken.setdefault(output, path)
        if other != path:
            raise InputError(f"{other} and {path} would both become {output}: give them different group names")
        found[path] = Target(group, output)
    return found


def output_of(path: str, group: str, folder: Path) -> Path:
    """The file of the cache for an input file."""
    return folder / (group or Path(path).absolute().parent.name) / f"{Path(path).stem}.parquet"


def as_arguments(targets: Mapping[str, Target]) -> list[str]:
    """The files of the cache as arguments of weaver's `--data-train`: list of str."""
    return [f"{group}:{output}" if group else str(output) for group, output in targets.values()]
