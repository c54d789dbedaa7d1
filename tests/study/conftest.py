"""A miniature study: one student, labels against a teacher with the student's own inputs, two seeds."""

import pytest
import yaml
from helpers import ROOT


@pytest.fixture(scope="session")
def content():
    """content(folder, **changes): the mapping of a study.yaml, on the jets of a folder."""

    def make(jets="jets", **changes):
        network = {"network": "networks/PFN.py", "options": {"phi_dims": [16, 16], "rho_dims": [16]},
                   "training": "--num-epochs 1 --start-lr 1e-2", "distillation": {"kd_temperature": 1.0}}  # fmt: skip
        return {
            "title": "Miniature",
            "data": {
                "config": str(ROOT / "data" / "JetClass" / "JetClass"),
                "train": {"all": [f"{jets}/train/*.parquet"]},
                "val": [f"{jets}/val/*.parquet"],
                "test": [f"{jets}/val/*.parquet"],
            },
            "weaver": "--num-workers 0 --fetch-step 1 --batch-size 64 --optimizer adamW",
            "networks": {"PFN": network},
            "students": ["PFN"],
            "tiers": ["l1"],
            "seeds": [1, 2],
            "teachers": {"self": {"seeds": [1]}},
            "baseline": "labels",
            "arms": {"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.5}}},
        } | changes

    return make


@pytest.fixture(scope="session")
def write():
    """write(path, content): a study.yaml."""

    def save(path, content):
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return save
