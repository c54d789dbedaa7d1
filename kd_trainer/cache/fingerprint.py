"""What made a file of soft targets: stored in it, compared before it is used."""

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.errors import InputError

KEY = "kd_trainer.cache"  # in the metadata
FORMAT = 1  # to be raised when the same input gives other columns
PACKAGES = ("weaver-core", "torch", "weaver-kd")
LOOSE = ("versions.torch", "versions.weaver-kd")  # a difference is logged: it moves logits by less than fp16 does


def of_teachers(members, ensemble):
    """What decides the soft targets of one teacher or of an ensemble, for what is in their own files: dict.

    Parameters
    ----------
    members : list of members.Member
    ensemble : str
        What of several teachers is averaged.
    """
    teachers = [_of_teacher(*member) for member in members]
    if len(teachers) == 1:
        return teachers[0]
    numbered = {str(number): teacher for number, teacher in enumerate(teachers, start=1)}
    return {"ensemble": f"{ensemble} of {len(teachers)}", **numbered}


def _of_teacher(network, weights, options):
    for kind, path in (("network file", network), ("weights", weights)):
        if not Path(path).is_file():
            raise InputError(f"the teacher's {kind} {path} does not exist")
    return {"network": of_network(network), "weights": sha256(weights), "options": options}


def of_network(path):
    """SHA-256 of a network file, and of those in its folder whose names stand in it, as ParT.py in Sophon.py."""
    others, text = [], Path(path).read_text(encoding="utf-8", errors="replace")
    for name in sorted(set(re.findall(r"[\"']([\w-]+\.py)[\"']", text))):
        other = Path(path).resolve().with_name(name)
        if other.is_file() and other != Path(path).resolve():
            others.append(sha256(other))
    return hashlib.sha256(" ".join([sha256(path), *others]).encode()).hexdigest() if others else sha256(path)


def of_config(paired):
    """SHA-256 of what a paired config decides, however it is written; sampling weights decide no soft target."""
    content = {key: value for key, value in paired.items() if value}
    content["inputs"] = list(paired["inputs"].items())  # in the order of the networks' arguments
    derived = ("data_fraction",)  # of the files that weaver takes sampling weights from
    content["preprocess"] = {k: v for k, v in (paired.get("preprocess") or {}).items() if k not in derived}
    content["weights"] = {k: v for k, v in (paired.get("weights") or {}).items() if k != "reweight_hists"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def of_input(path):
    """The input file as it is now: dict."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return {"path": str(Path(path).absolute()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def of_all(*, teacher, paired, layout):
    """What the files of a cache have in common: dict.

    Parameters
    ----------
    teacher : dict of `of_teachers`
    paired : dict, options of the paired data config
    layout : dict of the columns, or what is known of it
    """
    versions = {package: version(package) for package in PACKAGES}
    made = {"format": FORMAT, "teacher": teacher, "config": of_config(paired), "layout": layout, "versions": versions}
    return json.loads(canonical(made))


def canonical(content):
    """JSON that does not depend on the order of keys, on tuples being lists, or on numpy."""
    return json.dumps(content, sort_keys=True, default=lambda x: x.tolist() if isinstance(x, np.ndarray) else str(x))


def read(path):
    """The fingerprint in a file of soft targets.

    Raises
    ------
    InputError
        If there is none.
    """
    try:
        return json.loads(pq.read_schema(path).metadata[KEY.encode()])
    except (KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        raise InputError(f"{path} is not a file that 'cache' has written") from None


def differences(found, wanted, was="was", now="is"):
    """Descriptions of what differs, by the name of the entry; only what is wanted is compared."""
    found = dict(_entries(found))
    different = {}
    for name, value in _entries(wanted):
        other = found.get(name)
        if other != value:
            different[name] = f"{name} {was} {_short(other)}, {now} {_short(value)}"
    return different


def serious(found, wanted, **words):
    """Descriptions of the differences that make soft targets others."""
    return [text for name, text in differences(found, wanted, **words).items() if name not in LOOSE]


def _entries(content, prefix=""):
    for name, value in content.items():
        if isinstance(value, dict) and name != "options":
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _short(value):
    if value is None:
        return "absent"
    text = canonical(value) if isinstance(value, dict | list) else str(value)
    return text[:12] + "..." if len(text) == 64 else text


def sha256(path):
    """SHA-256 of the content of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
