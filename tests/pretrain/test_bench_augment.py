"""The benchmark of the augmentations: what it measures, not how fast it is."""

import json

import pytest
from helpers import ROOT, failure, kd_trainer

KIN = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
PFN = ROOT / "networks" / "PFN.py"


def test_share_of_a_training_step(tmp_path):
    output = tmp_path / "augment.json"
    network = ("--network", PFN, "-o", "phi_dims", "(8,)", "--data-config", KIN)
    result = kd_trainer("bench", "augment", *network, "--jets", 6, "--repetitions", 3, "--output", output)
    results = json.loads(output.read_text())
    assert results["jets"] == 6 and results["options"] == {"phi_dims": [8]} and results["parameters"] > 0
    for figure in (*results["seconds"].values(), results["views / step"]):
        assert 0 < figure["lowest"] <= figure["median"] <= figure["highest"]
    assert results["seconds"].keys() == {"views", "step"} and "rotation 3.14" in results["augmentations"]
    assert f"views / step = {results['views / step']['median']:.3g}" in result.stdout


@pytest.mark.parametrize(
    "argument, message",
    [
        (("--jets", 1), "--jets has to be at least 2"),
        (("--repetitions", 0), "--repetitions has to be at least 1"),
        (("--network", "none.py"), "--network none.py is not there"),
    ],
)
def test_bad_input(argument, message):
    assert message in failure("bench", "augment", "--data-config", KIN, *argument)
