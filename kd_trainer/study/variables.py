"""Variables in the YAML file of a study: `$JETS`, and `${JETS*4}` or `${JETS/3}` for whole numbers."""

import re
from collections.abc import Mapping
from typing import Any

from kd_trainer.errors import InputError

PATTERN = re.compile(r"\$(?:(\w+)|\{(\w+)(?:([*/])([1-9]\d*))?\})")


def expand(entry: Any, variables: Mapping[str, str]) -> Any:
    """An entry of the YAML file, nested or not, with the values of its variables.

    Raises
    ------
    InputError
        For a variable without a value, or arithmetic with a value that is not a whole number.
    """
    if isinstance(entry, dict):
        return {key: expand(value, variables) for key, value in entry.items()}
    if isinstance(entry, list):
        return [expand(value, variables) for value in entry]
    if isinstance(entry, str):
        return PATTERN.sub(lambda match: _value(match, variables), entry)
    return entry


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    plain, name, sign, number = match.groups()
    name = plain or name
    if name not in variables:
        raise InputError(f"{match[0]}: set this variable in the environment")
    value = variables[name]
    if sign is None:
        return value
    if not value.isdecimal():
        raise InputError(f"{match[0]}: {name} is '{value}', not a whole number")
    return str(int(value) * int(number) if sign == "*" else int(value) // int(number))
