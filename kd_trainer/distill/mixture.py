"""Jets with and without labels in one training: two loaders, a part of each batch from either.

What is without labels is read with a data config that reads none, so that no jet of it can be taken for labelled.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader
from weaver.utils.dataset import DataConfig, SimpleIterDataset
from weaver.utils.logger import _logger

from kd_trainer.classes import is_unlabelled, names_of
from kd_trainer.digests import canonical
from kd_trainer.errors import InputError
from kd_trainer.jet_files import named_files
from kd_trainer.weaver_hooks import Loader, is_number

LABELLED = "kd_labelled"  # in y: (N,) bool
COMPARED = ("new_variables", "inputs", "preprocess")  # of the two data configs
UNLABELLED = "unlabelled"  # the use of the second loader


class Mixture:
    """A loader of batches in which jets with labels come first; the others have class 0 and False in `LABELLED`.

    Parameters
    ----------
    labelled, unlabelled : DataLoader
        Both without end, with the number of jets of a batch that each gives.
    """

    def __init__(self, labelled: Loader, unlabelled: Loader) -> None:
        self.loaders = {"train": labelled, UNLABELLED: unlabelled}
        self.dataset = labelled.dataset

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Any]]:
        labelled, unlabelled = self.loaders.values()
        for (X, y, Z), (more, _, _) in zip(labelled, unlabelled):
            number, others = (len(next(iter(part.values()))) for part in (X, more))
            y = {name: torch.cat([label, label.new_zeros(others, *label.shape[1:])]) for name, label in y.items()}
            y[LABELLED] = torch.arange(number + others) < number
            yield {name: torch.cat([X[name], more[name]]) for name in X}, y, Z


def split(batch_size: int, fraction: float) -> tuple[int, int]:
    """Jets of a batch with labels, and those without; InputError if there would be none of either."""
    without = round(batch_size * fraction)
    if not 0 < without < batch_size:
        raise InputError(
            f"kd_unlabelled_fraction {fraction} of a batch of {batch_size} jets is {without}: both kinds are needed"
        )
    return batch_size - without, without


def check_fraction(fraction: Any) -> None:
    """Raise InputError for what is no fraction of a batch."""
    if not is_number(fraction) or not 0 < fraction < 1:
        raise InputError(f"kd_unlabelled_fraction is {fraction!r}: it must lie between 0 and 1")


def mixed(loader: Loader, args: argparse.Namespace, *, files: Sequence[str], config: str, fraction: float) -> Mixture:
    """Weaver's training loader, and one like it of files without labels, with their parts of its batches.

    Parameters
    ----------
    loader : DataLoader
        Not begun yet; it is replaced.
    args : of weaver
    files : list of str
        `[GROUP:]PATTERN` of the files without labels.
    config : str
        Their data config, which has no labels and the inputs of the loader's.
    fraction : float
        Of a batch that is without labels.

    Raises
    ------
    InputError
        If a file or the data config is missing or does not fit, or if an epoch has no number of steps.
    """
    if args.steps_per_epoch is None:
        raise InputError("with jets without labels an epoch has no natural end: give --samples-per-epoch")
    sizes = split(args.batch_size, fraction)
    if args.copy_inputs:
        raise InputError("kd_unlabelled does not go with --copy-inputs: copy the files before the training")
    without = SimpleIterDataset(
        groups_of(files, args.local_rank),
        config,
        batch_size=sizes[1],
        for_training=True,
        extra_selection=args.extra_selection_train,
        remake_weights=False,
        file_fraction=args.file_fraction,
        load_range_and_fraction=((0, 1), args.data_fraction, args.data_split_num),
        fetch_by_files=args.fetch_by_files,
        fetch_step=args.fetch_step,
        infinity_mode=True,
        in_memory=args.in_memory,
        name="train_unlabelled",
    )
    check_configs(loader.dataset.config, without.config, config)
    loader.dataset._sampler_options["batch_size"] = sizes[0]
    labelled, unlabelled = (
        _loader_of(dataset, size, loader, args.num_workers) for dataset, size in zip((loader.dataset, without), sizes)
    )
    _logger.info("%d of %d jets of a batch have labels", sizes[0], sum(sizes), color="bold")
    return Mixture(labelled, unlabelled)


def groups_of(files: Sequence[str], local_rank: int | None) -> dict[str, list[str]]:
    """{group: paths} of `[GROUP:]PATTERN`, each file once; of these the part of one process of DDP, as weaver does it.

    Raises
    ------
    InputError
        If a file is in two groups, or if a process has none of a group.
    """
    owners: dict[str, str] = {}
    for group, path in named_files(files):
        if owners.setdefault(path, group or "_") != (group or "_"):
            raise InputError(f"kd_unlabelled: {path} is in two groups, {owners[path]} and {group or '_'}")
    size = 1 if local_rank is None else int(os.environ["LOCAL_WORLD_SIZE"])
    groups: dict[str, list[str]] = {}
    for path, group in owners.items():
        groups.setdefault(group, []).append(path)
    for group, paths in groups.items():
        if len(paths) < size:
            raise InputError(f"kd_unlabelled: {len(paths)} files of {group} cannot be shared by {size} processes")
    return {group: paths[local_rank or 0 :: size] for group, paths in groups.items()}


def _loader_of(dataset: SimpleIterDataset, batch_size: int, like: Loader, workers: int) -> Loader:
    workers = min(workers, *map(len, dataset._init_file_dict.values()))  # each has a file of every group
    return DataLoader(
        dataset,
        batch_size=batch_size,
        drop_last=True,
        pin_memory=like.pin_memory,
        num_workers=workers,
        persistent_workers=workers > 0,
        prefetch_factor=like.prefetch_factor if workers else None,
    )


def check_configs(labelled: DataConfig, unlabelled: DataConfig, path: str) -> None:
    """Raise InputError unless one has labels, the other (of this path) none, and both the same inputs and classes."""
    if is_unlabelled(labelled.labels):
        raise InputError("the data config of the training has no labels: give its files alone, without kd_unlabelled")
    if not is_unlabelled(unlabelled.labels):
        raise InputError(f"{path} reads labels: kd_unlabelled_config is one that `kd_trainer pair --unlabelled` writes")
    for key in COMPARED:
        if canonical(labelled.options[key]) != canonical(unlabelled.options[key]):
            raise InputError(f"`{key}` of {path} is not that of the data config of the training: write both again")
    ours, theirs = (names_of(config.labels) for config in (labelled, unlabelled))
    if ours != theirs:
        raise InputError(f"the classes of {path} are not those of the data config of the training: write both again")
