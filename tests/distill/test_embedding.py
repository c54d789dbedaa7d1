import copy

import pytest
import torch
from distillation import FULL, TEACHER
from weaver_inputs import network

from kd_trainer.distill import embedding
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.errors import InputError
from kd_trainer.teacher.frozen import Teacher
from kd_trainer.teacher.soft_targets import SoftTargets
from kd_trainer.weaver_hooks import output_layer

WIDTH = 6


def build(name, **options):
    torch.manual_seed(0)
    model, info = network(name, FULL, **options)
    inputs = [torch.rand(3, *info["input_shapes"][k][1:]) for k in info["input_names"]]
    return model.eval(), inputs


@pytest.mark.parametrize("name, options, width", [("PFN", {}, 32), ("ParT", TEACHER, 16), ("dense", {}, 64),
                                                  ("ParticleNet", {"fc_params": [(8, 0)]}, 8)])  # fmt: skip
def test_the_embedding_is_the_input_of_the_output_layer(name, options, width):
    model, inputs = build(name, **options)
    names = [str(i) for i in range(len(inputs))]
    with torch.no_grad():
        logits = model(*inputs)
    layer = copy.deepcopy(output_layer(model)[1])
    teacher = Teacher(model, names, "")
    teacher.give_embedding()
    targets = teacher({f"teacher_{name}": x for name, x in zip(names, inputs)}, "cpu")
    assert targets.embedding.shape == (3, width)
    torch.testing.assert_close(targets.logits, logits)
    torch.testing.assert_close(layer(targets.embedding), logits)


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
    loss_func.soft_targets = SoftTargets(torch.randn(3, 10), theirs)
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


def test_replicas_and_networks_without_output_layer_are_refused(student):
    model, *_ = student
    with pytest.raises(InputError, match="does not work with --gpus 0,1 in one process: use torchrun"):
        embedding.matching_of(torch.nn.DataParallel(model))
    assert embedding.matching_of(torch.nn.DataParallel(build("PFN")[0])) is None
    with pytest.raises(InputError, match="the student has no embedding: its output layer must be"):
        embedding.attach(torch.nn.Linear(2, 2), WIDTH)
    with pytest.raises(InputError, match="the teacher has no embedding: its output layer must be"):
        Teacher(torch.nn.Linear(2, 2), ["x"], "").give_embedding()
