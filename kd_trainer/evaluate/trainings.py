"""The record of a training beside its prediction: settings, epochs and versions."""

from pathlib import Path
from typing import Any

from kd_trainer.errors import InputError
from kd_trainer.files import from_json

RECORD = "net_record.json"
KEYS = {"recipe": dict, "seed": int, "epochs": int, "best_epoch": int | None, "versions": dict}


def recorded(prediction: str | Path) -> dict[str, Any] | None:
    """The record of the training in the folder of a prediction file; None if there is none.

    Returns
    -------
    dict or None
        recipe {option of weaver: value}, seed, epochs, best_epoch, versions {package: version}.

    Raises
    ------
    InputError
        If the file is not such a record.
    """
    path = Path(prediction).with_name(RECORD)
    if not path.is_file():
        return None
    try:
        content = from_json(path.read_text(encoding="utf-8"))
        for key, kind in KEYS.items():
            if not isinstance(content[key], kind):
                raise TypeError(f"{key} is {content[key]!r}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the record of a training ({error!r}): move it to another folder") from error
    return {key: content[key] for key in KEYS}
