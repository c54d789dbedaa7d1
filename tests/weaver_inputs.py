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


def fed(jets, config, folder):
    """What weaver feeds the network for an awkward array of jets, by way of a file in a folder: {group: (N, C, P)}."""
    ak.to_parquet(jets, folder / "jets.parquet")
    return inputs_of(config, folder / "jets.parquet")


def network(name, config, **options):
    """A network file for a data config, or the path of one: (model, what weaver is told about it)."""
    if not isinstance(config, DataConfig):
        config = DataConfig.load(str(config), load_observers=False)
    return import_module(str(ROOT / "networks" / f"{name}.py")).get_model(config, **options)


def untrained(path, config, name="ParT", seed=1, **options):
    """Write the weights of an untrained network."""
    torch.manual_seed(seed)
    torch.save(network(name, config, **options)[0].state_dict(), path)


def export(path, model, info):
    """An ONNX file of a network as weaver makes it."""
    inputs = tuple(torch.ones(2, *info["input_shapes"][name][1:]) for name in info["input_names"])
    names = {key: info[key] for key in ("input_names", "output_names", "dynamic_axes")}
    torch.onnx.export(model.eval(), inputs, path, **names, opset_version=15, dynamo=False)


def exported(folder, name, config, **options):
    """net.pt, model.onnx and preprocess.json of an untrained network in a folder."""
    torch.manual_seed(1)
    model, info = network(name, config, for_inference=True, **options)
    torch.save(model.state_dict(), folder / "net.pt")
    export(folder / "model.onnx", model, info)
    DataConfig.load(str(config)).export_json(folder / "preprocess.json")


@pytest.fixture
def load_config():
    return data_config


@pytest.fixture
def read(tmp_path):
    """Function of jets (awkward array) and a DataConfig: the inputs as tensors."""
    return lambda jets, config: {group: torch.from_numpy(x) for group, x in fed(jets, config, tmp_path).items()}
