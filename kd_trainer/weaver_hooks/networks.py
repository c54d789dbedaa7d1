"""Network files and checkpoints, read with errors that say what to do."""

from pathlib import Path
from types import ModuleType

import torch
from torch import nn
from weaver.utils.import_tools import import_module

from kd_trainer.errors import InputError
from kd_trainer.jet_files import one_line


def load_network(path: str | Path, whose: str = "") -> ModuleType:
    """The module of a network file; InputError if there is none. `whose` is "the student's " for the message."""
    if not Path(path).is_file():
        raise InputError(f"{whose or 'the '}network file {path} does not exist")
    return import_module(str(path), "_network_of_hook")


def read_weights(path: str | Path, what: str) -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint file; InputError if it is missing, truncated or something else."""
    if not Path(path).is_file():
        raise InputError(f"{what} {path} do not exist")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{what} {path} cannot be read (truncated?): {one_line(reason)}") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{what} {path} are not a state dict as weaver writes it")
    return state


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
