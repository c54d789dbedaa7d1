"""Putting files that arrived together where they belong, and remembering that they are complete."""

import json
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from kd_trainer.errors import InputError, one_line

BLOCK = 1 << 20  # bytes


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
        return note["check"] == check and all((folder / file).exists() for file in note["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


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
    """Unpack the files of an archive that match, without its folders, into its own folder, and remove it.

    Raises
    ------
    InputError
        If it is damaged or has members that could be written elsewhere. Nothing of it is written then.
    OSError
        If its files cannot be written.
    """
    staging = archive.with_name(f".{archive.name}.unpacked")
    shutil.rmtree(staging, ignore_errors=True)
    try:
        with tarfile.open(archive) as file:
            wanted = _wanted(file.getmembers(), archive, pattern)
            staging.mkdir()
            for name, member in wanted.items():
                _extract(file, member, staging / name)
            while file.fileobj and file.fileobj.read(BLOCK):  # to the end, where the checksum of a compression is
                pass
        place(staging, archive.parent, archive.name, check, [pattern])
        archive.unlink()
    except (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # of the system, not of a decompressor
            raise
        raise InputError(f"{archive} cannot be unpacked: {one_line(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def plain(name: str) -> str:
    """The name of a file that comes from elsewhere; InputError if it is more than that, or that of a hidden file."""
    if not name or name.startswith(".") or any(character in "/\\\0" for character in name):
        raise InputError(f"{name!r} is not the name of a file")
    return name


def _wanted(members: Iterable[tarfile.TarInfo], archive: Path, pattern: str) -> dict[str, tarfile.TarInfo]:
    """The files that match a pattern, by name; InputError unless all members are files and folders inside."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{archive} cannot be unpacked: {member.name} would be outside")
        if not (member.isfile() or member.isdir()):  # links would have to be followed to know where
            raise InputError(f"{archive} cannot be unpacked: {member.name} is neither a file nor a folder")
        if member.isfile() and fnmatchcase(path.name, pattern):
            if path.name in found:
                raise InputError(f"{archive} holds two files of the same name, {path.name}")
            found[plain(path.name)] = member
    return found


def _extract(file: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = file.extractfile(member)
    assert source  # of a file
    with source, target.open("xb") as out:
        shutil.copyfileobj(source, out)


def _note(folder: Path, name: str) -> Path:
    return folder / f".{name}.json"
