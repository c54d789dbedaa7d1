"""Arguments that several commands share: options of a network, smallest values, the output file, trust."""

import argparse
import ast
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kd_trainer.errors import InputError, one_line
from kd_trainer.files import write_json

TRUST = "KD_TRUST"  # environment variable: 1 allows any expression in data configs


def parse_options(pairs: Iterable[Sequence[str]]) -> dict[str, Any]:
    """{key: value} of `-o key value` pairs; the values are read as Python literals, as in weaver."""
    options = {}
    for key, value in pairs:
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            advice = f"a string needs quotes of its own: -o {key} \"'{value}'\""
            raise InputError(one_line(f"-o {key} {value} is not a Python literal; {advice}")) from None
    return options


def check_at_least(least: float, args: argparse.Namespace, *names: str) -> None:
    """Raise InputError if one of these arguments, or a number in a list argument, is below `least`; None is allowed."""
    for name in names:
        value = getattr(args, name)
        if value is not None and min(value if isinstance(value, list) else [value]) < least:
            raise InputError(f"--{name.replace('_', '-')} has to be at least {least}")


def write_output(args: argparse.Namespace, results: Mapping[str, Any]) -> None:
    """Write the results to the file of `--output`, if it is given, and print its name."""
    if args.output:
        write_json(args.output, results)
        print(args.output)


@contextlib.contextmanager
def trusting() -> Iterator[None]:
    """Allow any expression in data configs inside the block, in this process and in processes that it starts."""
    before = os.environ.get(TRUST)
    os.environ[TRUST] = "1"
    try:
        yield
    finally:
        os.environ.pop(TRUST)
        if before is not None:
            os.environ[TRUST] = before


def is_trusted() -> bool:
    """Whether data configs may contain any expression, see `expressions`."""
    return os.environ.get(TRUST, "0") not in ("", "0")
