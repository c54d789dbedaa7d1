"""Checkpoints as weaver writes them: a state dict, read without unpickling anything else."""

from pathlib import Path

import torch

from kd_trainer.errors import InputError


def read_weights(path: str | Path, what: str = "the weights") -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint file, on the CPU.

    Parameters
    ----------
    path : path
    what : str
        What it holds, in the plural, for the message.

    Raises
    ------
    InputError
        If it is missing, truncated or something else. What torch says of a file that it refuses is not repeated: it
        advises to load the file unsafely.
    """
    if not Path(path).is_file():
        raise InputError(f"{what} {path} do not exist")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise InputError(f"{what} {path} cannot be read: the file is truncated, or no checkpoint of weaver") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{what} {path} are not a state dict as weaver writes it")
    return state
