"""The task, its loss, and encoders made of the network files."""

import math
import multiprocessing

import pytest
import torch
from distillation import SMALL
from torch import distributed, nn
from weaver_inputs import network

from kd_trainer.errors import InputError
from kd_trainer.pretrain.contrastive import Contrast, as_contrastive, first_row, nt_xent, partners, similarities
from kd_trainer.supervised import FiniteLoss


def test_nt_xent_of_a_batch_by_hand():
    """Two jets with views in a plane, at 0 and 60 degrees and at 90 and 150 degrees; tau 1/2."""
    angles = torch.deg2rad(torch.tensor([0.0, 90.0, 60.0, 150.0]))
    views = torch.stack([angles.cos(), angles.sin()], dim=1)
    logits = similarities(views, views, first=0, temperature=0.5)
    labels = partners(2)
    assert labels.tolist() == [2, 3, 0, 1]
    assert torch.isinf(logits.diagonal()).all() and (logits.diagonal() < 0).all()
    near, far = math.exp(2 * 0.5), math.exp(2 * math.sqrt(0.75))  # of angles of 60 and 30 degrees, at tau 1/2
    far_side = math.exp(-2 * math.sqrt(0.75))  # 150 degrees
    losses = [
        -math.log(near / (1 + near + far_side)),  # at 0: 90, 60 (partner), 150
        -math.log(near / (1 + far + near)),  # at 90: 0, 60, 150 (partner)
        -math.log(near / (near + far + 1)),  # at 60: 0 (partner), 90, 150
        -math.log(near / (far_side + near + 1)),  # at 150: 0, 90 (partner), 60
    ]
    assert nt_xent(logits, labels).item() == pytest.approx(sum(losses) / 4, rel=1e-6)


def test_loss_that_is_no_number_stops_the_training():
    with pytest.raises(InputError, match="the loss is nan"):
        FiniteLoss(nt_xent)(torch.full((2, 2), torch.nan, requires_grad=True), torch.tensor([1, 0]))


def test_projection():
    contrast = Contrast(8, (6, 4), temperature=0.1)
    assert [layer.out_features for layer in contrast.layers if isinstance(layer, nn.Linear)] == [6, 4]
    assert contrast(torch.randn(10, 8)).shape == (10, 10)
    assert not list(Contrast(8, (), temperature=0.1).parameters())


@pytest.mark.parametrize("name", [*SMALL, "PFN", "InteractionNet", "dense"])
def test_encoder_of_every_network_loads_into_it(name, load_config):
    config, options = load_config("JetClass", "kin"), SMALL.get(name, {})
    model, info = network(name, config, **options)
    output_layer = {key for key, value in model.state_dict().items() if key.startswith("mod.fc") and len(value) == 10}
    assert len(output_layer) == 2

    encoder = as_contrastive(network(name, config, **options)[0], projection=(16,), temperature=0.1).eval()
    inputs = [torch.rand(4, *config.input_shapes[key][1:]) for key in info["input_names"]]
    inputs[-1] = (torch.arange(128) < 40).float().expand(4, 1, 128)
    logits = encoder(*inputs)
    assert logits.shape == (4, 4) and torch.isinf(logits.diagonal()).all()

    missing, unexpected = model.load_state_dict(encoder.state_dict(), strict=False)
    assert set(missing) == output_layer
    assert unexpected and all(key.startswith("contrast.") for key in unexpected)


def test_a_network_without_an_embedding():
    with pytest.raises(InputError, match="the encoder has no embedding"):
        as_contrastive(nn.Linear(3, 2), projection=(), temperature=0.1)


def one_of_two(rank, folder, embeddings):
    """In a process of its own: loss and gradients of its half of the batch."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    contrast = seeded_contrast()
    loss = nt_xent(contrast(embeddings), partners(len(embeddings) // 2, first=first_row(len(embeddings))))
    loss.backward()
    torch.save([loss.detach(), [p.grad for p in contrast.parameters()]], folder / f"{rank}.pt")


def seeded_contrast():
    torch.manual_seed(0)
    return Contrast(5, (4,), 0.2)


def test_two_processes_give_the_loss_and_gradient_of_one(tmp_path):
    embeddings = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=one_of_two, args=(rank, tmp_path, embeddings[rank])) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]
    (loss_0, grads_0), (loss_1, grads_1) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))

    contrast = seeded_contrast()
    loss = nt_xent(contrast(embeddings.flatten(0, 1)), torch.cat([partners(3), partners(3, first=6)]))
    loss.backward()
    torch.testing.assert_close((loss_0 + loss_1) / 2, loss.detach())
    for a, b, parameter in zip(grads_0, grads_1, contrast.parameters()):
        torch.testing.assert_close((a + b) / 2, parameter.grad)  # DDP takes the mean of the gradients
