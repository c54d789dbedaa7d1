"""./train_kd.sh convert with an embedding and firmware, on a small trained student."""

import importlib.util
import json
import os

import awkward as ak
import onnx
import pytest
import torch
from distillation import STUDENT, TEACHER
from helpers import CLASSES, ROOT, kd_trainer, script
from weaver_inputs import untrained

L1, FULL = (ROOT / "data" / "JetClass" / f"JetClass_{tier}.yaml" for tier in ("l1", "full"))
RUN = "demo_PFN_l1_kd_seed1"


@pytest.fixture(scope="module")
def training(clone, jets, model_dir):
    """A clone as it is after `train`: with a student's weights, a teacher's, and jets for training and test."""
    folder = clone / "training" / RUN
    folder.mkdir(parents=True)
    os.link(model_dir / "net.pt", folder / "net_best_epoch_state.pt")
    (folder / "net_record.json").write_text("{}")  # of a complete training
    kd_trainer("pair", "--student", L1, "-o", folder)
    (clone / "jets").mkdir()
    for split, source in (("train", "train"), ("val", "val"), ("test", "val")):
        (clone / "jets" / split).symlink_to(jets / source)
    untrained(clone / "teacher.pt", FULL, **TEACHER)
    return folder


def train_kd(training, *args, **more):
    clone = training.parents[1]
    settings = {"DATASET": "demo", "DATADIR": clone / "jets", "TEACHER_WEIGHTS": clone / "teacher.pt", "STUDENT": "PFN"}
    return script(clone / "train_kd.sh", *args, env={**settings, "OMP_NUM_THREADS": 1, **more})


@pytest.fixture(scope="module")
def converted(training):
    return train_kd(training, "convert", *STUDENT, "-o", "export_embed", "True")


def test_convert_with_embedding_and_tag(converted, training, val_files, tmp_path):
    assert "model_static.onnx" in converted.stdout
    assert json.loads((training / "parity.json").read_text())["passed"]
    (output,) = onnx.load(training / "model_static.onnx").graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [1, 10 + 16]
    kd_trainer("tag", training, val_files[0], "-o", tmp_path / "tagged.parquet", "--keep")
    table = ak.from_parquet(tmp_path / "tagged.parquet")
    assert table.fields == [*(f"score_label_{name}" for name in CLASSES), "embedding", "flag"]
    assert ak.to_numpy(table.embedding).shape == (16, 16)


@pytest.mark.skipif(not importlib.util.find_spec("pquant"), reason="PQuantML (extra fpga) is not there")
def test_firmware(converted, training):
    """The trained student in fixed point, with the teacher and the penalty: weights move, Verilog appears."""
    teacher = "{" + ", ".join(f"'{name}': {value}" for name, value in TEACHER.items()) + "}"
    small = ("-o", "phi_dims", "(16, 16)", "-o", "rho_dims", "(16,)")
    result = train_kd(
        training, "firmware", *small, "-o", "teacher_options", teacher, "--num-epochs", 1, "--batch-size", 64,
        "--samples-per-epoch", 128, "--samples-per-epoch-val", 64, "--num-workers", 0, FIRMWARE="no",
    )  # fmt: skip
    made = training.with_name(RUN + "_firmware_1e-6")
    log = (training.parents[1] / "logs" / made.name / "train.log").read_text()
    assert "Teacher networks/ParT.py" in log and "ebops 0." in log and "model_static.onnx" in result.stdout
    before, after = (torch.load(d / "net_best_epoch_state.pt", weights_only=True) for d in (training, made))
    torch.testing.assert_close(before["mod.fc.weight"], after["network.rho.2._weight"], atol=0.1, rtol=0)
    assert not torch.equal(before["mod.fc.weight"], after["network.rho.2._weight"])
    assert after["network.rho.2.weight_quantizer.quantizer._f"].unique().numel() > 1  # widths of their own
    source = json.loads((made / "deploy.json").read_text())
    assert source["network"] == "networks/firmware.py" and source["options"]["plain"] == "networks/PFN.py"
