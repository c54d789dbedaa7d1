"""FPGA firmware: it agrees with the network, learnt bit widths decrease, and the Verilog is bit-exact."""

import importlib.util
import json
import re
import shutil

import numpy as np
import pytest
import torch
from distillation import L1, TEACHER, words
from helpers import ROOT, failure, kd_trainer, weaver
from weaver.utils.import_tools import import_module
from weaver_inputs import data_config, network

from kd_trainer.deploy.firmware import balanced_accuracies, operators_outside, saturated_inputs
from kd_trainer.deploy.verilog import as_words
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError

needs_pquant = pytest.mark.skipif(not importlib.util.find_spec("pquant"), reason="PQuantML (extra fpga) is not there")
fixed = import_module(str(ROOT / "networks" / "firmware.py"))
TINY = {"PFN": {"phi_dims": (4,), "rho_dims": ()}, "InteractionNet": {"dims": (3, 3), "rho_dims": ()},
        "dense": {"num_particles": 1, "hidden_dims": (3,)}}  # fmt: skip


def load(name, **options):
    return network(name, L1, **options)


def config():
    return data_config("JetClass", "l1")


def jets(number=64):
    torch.manual_seed(1)
    mask = (torch.arange(16) < torch.randint(0, 17, (number, 1))).float()[:, None]
    return torch.randn(number, 2, 16), 3 * torch.randn(number, 13, 16) + 1, torch.randn(number, 4, 16), mask


def quantised(name, **options):
    torch.manual_seed(0)
    return fixed.get_model(config(), plain=str(ROOT / "networks" / f"{name}.py"), **TINY.get(name, {}), **options)[0]


@pytest.mark.parametrize(("name", "options"), [
    ("dense", {"num_particles": 8, "dropout": 0.1}), ("dense", {"hidden_dims": ()}),
    ("PFN", {"dropout": 0.1}), ("InteractionNet", {"dims": (8, 8, 4)}),
])  # fmt: skip
def test_form_is_the_network(name, options):
    """Also with statistics of a training in the normalisation, and for jets without particles."""
    torch.manual_seed(0)
    model, _ = load(name, **options)
    inputs = jets(200)
    model(*inputs)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    units = torch.rand(13) + 0.5
    points, features, vectors, mask = inputs
    network, arguments = import_module(str(ROOT / "networks" / f"{name}.py")).get_firmware(model.eval(), units)
    made = arguments(points, features * units[:, None], vectors, mask)
    assert len(made) == 1 + len(network.bits)
    torch.testing.assert_close(network.eval()(*made), model(*inputs), atol=1e-4, rtol=1e-4)


def test_inputs_round_to_the_nearest_and_saturate():
    x = torch.tensor([-9.0, -2.01, -0.3, 0.1, 0.125, 0.6, 2.0, torch.inf])
    found = fixed.rounded(x, (1, 1, 2))
    assert found.tolist() == [-2, -2, -0.25, 0, 0.25, 0.5, 1.75, 1.75]
    assert fixed.rounded(x, (0, 1, 0)).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_input_bits_are_those_of_the_tier():
    """Clipped at 5: 3 integer bits; the charge, five kinds, offsets in pi/720, of which one gets bits of its own."""
    bits, steps = fixed.input_types(config(), {"cand_dphi": (1, 1, 6)})
    assert bits.T.tolist() == [*[[1, 3, 8]] * 5, [1, 1, 0], *[[0, 1, 0]] * 5, [1, 0, 8], [1, 1, 6]]
    assert steps.tolist() == pytest.approx([*[1 / 256] * 5, *[1] * 6, np.pi / 720, 1 / 64])
    with pytest.raises(ValueError, match="input_bits names pt, which is no input: those are cand_pt_log, "):
        fixed.input_types(config(), {"pt": (1, 1, 0)})


def test_grid_of_the_trigger_is_exact_and_saturates():
    """Each value of the tier is a fixed-point number of its own; beyond the ends it is the last one."""
    model = quantised("PFN")
    steps = torch.arange(-300, 301)
    features = torch.zeros(len(steps), 13, 16)
    for column, values in ((-1, steps * np.pi / 720), (6, steps % 2), (5, steps % 3 - 1)):
        features[:, column] = values[:, None]
    made = model.rounded_inputs(None, features, None, torch.ones(len(steps), 1, 16))[0]
    assert torch.equal(made[:, 0, -1], steps.clamp(-256, 255) / 256)
    assert torch.equal(made[:, 0, 6], steps % 2) and torch.equal(made[:, 0, 5], steps % 3 - 1.0)


def test_inputs_that_saturate_are_named():
    bits = np.array([[1, 1], [1, 3], [2, 0]])
    features = np.zeros((3, 2, 2), "float32")
    features[:2, 0, 0], features[2, 0, 1], features[:, 1] = (1.8, 2.5), 99, 7.4
    mask = np.array([[[1, 1]], [[1, 1]], [[1, 0]]])
    expected = {"a": {"jets": 1, "range": [-2, 1.75], "found": [0, 2.5]}}
    found = saturated_inputs(features, mask, bits, np.array([0.25, 1]), ["a", "b"])
    assert found == expected  # 99 is of no particle, 1.8 rounds into it


def test_accuracies_with_classes_weighted_alike():
    truth = np.repeat([0, 1], [300, 100])
    scores = {"a": np.eye(2)[np.zeros(400, int)], "b": np.eye(2)[truth]}
    found = balanced_accuracies(scores, truth)
    assert [found[name]["value"] for name in ("a", "b", "difference")] == [0.5, 1, -0.5]
    assert found["b"]["statistical"] == 0 < found["a"]["statistical"]


def test_words():
    """The first number is lowest; all are as wide as the widest, with its point."""
    kifs = np.array([[1, 0], [1, 1], [1, 0]])
    words, bits = as_words(np.array([[-0.5, 1.0], [1.5, 0.0]]), kifs)
    assert bits == 6 and words == [f"{0b010_111:02x}", f"{0b000_011:02x}"]


@needs_pquant
def test_begins_as_the_trained_network(tmp_path):
    """With wide numbers it is the plain network; its checkpoint makes the same network again."""
    torch.manual_seed(2)
    plain, _ = load("PFN", **TINY["PFN"])
    plain(*jets())
    torch.save(plain.state_dict(), tmp_path / "net.pt")
    fixed.WEIGHT_BITS, fixed.DATA_BITS, before = 12, 12, (fixed.WEIGHT_BITS, fixed.DATA_BITS)
    try:
        model = quantised("PFN", trained=str(tmp_path / "net.pt")).eval()
    finally:
        fixed.WEIGHT_BITS, fixed.DATA_BITS = before
    points, features, vectors, mask = jets()
    features = features.clamp(-1.9, 1.9)
    features[:, 5:] = (features[:, 5:] > 0.9).float()  # kinds, and angles
    features[:, -2:] *= 0.9
    inputs = points, features, vectors, mask
    torch.testing.assert_close(model(*inputs), plain.eval()(*inputs), atol=0.05, rtol=0.02)
    again, _ = fixed.get_model(config(), plain="networks/PFN.py", for_inference=True, **TINY["PFN"])
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(*inputs), model(*inputs).softmax(1))


@needs_pquant
@pytest.mark.parametrize("name", ["dense", "PFN", "InteractionNet"])
def test_penalty_narrows_and_alkaid_is_exact(name):
    """A few steps of the penalty alone take bits away; then every logit is that of the network."""
    from kd_trainer.deploy.firmware import to_logic

    model = quantised(name, ebops_weight=[(0, 0.0), (2, 2e-3)])
    inputs = jets()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    before = model.ebops().item()
    for _ in range(12):
        optimizer.zero_grad()
        label, penalty = model.penalty(1)
        (model(*inputs).square().mean() + penalty).backward()
        optimizer.step()
    assert label == "ebops" and penalty.item() < 0.8e-3 * before
    model.ebops_weight = Schedule("ebops_weight", 0)
    model.penalty(0)
    free = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert free and not any(re.search(fixed.WIDTHS, name) for name in free)  # the weights alone
    model.eval().requires_grad_(False)
    logic = to_logic(model)
    given = model.rounded_inputs(*inputs)
    flat = np.concatenate([x.reshape(len(x), -1).numpy() for x in given], axis=1).astype(float)
    assert np.array_equal(logic.predict(flat), model.network(*given).numpy()) and logic.cost > 0


@needs_pquant
def test_order_of_particles_does_not_count():
    model = quantised("PFN").eval()
    inputs, order = jets(), torch.randperm(16)
    assert torch.equal(model(*inputs), model(*(x[:, :, order] for x in inputs)))


@pytest.mark.parametrize(("options", "text"), [
    ({"plain": None}, r"the network file is missing \(None\)"),
    ({"ebops_weight": -1}, "ebops_weight is -1: it must be 0 or above"),
])  # fmt: skip
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match=text):
        fixed.get_model(config(), **{"plain": "networks/PFN.py", **options})


def test_operators_outside_the_path_are_named():
    with pytest.raises(ValueError, match=r"ParT.py cannot become firmware: .*: Attention, Conv1d, GELU, LayerNorm"):
        quantised("ParT", **TEACHER)
    assert operators_outside(load("PFN")[0]) == ""


@pytest.fixture(scope="module")
def firmware_dir(val_files, tmp_path_factory):
    """A tiny network in fixed point, exported by weaver, with what `deploy` adds."""
    folder = tmp_path_factory.mktemp("firmware")
    model = quantised("dense")
    torch.save(model.state_dict(), folder / "net.pt")
    torch.save(load("dense", **TINY["dense"])[0].state_dict(), folder / "twin.pt")
    options = words({"plain": f"'{ROOT}/networks/dense.py'", **TINY["dense"]})
    network = ROOT / "networks" / "firmware.py"
    weaver("-c", L1, "-n", network, *options, "-m", folder / "net.pt", "--export-onnx", folder / "model.onnx")
    kd_trainer("deploy", folder, val_files[0], "--network", network, *options, "--weights", folder / "net.pt",
               "--data-config", L1, "--static", 0)  # fmt: skip
    return folder


@needs_pquant
def test_firmware(firmware_dir, val_files):
    """Verilog, equal in the emulation, in Icarus where there is one, and sized by Yosys where there is one."""
    result = kd_trainer("firmware", firmware_dir, *val_files, "--jets", 120, "--clock", 5,
                        "--twin", firmware_dir / "twin.pt", "--test-jets", 200)  # fmt: skip
    report = json.loads((firmware_dir / "firmware.json").read_text())
    assert report["emulation"] == {"jets": 120, "equal_in_single_precision": 120}
    assert report["latency_ns"] == 5 * report["stages"] and report["inputs"]["cand_deta"]["bits"] == [1, 0, 8]
    assert (firmware_dir / "firmware" / "src" / "student.v").is_file() and "equal on 120 jets" in result.stdout
    if shutil.which("iverilog"):
        simulated = report["simulation"]
        assert (simulated["jets"], simulated["cycles"]) == (100, report["stages"] + 1)  # the first is that of the input
    models = report["twin"]["models"]
    assert report["twin"]["jets"] == 160 and list(models) == ["fixed point", "floating point"]
    assert f"floating point: accuracy {models['floating point']['accuracy']['value']:.4f} ±" in result.stdout
    if shutil.which("yosys"):
        assert 0.5 < report["synthesis"]["luts"] / report["cost"] < 2
        assert report["synthesis"]["flip_flops"] == pytest.approx(report["register_bits"], rel=0.1)
    for name in report["saturated_activations"]:
        assert f"what goes into {name} saturates for" in result.stdout


@needs_pquant
@pytest.mark.skipif(not shutil.which("iverilog"), reason="Icarus Verilog is not there")
def test_other_verilog_is_found(firmware_dir):
    from kd_trainer.deploy.verilog import choose_simulator, simulate

    kif = np.array([[1], [1], [1]])
    folder = firmware_dir / "other"
    (folder / "src").mkdir(parents=True)
    text = "module student_wrapper(input clk, input [2:0] model_inp, output reg [2:0] model_out);\n"
    (folder / "src" / "student.v").write_text(text + "always @(posedge clk) model_out <= model_inp;\nendmodule\n")
    logic = type("Logic", (), {"inp_kifs": kif, "out_kifs": kif})
    x = np.array([[0.5], [-1.0], [1.5]])
    assert simulate(folder, logic, x, x, 1)["cycles"] == 1
    if choose_simulator(600) == "verilator":
        many = np.tile(x, (200, 1))
        found = simulate(folder, logic, many, many, 1)
        assert found["jets"] == 600 and found["tool"].startswith("Verilator")
    with pytest.raises(InputError, match="does not give the bits of its emulation"):
        simulate(folder, logic, x, x - 0.5 * (x > 1), 1)


def test_network_that_is_not_in_fixed_point(own_dir, val_files):
    line = failure("firmware", own_dir, *val_files)
    assert "PFN.py is not in fixed point: train it with ./train_kd.sh firmware" in line


def test_wrong_numbers(own_dir, val_files):
    line = failure("firmware", own_dir, *val_files, "--clock", 0)
    assert "--clock is 0: it has to be at least 1 ns" in line
