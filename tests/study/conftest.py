"""A miniature study: one student, labels against a teacher with the student's own inputs, two seeds."""

import pytest
import yaml
from helpers import ROOT

SIZES = "--samples-per-epoch 400 --samples-per-epoch-val 100"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    """Studies name files as seen from the root of the repository, where their commands run."""
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="session")
def content():
    """content(**changes): the mapping of a study.yaml, for the jets of DATADIR."""

    def make(**changes):
        return {
            "title": "Miniature",
            "dataset": "TopLandscape",
            "samples": {"all": ["$DATADIR/train/*.parquet"]},
            "weaver": f"--num-epochs 1 --batch-size 64 {SIZES} --num-workers 0",
            "models": {"PFN": {"model": "PFN-1k", "weaver": "--start-lr 1e-2"}},
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
