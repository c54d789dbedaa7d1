import pytest
import torch
from distillation import FULL, TEACHER
from helpers import ROOT
from torch import nn
from weaver.utils.dataset import DataConfig
from weaver_inputs import network

from kd_trainer import configs as data_configs
from kd_trainer.configs import teacher_view
from kd_trainer.teacher.batching import trial_jets
from kd_trainer.teacher.folding import PointwiseLayers, folded, pointwise_layers
from kd_trainer.teacher.frozen import load_teacher

INPUTS = [torch.randn(5, 4, 11, generator=torch.Generator().manual_seed(0))]
SEQUENCES = {
    "as the pair embedding of ParT": lambda: (
        nn.BatchNorm1d(4), nn.Conv1d(4, 6, 1), nn.BatchNorm1d(6), nn.GELU(), nn.Conv1d(6, 3, 1), nn.BatchNorm1d(3),
        nn.GELU(),
    ),
    "no bias, nothing learned": lambda: (
        nn.Conv1d(4, 6, 1, bias=False), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Dropout(0.5),
        nn.Conv1d(6, 2, 1, padding="same"),
    ),
    "convolutions in a row, blocks": lambda: (
        nn.Sequential(nn.Conv1d(4, 6, 1), nn.Conv1d(6, 5, 1), nn.Identity()), nn.SiLU(),
        nn.Sequential(nn.BatchNorm1d(5), nn.BatchNorm1d(5), nn.Conv1d(5, 7, 1, bias=False)),
    ),
}  # fmt: skip
OTHERS = {
    "neighbours": lambda: (nn.Conv1d(4, 6, 3), nn.ReLU()),
    "padding": lambda: (nn.Conv1d(4, 6, 1, padding=1), nn.ReLU()),
    "strides": lambda: (nn.Conv1d(4, 6, 1, stride=2), nn.ReLU()),
    "groups": lambda: (nn.Conv1d(4, 6, 1, groups=2), nn.ReLU()),
    "statistics of the batch": lambda: (nn.Conv1d(4, 6, 1), nn.BatchNorm1d(6, track_running_stats=False)),
    "another layer": lambda: (nn.Conv1d(4, 6, 1), nn.Softmax(dim=1)),
    "a normalisation between activations": lambda: (nn.Conv1d(4, 6, 1), nn.ReLU(), nn.BatchNorm1d(6), nn.ReLU()),
    "linear layers": lambda: (nn.Linear(11, 3), nn.ReLU()),
    "weights made from others": lambda: (nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 1)), nn.ReLU()),
}


class Network(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.embed = nn.Sequential(*layers)

    def forward(self, x):
        return self.embed(x).sum(dim=2)


def trained(model, seed=1):
    """A network in eval mode whose batch norms have running statistics."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 3)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


@pytest.mark.parametrize("make", SEQUENCES.values(), ids=SEQUENCES)
def test_folded_layers_give_the_same(make):
    model = trained(Network(*make()))
    state = {name: x.clone() for name, x in model.state_dict().items()}
    random_numbers = torch.get_rng_state()
    light = folded(model, INPUTS)
    assert torch.equal(torch.get_rng_state(), random_numbers)  # the student's
    assert type(light.embed) is PointwiseLayers and not light.training
    assert not any(isinstance(module, (nn.Conv1d, nn.BatchNorm1d)) for module in light.modules())
    assert not any(parameter.requires_grad for parameter in light.embed.parameters())
    for jets in (1, 7):
        x = 3 * torch.randn(jets, 4, 19)
        torch.testing.assert_close(light.embed(x), model.embed(x), rtol=1e-5, atol=1e-5)
    assert type(model.embed) is nn.Sequential
    assert all(torch.equal(state[name], x) for name, x in model.state_dict().items())


@pytest.mark.parametrize("make", OTHERS.values(), ids=OTHERS)
def test_others_stay_as_they_are(make):
    model = trained(Network(*make()))
    assert pointwise_layers(model.embed) is None
    assert folded(model, INPUTS) is model


def test_what_a_hook_sees_is_not_folded():
    model = trained(Network(nn.Conv1d(4, 6, 1), nn.BatchNorm1d(6), nn.ReLU()))
    seen = []
    model.embed[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert folded(model, INPUTS) is model
    assert pointwise_layers(model.embed) is None


class InItsOwnWay(Network):
    def forward(self, x):
        for layer in self.embed:
            x = layer(x)
        return x.sum(dim=2)


class Flat(Network):
    def forward(self, x):
        return self.embed(x).view(len(x), -1)  # not possible for a view that is not contiguous


class Lonely(Network):
    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


@pytest.mark.parametrize("kind", [InItsOwnWay, Flat, Lonely])
def test_a_network_with_other_plans_for_its_layers_stays_as_it_is(kind):
    model = trained(kind(nn.Conv1d(4, 6, 1), nn.BatchNorm1d(6), nn.ReLU()))
    assert pointwise_layers(model.embed)
    assert folded(model, INPUTS) is model


def test_a_network_that_would_give_other_outputs_stays_as_it_is():
    """Its layers act on the last dimension when applied one by one; there are as many channels as positions."""
    model = trained(InItsOwnWay(nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4), nn.ReLU()))
    inputs = [INPUTS[0][:, :, :4]]
    light = trained(InItsOwnWay(*PointwiseLayers(*pointwise_layers(model.embed))))
    assert light(*inputs).shape == model(*inputs).shape and not torch.allclose(light(*inputs), model(*inputs))
    assert folded(model, inputs) is model


def test_teachers_are_folded(teacher, configs):
    """As `load_teacher` gives them; logits and embedding are the network's own."""
    config = teacher_view(DataConfig(print_info=False, **data_configs.load(configs / "paired.yaml")))
    loaded = load_teacher(str(ROOT / "networks" / "ParT.py"), str(teacher), config, TEACHER, embedding=True)
    assert any(isinstance(module, PointwiseLayers) for module in loaded.model.modules())
    plain, _ = network("ParT", config, **TEACHER, export_embed=True)
    plain.load_state_dict(torch.load(teacher, weights_only=True))
    inputs = trial_jets({name: config.input_shapes[name] for name in loaded.input_names})
    with torch.no_grad():
        expected = plain.eval()(*inputs.values())
    outputs = loaded({"teacher_" + name: x for name, x in inputs.items()}, "cpu")
    torch.testing.assert_close(torch.cat(outputs, dim=1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name, options, sequences",
    [("ParT", {"num_layers": 1, "embed_dims": (16, 16)}, 1), ("MIParT", {}, 2), ("PFN", {}, 0), ("ParticleNet", {}, 0)],
)
def test_the_networks(name, options, sequences):
    model, info = network(name, FULL, **options)
    inputs = list(trial_jets({key: info["input_shapes"][key] for key in info["input_names"]}).values())
    light = folded(trained(model), inputs)
    assert sum(isinstance(module, PointwiseLayers) for module in light.modules()) == sequences
    assert (light is model) == (sequences == 0)
    with torch.no_grad():
        torch.testing.assert_close(light(*inputs), model(*inputs), rtol=1e-4, atol=1e-5)
