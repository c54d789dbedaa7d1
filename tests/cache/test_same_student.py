"""One seed gives the same student whether a cache stores the student's inputs or its branches."""

import argparse

import numpy as np
import pytest
import torch
from weaver import train

from kd_trainer.bench import sample
from kd_trainer.bench.setting import Weaver, add_arguments, add_jets, loading, prepare


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """PFN as teacher and student, and two files of random jets."""
    parser = argparse.ArgumentParser()
    add_jets(parser, 600)
    add_arguments(parser, teacher="PFN")
    setting = prepare(parser.parse_args([]), tmp_path_factory.mktemp("setting"))
    return setting, sample.write_two(setting.folder, "parquet", sample.random_events(600, 30))


@pytest.fixture
def trained(setting, monkeypatch):
    """Function of options of `cache` and arguments of the loader: the state of the student after two epochs."""
    models, setup = [], train.model_setup
    monkeypatch.setattr(
        train, "model_setup", lambda *args, **kwargs: models.append(setup(*args, **kwargs)) or models[-1]
    )
    distillation, jets = setting

    def state(*store, **how):
        folder = distillation.folder / "_".join(store)
        files = sorted(map(str, folder.rglob("*.parquet"))) or distillation.make_cache(folder, *store, *jets)
        epoch = Weaver([*distillation.cached(folder, *files), *loading(64, **how), "-o", "seed", 3]).trained()
        np.random.seed(1)  # without `-m` the hooks do not set the order of the jets
        epoch()
        epoch()
        return models[-1][0].state_dict()

    return state


@pytest.mark.parametrize("how", [{"in_memory": True, "steps": 4}, {"steps": 7, "fetch_step": 0.5}, {"fetch_step": 0.5}])
def test_inputs_and_branches_give_the_same_student(trained, how):
    branches, inputs = (trained("--store", store, "--dtype", "float32", **how) for store in ("branches", "inputs"))
    for name, value in branches.items():
        # numpy's vectorised functions depend on where in memory an array begins, in the last digit
        torch.testing.assert_close(inputs[name], value, rtol=1e-5, atol=1e-6)
    narrow = trained("--store", "inputs", **how)
    assert not torch.equal(narrow["mod.fc.weight"], branches["mod.fc.weight"])
    torch.testing.assert_close(narrow["mod.fc.weight"], branches["mod.fc.weight"], rtol=1e-3, atol=1e-3)
