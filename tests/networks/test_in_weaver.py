"""Each network through the real weaver command: an epoch, the predictions, the export."""

import awkward as ak
import numpy as np
import onnxruntime
import pytest
import torch
from distillation import TEACHER, TRAINING, data
from helpers import ROOT, weaver
from weaver.utils.dataset import DataConfig, _load_next

SMALL = {
    "ParT": TEACHER,
    "MIParT": {"embed_dims": [16, 16], "pair_embed_dims": [8, 8], "num_heads": 2, "num_mi_layers": 1, "num_layers": 1},
    "ParticleNet": {"conv_params": [(7, (8, 8))], "fc_params": [(8, 0.1)]},
    "InteractionNet": {},
}


@pytest.mark.parametrize("network", SMALL)
def test_trains_and_predicts_and_exports(network, jets, tmp_path):
    kin = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
    options = [str(word) for name, value in SMALL[network].items() for word in ("-o", name, value)]
    model = ("-c", kin, "-n", f"networks/{network}.py", *options)
    weaver(*data(jets), "--data-test", f"{jets}/val/*.parquet", *model, "-m", tmp_path / "net", "--num-epochs", 1,
           *TRAINING, "--predict-output", tmp_path / "pred.parquet")
    best = tmp_path / "net_best_epoch_state.pt"
    scores = ak.to_numpy(ak.from_parquet(tmp_path / "pred.parquet").scores)
    assert scores.shape == (160, 10) and torch.load(best, weights_only=True)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)

    weaver(*model, "-m", best, "--export-onnx", tmp_path / "model.onnx")
    config = DataConfig.load(str(kin), load_observers=False)
    how = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, _ = _load_next(config, sorted(str(path) for path in (jets / "val").iterdir()), None, how)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    onnx_scores = session.run(None, {x.name: table["_" + x.name] for x in session.get_inputs()})[0]
    np.testing.assert_allclose(onnx_scores, scores, atol=1e-4)
