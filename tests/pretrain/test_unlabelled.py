"""The data config of a pre-training, and whether its encoder fits another data config."""

import pytest
import yaml
from helpers import ROOT, failure, kd_trainer

from kd_trainer.errors import InputError
from kd_trainer.pretrain.unlabelled import check_same_inputs

NAMES = ("first.yaml", "second.yaml")


def config(dataset, tier):
    return yaml.safe_load((ROOT / "data" / dataset / f"{dataset}_{tier}.yaml").read_text())


@pytest.mark.parametrize(
    "one, other",
    [(("JetClass", "kin"), ("TopLandscape", "kin")), (("JetClassII", "kin"), ("JetClass", "kin")),
     (("QuarkGluon", "kinpid"), ("QuarkGluon", "kinpidplus"))],
)  # fmt: skip
def test_the_same_inputs_under_whatever_names(one, other):
    check_same_inputs(config(*one), config(*other), names=NAMES)


@pytest.mark.parametrize("swapped", [False, True])
def test_more_inputs(swapped):
    both = config("JetClass", "kinpid"), config("JetClass", "full")
    with pytest.raises(InputError) as error:
        check_same_inputs(*both[:: -1 if swapped else 1], names=NAMES)
    sizes = (17, 13) if swapped else (13, 17)
    assert str(error.value) == (
        f"pf_features has {sizes[0]} inputs in first.yaml and {sizes[1]} in second.yaml (not in both: part_d0, "
        "part_d0err, part_dz, part_dzerr): a network trained on one does not fit the other; choose another tier or "
        "dataset"
    )


def test_a_group_less():
    options = config("JetClass", "kin")
    other = {"inputs": {name: group for name, group in options["inputs"].items() if name != "pf_points"}}
    with pytest.raises(InputError, match="pf_points has 2 inputs in first.yaml and 0 in second.yaml"):
        check_same_inputs(options, other, names=NAMES)


def test_it_is_not_written_for_another_network(tmp_path):
    full, kin = (ROOT / "data" / "JetClass" / f"JetClass_{tier}.yaml" for tier in ("full", "kin"))
    words = ("unlabelled", "--data-config", full, "-o", tmp_path / "x.yaml", "--same-inputs-as")
    assert "pf_features has 17 inputs in " in failure(*words, kin) and not list(tmp_path.iterdir())
    kd_trainer(*words, full)
    assert "labels" in yaml.safe_load((tmp_path / "x.yaml").read_text())


def test_nothing_to_do():
    with pytest.raises(SystemExit):
        kd_trainer("unlabelled", "--data-config", ROOT / "data" / "JetClass" / "JetClass_kin.yaml")
