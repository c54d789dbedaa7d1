"""A student that begins with the weights of a pre-training."""

import pytest
import torch
from distillation import L1, STUDENT, distillation
from helpers import ROOT
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

from kd_trainer.distill import hooks
from kd_trainer.pretrain.contrastive import as_contrastive

PFN = str(ROOT / "networks" / "PFN.py")
OPTIONS = {"phi_dims": (16, 16), "rho_dims": (16,)}  # STUDENT


@pytest.fixture(scope="module")
def config():
    return DataConfig.load(str(L1), load_observers=False)


@pytest.fixture(scope="module")
def encoder(config, tmp_path_factory):
    """Checkpoint of a pre-training, as networks/contrastive.py leaves it."""
    path = tmp_path_factory.mktemp("encoder") / "encoder.pt"
    torch.manual_seed(5)
    model, _ = import_module(PFN).get_model(config, num_classes=2, **OPTIONS)
    torch.save(as_contrastive(model, projection=(4,), temperature=0.1).state_dict(), path)
    return path


def student(config, **options):
    model, _ = hooks.get_model(config, student=PFN, kd_alpha=0.0, seed=1, **{**OPTIONS, **options})
    return model.state_dict()


def test_all_but_the_output_layer_is_taken(config, encoder):
    taken, random = student(config, pretrained=str(encoder)), student(config)
    pretrained = torch.load(encoder, weights_only=True)
    head = {"mod.fc.weight", "mod.fc.bias"}
    assert {name for name in taken if torch.equal(taken[name], random[name])} >= head
    assert all(torch.equal(taken[name], pretrained[name]) for name in taken.keys() - head)
    assert any(not torch.equal(taken[name], random[name]) for name in taken.keys() - head)


def test_a_distillation_that_goes_on_keeps_what_it_has_learnt(jets, configs, teacher, encoder, tmp_path):
    pretrained = ("-o", "pretrained", f"'{encoder}'", "-o", "seed", 1)
    _, log = distillation(jets, configs, teacher, tmp_path / "net", *STUDENT, *pretrained)
    assert f"The student networks/PFN.py starts from the weights {encoder}" in log and "ERROR" not in log
    for kind in ("state", "optimizer"):
        (tmp_path / f"more_epoch-0_{kind}.pt").write_bytes((tmp_path / f"net_epoch-0_{kind}.pt").read_bytes())
    distillation(jets, configs, teacher, tmp_path / "more", *STUDENT, *pretrained, "--load-epoch", 0)
    whole, resumed = (torch.load(tmp_path / f"{n}_epoch-1_state.pt", weights_only=True) for n in ("net", "more"))
    weights = torch.load(encoder, weights_only=True)["mod.phi.0.weight"]
    learnt = (whole["mod.phi.0.weight"] - weights).abs().max()
    assert (resumed["mod.phi.0.weight"] - whole["mod.phi.0.weight"]).abs().max() < learnt / 10


@pytest.mark.parametrize(
    "change, message",
    [
        ({"phi_dims": (16, 8)}, "the pre-trained weights .*encoder.pt do not fit: size mismatch"),
        ({"phi_dims": (16, 16, 16)}, "the pre-trained weights .*encoder.pt lack .*another network"),
        ({"pretrained": "absent.pt"}, "the pre-trained weights absent.pt do not exist"),
        ({"pretrained_weights": "x.pt"}, "unknown option pretrained_weights: valid are student, .*pretrained"),
    ],
)
def test_refused(change, message, config, encoder):
    with pytest.raises(SystemExit, match=message):
        student(config, **{"pretrained": str(encoder), **change})


def test_an_export_does_not_look_for_them(config):
    assert student(config, pretrained="absent.pt", for_inference=True)
