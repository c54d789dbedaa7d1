"""Entries in the YAML file of a study, read with a check of their types."""

import math
import shlex
from collections.abc import Callable
from typing import Any

from kd_trainer import files
from kd_trainer.errors import InputError


def text(value: Any, where: str) -> str:
    return str(value)


def words(value: Any, where: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(str(value)))
    except ValueError as error:
        raise InputError(f"{where}: '{value}' cannot be split into arguments: {error}") from None


def mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a mapping from names")
    return {str(name): {} if entry is None else entry for name, entry in value.items()}


def settings(value: Any, where: str) -> dict[str, str]:
    """Settings of train_kd.sh, without those whose variable has no value."""
    return {name: str(text) for name, text in mapping(value, where).items() if str(text)}


def several(value: Any, where: str) -> list:
    values = value.split() if isinstance(value, str) else value  # the value of a variable is a string
    if not isinstance(values, list) or not values or len(set(map(str, values))) < len(values):
        raise InputError(f"{where} must be a list, not empty and without repetitions")
    return values


def names(value: Any, where: str) -> list[str]:
    return [str(name) for name in several(value, where)]


def seeds(value: Any, where: str) -> tuple[int, ...]:
    seeds = names(value, where)
    if not all(map(str.isdecimal, seeds)):
        raise InputError(f"{where} must be whole numbers")
    return tuple(map(int, seeds))


def true_or_false(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{where} is {value!r}: it must be true or false")
    return value


def weights(value: Any, where: str) -> tuple[tuple[str, float], ...]:
    found = tuple(mapping(value, where).items())
    if len(found) < 2 or not all(isinstance(x, int | float) and 0 < x < math.inf for _, x in found):
        raise InputError(f"{where} must name at least two teachers, each with a weight above 0")
    return found


READERS: dict[str, dict[str, Callable[[Any, str], Any]]] = {
    "study": {
        "title": text, "dataset": text, "settings": settings, "simulate": mapping, "samples": mapping, "weaver": words,
        "models": mapping, "students": names, "tiers": names, "seeds": seeds, "pretrainings": mapping,
        "teachers": mapping, "arms": mapping, "baseline": text, "ceiling": text, "background": text, "names": text,
        "latency": words, "report": words,
    },
    "pretraining": {"sample": text, "seeds": seeds, "weaver": words, "settings": settings},
    "model": {"model": text, "weaver": words, "settings": settings},
    "teacher": {
        "model": text, "tier": text, "sample": text, "seeds": seeds, "weights": text, "config": text,
        "classes": text, "arm": text, "blend": weights, "weaver": words, "settings": settings,
    },
    "arm": {
        "teacher": text, "pretrained": text, "labelled": true_or_false, "unlabelled": names, "options": mapping,
        "grid": mapping, "students": names, "tiers": names, "seeds": seeds, "samples": names, "weaver": words,
        "settings": settings,
    },
}  # fmt: skip


def read(kind: str, where: str, entry: Any) -> dict[str, Any]:
    """A mapping of the YAML file, each entry read with its function in READERS; other entries are errors."""
    known = READERS[kind]
    if not isinstance(entry, dict):
        raise InputError(f"{where} must be a mapping with {', '.join(known)}")
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: unknown entry '{key}'; valid are: {', '.join(known)}")
    return {key: known[key](value, f"{where}: {key}") for key, value in entry.items() if value is not None}


class Loader(files.Loader):
    """YAML loader that refuses repeated names, because the second entry would replace the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(name) for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"line {node.start_mark.line + 1}: {', '.join(sorted(twice))} is given twice")
        return super().construct_mapping(node, deep)
