"""A student that begins with the weights of a pre-training."""

import pytest
import torch
from distillation import L1, STUDENT, distillation, state
from helpers import ROOT
from weaver.utils.dataset import DataConfig
from weaver_inputs import network

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
    model, _ = network("PFN", config, num_classes=2, **OPTIONS)
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
    _, log = distillation(jets, configs, teacher, tmp_path / "more", *STUDENT, *pretrained, "--load-epoch", 0)
    assert "Resume training from epoch 0" in log and "Epoch #1 training" in log and "Epoch #0 training" not in log
    whole, resumed = state(tmp_path / "net"), state(tmp_path / "more")
    weights = torch.load(encoder, weights_only=True)["mod.phi.0.weight"]
    learnt = (whole["mod.phi.0.weight"] - weights).abs().max()
    assert (resumed["mod.phi.0.weight"] - whole["mod.phi.0.weight"]).abs().max() < learnt / 10


@pytest.mark.parametrize(
    "change, message",
    [
        ({"phi_dims": (16, 8)}, "the pre-trained weights .*encoder.pt do not fit: size mismatch"),
        ({"pretrained": "absent.pt"}, "the pre-trained weights absent.pt do not exist"),
    ],
)
def test_refused(change, message, config, encoder):
    with pytest.raises(SystemExit, match=message):
        student(config, **{"pretrained": str(encoder), **change})


def test_an_export_does_not_look_for_them(config):
    assert student(config, pretrained="absent.pt", for_inference=True)
