"""Output directories."""

import os
import tempfile
from pathlib import Path

from kd_trainer.errors import InputError


def make_directory(path: str | Path) -> None:
    """Create an output directory; InputError if it cannot be created or is not writable."""
    try:
        os.makedirs(path, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror}") from error
