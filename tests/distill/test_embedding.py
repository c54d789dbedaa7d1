import copy
from types import SimpleNamespace

import pytest
import torch
from distillation import FULL, TEACHER
from helpers import ROOT
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

from kd_trainer.distill import embedding
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.errors import InputError

WIDTH = 6


def build(name, **options):
    torch.manual_seed(0)
    config = DataConfig.load(str(FULL), load_observers=False)
    model, info = import_module(str(ROOT / "networks" / f"{name}.py")).get_model(config, **options)
    inputs = [torch.rand(3, *info["input_shapes"][k][1:]) for k in info["input_names"]]
    return model.eval(), inputs


@pytest.mark.parametrize("name, options, width", [("PFN", {}, 32), ("ParT", TEACHER, 16), ("dense", {}, 64),
                                                  ("ParticleNet", {"fc_params": [(8, 0)]}, 8)])  # fmt: skip
def test_the_teacher_appends_the_input_of_its_output_layer(name, options, width):
    model, inputs = build(name, **options)
    with torch.no_grad():
        logits = model(*inputs)
        embedding.append_embedding(model)
        for network in (model, copy.deepcopy(model)):
            output = network(*inputs)
            assert output.shape == (3, 10 + width)
            torch.testing.assert_close(output[:, :10], logits)
            torch.testing.assert_close(embedding.output_layer(model)[1](output[:, 10:])[:, :10], logits)


@pytest.fixture
def student():
    model, inputs = build("PFN")
    before = copy.deepcopy(model.state_dict())
    embedding.attach(model, WIDTH)
    return model, inputs, before


def test_the_checkpoint_is_the_students_own(student, tmp_path):
    model, _, before = student
    state = model.state_dict()
    assert list(state) == list(before) and not any("kd_" in key for key in state._metadata)
    torch.save(state, tmp_path / "net.pt")
    build("PFN")[0].load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    model.load_state_dict(before)
    extra = embedding.matching_of(model).projection
    assert {id(p) for p in model.parameters()} > {id(p) for p in extra.parameters()}  # the optimizer has it
    assert embedding.student_parameters(model) == sum(p.numel() for p in build("PFN")[0].parameters())


def test_the_loss_trains_student_and_projection(student):
    model, inputs, _ = student
    loss_func = DistillationLoss(alpha=1.0, temperature=1.0, kd_loss="none", embed_weight=2.0)
    loss_func.matching = embedding.matching_of(model.train())
    theirs = torch.randn(3, WIDTH)
    loss_func.soft_targets = torch.cat([torch.randn(3, 10), theirs], dim=1)
    loss = loss_func(model(*inputs), torch.tensor([0, 1, 2]))
    seen = []
    model.mod.fc.register_forward_pre_hook(lambda layer, x: seen.append(x[0]))
    model(*inputs)
    ours = loss_func.matching.projection(seen[0])
    expected = 2 * (1 - torch.nn.functional.cosine_similarity(ours, theirs, dim=1).mean())
    torch.testing.assert_close(loss, expected)
    assert loss_func.means()["embed_loss"] == pytest.approx(expected.item() / 2)
    loss.backward()
    for parameter in (loss_func.matching.projection.weight, model.mod.phi[0].weight):
        assert parameter.grad.abs().sum() > 0
    assert not model.mod.fc.weight.grad.any()  # there, so that DDP has all gradients, and zero


def test_evaluation_keeps_nothing(student):
    model, inputs, _ = student
    model.eval()(*inputs)
    assert embedding.matching_of(model).seen is None
    copy.deepcopy(model)(*inputs)  # as weaver does to count operations


def test_the_projection_goes_on_where_it_was(student, tmp_path):
    model, *_ = student
    matching = embedding.matching_of(model)
    args = SimpleNamespace(model_prefix=str(tmp_path / "net"), load_epoch=None, backend=None, auto_clean=False)
    for epoch in range(3):
        torch.nn.init.constant_(matching.projection.weight, epoch)
        embedding.keep_projection(matching, args, epoch)
    assert len(list(tmp_path.iterdir())) == 3
    args.auto_clean = True
    embedding.keep_projection(matching, args, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"net_projection_epoch-{i}.pt" for i in (1, 2)]
    embedding.restore_projection(matching, SimpleNamespace(load_epoch=None))
    args.load_epoch = 1
    embedding.restore_projection(matching, args)
    assert (matching.projection.weight == 1).all()
    args.load_epoch = 0
    with pytest.raises(InputError, match="net_projection_epoch-0.pt is missing: without the projection"):
        embedding.restore_projection(matching, args)
    (tmp_path / "net_projection_epoch-0.pt").write_bytes(b"PK")
    with pytest.raises(InputError, match="is not a projection of this student's embedding"):
        embedding.restore_projection(matching, args)


def test_replicas_and_networks_without_output_layer_are_refused(student):
    model, *_ = student
    with pytest.raises(InputError, match="does not work with --gpus 0,1 in one process: use torchrun"):
        embedding.matching_of(torch.nn.DataParallel(model))
    assert embedding.matching_of(torch.nn.DataParallel(build("PFN")[0])) is None
    for attach in (embedding.append_embedding, lambda model: embedding.attach(model, WIDTH)):
        with pytest.raises(InputError, match="the (teacher|student) has no embedding: its output layer must be"):
            attach(torch.nn.Linear(2, 2))
