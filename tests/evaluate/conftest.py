"""Toy taggers with known behaviour, and prediction files written by weaver itself."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from weaver.train import save_parquet, save_root

CLASSES = ["QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl"]


@pytest.fixture
def toy():
    """toy(labels, strength, seed, n_classes): probabilities (N, K); a larger strength gives a better tagger."""

    def probabilities(labels, strength, seed, n_classes=10):
        # What is random about a jet is common to all taggers; a smaller part is the tagger's own.
        common = np.random.default_rng(0).normal(size=(len(labels), n_classes))
        logits = common + 0.6 * np.random.default_rng(seed).normal(size=(len(labels), n_classes))
        logits[np.arange(len(labels)), labels] += strength
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)

    return probabilities


@pytest.fixture
def write():
    """write(path, labels, scores, ...): a prediction file with weaver's own writer."""

    def prediction(path, labels, scores, *, classes=None, label_name="_label_", jet_pt=None, **more):
        path.parent.mkdir(parents=True, exist_ok=True)
        label, observers = {label_name: labels}, more if jet_pt is None else {"jet_pt": jet_pt, **more}
        if path.suffix == ".parquet":
            save_parquet(None, str(path), scores, label, observers)
        elif label_name == "_label_":
            names = classes or [f"label_{name}" for name in CLASSES]
            config = SimpleNamespace(label_type="simple", label_value=names, label_names=("_label_",))
            save_root(None, str(path), config, scores, label, observers)
        else:
            save_root(None, str(path), SimpleNamespace(label_type="custom", labels={}), scores, label, observers)
        return path

    return prediction


@pytest.fixture
def write_sidecar():
    """write_sidecar(path, **changes): what `complexity` leaves beside a prediction file."""

    def sidecar(path, **changes):
        content = {
            "name": "PFN",
            "network": "networks/PFN.py",
            "options": {},
            "data_config": "data/JetClass/JetClass_l1.yaml",
            "parameters": 15812,
            "flops": 150848,
            "particles": 16,
        }
        path.with_suffix(".model.json").write_text(json.dumps(content | changes))

    return sidecar
