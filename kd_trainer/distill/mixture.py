"""Jets with and without labels in one training: two loaders, a part of each batch from either.

What is without labels is read with a data config that reads none, so that no jet of it can be taken for labelled.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer.classes import is_unlabelled, names_of
from kd_trainer.configs import defined
from kd_trainer.digests import canonical
from kd_trainer.distill.loaders import dataset_of, loader_of
from kd_trainer.errors import InputError
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


def mixed(
    loader: Loader, args: argparse.Namespace, *, files: Mapping[str, list[str]], config: str, fraction: float
) -> Mixture:
    """Weaver's training loader, and one like it of files without labels, with their parts of its batches.

    Parameters
    ----------
    loader : DataLoader
        Not begun yet; it is replaced.
    args : of weaver
    files : dict of group -> list of str
        Paths of the files without labels, see `loaders.groups_of`.
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
    without = dataset_of(files, config, args, name="train_unlabelled")
    check_configs(loader.dataset.config, without.config, config)
    labelled, unlabelled = (
        loader_of(dataset, size, loader, args) for dataset, size in zip((loader.dataset, without), sizes)
    )
    _logger.info("%d of %d jets of a batch have labels", sizes[0], sum(sizes), color="bold")
    return Mixture(labelled, unlabelled)


def check_configs(labelled: DataConfig, unlabelled: DataConfig, path: str) -> None:
    """Raise InputError unless one has labels, the other (of this path) none, and both the same inputs and classes."""
    if is_unlabelled(labelled.labels):
        raise InputError("the data config of the training has no labels: give its files alone, without kd_unlabelled")
    if not is_unlabelled(unlabelled.labels):
        raise InputError(f"{path} reads labels: kd_unlabelled_config is one that `kd_trainer pair --unlabelled` writes")
    for key in COMPARED:
        if canonical(defined(labelled.options)[key]) != canonical(defined(unlabelled.options)[key]):
            raise InputError(f"`{key}` of {path} is not that of the data config of the training: write both again")
    ours, theirs = (names_of(config.labels) for config in (labelled, unlabelled))
    if ours != theirs:
        raise InputError(f"the classes of {path} are not those of the data config of the training: write both again")
