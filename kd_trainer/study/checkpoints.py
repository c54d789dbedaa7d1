"""Predictions of teachers that are existing checkpoints, from their soft targets for the test jets."""

from pathlib import Path

import numpy as np
import torch
from weaver.utils.dataset import DataConfig, _load_next

from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import Layout
from kd_trainer.cache.origin import CONFIG
from kd_trainer.cache.paths import targets_of
from kd_trainer.classes import names_of
from kd_trainer.evaluate.predictions import NUMERIC, Prediction


def prediction(folder: Path, patterns: list[str]) -> Prediction:
    """The prediction of a teacher for the test jets, in the classes of its students, from a cache of these files."""
    config = DataConfig.load(str(folder / CONFIG))
    files = [str(target.output) for target in targets_of(patterns, folder).values()]
    options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, _ = _load_next(config, files, None, options)
    layout = Layout(**fingerprint.read(files[0])["layout"])
    logits = layout.logits({name: torch.from_numpy(table["_" + name]) for name in layout.groups()})
    label = config.label_names[0]  # "_label_", or the name of a custom label as in JetClass-II
    values = {name: table[name] for name in config.observer_names if isinstance(table[name], np.ndarray)}
    observers = {name: array for name, array in values.items() if array.ndim == 1 and array.dtype.kind in NUMERIC}
    scores = logits.double().softmax(dim=1).numpy()
    return Prediction(str(folder), names_of(config.labels), scores, table[label].astype(int), label, observers)
