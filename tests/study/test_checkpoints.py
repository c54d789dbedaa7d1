"""A study with a teacher that is an existing checkpoint of other classes, on jets without labels, through weaver."""

import json

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT, script, write_splits
from weaver_inputs import data_config, network, table_of, untrained

from kd_trainer.errors import InputError
from kd_trainer.evaluate.metrics import auc_influence
from kd_trainer.study import checkpoints
from kd_trainer.study import plan as plans

CONFIG = "data/JetClass/JetClass_kin.yaml"
OPTIONS = {"phi_dims": [16, 16], "rho_dims": [16]}  # of train_scripts/models/PFN-1k.sh


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Jets for training, validation and test, and a checkpoint of ten classes."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_splits(folder, train=200, val=200, test=200)
    untrained(folder / "published.pt", ROOT / CONFIG, "PFN", **OPTIONS)
    return folder


@pytest.fixture(scope="module")
def study(folder, content):
    """The content of study.yaml."""
    classes = "train_scripts/studies/classes/top_and_qcd.yaml"
    teacher = {"model": "PFN", "weights": str(folder / "published.pt"), "config": CONFIG, "classes": classes}
    arms = {"labels": {}, "published": {"teacher": "published", "labelled": False,
                                        "options": {"kd_alpha": 1.0, "kd_temperature": 1.0}}}  # fmt: skip
    return content(seeds=[1], teachers={"published": teacher}, arms=arms)


def test_a_checkpoint_teaches_without_labels_and_is_measured(clone, folder, study, write):
    path = write(clone / "mini.yaml", study)
    script(clone / "train_scripts" / "study.sh", "run", path, cwd=clone, env={"DATADIR": folder, "JOBS": 2})
    log = (clone / "logs" / "study_mini" / "PFN_l1_published_seed1" / "train.log").read_text()
    assert "all of 2 logits" in log and "soft targets from the cache" in log and "ERROR" not in log
    paired = yaml.safe_load((clone / "training" / "study_mini" / "PFN_l1_published_seed1" / "paired.yaml").read_text())
    assert list(paired["labels"]["value"]) == ["no_label"] and paired["labels"]["names"] == ["jet_isTop", "jet_isQCD"]

    config = data_config("JetClass", "kin")
    jets = str(folder / "test" / "jets.parquet")
    table, _ = table_of(config, jets)
    model, _ = network("PFN", config, **OPTIONS)
    model.load_state_dict(torch.load(folder / "published.pt", weights_only=True))
    with torch.no_grad():
        logits = model.eval()(*(torch.from_numpy(table["_" + name]) for name in config.input_names))
    scores = logits[:, [8, 0]].double().softmax(dim=1).numpy()  # Tbqq, QCD
    labels = 1 - ak.to_numpy(ak.from_parquet(jets).label)
    (on_test,) = (clone / "cache" / "study_mini").glob("*_l1_test")
    found = checkpoints.prediction(on_test, [jets])
    np.testing.assert_allclose(found.scores, scores, atol=1e-3)  # stored in float16
    assert found.labels.tolist() == labels.tolist() and found.names == ["jet_isTop", "jet_isQCD"]
    results = json.loads((clone / "training" / "study_mini" / "results.json").read_text())
    *students, teacher = results["cells"]
    assert (teacher["role"], teacher["arm"], teacher["tier"]) == ("teacher", "teacher", "JetClass_kin")
    assert teacher["auc"]["value"] == pytest.approx(auc_influence(labels, scores)[0], abs=1e-3)
    assert teacher["parameters"] > 500
    assert [cell["arm"] for cell in students] == ["labels", "published"] and "ratio" in students[1]


@pytest.mark.parametrize(
    "entry, change, message",
    [
        ("teacher", {"weights": None}, "config and classes are only for a teacher with weights"),
        ("teacher", {"config": None}, "weights need a model, and a tier or a config"),
        ("arm", {"labelled": "no"}, "labelled is 'no': it must be true or false"),
        ("arm", {"options": {}}, "a training without labels needs a teacher, and kd_alpha: 1.0"),
        ("arm", {"teacher": None, "options": {}}, "a training without labels needs a teacher"),
    ],
)
def test_what_cannot_be(study, entry, change, message):
    where = {"teacher": "teachers", "arm": "arms"}[entry]
    made = {**study, where: {**study[where], "published": {**study[where]["published"], **change}}}
    with pytest.raises(InputError, match=message):
        plans.parse(made, "mini.yaml", {"DATADIR": "jets"})
