"""Options of a hook, as given to weaver with `-o name value`."""

import dataclasses
import math

from kd_trainer.errors import InputError


def is_number(value):
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_numbers(options, names):
    """Raise InputError for the first of the options that is no finite number."""
    for name in names:
        if not is_number(getattr(options, name)):
            raise InputError(f"{name} is {getattr(options, name)!r}: it must be a number")


def split(options, kind, *, prefixes, required, example):
    """Separate the options of a hook from those of the network that it trains.

    Parameters
    ----------
    options : dict
    kind : dataclass of the hook's options
    prefixes : tuple of str
        Names that begin so are the hook's, and an error if it does not know them.
    required : str
        The option that names the network file.
    example : str
        A network file for the message when it is missing.

    Returns
    -------
    (kind, dict)

    Raises
    ------
    InputError
        For an unknown or a missing option; `kind` raises it for a value out of range.
    """
    valid = [field.name for field in dataclasses.fields(kind)]
    for name in options:
        if name.startswith(prefixes) and name not in valid:
            raise InputError(f"unknown option {name}: valid are {', '.join(valid)}")
    if required not in options:
        raise InputError(f"no {required} is given: name its network file with -o {required} \"'{example}'\"")
    ours = {name: value for name, value in options.items() if name in valid}
    return kind(**ours), {name: value for name, value in options.items() if name not in valid}
