"""Writing of results: counts for people, files that appear whole or not at all."""

import contextlib
import glob
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path` (made if need be), renamed to `path` when the block ends well.

    What processes of this machine that were killed have left of the same file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f".{path.name}.{platform.node()}."
    for left in path.parent.glob(f"{glob.escape(name)}*"):
        if not _is_running(left.name.removeprefix(name)):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f"{name}{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):  # another user's; no process id
        pass
    return True


def write_text(path: str | Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: object) -> None:
    """Write a JSON file under a temporary name, then rename it; NaN and infinity, unknown to JSON, raise ValueError."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False, default=str) + "\n")


def si(number: float) -> str:
    """A count with three digits and a prefix of thousands: 2143486 -> '2.14M'."""
    for unit in ("", "k", "M", "G"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}T"
