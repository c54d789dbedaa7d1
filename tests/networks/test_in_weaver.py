"""Networks through the real weaver command: an epoch and the predictions; test_networks.py has the export.

ParT is trained in tests/pretrain/test_weaver.py, PFN in tests/distill/test_weaver.py, dense in tests/test_demo.py.
"""

import awkward as ak
import numpy as np
import pytest
import torch
from distillation import SMALL, TRAINING, data, words
from helpers import ROOT, weaver


@pytest.mark.parametrize("network", ["MIParT", "ParticleNet", "InteractionNet"])
def test_trains_and_predicts(network, jets, tmp_path):
    kin = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
    weaver(
        *data(jets), "--data-test", f"{jets}/val/*.parquet", "-c", kin, "-n", f"networks/{network}.py",
        *words(SMALL.get(network, {})), "-m", tmp_path / "net", "--num-epochs", 1, *TRAINING,
        "--predict-output", tmp_path / "pred.parquet",
    )  # fmt: skip
    best = tmp_path / "net_best_epoch_state.pt"
    scores = ak.to_numpy(ak.from_parquet(tmp_path / "pred.parquet").scores)
    assert scores.shape == (160, 10) and torch.load(best, weights_only=True)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
