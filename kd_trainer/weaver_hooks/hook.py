"""What every hook needs: its options, network files, and an end in one line when something is wrong."""

import argparse
import ast
import dataclasses
import functools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from torch import nn
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module
from weaver.utils.logger import _logger

from kd_trainer.errors import InputError, one_line

RESTARTS = ("no", "yes", "changed")


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a wrong input end in one line, and no AttributeError reach weaver, which would take it for a missing hook."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except InputError as error:
            text = _without_traceback(error)
            _logger.error("%s", text)
            raise SystemExit(f"weaver-kd: {text}") from None
        except AttributeError as error:
            raise RuntimeError(f"weaver-kd: {function.__name__} failed: {error}") from error

    return wrapped


def _without_traceback(error: InputError) -> str:
    """The line of an error; that of a loader's worker comes with the text of its traceback before it."""
    return str(error).rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")[2].strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class HookOptions:
    """Options that every hook has, as given to weaver with `-o name value`; all others go to the network."""

    seed: int | None = None  # of initialisation, shuffling, dropout and augmentations; None draws one
    restart: str = "no"  # "no" goes on with a training, "yes" begins from scratch, "changed" if it was another one
    allow_missing_classes: bool = False  # a class may have no jets in the training files

    PREFIXES: ClassVar[tuple[str, ...]] = ()  # names that begin so are the hook's, or an error
    PATTERNS: ClassVar[tuple[str, ...]] = ()  # names of options that hold patterns of data files
    NETWORK: ClassVar[str] = "network"  # the option that names the network file
    EXAMPLE: ClassVar[str] = "networks/ParT.py"

    def __post_init__(self) -> None:
        if self.seed is not None and not (type(self.seed) is int and 0 <= self.seed < 2**32):
            raise InputError(f"seed is {self.seed!r}: it must be a whole number from 0 to 2^32 - 1")
        if self.restart not in RESTARTS:
            raise InputError(f"restart is {self.restart!r}: valid are {', '.join(RESTARTS)}")
        if type(self.allow_missing_classes) is not bool:
            raise InputError(f"allow_missing_classes is {self.allow_missing_classes!r}: it is True or False")

    @classmethod
    def split(cls, given: dict[str, Any]) -> tuple[Self, dict[str, Any]]:
        """Separate the options of the hook from those of the network that it trains; InputError for a wrong one."""
        common = [field.name for field in dataclasses.fields(HookOptions)]
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
    """Make a hook of weaver of a function (data_config, options of this kind, dict of the network's options)."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(data_config: DataConfig, **given: Any) -> Any:
            return function(data_config, *kind.split(given))

        return loud(wrapped)

    return decorate


def options_in(args: argparse.Namespace) -> dict[str, Any]:
    """The options that weaver's arguments hold, which it gives to every hook but `init_opt`."""
    return {name: ast.literal_eval(value) for name, value in args.network_option}


def is_number(value: Any) -> bool:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def as_list(value: Any) -> list[Any]:
    """The values of an option that may be one, or a list of them."""
    return list(value) if isinstance(value, list | tuple) else [value]


def check_numbers(options: HookOptions, names: Iterable[str]) -> None:
    """Raise InputError for the first of the options that is no finite number."""
    for name in names:
        if not is_number(getattr(options, name)):
            raise InputError(f"{name} is {getattr(options, name)!r}: it must be a number")


def load_network(path: str | Path, whose: str = "") -> ModuleType:
    """The module of a network file; InputError if there is none. `whose` is "the student's " for the message."""
    if not Path(path).is_file():
        raise InputError(f"{whose or 'the '}network file {path} does not exist")
    try:
        if Path(path).suffix != ".py":
            raise SyntaxError("its name has to end in .py")
        return import_module(str(path), "_network_of_hook")
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"{whose or 'the '}network file {path} is no Python: {one_line(error)}") from None


def output_layer(model: nn.Module, whose: str = "the encoder") -> tuple[str, nn.Linear]:
    """Name and module of the last `Linear` in `mod.fc`, the output layer; InputError if there is none."""
    layers = [(name, m) for name, m in model.named_modules() if name.startswith("mod.fc") and isinstance(m, nn.Linear)]
    if not layers:
        raise InputError(f"{whose} has no embedding: its output layer must be the last Linear layer in mod.fc")
    return layers[-1]
