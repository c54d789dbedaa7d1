import pytest
import torch
from distillation import FULL, SMALL
from weaver_inputs import network

from kd_trainer.teacher import batching
from kd_trainer.teacher.batching import batch_sizes, batches, lengths_of, masks_of, shortest_length, trial_jets
from kd_trainer.teacher.frozen import Teacher

NAMES = ("pf_points", "pf_features", "pf_vectors", "pf_mask")
CHANNELS = {"pf_points": 2, "pf_features": 17, "pf_vectors": 4, "pf_mask": 1}
SHAPES = {name: (-1, channels, 128) for name, channels in CHANNELS.items()}
OPTIONS = SMALL | {
    "ParticleNet": {"conv_params": [(16, (8, 8)), (16, (8, 8))], "fc_params": [(8, 0)]},
    "PFN": {"phi_dims": (16, 16), "rho_dims": (16,)},
}


def with_statistics(name):
    """A network whose batch norms have running statistics."""
    torch.manual_seed(4)
    model, info = network(name, FULL, **OPTIONS[name])
    assert tuple(info["input_names"]) == NAMES
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return Teacher(model, NAMES, "").model


def jets(number=300):
    """Inputs of jets of 1 to 128 particles in no order, the padding full of numbers."""
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.randn((number, *shape[1:]), generator=generator) for name, shape in SHAPES.items()}
    p = inputs["pf_vectors"]
    p[:, 3] = p[:, :3].norm(dim=1) + 0.1
    counts = torch.randint(1, 129, (number, 1, 1), generator=generator)
    inputs["pf_mask"] = (torch.arange(128) < counts).float()
    return inputs


def paired(inputs):
    return {"teacher_" + name: x for name, x in inputs.items()}


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    assert torch.get_num_threads() == request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("name, shortest", [("ParT", 1), ("MIParT", 1), ("ParticleNet", 32), ("PFN", 1)])
def test_logits_are_those_of_untrimmed_jets_in_their_order(name, shortest, threads):
    model, inputs = with_statistics(name), jets()
    with torch.no_grad():
        expected = torch.cat([model(*batch) for batch in zip(*(inputs[name].split(60) for name in NAMES))])
    assert shortest_length(model, trial_jets(SHAPES)) == shortest
    teacher = Teacher(model, NAMES, "", shortest)
    for _ in range(2):
        torch.testing.assert_close(teacher(paired(inputs), "cpu").logits, expected, rtol=1e-5, atol=1e-5)
    assert expected.std(dim=0).min() > 1e-3  # jets differ, so that their order is seen


class SeesPadding(torch.nn.Module):
    def forward(self, points, features, vectors, mask):
        return features.sum(dim=2)


def test_a_network_that_looks_beyond_its_mask_is_not_trimmed():
    model, inputs = SeesPadding(), jets()
    assert shortest_length(model, trial_jets(SHAPES)) is None
    logits = Teacher(model, NAMES, "")(paired(inputs), "cpu").logits
    torch.testing.assert_close(logits, inputs["pf_features"].sum(dim=2))


class Forgetful(torch.nn.Module):
    """A network that stores tensors in itself, as ParT does with `export_embed`."""

    def forward(self, points, features, vectors, mask):
        self.kept = (features * mask).sum(dim=2)
        for _ in range(50):
            features.sin()
        return self.kept


def test_a_network_that_leaves_things_in_itself(threads):
    inputs = jets(2000)
    expected = (inputs["pf_features"] * inputs["pf_mask"]).sum(dim=2)
    torch.testing.assert_close(Teacher(Forgetful(), NAMES, "", 1)(paired(inputs), "cpu").logits, expected)


def test_the_teacher_leaves_no_trace(threads):
    model = with_statistics("ParT").train()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    assert any("running_mean" in name for name in before)
    teacher = Teacher(model, NAMES, "", 1)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    logits = teacher(paired(jets(50)), "cpu").logits
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())  # bit by bit
    assert not logits.requires_grad and not logits.is_inference()  # a loss can keep it for its backward pass


def test_batches_have_a_budget_of_pairs():
    assert batch_sizes([1, 2, 3, 10, 10], 20) == [2, 1, 1, 1]
    assert batch_sizes([10, 10, 10], 200) == [2, 1]
    inputs = jets()
    order, cut = batches(inputs, 1)
    assert sorted(order.tolist()) == list(range(300)) and len(cut) > 1
    for batch in cut:
        number, _, longest = batch["pf_features"].shape
        assert number == 1 or number * longest**2 <= batching.PAIRS["cpu"]
        assert batch["pf_mask"].sum(dim=2).max() == longest and batch["pf_vectors"].shape[2] == longest


def test_lengths_go_to_the_last_real_particle():
    mask = torch.tensor([[[1.0, 0, 1, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    assert lengths_of(mask).tolist() == [3, 0, 4]


def test_each_collection_has_its_own_mask():
    x = torch.zeros(2, 3, 5)
    inputs = {"pf_x": x, "pf_mask": x[:, :1], "sv_x": x[:, :, :2], "sv_mask": x[:, :1, :2], "jet": torch.zeros(2, 4)}
    assert masks_of(inputs) == {"pf_x": "pf_mask", "pf_mask": "pf_mask", "sv_x": "sv_mask", "sv_mask": "sv_mask"}
    order, cut = batches(inputs, 1)
    assert [tuple(x.shape) for x in cut[0].values()] == [(2, 3, 1), (2, 1, 1), (2, 3, 1), (2, 1, 1), (2, 4)]


def test_without_masks_nothing_is_trimmed():
    inputs = {"jet": torch.arange(300.0).view(300, 1)}
    assert shortest_length(lambda x: x, trial_jets({"jet": (-1, 1)})) is None
    assert torch.equal(Teacher(torch.nn.Identity(), ["jet"], "")(paired(inputs), "cpu").logits, inputs["jet"])
