"""A class without jets, which a training would not notice: looked for before the first batch."""

import numpy as np
from weaver.utils.dataset import DataConfig
from weaver.utils.logger import _logger

from kd_trainer import jet_labels
from kd_trainer.classes import is_unlabelled, names_of, shown
from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks.inputs import Loader, files_of

BY_CHANCE = 10  # with fewer jets a class than this, on average, one may have none by chance


def check_classes(loader: Loader, *, allowed: bool) -> None:
    """Look for jets of every class in the files of a training, in the part of them that it reads.

    Label branches are read file by file until there is a jet of each class, so that little is read if all is well.

    Parameters
    ----------
    loader : DataLoader
        Of a classification.
    allowed : bool
        Whether classes without jets are no error.

    Raises
    ------
    InputError
        If there are classes without jets, unless the files have so few jets that this may be chance. If there are
        classes without sampling weights, of which no jet would be drawn.
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
        f"the training files have {text}: look for them with python -m kd_trainer check, or give "
        "-o allow_missing_classes True"
    )


def check_weights(config: DataConfig, *, allowed: bool) -> None:
    """Look for classes of the sampling weights that have none: those were made of files without jets of theirs.

    Raises
    ------
    InputError
        If there are some, unless classes without jets are `allowed`; then the log names them.
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
    """What classes have no jets, '' if all have some."""
    without = [shown(name) for name, count in zip(names, found) if not count]
    if not without:
        return ""
    more = f" and {len(without) - 10} more" if len(without) > 10 else ""
    return f"no jets of {len(without)} of {len(names)} classes ({', '.join(without[:10])}{more})"
