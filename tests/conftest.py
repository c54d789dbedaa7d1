"""Simulated jets, and the shared reference data."""

import os
import sys

import pytest
from helpers import ROOT, run

SHARED = ROOT.parent / "shared" / "data"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data; tests that use it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data {SHARED} are not here")
    return SHARED


@pytest.fixture(scope="session")
def jets(tmp_path_factory):
    """Simulated jets: train/ and val/ with a parquet file for each of the ten classes."""
    folder = tmp_path_factory.mktemp("jets")
    for seed, (split, jets) in enumerate({"train": 40, "val": 16}.items()):
        run(sys.executable, "-m", "kd_trainer", "simulate", "-o", folder / split, "--jets", jets, "--seed", 100 + seed)
    return folder
