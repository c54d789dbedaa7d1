"""Basic parts of every hook: options, network files, and errors in one line."""

import argparse
import ast
import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from torch import nn
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module
from weaver.utils.logger import _logger

from kd_trainer.arguments import parse_options
from kd_trainer.errors import InputError, one_line

RESTARTS = ("no", "yes", "changed")


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """End with one line for a wrong input, and convert AttributeError, which weaver would take for a missing hook."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (InputError, OSError) as error:
            text = _without_traceback(error)
            _logger.error("%s", text)
            raise SystemExit(f"weaver-kd: {text}") from None
        except AttributeError as error:
            raise RuntimeError(f"weaver-kd: {function.__name__} failed: {error}") from error

    return wrapped


def _without_traceback(error: Exception) -> str:
    """The message of an error, without the traceback that errors of loader workers contain."""
    return str(error).rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")[2].strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class HookOptions:
    """Options of every hook, given to weaver with `-o name value`; all others go to the network."""

    seed: int | None = None  # for initialisation, shuffling, dropout and augmentations; None: a random seed
    restart: str = "no"  # "no": continue a training; "yes": train from scratch; "changed": only if settings changed
    allow_missing_classes: bool = False  # a class may have no jets in the training files

    PREFIXES: ClassVar[tuple[str, ...]] = ()  # names with these prefixes must be options of the hook
    PATTERNS: ClassVar[dict[str, str]] = {}  # options that name data files: {name: suffix that makes a file pattern}
    NETWORK: ClassVar[str] = "network"  # the option that names the network file
    EXAMPLE: ClassVar[str] = "networks/ParT.py"

    def __post_init__(self) -> None:
        if self.seed is not None and not (type(self.seed) is int and 0 <= self.seed < 2**32):
            raise InputError(f"seed is {self.seed!r}: it must be a whole number from 0 to 2^32 - 1")
        if self.restart not in RESTARTS:
            raise InputError(f"restart is {self.restart!r}: valid are {', '.join(RESTARTS)}")
        if type(self.allow_missing_classes) is not bool:
            raise InputError(f"allow_missing_classes is {self.allow_missing_classes!r}: it must be True or False")

    @classmethod
    def split(cls, given: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Separate the options of the hook from those of its network; InputError for a wrong option."""
        common = [field.name for base in cls.__bases__ for field in dataclasses.fields(base)]
        valid = [field.name for field in dataclasses.fields(cls) if field.name not in common] + common
        for name in given:
            if name.startswith(cls.PREFIXES) and name not in valid:
                raise InputError(f"unknown option {name}: valid are {', '.join(valid)}")
        if cls.NETWORK not in given:
            file = f"-o {cls.NETWORK} \"'{cls.EXAMPLE}'\""
            raise InputError(f"no {cls.NETWORK} is given: name its network file with {file}")
        ours = {name: value for name, value in given.items() if name in valid}
        return cls(**ours), {name: value for name, value in given.items() if name not in valid}


def hook(kind: type[HookOptions]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a weaver hook from a function (data_config, options of this kind, dict of the network's options)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(data_config: DataConfig, **given: Any) -> Any:
            return function(data_config, *kind.split(given))

        return loud(wrapped)

    return decorate


def options_in(args: argparse.Namespace) -> dict[str, Any]:
    """The options in weaver's arguments, as weaver passes them to every hook except `init_opt`."""
    return {name: ast.literal_eval(value) for name, value in args.network_option}


@loud
def check_arguments(kind: type[HookOptions]) -> None:
    """End weaver in one line if an option is not a Python literal; called before weaver reads its options."""
    pairs = [sys.argv[i + 1 : i + 3] for i, word in enumerate(sys.argv) if word in ("-o", "--network-option")]
    if Path(sys.argv[0]).name != "weaver" or any(len(pair) < 2 for pair in pairs):
        return
    try:
        parse_options(pairs)
    except InputError:
        kind.split({name: _literal_or_text(value) for name, value in pairs})  # gives the better message for our options
        raise


def _literal_or_text(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return value


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_list(value: Any) -> list[Any]:
    """The values of an option that is a single value or a list."""
    return list(value) if isinstance(value, list | tuple) else [value]


def check_numbers(options: HookOptions, names: Iterable[str]) -> None:
    """Raise InputError for the first of these options that is not a finite number."""
    for name in names:
        if not is_number(getattr(options, name)):
            raise InputError(f"{name} is {getattr(options, name)!r}: it must be a number")


def load_network(path: str | Path, whose: str = "") -> ModuleType:
    """The module of a network file; InputError if it cannot be loaded. `whose` starts the message: "the student's "."""
    if not Path(path).is_file():
        raise InputError(f"{whose or 'the '}network file {path} does not exist")
    try:
        if Path(path).suffix != ".py":
            raise SyntaxError("its name must end in .py")
        return import_module(str(path), "_network_of_hook")
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{whose or 'the '}network file {path} is not valid Python: {one_line(error)}") from None


def output_layer(model: nn.Module, whose: str = "the encoder") -> tuple[str, nn.Linear]:
    """Name and module of the output layer, the last `Linear` in `mod.fc`; InputError if there is none."""
    layers = [(name, m) for name, m in model.named_modules() if name.startswith("mod.fc") and isinstance(m, nn.Linear)]
    if not layers:
        raise InputError(f"{whose} has no embedding: its output layer must be the last Linear layer in mod.fc")
    return layers[-1]
