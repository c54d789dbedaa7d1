"""Files of weaver that are whole or not there: it writes them in place, where a kill leaves a part of one."""

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
    """Let `torch.save` to a path and `shutil.copy2` write under another name first, in this process.

    These two calls are all that weaver writes checkpoints with. What cannot be written, on a full disk or in a folder
    that may not be written to, ends the process in one line. Called again, it does nothing.
    """
    if not hasattr(torch.save, "whole"):
        logging.raiseExceptions = False  # a log on a full disk would fill the terminal with tracebacks
        torch.save = _saving(torch.save)
        shutil.copy2 = _copying(shutil.copy2)


def write_configs_whole() -> None:
    """Let weaver write data configs, with the sampling weights that it has derived, under another name first.

    What it derives them from is read whole.
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

    setattr(whole, "whole", True)  # noqa: B010  what mypy does not know of functions
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
        raise InputError(f"{path} cannot be written ({one_line(error)}): is there space in {folder}? Begin again, and "
                         "the training goes on from its last complete epoch") from None  # fmt: skip
