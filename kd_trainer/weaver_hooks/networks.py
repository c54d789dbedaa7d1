"""Network files, and where a network has its output layer."""

from pathlib import Path
from types import ModuleType

from torch import nn
from weaver.utils.import_tools import import_module

from kd_trainer.errors import InputError


def load_network(path: str | Path, whose: str = "") -> ModuleType:
    """The module of a network file; InputError if there is none. `whose` is "the student's " for the message."""
    if not Path(path).is_file():
        raise InputError(f"{whose or 'the '}network file {path} does not exist")
    return import_module(str(path), "_network_of_hook")


def output_layer(model: nn.Module, whose: str = "the encoder") -> tuple[str, nn.Linear]:
    """Name and module of the last `Linear` in `mod.fc`, the output layer of the network files.

    Raises
    ------
    InputError
        If there is none.
    """
    layers = [(name, m) for name, m in model.named_modules() if name.startswith("mod.fc") and isinstance(m, nn.Linear)]
    if not layers:
        raise InputError(f"{whose} has no embedding: its output layer must be the last Linear layer in mod.fc")
    return layers[-1]
