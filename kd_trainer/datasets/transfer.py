"""Fetch large files: interrupted transfers are continued, and only a verified file gets its name."""

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import requests
import tqdm

from kd_trainer.errors import InputError

TIMEOUT = (15, 60)  # seconds to connect, seconds without data
TRIES = 5  # number of consecutive attempts without new data
PAUSE = 5  # seconds before the next attempt, longer after several failures
BLOCK = 1 << 16  # bytes; a broken transfer loses at most one block


def matches(path: Path, check: str) -> bool:
    """Whether a file has the checksum `md5:<hex>` or `git_blob:<hex>`.

    A git blob id is the SHA-1 of "blob <size>", a zero byte and the content.
    """
    kind, _, expected = check.partition(":")
    if kind == "git_blob":
        digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest() == expected


def remote_size(url: str) -> int:
    """Bytes of a file, 0 if the server does not tell; InputError if it does not answer or has no such file."""
    try:
        response = requests.head(url, headers={"Accept-Encoding": "identity"}, allow_redirects=True, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise InputError(f"{url}: {_reason(error)}") from error
    if response.status_code in (404, 410):
        raise InputError(f"{url}: {response.status_code} {response.reason}")
    return int(response.headers.get("Content-Length", 0)) if response.ok else 0


def part_of(path: Path) -> Path:
    """Path of a file until it is complete and verified."""
    return path.with_name(f"{path.name}.part")


def fetch(url: str, path: Path, check: str) -> None:
    """Fetch a file; a transfer that an earlier call left in `part_of(path)` is continued.

    Parameters
    ----------
    path : Path
        In a directory that exists.
    check : str
        As for `matches`.

    Raises
    ------
    InputError
        If the server fails to send it, or if its checksum is wrong.
    OSError
        If it cannot be written.
    """
    part = part_of(path)
    vain = most = 0
    while trouble := _transfer(url, part, path.name):
        done = part.stat().st_size if part.exists() else 0
        vain, most = (0, done) if done > most else (vain + 1, most)
        if vain == TRIES:
            raise InputError(f"{url}: {trouble}; the same command goes on from where it stopped")
        time.sleep(PAUSE * max(vain, 1))
    if not matches(part, check):
        part.unlink()
        raise InputError(f"{url}: the file does not have the checksum {check} and was removed")
    part.replace(path)


def _transfer(url: str, part: Path, name: str) -> str:
    """Fetch the missing part of a file; returns the reason if the file is still not complete, else ''.

    Raises
    ------
    InputError
        If another attempt would fail in the same way.
    OSError
        If it cannot be written.
    """
    start = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # the file is complete or a different one; the checksum decides
                return ""
            if response.status_code == 429 or response.status_code >= 500:
                return f"{response.status_code} {response.reason}"
            if not response.ok:
                raise InputError(f"{url}: {response.status_code} {response.reason}")
            start = start if response.status_code == 206 else 0
            size = start + int(response.headers.get("Content-Length", 0))
            _write(response, part, start, size, name)
    except requests.RequestException as error:
        return _reason(error)
    done = part.stat().st_size
    return f"the transfer broke off after {done} of {size} bytes" if done < size else ""


def _write(response: requests.Response, part: Path, start: int, size: int, name: str) -> None:
    bar = tqdm.tqdm(initial=start, total=size or None, desc=name, unit="B", unit_scale=True, disable=None)
    with bar, part.open("ab" if start else "wb") as file:
        for block in response.iter_content(BLOCK):
            file.write(block)
            bar.update(len(block))


def _reason(error: Any) -> str:
    """The innermost message of an exception of requests."""
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the transfer broke off"
    with suppress(IndexError):
        error = getattr(error.args[0], "reason", error)
    return str(error).rpartition(": ")[2]
