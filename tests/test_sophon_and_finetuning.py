"""The shell drivers on JetClass-II, and fine-tuning, run as a user runs them."""

import json

import awkward as ak
import numpy as np
import onnxruntime
import torch
import yaml
from distillation import TEACHER, short, words
from hdf5_layouts import aspen_arrays, write
from helpers import ROOT, kd_trainer, random_jets, run, script, write_splits
from weaver_inputs import untrained

SHORT = short(64, 64, 32)
TINY = """
data_config=data/JetClassII/JetClassII
default_teacher=Sophon
data_train=("a:$DATADIR/jets_0.parquet" "b:$DATADIR/jets_1.parquet")
data_val=("$DATADIR/jets_2.parquet")
data_test=("$DATADIR/jets_2.parquet")
data_options=(--num-workers 1 --fetch-step 1.0)
epochs=1 samples_per_epoch=1024 samples_per_epoch_val=1024
"""
TINY_SOPHON = """
network=networks/Sophon.py
options=(-o embed_dims "[16]" -o pair_embed_dims "[8]" -o num_heads 2 -o num_layers 1 -o num_cls_layers 1)
training=(--batch-size 64 --start-lr 2e-2)
"""


def test_sophon_teaches_a_student(clone, tmp_path):
    """JetClass-II as its users know it: make_weight, train, convert; then a student on l1 inputs."""
    for i, number in enumerate((8, 8, 1)):  # of each class; `convert` compares with torch on the last, at 128 particles
        ak.to_parquet(random_jets(188 * number, particles=30, seed=i), tmp_path / f"jets_{i}.parquet")
    (clone / "train_scripts" / "datasets" / "JetClassII.sh").write_text(TINY)
    (clone / "train_scripts" / "models" / "Sophon.sh").write_text(TINY_SOPHON)
    train_kd, sophon = clone / "train_kd.sh", clone / "train_scripts" / "train_sophon.sh"
    teacher = clone / "training" / "JetClassII_Sophon" / "net_best_epoch_state.pt"
    settings = {"DATADIR": tmp_path, "STUDENT": "dense"}
    untrained = script(train_kd, "baseline", check=False, env=settings)
    assert untrained.returncode != 0 and "run make_weight first" in untrained.stderr
    script(sophon, "make_weight", env={"DATADIR": tmp_path})
    (auto,) = (clone / "data" / "JetClassII").glob("JetClassII_full.*.auto.yaml")
    made = yaml.safe_load(auto.read_text())["weights"]["reweight_hists"]
    assert len(made) == 30
    script(sophon, "train", env={"DATADIR": tmp_path})
    log = (clone / "logs" / "JetClassII_Sophon" / "train.log").read_text()
    assert "[WeightMaker]" not in log and "X_bb vs QCD" in log and "roc_auc_score" not in log
    run(sophon, "convert", env={"DATADIR": tmp_path})  # the commands themselves, not forks
    assert (teacher.with_name("data_config.yaml")).is_file()  # so that tag takes the folder
    session = onnxruntime.InferenceSession(teacher.with_name("model.onnx"))
    jet = {x.name: np.ones((1, x.shape[1], 128), dtype="float32") for x in session.get_inputs()}
    assert session.run(None, jet)[0].shape == (1, 188 + 16)  # with the embedding

    write(tmp_path / "RunG_batch0.h5", aspen_arrays())  # real jets beside the simulated ones, as a trigger sees both
    kd_trainer("convert", "aspen", tmp_path / "RunG_batch0.h5", "-o", tmp_path / "aspen")
    beside = {"TIER": "l1trk", "UNLABELLED": tmp_path / "aspen" / "*.parquet"}
    script(train_kd, "train", env={**settings, **beside, "TEACHER_WEIGHTS": teacher})
    name = "JetClassII_dense_l1trk_kd_seed1"
    paired = yaml.safe_load((clone / "training" / name / "paired.yaml").read_text())
    assert paired["weights"]["reweight_hists"] == made
    log = (clone / "logs" / name / "train.log").read_text()
    assert "[WeightMaker]" not in log and "distillation: task_loss" in log
    assert "of a batch have labels" in log and "ERROR" not in log

    kept = auto.rename(tmp_path / "sampling.yaml")
    script(train_kd, "teacher", env={**settings, "WEIGHTS": kept, "COMMENT": "_kept"})
    name = "JetClassII_Sophon_full_seed1_kept"
    config = yaml.safe_load((clone / "training" / name / "student.yaml").read_text())
    assert config["weights"]["reweight_hists"] == made
    assert "[WeightMaker]" not in (clone / "logs" / name / "train.log").read_text()


def test_finetuning_on_another_dataset(clone, tmp_path):
    """A model of ten classes becomes one of two: all but the output layer is taken over, that learns faster."""
    write_splits(tmp_path, train=64, val=64, test=64)
    untrained(tmp_path / "pretrained.pt", ROOT / "data" / "JetClass" / "JetClass_kin.yaml", **TEACHER)
    settings = {"DATASET": "TopLandscape", "DATADIR": tmp_path, "TEACHER": "ParT", "COMMENT": "_test"}
    train_kd = clone / "train_kd.sh"
    script(train_kd, "finetune", *SHORT, *words(TEACHER), env={**settings, "PRETRAINED": tmp_path / "pretrained.pt"})
    name = "TopLandscape_ParT_kin_seed1_test_finetuned"
    log = (clone / "logs" / name / "train.log").read_text()
    assert f"of networks/ParT.py on labels, from the weights {tmp_path}/pretrained.pt" in log
    assert "Parameters with lr multiplied by 50:\n - mod.fc.0.weight\n - mod.fc.0.bias" in log
    weights = torch.load(clone / "training" / name / "net_best_epoch_state.pt", weights_only=True)
    assert weights["mod.fc.0.weight"].shape == (2, 16)


def test_pretraining_and_then_finetuning(clone, tmp_path):
    """./train_kd.sh pretrain leaves what finetune starts from; the size of a student is that of its options."""
    write_splits(tmp_path, train=64, val=64, test=64)
    train_kd = clone / "train_kd.sh"
    settings = {"DATASET": "TopLandscape", "DATADIR": tmp_path, "TEACHER": "PFN", "COMMENT": "_pre", "STUDENT": "PFN"}
    script(train_kd, "pretrain", *SHORT, env=settings)
    pretrained = clone / "training" / "TopLandscape_PFN_kin_seed1_pre_pretrained" / "net_best_epoch_state.pt"
    script(train_kd, "finetune", *SHORT, env={**settings, "PRETRAINED": pretrained})
    log = (clone / "logs" / "TopLandscape_PFN_kin_seed1_pre_finetuned" / "train.log").read_text()
    assert f"of networks/PFN.py on labels, from the weights {pretrained}" in log

    size = ("-o", "phi_dims", "(8, 8)")
    tuned = clone / "training" / "TopLandscape_PFN_kin_seed1_pre_finetuned" / "net_best_epoch_state.pt"
    settings["TEACHER_WEIGHTS"] = tuned
    script(train_kd, "baseline", *SHORT, *size, env=settings)
    result = script(train_kd, "test", *size, env=settings)
    assert "no checkpoint training/TopLandscape_PFN_l1_kd_seed1_pre/net_best_epoch_state.pt" in result.stderr
    sizes = {run: json.loads((clone / "training" / run / "pred.model.json").read_text())["parameters"]
             for run in ("TopLandscape_PFN_kin_seed1_pre", "TopLandscape_PFN_l1_baseline_seed1_pre")}  # fmt: skip
    assert sizes["TopLandscape_PFN_kin_seed1_pre"] > 3 * sizes["TopLandscape_PFN_l1_baseline_seed1_pre"]
