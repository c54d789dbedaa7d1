"""Sampling weights if some classes have no jets, for which weaver's `make_weights` fails with a numpy error."""

import functools
from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
from weaver.utils.data.preprocess import WeightMaker
from weaver.utils.logger import _logger

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks.hook import loud


def weigh_present_classes() -> None:
    """Make weaver compute sampling weights only for the `reweight_classes` that have jets, in this process.

    The other classes get no histogram, and the log names them. A training never draws their jets, and says so.
    """
    WeightMaker.make_weights = loud(_present(WeightMaker.make_weights))


def _present(make: Callable[[WeightMaker, ak.Array], dict[str, np.ndarray]]) -> Callable[..., dict[str, np.ndarray]]:
    @functools.wraps(make)
    def making(maker: WeightMaker, table: ak.Array) -> dict[str, np.ndarray]:
        config = maker._data_config
        every, weights = config.reweight_classes, config.class_weights
        there = [has_jets(table, config, name) for name in every]
        absent = [name for name, has in zip(every, there) if not has]
        if not any(there):
            raise InputError("the files have no jets of any class of the sampling weights")
        if not there[0] and config.reweight_method == "ref":
            raise InputError(f"no jets of {every[0]}, the reference class of all weights: add files with such jets")
        if absent:
            _logger.warning(
                "Classes without jets, and therefore without sampling weights: %s. A training draws no jets of these "
                "classes: run make_weight again when you have more files.", ", ".join(absent)
            )  # fmt: skip
        config.reweight_classes = tuple(name for name, has in zip(every, there) if has)
        config.class_weights = [weight for weight, has in zip(weights, there) if has]
        try:
            return make(maker, table)
        finally:
            config.reweight_classes, config.class_weights = every, weights

    return making


def has_jets(table: ak.Array, config: Any, name: str) -> bool:
    """Whether any jets of a class fall into the histogram of sampling weights of a DataConfig."""
    chosen = table[name] == 1
    x, y = (ak.to_numpy(table[branch][chosen]) for branch in config.reweight_branches)
    if not config.reweight_discard_under_overflow:
        return len(x) > 0
    return bool(np.histogram2d(x, y, bins=config.reweight_bins)[0].any())
