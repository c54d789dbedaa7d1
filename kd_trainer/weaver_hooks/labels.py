"""Check for classes without jets before the first batch; a training itself would not notice them."""

import numpy as np
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer import jet_labels
from kd_trainer.classes import is_unlabelled, names_of, shown
from kd_trainer.errors import InputError, some
from kd_trainer.weaver_hooks.inputs import Loader, files_of

BY_CHANCE = 10  # with fewer jets per class on average, a class may have none by chance


def check_classes(loader: Loader, *, allowed: bool) -> None:
    """Check that every class has jets in the part of the files that a training reads.

    Label branches are read file by file until each class has a jet, so usually little is read.

    Raises
    ------
    InputError
        If a class has no jets, unless this is `allowed` or the files have so few jets that it may be chance; or if a
        class has no sampling weights, so that none of its jets would be drawn.
    """
    dataset, config = loader.dataset, loader.dataset.config
    names = names_of(config.labels)
    check_weights(config, allowed=allowed)
    if allowed or not names or is_unlabelled(config.labels):
        return
    part = (dataset._init_load_range_and_fraction or ((0, 1),))[0]
    found = jet_labels.counts(files_of(loader), config, len(names), part)
    text = missing(names, found)
    if not text:
        return
    if found.sum() < BY_CHANCE * len(names):
        _logger.warning("The training files have %s", text)
        return
    raise InputError(
        f"the training files have {text}: inspect them with python -m kd_trainer check, or give "
        "-o allow_missing_classes True"
    )


def check_weights(config: DataConfig, *, allowed: bool) -> None:
    """Check that all classes have sampling weights; make_weight gives none to a class without jets in its files.

    Raises
    ------
    InputError
        If a class has no weights, unless this is `allowed`; then the log names it.
    """
    hists = None if config.weight_name is None or config.use_precomputed_weights else config.reweight_hists
    without = [] if hists is None else [name for name in config.reweight_classes if name not in hists]
    if not without:
        return
    text = f"no sampling weights for {', '.join(without)}, so that none of their jets would be drawn"
    if not allowed:
        raise InputError(f"there are {text}: run make_weight again, or give -o allow_missing_classes True")
    _logger.warning("There are %s", text)


def missing(names: list[str], found: np.ndarray) -> str:
    """A text that names the classes without jets; '' if there are none."""
    without = [shown(name) for name, count in zip(names, found) if not count]
    return f"no jets of {len(without)} of {len(names)} classes ({some(without, 10)})" if without else ""
