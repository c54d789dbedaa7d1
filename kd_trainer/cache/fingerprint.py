"""Fingerprints of files of soft targets: their origin, stored in each file and compared before use."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kd_trainer.digests import canonical, differences, of_network, sha256
from kd_trainer.errors import InputError, some
from kd_trainer.teacher.spec import TeacherSpec

KEY = "kd_trainer.cache"  # key in the metadata
FORMAT = 1  # increase it when the same input gives other columns
PACKAGES = ("weaver-core", "torch", "weaver-kd")
LOOSE = ("versions.torch", "versions.weaver-kd")  # logged only: the effect is smaller than fp16 rounding


def of_teachers(members: Iterable[TeacherSpec], ensemble: str) -> dict[str, Any]:
    """The part of a fingerprint for the files of a teacher or an ensemble; `ensemble`: how it is averaged."""
    teachers = [_of_teacher(*member) for member in members]
    if len(teachers) == 1:
        return teachers[0]
    numbered = {str(number): teacher for number, teacher in enumerate(teachers, start=1)}
    return {"ensemble": f"{ensemble} of {len(teachers)}", **numbered}


def _of_teacher(network: str, weights: str, options: dict[str, Any]) -> dict[str, Any]:
    for kind, path in (("network file", network), ("weights", weights)):
        if not Path(path).is_file():
            raise InputError(f"the teacher's {kind} {path} does not exist")
    return {"network": of_network(network), "weights": sha256(weights), "options": options}


def of_config(paired: Mapping[str, Any]) -> str:
    """SHA-256 of the content of a paired config, independent of its formatting and without sampling weights."""
    content = {key: value for key, value in paired.items() if value}
    content["inputs"] = list(paired["inputs"].items())  # in the order of the networks' arguments
    derived = ("data_fraction",)  # fraction of the files from which weaver computes sampling weights
    content["preprocess"] = {k: v for k, v in (paired.get("preprocess") or {}).items() if k not in derived}
    content["weights"] = {k: v for k, v in (paired.get("weights") or {}).items() if k != "reweight_hists"}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def of_input(path: str | Path) -> dict[str, Any]:
    """The present state of an input file: dict."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    return {"path": str(Path(path).absolute()), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def check_inputs(stored: Collection[Mapping[str, Any]]) -> int:
    """Number of input files, named in fingerprints of soft targets, that no longer exist.

    Raises
    ------
    InputError
        If an input file has changed.
    """
    inputs = [one["input"] for one in stored]
    there = [one for one in inputs if Path(one["path"]).exists()]
    changed = [one["path"] for one in there if of_input(one["path"]) != one]
    if changed:
        raise InputError(
            f"{len(changed)} input files have changed since their soft targets were computed: "
            f"{some(changed, 3)}; run cache again"
        )
    return len(inputs) - len(there)


def of_files(made_of: Mapping[str, Any], layout: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the fingerprint that all files of a cache have in common: dict.

    Parameters
    ----------
    made_of : dict
        The entries for the origin of the soft targets, see `origin`.
    layout : dict
        The entries for the columns, as far as they are known.
    """
    versions = {package: version(package) for package in PACKAGES}
    return json.loads(canonical({"format": FORMAT, **made_of, "layout": layout, "versions": versions}))


def read(path: str | Path) -> dict[str, Any]:
    """The fingerprint in a file of soft targets; InputError if there is none."""
    try:
        found = json.loads(pq.read_schema(path).metadata[KEY.encode()])
        if isinstance(found.get("layout"), dict):
            found["layout"].setdefault("inputs", "")  # older files
        return found
    except (AttributeError, KeyError, TypeError, ValueError, OSError, pa.ArrowException):
        raise InputError(f"{path} is not a file that 'cache' has written") from None


def serious(stored: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Descriptions of the differences that change soft targets."""
    return [text for name, text in differences(stored, expected).items() if not name.endswith(LOOSE)]
