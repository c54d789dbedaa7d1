"""The C++ program gives the scores of Python."""

import shutil
import subprocess

import awkward as ak
import numpy as np
import pytest
from helpers import ROOT, kd_trainer, random_jets, run, scores_of

from kd_trainer.deploy.tagger import Tagger

CPP = ROOT / "train_scripts" / "cpp"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """tag_jets, built with CMake against the OpenVINO of the Python environment."""
    if not (shutil.which("c++") or shutil.which("g++")) or not shutil.which("cmake"):
        pytest.skip("there is no C++ compiler or no CMake on this machine")
    from openvino.utils import get_cmake_path

    folder = tmp_path_factory.mktemp("build")
    run("cmake", "-S", CPP, "-B", folder, f"-DOpenVINO_DIR={get_cmake_path()}")
    output = run("cmake", "--build", folder)
    assert "warning" not in (output.stdout + output.stderr).lower()
    return folder / "tag_jets"


@pytest.fixture(scope="module")
def text(model_dir, tmp_path_factory):
    """Jets, and the file of their variables: with jets without particles, NaN and infinities."""
    folder, events = tmp_path_factory.mktemp("text"), random_jets(300)
    pz = ak.to_list(events.part_pz)
    pz[0][0], pz[1][0] = float("nan"), float("inf")
    events["part_pz"] = ak.values_astype(ak.Array(pz), "float32")
    ak.to_parquet(events, folder / "jets.parquet")
    result = kd_trainer("variables", model_dir, folder / "jets.parquet", "-o", folder / "jets.txt")
    assert result.stdout == f"{folder / 'jets.txt'}: 300 jets, 18 variables\n"
    return events, folder / "jets.txt"


@pytest.mark.parametrize("name", ["model.onnx", "model_static.onnx"])
def test_scores_are_those_of_python(program, model_dir, text, name):
    events, path = text
    lines = run(program, model_dir / name, model_dir / "preprocess.json", path).stdout.splitlines()
    found = np.array([[float(x) for x in line.split()] for line in lines])
    expected = scores_of(Tagger(model_dir)(events))
    assert found.shape == (300, 10) and np.count_nonzero(np.isfinite(expected).all(axis=1)) >= 298
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_text_has_every_digit(model_dir, text):
    events, path = text
    table = Tagger(model_dir).prepare(events).inputs
    with open(path) as file:
        names = file.readline().split()
        for jet in range(300):
            particles = int(file.readline())
            values = [dict(zip(names, file.readline().split())) for _ in range(particles)]
            assert particles == int(table["pf_mask"][jet].sum())
            energies = np.array([v["cand_energy"] for v in values], "float32")
            if jet > 1:
                assert np.array_equal(energies, table["pf_vectors"][jet, 3, :particles])


def message(*args):
    result = subprocess.run([str(arg) for arg in args], capture_output=True, text=True)
    assert result.returncode == 1 and result.stdout == ""
    return result.stderr.splitlines()[-1]


def test_wrong_files(program, model_dir, text, tmp_path):
    model, preprocess, jets = model_dir / "model.onnx", model_dir / "preprocess.json", text[1]
    assert run(program, check=False).returncode == 2
    assert "nothing.onnx" in message(program, tmp_path / "nothing.onnx", preprocess, jets)
    assert "tag_jets: cannot read" in message(program, model, tmp_path / "nothing.json", jets)
    assert "tag_jets: cannot read" in message(program, model, preprocess, tmp_path / "nothing.txt")
    (tmp_path / "p.json").write_text(preprocess.read_text()[:-20])
    assert "is not JSON" in message(program, model, tmp_path / "p.json", jets)
    (tmp_path / "p.json").write_text(preprocess.read_text().replace('"var_length": 16', '"var_length": 64'))
    assert "do not belong together" in message(program, model_dir / "model_static.onnx", tmp_path / "p.json", jets)
    for name in ("model.onnx", "preprocess.json"):
        spoilt = shutil.copytree(model_dir, tmp_path / f"spoilt {name}")
        with open(spoilt / name, "ab") as file:
            file.write(b" ")
        line = f"tag_jets: {spoilt / name} is damaged or was changed: its SHA-256 is not that in SHA256SUMS beside it"
        assert message(program, spoilt / "model.onnx", spoilt / "preprocess.json", jets) == line
    lines = jets.read_text().splitlines()
    (tmp_path / "j.txt").write_text("\n".join([lines[0].replace("cand_pt_log", "pt_log"), *lines[1:]]))
    assert "the jet lacks the variable cand_pt_log" in message(program, model, preprocess, tmp_path / "j.txt")
    (tmp_path / "j.txt").write_text("\n".join(lines[:3]))
    assert "ends in the middle of a jet" in message(program, model, preprocess, tmp_path / "j.txt")
