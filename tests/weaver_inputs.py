"""What weaver feeds a network, as torch tensors."""

import awkward as ak
import pytest
import torch
from helpers import ROOT
from weaver.utils.dataset import DataConfig, _load_next


def data_config(dataset, tier):
    path = ROOT / "data" / dataset / f"{dataset}_{tier}.yaml"
    return DataConfig.load(str(path), load_observers=False, load_reweight_info=False)


@pytest.fixture
def load_config():
    return data_config


@pytest.fixture
def read(tmp_path):
    """Function of jets (awkward array) and a DataConfig: the inputs {group: (N, C, P)}."""

    def inputs(jets, config):
        path = tmp_path / "jets.parquet"
        ak.to_parquet(jets, path)
        options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
        table, _ = _load_next(config, [str(path)], None, options)
        return {group: torch.from_numpy(table["_" + group]) for group in config.input_names}

    return inputs
