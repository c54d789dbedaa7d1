"""The device of these tests, random jets for them, and the table at their end."""

import json
import os

import awkward as ak
import pytest
import torch
from helpers import ROOT, random_jets
from tabulate import tabulate

from kd_trainer.machine import described, machine

FIGURES = []  # rows of the table: what, figure


@pytest.fixture(scope="session")
def device():
    """cuda; or cpu in a rehearsal, where the same is run to prove the tests."""
    name = os.environ["KD_TEST_DEVICE"]
    if name == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


@pytest.fixture(scope="session")
def gpus():
    """Weaver's --gpus."""
    return "0" if os.environ["KD_TEST_DEVICE"] == "cuda" else ""


@pytest.fixture(scope="session")
def figure():
    """figure(what, text): a row of the table."""
    return lambda what, text: FIGURES.append((what, text))


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    """train/ and val/ with a file of random jets for each of the ten classes."""
    folder = tmp_path_factory.mktemp("jets")
    for split, number in {"train": 2000, "val": 400}.items():
        (folder / split).mkdir()
        events = random_jets(number, particles=60, seed=len(split))
        for name in [field for field in events.fields if field.startswith("label_")]:
            chosen = events[events[name] == 1]
            ak.to_parquet(chosen, folder / split / f"{name.removeprefix('label_')}_000.parquet")
    return folder


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("on this device")
        where = machine()
        terminalreporter.write_line(described(where))
        terminalreporter.write_line(tabulate(FIGURES, ("what", "figure"), disable_numparse=True))
        path = ROOT / "gpu.json"
        path.write_text(json.dumps({"machine": where, "figures": dict(FIGURES)}, indent=1) + "\n")
        terminalreporter.write_line(f"also in {path}")
