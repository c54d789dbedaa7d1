"""The loader of a training: its files, looked at before the first batch, and jets put together into batches."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from kd_trainer.errors import InputError
from kd_trainer.jet_files import inspect_all, needed_branches

Loader = Any  # a DataLoader as weaver makes it


def loaders_of(loader: Loader) -> dict[str, Loader]:
    """The loaders of a training, by their use: "train" alone, or those that a mixture puts together."""
    return getattr(loader, "loaders", {"train": loader})


def files_of(loader: Loader) -> list[str]:
    """Paths of all files that a loader reads."""
    return [path for paths in loader.dataset._init_file_dict.values() for path in paths]


def check_files(loader: Loader, use: str) -> dict[str, int]:
    """Look into every input file of a loader: weaver would skip one that it cannot read.

    Returns
    -------
    dict of path -> number of jets

    Raises
    ------
    InputError
        Naming the first files that cannot be used, or a group of fewer files than processes that share them.
    """
    for group, files in loader.dataset._init_file_dict.items():
        if len(files) < loader.num_workers:
            few = f"{len(files)} {use} file{'s' * (len(files) > 1)}{'' if group == '_' else f' of {group}'}"
            raise InputError(
                f"{loader.num_workers} processes of the loader cannot share {few}: give --num-workers {len(files)}"
            )
    paths, config = files_of(loader), loader.dataset.config
    results = inspect_all(paths, needed_branches(config, training=use != "test"), config.treename)
    bad = [f"{path} {trouble}" for path, (_, trouble) in zip(paths, results) if trouble]
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        raise InputError(f"{len(bad)} of {len(paths)} {use} files cannot be used: {'; '.join(bad[:3])}{more}")
    return {path: rows for path, (rows, _) in zip(paths, results)}


def collate(jets: Sequence[tuple[dict[str, Any], ...]]) -> list[dict[str, torch.Tensor]]:
    """A batch {name: (N, ...)} of X, y, Z, as that of `default_collate`, but one copy for each input group."""
    return [{name: _together([jet[name] for jet in part]) for name in part[0]} for part in zip(*jets)]


def _together(values: list[Any]) -> torch.Tensor:
    first = values[0]
    if isinstance(first, np.ndarray | np.number) and first.dtype.kind in "biuf":
        return torch.from_numpy(np.stack(values))
    return default_collate(values)
