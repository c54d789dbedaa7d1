"""An untrained teacher, and the configs that pair it with a student."""

import pytest
from distillation import FULL, L1, TEACHER, words
from helpers import kd_trainer
from weaver_inputs import untrained

PART = "networks/ParT.py"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """Weights of an untrained teacher."""
    path = tmp_path_factory.mktemp("teacher") / "teacher.pt"
    untrained(path, FULL, seed=3, **TEACHER)
    return path


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Folder with paired.yaml and student.yaml."""
    folder = tmp_path_factory.mktemp("pair")
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "-o", folder)
    return folder


@pytest.fixture(scope="module")
def make_cache(configs, teacher):
    """python -m kd_trainer cache, as a function of the folder and the files; `run` may start it in another process."""

    def make(folder, *args, run=kd_trainer, paired=configs / "paired.yaml", network=PART, weights=teacher, **kwargs):
        return run("cache", "--paired", paired, "--network", network, "--weights", weights, *words(TEACHER),
                   "--output", folder, "--device", "cpu", *args, **kwargs)  # fmt: skip

    return make
