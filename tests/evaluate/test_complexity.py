"""Parameters and multiply-adds against counts by hand and against published ones."""

import json
import textwrap

import pytest
from helpers import failure, kd_trainer

from kd_trainer.evaluate.complexity import complexity, load_data_config, parse_options
from kd_trainer.files import si

NETWORK = """
    import torch
    from torch import nn


    class Net(nn.Module):
        # attention over particles, or a linear map a particle; then their sum over the real ones, and a linear layer
        def __init__(self, attention):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True) if attention else None
            self.embed = nn.Linear(3, 8)
            self.head = nn.Linear(8, 2)

        def forward(self, features, mask):
            n = int(mask.sum())  # like models that drop the padding
            x = self.embed(features[:, :, :n].transpose(1, 2))
            if self.attention is not None:
                x = self.attention(x, x, x, need_weights=False)[0]
            return self.head(x.sum(dim=1))


    def get_model(data_config, attention=False, **kwargs):
        if kwargs:
            raise ValueError(f"unknown option {sorted(kwargs)[0]}")
        shapes = {k: (1, *s[1:]) for k, s in data_config.input_shapes.items()}
        info = {"input_names": ["pf_features", "pf_mask"], "input_shapes": shapes, "output_names": ["softmax"]}
        return Net(attention), info
"""

CONFIG = """
    inputs:
      pf_features: {length: 12, vars: [[a, null], [b, null], [c, null]]}
      pf_mask: {length: 12, vars: [[m, null]]}
    labels: {type: simple, value: [label_QCD, label_top]}
"""

PART = """
    from weaver.nn.model.ParticleTransformer import ParticleTransformer
    import torch


    class Wrapper(torch.nn.Module):
        def __init__(self, **kwargs):
            super().__init__()
            self.mod = ParticleTransformer(**kwargs)

        def forward(self, points, features, lorentz_vectors, mask):
            return self.mod(features, v=lorentz_vectors, mask=mask)


    def get_model(data_config, **kwargs):
        names = ["pf_points", "pf_features", "pf_vectors", "pf_mask"]
        shapes = dict(zip(names, [(1, n, 128) for n in (2, 17, 4, 1)]))
        return Wrapper(input_dim=17, num_classes=10), {"input_names": names, "input_shapes": shapes}
"""


@pytest.fixture
def files(tmp_path):
    network, config = tmp_path / "net.py", tmp_path / "config.yaml"
    network.write_text(textwrap.dedent(NETWORK))
    config.write_text(textwrap.dedent(CONFIG))
    return network, config


def test_counts_by_hand(files):
    found = complexity(*files)
    assert found["parameters"] == (3 * 8 + 8) + (8 * 2 + 2)
    assert found["flops"] == 12 * 3 * 8 + 8 * 2
    assert (found["name"], found["particles"], found["options"]) == ("net", 12, {})


def test_attention_is_counted_in_full(files):
    found = complexity(*files, {"attention": True}, name="attentive")
    projections = 12 * 8 * (3 * 8 + 8)
    products = 2 * 12 * 12 * 8  # queries with keys, weights with values, over both heads
    assert found["flops"] == 12 * 3 * 8 + projections + products + 8 * 2
    assert found["name"] == "attentive"


def test_particles_replaces_the_length(files):
    assert complexity(*files, particles=5)["flops"] == 5 * 3 * 8 + 8 * 2
    assert complexity(*files, particles=5)["particles"] == 5


def test_particles_leaves_shorter_inputs_alone(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(textwrap.dedent(CONFIG).replace("labels:", "  sv: {length: 4, vars: [[s, null]]}\nlabels:"))
    shapes = load_data_config(config, 20).input_shapes
    assert (shapes["pf_features"], shapes["sv"]) == ((-1, 3, 20), (-1, 1, 4))


def test_particle_transformer_is_as_published(files, tmp_path):
    network = tmp_path / "part.py"
    network.write_text(textwrap.dedent(PART))
    found = complexity(network, files[1])
    assert found["parameters"] == 2_143_486  # 2.14M
    assert found["flops"] == pytest.approx(340e6, rel=0.02)


def test_command(files, tmp_path):
    output = tmp_path / "runs" / "pred.model.json"
    options = ["--network", files[0], "--data-config", files[1], "--name", "toy", "--output", output]
    result = kd_trainer("complexity", *options, "-o", "attention", "True")
    assert result.stdout.startswith("toy: 338 parameters (338), ")
    content = json.loads(output.read_text())
    assert list(content) == ["name", "network", "options", "data_config", "classes", "parameters", "flops", "particles"]
    assert content["options"] == {"attention": True} and content["classes"] == ["label_QCD", "label_top"]
    assert [path.name for path in output.parent.iterdir()] == ["pred.model.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--network", "none.py"], "--network none.py is not there"),
        (["--data-config", "none.yaml"], "none.yaml does not exist"),
        (["-o", "teacher", "ParT.py"], "-o teacher ParT.py is not a Python literal; a string needs quotes of its own"),
        (["-o", "depth", "3"], "does not run with .* and these options (ValueError: unknown option depth)"),
        (["--particles", "0"], "--particles 0: a jet has at least one particle"),
    ],
)
def test_wrong_input_ends_in_one_line(files, change, message):
    line = failure("complexity", "--network", files[0], "--data-config", files[1], *change)
    assert all(part in line for part in message.split(" .* "))


def test_a_file_without_get_model(files):
    files[0].write_text("x = 1\n")
    line = failure("complexity", "--network", files[0], "--data-config", files[1])
    assert "has no function get_model" in line


def test_options_are_python_literals():
    assert parse_options([("a", "(1, 2)"), ("b", "'x'"), ("c", "None")]) == {"a": (1, 2), "b": "x", "c": None}


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (338, "338"), (150_848, "151k"), (2_143_486, "2.14M"), (999_900, "1M"), (2.06e9, "2.06G")],
)
def test_si(number, text):
    assert si(number) == text
