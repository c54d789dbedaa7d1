"""A study with a teacher that is an existing checkpoint of other classes, on jets without labels, through weaver."""

import json

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from helpers import ROOT, kd_trainer, random_jets
from weaver.utils.dataset import DataConfig, _load_next
from weaver.utils.import_tools import import_module

from kd_trainer.evaluate.metrics import auc_influence
from kd_trainer.study import checkpoints

CONFIG = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
CLASSES = ROOT / "train_scripts" / "studies" / "classes" / "top_and_qcd.yaml"
OPTIONS = {"phi_dims": [8], "rho_dims": [8]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Jets, and a checkpoint of ten classes."""
    folder = tmp_path_factory.mktemp("checkpoints")
    ak.to_parquet(random_jets(200, particles=30, seed=1), folder / "jets.parquet")
    torch.manual_seed(1)
    config = DataConfig.load(str(CONFIG), load_observers=False)
    model, _ = import_module(str(ROOT / "networks" / "PFN.py")).get_model(config, **OPTIONS)
    torch.save(model.state_dict(), folder / "published.pt")
    return folder


@pytest.fixture(scope="module")
def study(folder, content, write):
    """(the content of study.yaml, its path)"""
    jets = [str(folder / "jets.parquet")]
    data = {"config": str(ROOT / "data" / "TopLandscape" / "TopLandscape"), "train": {"all": jets}, "val": jets,
            "test": jets}  # fmt: skip
    weights = str(folder / "published.pt")
    teacher = {"network": "PFN", "weights": weights, "config": str(CONFIG), "classes": str(CLASSES)}
    arms = {"labels": {}, "published": {"teacher": "published", "labelled": False,
                                        "options": {"kd_alpha": 1.0, "kd_temperature": 1.0}}}  # fmt: skip
    made = content(folder, data=data, seeds=[1], teachers={"published": teacher}, arms=arms)
    made["networks"]["PFN"]["options"] = OPTIONS
    return made, write(folder / "study.yaml", made)


def test_a_checkpoint_teaches_without_labels_and_is_measured(folder, study):
    _, path = study
    kd_trainer("study", path, "-o", folder / "out", "--jobs", 2)
    kd_trainer("study", path, "-o", folder / "out", "--report", "--replicas", 20)
    log = (folder / "out" / "runs" / "PFN_l1_all_published_seed1" / "train.log").read_text()
    assert "all of 2 logits" in log and "soft targets from the cache" in log and "ERROR" not in log
    paired = yaml.safe_load((folder / "out" / "configs" / "l1_and_JetClass_kin_top_and_qcd_unlabelled" / "paired.yaml")
                            .read_text())  # fmt: skip
    assert list(paired["labels"]["value"]) == ["no_label"] and paired["labels"]["names"] == ["jet_isTop", "jet_isQCD"]

    config = DataConfig.load(str(CONFIG), load_observers=False)
    options = {"training": False, "mode": "test", "reweight": False, "shuffle": False}
    table, _ = _load_next(config, [str(folder / "jets.parquet")], None, options)
    model, _ = import_module(str(ROOT / "networks" / "PFN.py")).get_model(config, **OPTIONS)
    model.load_state_dict(torch.load(folder / "published.pt", weights_only=True))
    with torch.no_grad():
        logits = model.eval()(*(torch.from_numpy(table["_" + name]) for name in config.input_names))
    scores = logits[:, [8, 0]].double().softmax(dim=1).numpy()  # Tbqq, QCD
    labels = 1 - ak.to_numpy(ak.from_parquet(folder / "jets.parquet").label)
    cache = folder / "out" / "caches"
    (on_test,) = cache.glob("test_l1_from_*")
    found = checkpoints.prediction(on_test, [str(folder / "jets.parquet")])
    np.testing.assert_allclose(found.scores, scores, atol=1e-3)  # stored in float16
    assert found.labels.tolist() == labels.tolist() and found.names == ["jet_isTop", "jet_isQCD"]
    results = json.loads((folder / "out" / "results.json").read_text())
    *students, teacher = results["cells"]
    assert (teacher["role"], teacher["arm"], teacher["tier"]) == ("teacher", "teacher", "JetClass_kin")
    assert teacher["auc"]["value"] == pytest.approx(auc_influence(labels, scores)[0], abs=1e-3)
    assert [cell["arm"] for cell in students] == ["labels", "published"] and "ratio" in students[1]


@pytest.mark.parametrize(
    "entry, change, message",
    [
        ("teacher", {"weights": None}, "a data config or classes of its own go with weights"),
        ("teacher", {"config": None}, "weights go with a network and a tier or config"),
        ("arm", {"labelled": "no"}, "labelled is 'no': it must be true or false"),
        ("arm", {"options": {}}, "without labels all is learnt from a teacher: name it, and kd_alpha: 1.0"),
        ("arm", {"teacher": None, "options": {}}, "without labels all is learnt from a teacher"),
    ],
)
def test_what_cannot_be(study, write, tmp_path, entry, change, message):
    made, _ = study
    where = {"teacher": "teachers", "arm": "arms"}[entry]
    made = {**made, where: {**made[where], "published": {**made[where]["published"], **change}}}
    found = kd_trainer("study", write(tmp_path / "study.yaml", made), "-o", tmp_path / "out", check=False)
    assert found.returncode == 1 and message in found.stderr
