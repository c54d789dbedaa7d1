"""Each network through the real weaver command: an epoch and the predictions; test_networks.py has the export."""

import awkward as ak
import numpy as np
import pytest
import torch
from distillation import TEACHER, TRAINING, data
from helpers import ROOT, weaver

SMALL = {
    "ParT": TEACHER,
    "MIParT": {"embed_dims": [16, 16], "pair_embed_dims": [8, 8], "num_heads": 2, "num_mi_layers": 1, "num_layers": 1},
    "ParticleNet": {"conv_params": [(7, (8, 8))], "fc_params": [(8, 0.1)]},
    "InteractionNet": {},
}


@pytest.mark.parametrize("network", SMALL)
def test_trains_and_predicts(network, jets, tmp_path):
    kin = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
    options = [str(word) for name, value in SMALL[network].items() for word in ("-o", name, value)]
    model = ("-c", kin, "-n", f"networks/{network}.py", *options)
    weaver(
        *data(jets),
        "--data-test",
        f"{jets}/val/*.parquet",
        *model,
        "-m",
        tmp_path / "net",
        "--num-epochs",
        1,
        *TRAINING,
        "--predict-output",
        tmp_path / "pred.parquet",
    )
    best = tmp_path / "net_best_epoch_state.pt"
    scores = ak.to_numpy(ak.from_parquet(tmp_path / "pred.parquet").scores)
    assert scores.shape == (160, 10) and torch.load(best, weights_only=True)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
