"""Files of Zenodo records (with pooch) and of Hugging Face datasets (with huggingface_hub)."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from kd_trainer.datasets.placing import plain
from kd_trainer.errors import InputError, one_line

TIMEOUT = 60  # seconds


def record_files(doi: str, patterns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Files of a record whose names match one of the patterns: {name: (url, checksum)}.

    Raises
    ------
    InputError
        If there is no such record, or if the server does not answer.
    """
    import pooch
    import requests

    try:
        repository = pooch.downloaders.doi_to_repository(doi, timeout=TIMEOUT)
        found = pooch.Pooch(path=".", base_url=f"doi:{doi}/")
        repository.populate_registry(found)
        files = {name: (repository.download_url(name), check) for name, check in found.registry.items()}
    except (requests.RequestException, ValueError, KeyError) as error:
        raise InputError(f"the record {doi} cannot be read: {one_line(error)}") from error
    files = {name: file for name, file in files.items() if any(fnmatch(name, pattern) for pattern in patterns)}
    if not files:
        raise InputError(f"the record {doi} has no files {' '.join(patterns)}")
    return files


def dataset_size(repository: str, patterns: Sequence[str], staging: Path, endpoint: str | None = None) -> int:
    """Bytes of a dataset that `fetch_dataset` still has to fetch.

    Raises
    ------
    InputError
        If there is no such dataset, if the server does not answer, or if a path leads out of the directory.
    """
    import huggingface_hub

    def wanted(entry: Any) -> bool:
        is_file = hasattr(entry, "size")
        fits = any(fnmatch(entry.path, pattern) for pattern in patterns)
        return is_file and fits and not (staging / entry.path).exists()

    try:
        entries = huggingface_hub.HfApi(endpoint).list_repo_tree(repository, repo_type="dataset", recursive=True)
        sizes = {entry.path: entry.size for entry in entries if wanted(entry)}
    except Exception as error:  # from four libraries: HTTP, large files, locks, and huggingface_hub
        raise InputError(f"the dataset {repository} cannot be read: {one_line(error)}") from error
    for path in sizes:  # these paths will be written below the directory
        for name in path.split("/"):
            plain(name)
    return sum(sizes.values())


def fetch_dataset(repository: str, patterns: Sequence[str], staging: Path, endpoint: str | None = None) -> None:
    """Fetch the missing files of a dataset into a directory; InputError if one cannot be fetched or written."""
    import huggingface_hub

    try:
        huggingface_hub.snapshot_download(
            repository, repo_type="dataset", local_dir=staging, allow_patterns=patterns, endpoint=endpoint
        )
    except Exception as error:  # see above
        raise InputError(f"the dataset {repository} cannot be fetched: {one_line(error)}") from error
