"""Reading of the scripts in train_scripts/models and train_scripts/datasets."""

import functools
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from kd_trainer.errors import InputError

SCRIPTS = Path("train_scripts")
ARRAYS = ("data_train", "data_val", "data_test", "options")
PRINT = f"""
data_config='' data_train=() data_val=() data_test=() default_teacher_tier=''
network='' options=() kd_alpha=0.7 kd_temperature=3.0
source "$1"
for name in {" ".join(ARRAYS)}; do
    declare -n array=$name
    for word in "${{array[@]}}"; do printf '%s\\0%s\\0' "$name" "$word"; done
done
for name in data_config network kd_alpha kd_temperature; do printf '%s\\0%s\\0' "$name" "${{!name}}"; done
"""


class Script(NamedTuple):
    """A model: network file, options as (name, text), and default alpha and temperature of its distillation."""

    path: str
    network: str
    options: tuple
    distillation: dict


class Dataset(NamedTuple):
    """A dataset: file patterns as arguments of weaver, and the data configs."""

    name: str
    path: str
    config: str  # + _<tier>.yaml
    train: tuple
    val: tuple
    test: tuple


def model(name: str) -> Script:
    """The description of a model in train_scripts/models; InputError if it or its network file is missing."""
    path = _path("models", name)
    found = _source(path)
    if not Path(found["network"]).is_file():
        raise InputError(f"{path}: there is no file {found['network']}")
    words = found["options"]  # -o name value -o name value
    options = tuple(zip(words[1::3], words[2::3]))
    distillation = {key: float(found[key]) for key in ("kd_alpha", "kd_temperature")}
    return Script(str(path), found["network"], options, distillation)


def dataset(name: str, variables: dict) -> Dataset:
    """The description of a dataset in train_scripts/datasets; `variables` set DATADIR and others."""
    path = _path("datasets", name)
    found = _source(path, tuple(sorted(variables.items())))
    files = (tuple(found[f"data_{split}"]) for split in ("train", "val", "test"))
    return Dataset(name, str(path), found["data_config"], *files)


def _path(kind: str, name: str) -> Path:
    path = SCRIPTS / kind / f"{name}.sh"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.sh")))
        raise InputError(f"unknown {kind.removesuffix('s')} '{name}'; train_scripts/{kind} has: {there or 'none'}")
    return path


@functools.cache
def _source(path: Path, variables: tuple = ()) -> dict[str, Any]:
    """The variables after bash has sourced a file: {name: text or list}."""
    command = ["bash", "-euo", "pipefail", "-c", PRINT, "bash", str(path)]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", **dict(variables)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{path} cannot be read: {done.stderr.strip().splitlines()[-1]}")
    words = done.stdout.split("\0")[:-1]
    pairs = list(zip(words[::2], words[1::2]))
    return dict(pairs) | {name: [value for key, value in pairs if key == name] for name in ARRAYS}
