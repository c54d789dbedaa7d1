"""Atomic writing of weaver's files; weaver itself writes them in place, so a kill can leave an incomplete file."""

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from weaver.utils.data.config import DataConfig

from kd_trainer.errors import InputError, one_line
from kd_trainer.files import replacing
from kd_trainer.weaver_hooks.hook import loud
from kd_trainer.weaver_hooks.reading import read_whole


def write_whole() -> None:
    """Make `torch.save` to a path and `shutil.copy2` write to a temporary file first, in this process.

    Weaver writes checkpoints with these two functions. If a file cannot be written (full disk, no permission), the
    process ends with one line. A second call has no effect.
    """
    if not hasattr(torch.save, "whole"):
        logging.raiseExceptions = False  # a log on a full disk would fill the terminal with tracebacks
        torch.save = _saving(torch.save)
        shutil.copy2 = _copying(shutil.copy2)


def write_configs_whole() -> None:
    """Make weaver write data configs with computed sampling weights to a temporary file first.

    It also makes weaver read its input files completely.
    """
    read_whole()
    dump = DataConfig.dump

    @functools.wraps(dump)
    def whole(config: DataConfig, fp: str) -> None:
        with replacing(fp) as temporary:
            dump(config, temporary)

    DataConfig.dump = whole


def _saving(save: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(save)
    def whole(obj: object, f: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(f, str | os.PathLike):
            return save(obj, f, *args, **kwargs)
        with _writing(f), replacing(os.fspath(f)) as temporary:
            return save(obj, temporary, *args, **kwargs)

    setattr(whole, "whole", True)  # noqa: B010  mypy does not allow attributes of functions
    return loud(whole)


def _copying(copy: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(copy)
    def whole(src: str | Path, dst: str | Path, **kwargs: Any) -> Any:
        if os.path.isdir(dst):
            return copy(src, dst, **kwargs)
        with _writing(dst), replacing(dst) as temporary:
            copy(src, temporary, **kwargs)
        return dst

    return loud(whole)


@contextlib.contextmanager
def _writing(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch raises the latter on a full disk
        folder = os.path.dirname(os.fspath(path)) or "."
        raise InputError(f"{path} cannot be written ({one_line(error)}): is there space in {folder}? Run the same "
                         "command again to continue after the last complete epoch") from None  # fmt: skip
