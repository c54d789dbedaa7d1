"""Jets with and without labels in one training: each batch has jets from two loaders.

Jets without labels are read with a data config that reads no labels, so they cannot be mistaken for labelled jets.
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

LABELLED = "kd_labelled"  # key in y: (N,) bool
COMPARED = ("new_variables", "inputs", "preprocess")  # these must be equal in the two data configs
UNLABELLED = "unlabelled"  # name of the second loader


class Mixture:
    """A loader of batches with labelled jets first; the others have class 0 and False in `LABELLED`.

    It combines two endless loaders; the batch size of each is its number of jets in a combined batch.
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
    """Numbers of jets with and without labels in a batch; InputError if one of them is zero."""
    without = round(batch_size * fraction)
    if not 0 < without < batch_size:
        raise InputError(
            f"kd_unlabelled_fraction {fraction} of a batch of {batch_size} jets is {without}: a batch needs jets with "
            "and without labels"
        )
    return batch_size - without, without


def check_fraction(fraction: Any) -> None:
    """Raise InputError unless the value is a fraction between 0 and 1."""
    if not is_number(fraction) or not 0 < fraction < 1:
        raise InputError(f"kd_unlabelled_fraction is {fraction!r}: it must lie between 0 and 1")


def mixed(
    loader: Loader, args: argparse.Namespace, *, files: Mapping[str, list[str]], config: str, fraction: float
) -> Mixture:
    """A mixture of weaver's training loader and a similar loader of files without labels.

    Parameters
    ----------
    loader : DataLoader
        Weaver's training loader, not started yet.
    files : dict of group -> list of str
        Paths of the files without labels, see `loaders.groups_of`.
    config : str
        Their data config, without labels and with the same inputs as the loader's.
    fraction : float
        Fraction of a batch without labels.

    Raises
    ------
    InputError
        If a file or the data config is missing or does not fit, or if the number of steps of an epoch is not set.
    """
    if args.steps_per_epoch is None:
        raise InputError("a training with unlabelled jets has no natural length of an epoch: give --samples-per-epoch")
    sizes = split(args.batch_size, fraction)
    without = dataset_of(files, config, args, name="train_unlabelled")
    check_configs(loader.dataset.config, without.config, config)
    labelled, unlabelled = (
        loader_of(dataset, size, loader, args) for dataset, size in zip((loader.dataset, without), sizes)
    )
    _logger.info("%d of %d jets of a batch have labels", sizes[0], sum(sizes), color="bold")
    return Mixture(labelled, unlabelled)


def check_configs(labelled: DataConfig, unlabelled: DataConfig, path: str) -> None:
    """Raise InputError unless only the first config has labels and both have the same inputs and classes."""
    if is_unlabelled(labelled.labels):
        raise InputError("the data config of the training has no labels: give all files as training files, without "
                         "kd_unlabelled")  # fmt: skip
    if not is_unlabelled(unlabelled.labels):
        raise InputError(f"{path} reads labels: give a kd_unlabelled_config that `kd_trainer pair --unlabelled` wrote")
    for key in COMPARED:
        if canonical(defined(labelled.options)[key]) != canonical(defined(unlabelled.options)[key]):
            raise InputError(f"`{key}` of {path} differs from the data config of the training: write both again")
    ours, theirs = (names_of(config.labels) for config in (labelled, unlabelled))
    if ours != theirs:
        raise InputError(f"the classes of {path} differ from those of the training's data config: write both again")
