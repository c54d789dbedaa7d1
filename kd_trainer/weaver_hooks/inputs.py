"""The loader of a training: check of its files before the first batch, and collation of jets into batches."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate
from weaver.utils.dataset import SimpleIterDataset, _SimpleIter

from kd_trainer.configs import defined
from kd_trainer.errors import InputError
from kd_trainer.jet_files import inspect_all, needed_branches
from kd_trainer.weaver_hooks.arrays import Stored, columns_of

Loader = Any  # a DataLoader as weaver makes it


def loaders_of(loader: Loader) -> dict[str, Loader]:
    """The loaders of a training by use: "train" alone, or the loaders of a mixture."""
    return getattr(loader, "loaders", {"train": loader})


def files_of(loader: Loader) -> list[str]:
    """Paths of all files that a loader reads."""
    return [path for paths in loader.dataset._init_file_dict.values() for path in paths]


def check_files(loader: Loader, use: str) -> dict[str, int]:
    """Check every input file of a loader, because weaver skips files that it cannot read.

    Returns
    -------
    dict of path -> number of jets

    Raises
    ------
    InputError
        Names the first unusable files, or a group with fewer files than processes that share them.
    """
    for group, files in loader.dataset._init_file_dict.items():
        if len(files) < loader.num_workers:
            few = f"{len(files)} {use} file{'s' * (len(files) > 1)}{'' if group == '_' else f' of {group}'}"
            raise InputError(
                f"{loader.num_workers} processes of the loader cannot share {few}: give --num-workers {len(files)}"
            )
    paths, config = files_of(loader), loader.dataset.config
    needed = needed_branches(config, training=use != "test") | {*columns_of(config.options)}
    results = inspect_all(paths, needed, config.treename)
    bad = [f"{path} {trouble}" for path, (_, trouble) in zip(paths, results) if trouble]
    if bad:
        more = f" (and {len(bad) - 3} more)" if len(bad) > 3 else ""
        raise InputError(f"{len(bad)} of {len(paths)} {use} files cannot be used: {'; '.join(bad[:3])}{more}")
    return {path: rows for path, (rows, _) in zip(paths, results)}


Table = Mapping[str, Any]  # columns of the jets that are read together, from weaver's `_load_next`
Part = tuple[Table, np.ndarray]  # jets of a batch that were read together: their table, and their rows in it


class Jets(_SimpleIter):
    """Weaver's iterator, which gives the jets of a batch together, as parts; `Gather` collates them."""

    batch_size: int
    drop_last: bool

    def get_data(self, i: int) -> None:
        """Nothing: weaver calls this for the first jet of each part."""

    def advance(self) -> None:
        """Go to the next jet, and read the next jets if necessary."""
        super().__next__()

    def __next__(self) -> list[Part]:
        parts: list[Part] = []
        missing = self.batch_size
        while missing:
            try:
                self.advance()
            except StopIteration:
                if parts and not self.drop_last:
                    return parts
                raise
            rows = np.asarray(self.indices[self.cursor - 1 : self.cursor - 1 + missing])
            self.cursor += len(rows) - 1
            missing -= len(rows)
            parts.append((self.table, rows))
        return parts


class Whole(SimpleIterDataset):
    """Weaver's dataset with the iterator `Jets`, set up by `gather`."""

    def __iter__(self) -> _SimpleIter:
        iterator = super().__iter__()
        iterator.__class__ = Jets
        iterator.batch_size, iterator.drop_last = self.kd_batches
        return iterator


def gather(loader: Loader) -> None:
    """Make a loader of weaver, not started yet, collate the jets of a batch in one step."""
    if isinstance(loader.dataset, SimpleIterDataset):
        loader.dataset.kd_batches = loader.batch_size, loader.drop_last
        loader.dataset.__class__ = Whole
        loader.__dict__["batch_sampler"] = None  # torch then asks for batches instead of jets, but forbids to set it
    loader.collate_fn = Gather(loader.dataset.config)


class Gather:
    """Collate batches X, y, Z of {name: (N, ...)} like `default_collate`, but without a copy for each jet.

    Called with the parts of a batch; the DataConfig `config` says which columns belong to X, y and Z.
    """

    def __init__(self, config: Any) -> None:
        self.parts = [{name: f"_{name}" for name in defined(config.options)["inputs"]}]
        self.parts += [{name: name for name in names} for names in (config.label_names, config.z_variables)]

    def __call__(self, jets: Sequence[Part]) -> list[dict[str, torch.Tensor]]:
        tables, rows = zip(*jets)
        return [{name: _together([table[column] for table in tables], rows) for name, column in part.items()}
                for part in self.parts]  # fmt: skip


def _together(columns: list[Any], rows: Sequence[np.ndarray]) -> torch.Tensor:
    if all(isinstance(column, Stored) or isinstance(column, np.ndarray) and column.dtype.kind in "biuf"
           for column in columns):  # fmt: skip
        parts = [column.take(i, axis=0) for column, i in zip(columns, rows)]
        return torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts))
    return default_collate([column[i] for column, numbers in zip(columns, rows) for i in numbers])
