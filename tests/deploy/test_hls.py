"""FPGA firmware: the form of the students is the students, and the emulation of hls4ml says what torch says."""

import importlib.util
import json
import shutil

import pytest
import torch
from distillation import L1
from helpers import ROOT, kd_trainer
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module

needs_hls4ml = pytest.mark.skipif(not importlib.util.find_spec("hls4ml"), reason="hls4ml (extra fpga) is not there")
needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++ on this machine")


@pytest.mark.parametrize(("name", "options"), [
    ("dense", {"num_particles": 8, "dropout": 0.1}), ("dense", {"hidden_dims": ()}),
    ("PFN", {"dropout": 0.1}), ("InteractionNet", {"dims": (8, 8, 4)}),
])  # fmt: skip
def test_form_is_the_network(name, options):
    """Also with statistics of a training in the normalisation, and for jets without particles."""
    module = import_module(str(ROOT / "networks" / f"{name}.py"))
    torch.manual_seed(0)
    model, _ = module.get_model(DataConfig.load(str(L1), load_observers=False), **options)
    counts = torch.randint(0, 17, (200, 1))
    mask = (torch.arange(16) < counts).float()[:, None]
    inputs = (torch.randn(200, 2, 16), 3 * torch.randn(200, 13, 16) + 1, torch.randn(200, 4, 16), mask)
    model(*inputs)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    network, arguments = module.get_firmware(model.eval())
    torch.testing.assert_close(network.eval()(*arguments(*inputs)), model(*inputs), atol=1e-4, rtol=1e-4)


@needs_hls4ml
@pytest.mark.parametrize(("name", "inputs"), [("dense", 1), ("PFN", 2), ("InteractionNet", 3)])
def test_hls4ml_takes_the_form(name, inputs, tmp_path):
    from kd_trainer.deploy.hls import convert

    module = import_module(str(ROOT / "networks" / f"{name}.py"))
    model, _ = module.get_model(DataConfig.load(str(L1), load_observers=False))
    network, arguments = module.get_firmware(model.eval())
    made = arguments(*(torch.ones(1, channels, 16) for channels in (2, 13, 4, 1)))
    assert len(made) == inputs
    options = {"backend": "Vitis", "precision": "ap_fixed<16,6>", "reuse_factor": 1}
    graph = convert(network, [tuple(x.shape[1:]) for x in made], tmp_path / "hls", **options)
    assert [v.shape for v in graph.get_input_variables()] == [list(x.shape[1:]) for x in made]
    assert [v.size() for v in graph.get_output_variables()] == [10]


@needs_hls4ml
@needs_compiler
def test_emulation_is_torch(own_dir, val_files):
    """The trained student, through the command, in 24 bits: more than the scores need."""
    result = kd_trainer("hls", own_dir, *val_files, "--jets", 100, "--precision", "ap_fixed<24,10>")
    report = json.loads((own_dir / "hls.json").read_text())
    assert report["inputs"] == [[16, 13], [16]] and report["precision"] == "ap_fixed<24,10>"
    found = report["emulation"]
    assert found["jets"] == 100 and found["largest_logit"] > 0.1
    assert found["logit_max"] < 0.01 * found["largest_logit"] and found["score_max"] < 2e-3
    assert found["same_class"] > 0.97
    assert "scores differ by up to" in result.stdout and (own_dir / "hls" / "build_prj.tcl").is_file()


@needs_hls4ml
def test_without_a_compiler(own_dir, val_files, monkeypatch):
    monkeypatch.setattr("kd_trainer.deploy.hls.shutil.which", lambda name: None)
    result = kd_trainer("hls", own_dir, *val_files, "--jets", 20, "--backend", "Vivado", "--reuse-factor", 4)
    assert "there is no g++ here: the project is written, and not compared" in result.stdout
    report = json.loads((own_dir / "hls.json").read_text())
    assert report["emulation"] is None and report["reuse_factor"] == 4
    assert "BACKEND" not in result.stderr and (own_dir / "hls" / "firmware" / "myproject.cpp").is_file()


@needs_hls4ml
def test_what_hls4ml_cannot_take(tmp_path):
    from kd_trainer.deploy.hls import convert
    from kd_trainer.errors import InputError

    class Network(torch.nn.Module):
        def forward(self, x):
            return x.sum(dim=1)

    options = {"backend": "Vitis", "precision": "ap_fixed<16,6>", "reuse_factor": 1}
    with pytest.raises(InputError, match=r"^hls4ml 1.* cannot take this network: Unsupported function sum$"):
        convert(Network(), [(4, 3)], tmp_path / "hls", **options)
    assert not (tmp_path / "hls").exists()


def test_network_without_a_form(own_dir, val_files):
    network = own_dir / "network.py"
    network.write_text((ROOT / "networks" / "PFN.py").read_text().replace("def get_firmware", "def other"))
    source = json.loads((own_dir / "deploy.json").read_text())
    (own_dir / "deploy.json").write_text(json.dumps({**source, "network": str(network)}))
    result = kd_trainer("hls", own_dir, *val_files, check=False)
    assert result.returncode == 1 and "has no get_firmware(model): dense, PFN and InteractionNet" in result.stderr


def test_form_that_is_another_network(own_dir, val_files):
    network = own_dir / "network.py"
    network.write_text((ROOT / "networks" / "PFN.py").read_text().replace("fold(net.input_bn, first)", "first"))
    source = json.loads((own_dir / "deploy.json").read_text())
    (own_dir / "deploy.json").write_text(json.dumps({**source, "network": str(network)}))
    result = kd_trainer("hls", own_dir, *val_files, check=False)
    assert result.returncode == 1 and "is not the network: off by" in result.stderr and not (own_dir / "hls").exists()


def test_wrong_numbers(own_dir, val_files):
    result = kd_trainer("hls", own_dir, *val_files, "--reuse-factor", 0, check=False)
    assert result.returncode == 1 and "--reuse-factor has to be at least 1" in result.stderr
