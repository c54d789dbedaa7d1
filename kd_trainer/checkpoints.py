"""Checkpoints as weaver writes them: state dicts, read without unpickling anything else."""

import re
from pathlib import Path

import torch

from kd_trainer.digests import sha256
from kd_trainer.errors import InputError
from kd_trainer.files import json_of


def read_weights(path: str | Path, what: str = "the weights") -> dict[str, torch.Tensor]:
    """The state dict in a checkpoint file, on the CPU.

    Parameters
    ----------
    what : str
        What the file holds, in the plural, for the message.

    Raises
    ------
    InputError
        If the file is missing, truncated or not a checkpoint, see also `check_record`. The message of torch is not
        repeated, because it advises to load the file unsafely.
    """
    if not Path(path).is_file():
        raise InputError(f"{what} {path} do not exist")
    check_record(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise InputError(f"{what} {path} cannot be read: the file is truncated or not a checkpoint of weaver") from None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError(f"{what} {path} are not a state dict as weaver writes it")
    return state


def check_record(path: str | Path) -> None:
    """Raise InputError if a checkpoint comes from an incomplete training or differs from the recorded best one.

    The check uses the record that our hooks write under the same model prefix. A checkpoint without one is accepted.
    """
    named = re.fullmatch(r"(.*_)(best_epoch|epoch-\d+)_state\.pt", str(path), re.DOTALL)
    if not named:
        return
    record = Path(f"{named[1]}record.json")
    if not record.is_file():
        if Path(f"{named[1]}resume.pt").is_file():
            raise InputError(f"{path} belongs to an incomplete training: run the training again to continue it")
        return
    with json_of(record, "the record of a training") as content:
        recorded = content.get("sha256")
    if named[2] == "best_epoch" and recorded and sha256(path) != recorded:
        raise InputError(
            f"{path} is not the checkpoint recorded in {record} (its SHA-256 differs): restore the recorded file"
        )
