"""Sampling weights where some classes have no jets."""

import awkward as ak
import numpy as np
import pytest
import yaml
from helpers import ROOT, random_jets
from weaver.utils.data.preprocess import WeightMaker
from weaver.utils.dataset import DataConfig

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks.labels import check_weights
from kd_trainer.weaver_hooks.sampling import weigh_present_classes

CONFIG = ROOT / "data" / "JetClassII" / "JetClassII_full.yaml"
ABSENT = ("label_X_tauhtauh", "label_X_YY_ggtauhtauh")  # labels 14 and 82


@pytest.fixture
def patched(monkeypatch):
    monkeypatch.setattr(WeightMaker, "make_weights", WeightMaker.make_weights)  # to be put back
    weigh_present_classes()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Jets of all labels but two, in one file."""
    path = tmp_path_factory.mktemp("jets") / "jets.parquet"
    jets = random_jets(188 * 20, 3)
    ak.to_parquet(jets[(jets.jet_label != 14) & (jets.jet_label != 82)], path)
    return [str(path)]


def config(**changes):
    options = yaml.safe_load(CONFIG.read_text())
    options["weights"].update(changes)
    return DataConfig(print_info=False, **options)


def test_weaver_cannot_do_it(files):
    with pytest.raises(ValueError, match="zero-size array"):
        WeightMaker(files, config()).produce()


def test_weights_of_the_classes_with_jets(patched, files, caplog, tmp_path):
    """The weights are those of weaver for these classes alone; the config of all classes is kept."""
    made = WeightMaker(files, config()).produce(tmp_path / "auto.yaml")
    assert f"Classes without jets, and therefore without sampling weights: {', '.join(ABSENT)}." in caplog.text
    every = config().options["weights"]
    kept = [(name, weight) for name, weight in zip(every["reweight_classes"], every["class_weights"])
            if name not in ABSENT]  # fmt: skip
    classes, weights = zip(*kept)
    alone = WeightMaker(files, config(reweight_classes=list(classes), class_weights=list(weights))).produce()
    assert list(made.reweight_hists) == list(classes) == list(alone.reweight_hists)
    for name in classes:
        np.testing.assert_array_equal(made.reweight_hists[name], alone.reweight_hists[name])
    written = yaml.safe_load((tmp_path / "auto.yaml").read_text())["weights"]
    assert written["reweight_classes"] == every["reweight_classes"] and len(written["reweight_hists"]) == 28
    assert made.reweight_classes == tuple(every["reweight_classes"])

    text = f"no sampling weights for {', '.join(ABSENT)}, so that none of their jets would be drawn"
    with pytest.raises(InputError, match=f"^there are {text}: run make_weight again, or give"):
        check_weights(made, allowed=False)
    check_weights(made, allowed=True)
    assert f"There are {text}" in caplog.text
    caplog.clear()
    made.reweight_hists |= dict.fromkeys(ABSENT, made.reweight_hists["label_QCD"])
    check_weights(made, allowed=False)
    assert not caplog.text


def test_jets_outside_the_histogram_are_none(patched, files, caplog):
    changed = config(reweight_vars={"jet_pt": [0, 1], "jet_sdmass": [0, 1]})
    with pytest.raises(SystemExit, match="the files have no jets of any class of the sampling weights"):
        WeightMaker(files, changed).produce()


def test_the_reference_has_to_have_jets(patched, files):
    classes = ["label_X_tauhtauh", "label_QCD"]
    changed = config(reweight_method="ref", reweight_classes=classes, class_weights=[1, 1])
    with pytest.raises(SystemExit, match="no jets of label_X_tauhtauh, the reference class of all weights"):
        WeightMaker(files, changed).produce()
