"""Checkpoints that are whole or not there: weaver writes them in place, where a kill leaves a part of one."""

import functools
import os
import shutil

import torch

from kd_trainer.files import replacing


def write_whole() -> None:
    """Let `torch.save` to a path and `shutil.copy2` write under another name first, in this process.

    These two calls are all that weaver writes checkpoints with. Called again, it does nothing.
    """
    if not hasattr(torch.save, "whole"):
        torch.save = _saving(torch.save)
        shutil.copy2 = _copying(shutil.copy2)


def _saving(save):
    @functools.wraps(save)
    def whole(obj, f, *args, **kwargs):
        if not isinstance(f, str | os.PathLike):
            return save(obj, f, *args, **kwargs)
        with replacing(f) as temporary:
            return save(obj, temporary, *args, **kwargs)

    whole.whole = True
    return whole


def _copying(copy):
    @functools.wraps(copy)
    def whole(src, dst, **kwargs):
        if os.path.isdir(dst):
            return copy(src, dst, **kwargs)
        with replacing(dst) as temporary:
            copy(src, temporary, **kwargs)
        return dst

    return whole
