"""Putting files that arrived together where they belong, and remembering that they are complete."""

import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from kd_trainer.errors import InputError, one_line


def is_placed(folder: Path, name: str, check: str) -> bool:
    """Whether all files that arrived as `name` are in a folder.

    Parameters
    ----------
    folder : Path
    name : str
    check : str
        What `place` was told.
    """
    try:
        note = json.loads(_note(folder, name).read_text())
    except (OSError, ValueError):
        return False
    return note["check"] == check and all((folder / file).exists() for file in note["files"])


def place(staging: Path, folder: Path, name: str, check: str, patterns: Iterable[str]) -> None:
    """Move files from anywhere below `staging` into a folder, and remember it; the rest is removed.

    Raises
    ------
    InputError
        If there are no such files, or two of the same name.
    """
    found = sorted(path for pattern in patterns for path in staging.rglob(pattern) if path.is_file())
    names = [path.name for path in found]
    if not found or len(set(names)) < len(names):
        what = "two files of the same name" if found else f"no files {' '.join(patterns)}"
        raise InputError(f"{name} holds {what}: it is not what was expected")
    for path in found:
        path.replace(folder / path.name)
    _note(folder, name).write_text(json.dumps({"check": check, "files": names}))
    shutil.rmtree(staging)


def unpack(archive: Path, check: str, pattern: str) -> None:
    """Unpack an archive into its own folder and remove it; members that point outside are refused.

    Raises
    ------
    InputError
        If it is damaged or malicious.
    OSError
        If its files cannot be written.
    """
    staging = archive.with_name(f".{archive.name}.unpacked")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with tarfile.open(archive) as file:
            file.extractall(staging, filter="data")
        place(staging, archive.parent, archive.name, check, [pattern])
        archive.unlink()
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f"{archive} cannot be unpacked: {one_line(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _note(folder: Path, name: str) -> Path:
    return folder / f".{name}.json"
