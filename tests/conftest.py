"""Simulated jets, and the shared reference data."""

import functools
import importlib.util
import os
import sys
import tempfile

import hypothesis
import pyarrow.parquet as pq
import pytest
import yaml
from filelock import FileLock
from helpers import ROOT, copy_repository, run

pytest_plugins = ("weaver_inputs", "pairing")
SHARED = ROOT.parent / "shared" / "data"
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
HAS_PYTHIA = importlib.util.find_spec("pythia8mc")  # there is no wheel for Python 3.14; elsewhere tests/run asks for it
collect_ignore_glob = [] if HAS_PYTHIA else ["simulate/*", "test_demo.py"]
if "KD_TEST_DEVICE" not in os.environ:  # tests/run gpu
    collect_ignore_glob.append("gpu/*")
# begun first, so that no process waits for them at the end
LONGEST = ("test_going_on.py", "test_demo.py", "test_sophon_and_finetuning.py", "test_study.py", "test_train_ssl.py")
yaml.safe_load = functools.partial(yaml.load, Loader=yaml.CSafeLoader)  # the same in C, half the time of many tests

os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.join(tempfile.gettempdir(), "hypothesis"))
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None, database=None, max_examples=30)
hypothesis.settings.register_profile("long", deadline=None, database=None, max_examples=500)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS", "fixed"))


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def shared():
    """The folder of reference data; tests that use it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data {SHARED} are not here")
    return SHARED


@pytest.fixture(scope="session")
def delphes_file(shared):
    """The public example of JetClass-II: ten events of Delphes."""
    return shared / "real" / "delphes_example.root"


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Simulated jets: a parquet file of 80 for each of the ten classes."""
    if not HAS_PYTHIA:
        pytest.skip("without Pythia there are no jets")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "simulated"  # its processes share it
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = folder.with_name("simulated.tmp")
            run(sys.executable, "-m", "kd_trainer", "simulate", "-o", made, "--jets", 80, "--seed", 100, "--workers", 2)
            made.rename(folder)
    return folder


@pytest.fixture(scope="session")
def jets(simulated, tmp_path_factory):
    """Some of them: train/ (40 a class) and val/ (16 a class)."""
    folder = tmp_path_factory.mktemp("jets")
    for split, part in {"train": slice(40), "val": slice(40, 56)}.items():
        (folder / split).mkdir()
        for path in simulated.iterdir():
            pq.write_table(pq.read_table(path)[part], folder / split / path.name)
    return folder


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository's files: what runs write stays out of the working tree."""
    folder = tmp_path_factory.mktemp("clone")
    copy_repository(folder)
    return folder
