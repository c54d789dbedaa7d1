"""Simulated jets, and the shared reference data."""

import os
import sys

import pyarrow.parquet as pq
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
    """Simulated jets: train/ (40 a class) and val/ (16 a class) with a parquet file for each of the ten classes."""
    folder = tmp_path_factory.mktemp("jets")
    run(sys.executable, "-m", "kd_trainer", "simulate", "-o", folder / "all", "--jets", 56, "--seed", 100)
    for path in (folder / "all").iterdir():
        table = pq.read_table(path)
        for split, part in {"train": table[:40], "val": table[40:]}.items():
            (folder / split).mkdir(exist_ok=True)
            pq.write_table(part, folder / split / path.name)
    return folder
