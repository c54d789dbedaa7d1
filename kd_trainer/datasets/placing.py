"""Move files that were fetched together into their folder, and record that they are complete."""

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
    """Whether all files that were fetched as `name` are in a folder; `check` is that of `place`."""
    try:
        note = json.loads(_note(folder, name).read_text())
        return note["check"] == check and all((folder / file).exists() for file in note["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def place(staging: Path, folder: Path, name: str, check: str, patterns: Iterable[str]) -> None:
    """Move matching files from anywhere below `staging` into a folder, record them, and remove the rest.

    Raises
    ------
    InputError
        If no file matches, or if two files have the same name.
    """
    found = sorted(path for pattern in patterns for path in staging.rglob(pattern) if path.is_file())
    names = [path.name for path in found]
    if not found or len(set(names)) < len(names):
        what = "two files of the same name" if found else f"no files {' '.join(patterns)}"
        raise InputError(f"{name} holds {what}: it is not the expected content")
    for path in found:
        path.replace(folder / path.name)
    _note(folder, name).write_text(json.dumps({"check": check, "files": names}))
    shutil.rmtree(staging)


def unpack(archive: Path, check: str, pattern: str) -> None:
    """Unpack the matching files of an archive, without its folders, into the folder of the archive; then remove it.

    Raises
    ------
    InputError
        If it is damaged or has members that could be written outside the folder. Nothing is written then.
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
            while file.fileobj and file.fileobj.read(BLOCK):  # to the end, where compressed files have a checksum
                pass
        place(staging, archive.parent, archive.name, check, [pattern])
        archive.unlink()
    except (tarfile.TarError, EOFError, ValueError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # from the system, not from a decompressor
            raise
        raise InputError(f"{archive} cannot be unpacked: {one_line(error)}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def plain(name: str) -> str:
    """Check a file name from an untrusted source; InputError if it is empty, has a path or names a hidden file."""
    if not name or name.startswith(".") or any(character in "/\\\0" for character in name):
        raise InputError(f"{name!r} is not a plain file name")
    return name


def _wanted(members: Iterable[tarfile.TarInfo], archive: Path, pattern: str) -> dict[str, tarfile.TarInfo]:
    """Files that match a pattern, by name; InputError unless all members are files or folders inside the archive."""
    found: dict[str, tarfile.TarInfo] = {}
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise InputError(f"{archive} cannot be unpacked: {member.name} would be written outside the folder")
        if not (member.isfile() or member.isdir()):  # the target of a link could be outside
            raise InputError(f"{archive} cannot be unpacked: {member.name} is neither a file nor a folder")
        if member.isfile() and fnmatchcase(path.name, pattern):
            if path.name in found:
                raise InputError(f"{archive} holds two files of the same name, {path.name}")
            found[plain(path.name)] = member
    return found


def _extract(file: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = file.extractfile(member)
    assert source  # the member is a file
    with source, target.open("xb") as out:
        shutil.copyfileobj(source, out)


def _note(folder: Path, name: str) -> Path:
    return folder / f".{name}.json"
