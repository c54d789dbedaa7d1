"""Provenance of files: hashes, and the differences between two descriptions."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kd_trainer.files import reading


def sha256(path: str | Path) -> str:
    """SHA-256 of the content of a file."""
    with reading(path):
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def of_network(path: str | Path) -> str:
    """SHA-256 of the files of a network."""
    found = [sha256(file) for file in network_files(path)]
    return hashlib.sha256(" ".join(found).encode()).hexdigest() if len(found) > 1 else found[0]


def network_files(path: str | Path) -> list[str]:
    """A network file, and the files in its folder that it names, as Sophon.py names ParT.py."""
    names = re.findall(r"[\"']([\w-]+\.py)[\"']", Path(path).read_text(encoding="utf-8", errors="replace"))
    others = [Path(path).with_name(name) for name in sorted(set(names))]
    return [str(path), *(str(other) for other in others if other.is_file() and other != Path(path))]


def canonical(content: object) -> str:
    """JSON text that is the same for any order of keys, for tuples and lists, and for numpy and Python numbers."""
    return json.dumps(content, sort_keys=True, default=lambda x: x.tolist() if isinstance(x, np.ndarray) else str(x))


def differences(before: Mapping[str, Any], after: Mapping[str, Any], now: str = "is") -> dict[str, str]:
    """{entry: 'NAME was X, is Y'} of the entries that differ; entries that are missing in `after` are not compared."""
    earlier = dict(_entries(before))
    return {
        name: f"{name} was {_short(earlier.get(name))}, {now} {_short(value)}"
        for name, value in _entries(after)
        if earlier.get(name) != value
    }


def _entries(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict) and name != "options":
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _short(value: object) -> str:
    if value is None:
        return "absent"
    text = canonical(value) if isinstance(value, dict | list) else str(value)
    return text[:12] + "..." if len(text) == 64 else text
