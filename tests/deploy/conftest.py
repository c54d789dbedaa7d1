"""A small trained student, exported by weaver and completed by `kd_trainer deploy`."""

import os
import shutil

import pytest
import torch
from distillation import L1, STUDENT
from filelock import FileLock
from helpers import ROOT, kd_trainer, weaver
from weaver_inputs import data_config, network, table_of

from kd_trainer.evaluate.complexity import parse_options

OPTIONS = parse_options(zip(STUDENT[1::3], STUDENT[2::3]))


def train(files, path, steps=60):
    """Weights of a PFN after some steps on a few jets."""
    config = data_config("JetClass", "l1")
    table, _ = table_of(config, *files)
    torch.manual_seed(1)
    model, _ = network("PFN", config, **OPTIONS)
    inputs = [torch.tensor(table["_" + name]) for name in config.input_names]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(*inputs), torch.tensor(table["_label_"])).backward()
        optimizer.step()
    torch.save(model.state_dict(), path)


def make_model_dir(jets, folder):
    folder.mkdir(exist_ok=True)
    train(sorted((jets / "train").iterdir()), folder / "net.pt")
    weaver("-c", L1, "-n", "networks/PFN.py", *STUDENT, "-m", folder / "net.pt", "--export-onnx", folder / "model.onnx")
    kd_trainer("deploy", folder, *sorted((jets / "val").iterdir()), "--network", ROOT / "networks" / "PFN.py", *STUDENT,
               "--weights", folder / "net.pt", "--data-config", L1)  # fmt: skip


@pytest.fixture(scope="session")
def model_dir(jets, tmp_path_factory):
    """Folder with net.pt and what `deploy` leaves, for reading only."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "model_dir"  # its processes share it
    with FileLock(f"{folder}.lock"):
        if not (folder / "parity.json").exists():
            make_model_dir(jets, folder)
    return folder


@pytest.fixture
def own_dir(model_dir, tmp_path):
    """A copy of the folder, to edit: without the checksums."""
    return shutil.copytree(model_dir, tmp_path / "model", ignore=shutil.ignore_patterns("SHA256SUMS"))


@pytest.fixture
def recorded_dir(model_dir, tmp_path):
    """A copy of the folder with its checksums, to spoil."""
    return shutil.copytree(model_dir, tmp_path / "recorded")


@pytest.fixture(scope="session")
def val_files(jets):
    return sorted((jets / "val").iterdir())
