"""Each network file, with the files that it needs, in plain weaver 0.4.17 without this package."""

import os
import shutil
import sys

import pytest
from distillation import SMALL, TRAINING, data, words
from helpers import ROOT, run

pytestmark = pytest.mark.weaver_0_4
NETWORKS = sorted(path.stem for path in (ROOT / "networks").glob("*.py") if "kd_trainer" not in path.read_text())


@pytest.fixture(scope="module")
def weaver_0_4(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weaver_0_4")
    run(sys.executable, "-m", "venv", folder)
    requirements = ("weaver-core==0.4.17", "torch==2.13.0", "pyarrow<20", "tabulate")
    run(folder / "bin" / "pip", "install", "--quiet", *requirements)
    return folder / "bin" / "weaver"


@pytest.mark.parametrize("network", NETWORKS)
def test_trains_and_predicts(network, weaver_0_4, jets, tmp_path):
    code = (ROOT / "networks" / f"{network}.py").read_text()
    needed = [path for path in (ROOT / "networks").glob("*.py") if path.stem == network or path.name in code]
    for file in (*needed, ROOT / "data" / "JetClass" / "JetClass_kin.yaml"):
        shutil.copy(file, tmp_path)
    run(
        weaver_0_4, "--gpus", "", *data(jets), "--data-test", f"{jets}/val/*.parquet", "-c", "JetClass_kin.yaml",
        "-n", f"{network}.py", *words(SMALL.get(network, {})), "-m", "net", "--num-epochs", 1, *TRAINING,
        "--predict-output", tmp_path / "pred.root",
        cwd=tmp_path, env={"PYTHONPATH": "", "MPLCONFIGDIR": os.fspath(tmp_path)},
    )  # fmt: skip
    assert (tmp_path / "net_best_epoch_state.pt").is_file() and (tmp_path / "pred.root").is_file()
