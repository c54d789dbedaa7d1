"""Reading files with one-line errors, writing files atomically, output folders, and numbers in readable form."""

import contextlib
import glob
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kd_trainer.errors import InputError, StopError, one_line, reason

SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the faster version in C, if available


class Loader(SafeLoader):
    """YAML without recursive entries, which would cause endless loops."""

    def construct_document(self, node: Any) -> Any:
        return self.construct_object(node, deep=True)


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turn any exception of a library that cannot read a file into an InputError that names the file."""
    try:
        yield
    except Exception as error:
        if isinstance(error, InputError) and str(path) in str(error):
            raise
        raise InputError(f"{path} cannot be read: {reason(error)}") from error


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn an OSError into a StopError that names the file; an OSError about another file is not changed."""
    try:
        yield
    except OSError as error:
        cause = Path(str(error.filename or path))  # a parent folder, or the temporary name of the file
        if not (Path(path).is_relative_to(cause) or cause.name.startswith(f".{Path(path).name}.")):
            raise
        raise StopError(f"{path} cannot be written: {reason(error)}") from error


def read_yaml(path: str | Path, what: str, loader: type = Loader) -> Any:
    """Content of a YAML file; InputError if it is missing or invalid, with `what` before its path."""
    if not Path(path).is_file():
        raise InputError(f"{what} {path} {'is no file' if Path(path).exists() else 'does not exist'}")
    with reading(path):
        content = Path(path).read_bytes()
    try:
        return yaml.load(content, loader)
    except InputError as error:
        raise InputError(f"{what} {path}: {error}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is not valid YAML: {one_line(error)}") from None


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, and rename it to `path` when the block ends without an error.

    The folder is created if necessary. Temporary files that killed processes of this machine have left are removed.
    StopError if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f"{_temporary_name(path)}{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path)
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `replacing` that killed processes of this machine have left."""
    name = _temporary_name(path)
    for left in path.parent.glob(f"{glob.escape(name)}*"):
        if not _is_running(left.name.removeprefix(name)):
            left.unlink(missing_ok=True)


def _temporary_name(path: Path) -> str:
    return f".{path.name}.{platform.node()}."


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # a process of another user; not a process id
        pass
    return True


def make_directory(path: str | Path) -> None:
    """Create an output directory; InputError if it cannot be created or is not writable."""
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from error


def write_text(path: str | Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def json_text(content: object) -> str:
    """The text of a JSON file; NaN and infinity, which JSON does not know, raise ValueError."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=str) + "\n"


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file, `json_text`, under a temporary name, then rename it."""
    write_text(path, json_text(content))


def from_json(text: str | bytes) -> Any:
    """Content of a JSON text; ValueError also for NaN and infinity, which `write_json` does not write."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not valid JSON")

    return json.loads(text, parse_constant=refuse)


@contextlib.contextmanager
def json_of(path: str | Path, what: str, option: str = "") -> Iterator[Any]:
    """Content of a JSON file, for a block that reads its entries.

    InputError if the file is missing; '[OPTION ]PATH is not WHAT' if it is not JSON, or has not the entries or types
    that the block expects.
    """
    named = f"{option} {path}".lstrip()
    if not Path(path).is_file():
        raise InputError(f"{named} is not there")
    with reading(path):
        content = Path(path).read_bytes()
    try:
        yield from_json(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{named} is not {what}") from None


def si(number: float) -> str:
    """A count with three digits and an SI prefix: 2143486 -> '2.14M'."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"
