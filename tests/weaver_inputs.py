"""What weaver feeds a network, as torch tensors."""

import awkward as ak
import numpy as np
import pytest
import torch
from helpers import ROOT
from weaver.utils import dataset
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

from kd_trainer.weaver_hooks.arrays import Stored


def data_config(dataset, tier):
    path = ROOT / "data" / dataset / f"{dataset}_{tier}.yaml"
    return DataConfig.load(str(path), load_observers=False, load_reweight_info=False)


def table_of(config, *files, training=False, part=None):
    """What weaver reads of files, or of a part (from, to) of each: {name: values}, and the numbers of selected jets."""
    options = {"training": training, "mode": "val" if training else "test", "reweight": False, "shuffle": False}
    table, indices = dataset._load_next(config, [str(path) for path in files], part and [part] * len(files), options)
    return {name: as_array(column) for name, column in table.items()}, indices


def as_array(column):
    """A column of weaver's table, or of a cache of inputs, as numpy array."""
    return column.take(np.arange(len(next(iter(column.blocks.values()))))) if isinstance(column, Stored) else column


def inputs_of(config, *files):
    """What weaver feeds the network: {group: (N, C, P)}."""
    table, _ = table_of(config, *files)
    return {group: table["_" + group] for group in config.input_names}


def untrained(path, config, network="ParT", seed=1, **options):
    """Write the weights of an untrained network."""
    torch.manual_seed(seed)
    data = DataConfig.load(str(config), load_observers=False)
    model, _ = import_module(str(ROOT / "networks" / f"{network}.py")).get_model(data, **options)
    torch.save(model.state_dict(), path)


@pytest.fixture
def load_config():
    return data_config


@pytest.fixture
def read(tmp_path):
    """Function of jets (awkward array) and a DataConfig: the inputs {group: (N, C, P)}."""

    def inputs(jets, config):
        path = tmp_path / "jets.parquet"
        ak.to_parquet(jets, path)
        return {group: torch.from_numpy(values) for group, values in inputs_of(config, path).items()}

    return inputs
