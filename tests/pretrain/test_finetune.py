"""Tagger and encoder: which weights are transferred or frozen, and which are refused."""

import pytest
import torch
from helpers import ROOT
from weaver.utils.import_tools import import_module
from weaver_inputs import network

from kd_trainer.errors import InputError
from kd_trainer.pretrain import finetune
from kd_trainer.pretrain.contrastive import as_contrastive
from kd_trainer.weaver_hooks import take_over

PFN = str(ROOT / "networks" / "PFN.py")


@pytest.fixture
def config(load_config):
    return load_config("TopLandscape", "l1")


def tagger(config, **options):
    return network("PFN", config, phi_dims=(8,), rho_dims=(6,), **options)[0]


@pytest.fixture
def encoder(config):
    return as_contrastive(tagger(config, num_classes=2), projection=(4,), temperature=0.1).state_dict()


@pytest.fixture
def inputs(config):
    generator = torch.Generator().manual_seed(1)
    inputs = [torch.rand(6, *config.input_shapes[name][1:], generator=generator) for name in config.input_names]
    inputs[-1] = torch.ones_like(inputs[-1])
    return inputs


def test_everything_but_the_output_layer_is_taken_over(config, encoder, tmp_path):
    torch.save(encoder, tmp_path / "encoder.pt")
    model = tagger(config)
    head = model.mod.fc.weight.clone()
    take_over(model, tmp_path / "encoder.pt")
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith("mod.fc.")}
    assert len(kept) > 8 and all(torch.equal(value, encoder[name]) for name, value in kept.items())
    assert torch.equal(model.mod.fc.weight, head)


def test_output_layer_of_other_classes_is_left_out(config, tmp_path):
    torch.save(tagger(config, num_classes=10).state_dict(), tmp_path / "tagger.pt")
    take_over(tagger(config, num_classes=2), tmp_path / "tagger.pt")


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_encoder_stays_bit_by_bit(config, inputs, frozen):
    """Weights, and the running means of BatchNorm, which weaver's `--freeze-model-weights` would let move."""
    model, _ = finetune.get_model(config, encoder=PFN, frozen=frozen, seed=3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        model.train()
        torch.nn.functional.cross_entropy(model(*inputs), torch.arange(6) % 2).backward()
        optimizer.step()
    after = model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("running_mean" in name for name in before)
    assert {"mod.fc.weight", "mod.fc.bias"} <= moved
    assert (moved == {"mod.fc.weight", "mod.fc.bias"}) == frozen


def test_seed(config):
    first, again, other = (finetune.get_model(config, encoder=PFN, seed=seed)[0].mod.fc.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_loss_that_is_no_number_stops_the_training(config):
    loss = finetune.get_loss(config, encoder=PFN)
    assert loss(torch.zeros(2, 2), torch.tensor([0, 1])).item() == pytest.approx(0.693147, abs=1e-6)
    with pytest.raises(InputError, match="the loss is nan"):
        loss(torch.full((2, 2), torch.nan), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: {k: v for k, v in state.items() if "phi.0" not in k}, r"lack mod\.phi\.0\.\S+.*another network"),
        (lambda state: {**state, "mod.more": torch.ones(1)}, "have, unlike the network, mod.more"),
        (lambda state: {k: v[:1] if v.ndim else v for k, v in state.items()}, "do not fit: size mismatch"),
        (lambda state: [1, 2], "not a state dict"),
    ],
)
def test_weights_of_something_else(change, message, config, encoder, tmp_path):
    torch.save(change(encoder), tmp_path / "x.pt")
    with pytest.raises(InputError, match=message):
        take_over(tagger(config), tmp_path / "x.pt")


def test_unreadable_weights(config, tmp_path):
    with pytest.raises(InputError, match="the pre-trained weights .* do not exist"):
        take_over(tagger(config), tmp_path / "absent.pt")
    (tmp_path / "short.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="cannot be read: the file is truncated"):
        take_over(tagger(config), tmp_path / "short.pt")


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "no encoder is given"),
        ({"encoder": "networks/none.py"}, "the encoder's network file networks/none.py does not exist"),
        ({"encoder": PFN, "frozen": "yes"}, "frozen is 'yes': it must be True or False"),
        ({"encoder": PFN, "pretrained_weights": "x.pt"}, "unknown option pretrained_weights: valid are encoder"),
        ({"encoder": PFN, "pretrained": "absent.pt"}, "the pre-trained weights absent.pt do not exist"),
    ],
)
def test_refusals(options, message, config):
    with pytest.raises(SystemExit, match=message):
        finetune.get_model(config, **options)


@pytest.mark.parametrize("name", ["contrastive", "finetune"])
def test_network_file_has_all_hooks(name):
    module = import_module(str(ROOT / "networks" / f"{name}.py"))
    assert {"get_model", "get_loss", "get_train_fn", "get_evaluate_fn", "init_opt"} <= set(dir(module))
