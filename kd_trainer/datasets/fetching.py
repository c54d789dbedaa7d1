"""Fetch the parts of the table of downloads and put their files in place. Existing files are not fetched again."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kd_trainer.datasets.placing import is_placed, place, plain, unpack
from kd_trainer.datasets.repositories import dataset_size, fetch_dataset, record_files
from kd_trainer.datasets.transfer import fetch, matches, part_of, remote_size
from kd_trainer.errors import InputError
from kd_trainer.files import make_directory, si


class File(NamedTuple):
    """A file with its checksum; `unpack`: pattern of the files to take out of an archive, None for other files."""

    url: str
    path: Path
    check: str
    unpack: str | None = None

    def has_arrived(self) -> bool:
        """Whether the file exists with the right checksum; InputError if a different file has its name."""
        if self.path.exists() and not matches(self.path, self.check):
            raise InputError(f"{self.path} is not the file that {self.url} should be; move it away")
        return self.path.exists()

    def is_complete(self) -> bool:
        """Whether there is nothing left to do."""
        if self.unpack:
            return is_placed(self.path.parent, self.path.name, self.check)
        return self.has_arrived()

    def size(self) -> int:
        """Bytes that are still to be fetched."""
        if self.has_arrived():
            return 0
        part = part_of(self.path)
        return max(0, remote_size(self.url) - (part.stat().st_size if part.exists() else 0))

    def get(self) -> None:
        """Fetch it, and unpack it if it is an archive."""
        make_directory(self.path.parent)
        if not self.has_arrived():
            fetch(self.url, self.path, self.check)
        if self.unpack:
            unpack(self.path, self.check, self.unpack)


class Dataset(NamedTuple):
    """Files of a dataset of the Hugging Face hub; they are first fetched into a directory of their own."""

    repository: str
    folder: Path
    name: str
    patterns: list[str]
    endpoint: str | None
    unpack: str | None = None  # never an archive

    @property
    def staging(self) -> Path:
        """Directory into which they are fetched."""
        return self.folder / f".{self.name}"

    def is_complete(self) -> bool:
        """Whether there is nothing left to do."""
        return is_placed(self.folder, self.name, self.repository)

    def size(self) -> int:
        """Bytes that are still to be fetched."""
        return dataset_size(self.repository, self.patterns, self.staging, self.endpoint)

    def get(self) -> None:
        """Fetch them and move them into the folder."""
        make_directory(self.folder)
        fetch_dataset(self.repository, self.patterns, self.staging, self.endpoint)
        place(self.staging, self.folder, self.name, self.repository, self.patterns)


def fetch_parts(parts: Iterable[Mapping[str, Any]], directory: Path) -> None:
    """Fetch what is missing. A failure ends the call; the same call then continues from there.

    Raises
    ------
    InputError
        If something cannot be fetched, verified or unpacked, or the disk is too small.
    OSError
        If something cannot be written.
    """
    items = [item for part in parts for item in items_of(part, directory)]
    missing = [item for item in items if not item.is_complete()]
    print(f"download: {len(items)} items, {len(items) - len(missing)} of them already in {directory}", flush=True)
    check_space(missing, directory)
    for item in missing:
        item.get()


def items_of(part: Mapping[str, Any], directory: Path) -> Sequence[File | Dataset]:
    """The files or the dataset of a part: list of File or Dataset; InputError for a name that is not a plain name."""
    folder = directory / part["to"]
    if "hub" in part:
        return [Dataset(part["hub"], folder, plain(part["name"]), part["files"], part.get("endpoint"))]
    if "doi" in part:
        files = record_files(part["doi"], part["files"])
        return [File(url, folder / plain(name), check, part.get("unpack")) for name, (url, check) in files.items()]
    kind = "md5" if "md5" in part else "git_blob"
    return [File(part["url"], folder / plain(part["name"]), f"{kind}:{part[kind]}", part.get("unpack"))]


def check_space(items: Sequence[File | Dataset], directory: Path) -> None:
    """Raise InputError if the disk is too small; room is needed for the largest archive and its unpacked files."""
    sizes = [item.size() for item in items]
    need = sum(sizes) + max((size for size, item in zip(sizes, items) if item.unpack), default=0)
    free = shutil.disk_usage(directory).free
    if need > free:
        raise InputError(f"{directory} needs {si(need)}B of free space and has {si(free)}B")
