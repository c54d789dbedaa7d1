"""Distillation through the real weaver command, with real files on disk."""

import hashlib
import re
import shutil
import uuid

import awkward as ak
import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from distillation import L1, STUDENT, TRAINING, data, distillation, same, state
from helpers import ROOT, kd_trainer, weaver
from weaver.utils.dataset import DataConfig
from weaver_inputs import network, table_of, untrained

COMMENT = f"_test_{uuid.uuid4().hex}"  # at the end of the name of weaver's folder for tensorboard


@pytest.fixture(scope="module")
def distilled(jets, configs, teacher, tmp_path_factory):
    """A student distilled for two epochs: (model prefix, log)."""
    folder = tmp_path_factory.mktemp("distilled")
    before = hashlib.sha256(teacher.read_bytes()).hexdigest()
    _, log = distillation(jets, configs, teacher, folder / "net", *STUDENT, "-o", "seed", 1,
                          "--tensorboard", COMMENT, cwd=ROOT)
    assert hashlib.sha256(teacher.read_bytes()).hexdigest() == before
    return folder / "net", log


def test_log_says_what_happens(distilled, teacher):
    _, log = distilled
    assert "Using custom train/evaluate functions" in log
    sha = hashlib.sha256(teacher.read_bytes()).hexdigest()
    line = next(line for line in log.splitlines() if "teaches student" in line)
    for part in ("networks/ParT.py", str(teacher), sha, "pf_features 17 x 128", "networks/PFN.py", "parameters"):
        assert part in line
    epochs = re.findall(r"Epoch #(\d) distillation: task_loss ([\d.]+), kd_loss ([\d.]+), agreement ([\d.]+)", log)
    assert [e[0] for e in epochs] == ["0", "1"]
    assert all(float(value) > 0 for e in epochs for value in e[1:])
    assert float(epochs[1][2]) < float(epochs[0][2])  # the student comes closer to its teacher
    assert "ERROR" not in log


def test_checkpoint_is_the_student_alone(distilled):
    student, _ = network("PFN", L1, phi_dims=(16, 16), rho_dims=(16,))
    assert state(distilled[0]).keys() == student.state_dict().keys()


def test_prediction_and_onnx_equal_torch(distilled, jets, tmp_path):
    prefix, _ = distilled
    weights = f"{prefix}_best_epoch_state.pt"
    weaver("-c", L1, "-n", "networks/PFN.py", *STUDENT, "-m", weights, "--export-onnx", tmp_path / "model.onnx")
    weaver("--predict", "--data-test", f"{jets}/val/*.parquet", "-c", L1, "-n", "networks/PFN.py", *STUDENT,
           "-m", weights, "--predict-output", tmp_path / "pred.parquet", "--num-workers", 0)
    scores = ak.to_numpy(ak.from_parquet(tmp_path / "pred.parquet").scores)
    assert scores.shape == (160, 10)

    config = DataConfig.load(str(L1), load_observers=False)
    table, _ = table_of(config, *sorted((jets / "val").iterdir()))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    names = [i.name for i in session.get_inputs()]  # the exporter leaves out inputs that the network does not use
    onnx_scores = session.run(None, {name: table["_" + name] for name in names})[0]
    np.testing.assert_allclose(onnx_scores, scores, atol=1e-5)
    single = session.run(None, {name: table["_" + name][:1, :, :1] for name in names})[0]
    assert single.shape == (1, 10)  # batch and particles are dynamic

    preprocess = (tmp_path / "preprocess.json").read_text()
    assert yaml.safe_load(preprocess)["input_names"] == ["pf_points", "pf_features", "pf_vectors", "pf_mask"]
    assert "teacher" not in preprocess


def test_tensorboard_has_the_distillation(distilled):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (ROOT / "runs").glob(f"*{COMMENT}")
    events = EventAccumulator(str(folder)).Reload()
    for name in ("task_loss", "kd_loss", "agreement"):
        assert len(events.Scalars(f"KD/{name} (epoch)")) == 2
    shutil.rmtree(folder)


SEEDED = """
import torch
from weaver.utils.import_tools import import_module
from weaver.utils.nn.tools import evaluate_classification, train_classification
from kd_trainer.weaver_hooks.inputs import gather
from kd_trainer.weaver_hooks.seeds import seed_epoch, seed_network
from kd_trainer.weaver_hooks.streams import Follower
pfn = import_module({network!r})

def get_model(data_config, **kwargs):
    seed_network(1)
    return pfn.get_model(data_config, **kwargs)

def get_train_fn(data_config, **kwargs):
    def train(model, loss_func, opt, scheduler, train_loader, dev, epoch, **kwargs):
        if epoch == 0:
            gather(train_loader)
            Follower(train_loader, (1, 0, 0), 0)
        seed_epoch(1, epoch)
        train_classification(model, loss_func, opt, scheduler, train_loader, dev, epoch, **kwargs)
    return train

def get_evaluate_fn(data_config, **kwargs):
    return evaluate_classification
"""


def test_alpha_zero_is_plain_weaver_exactly_and_alpha_matters(jets, configs, teacher, tmp_path, distilled):
    plain = tmp_path / "seeded.py"
    plain.write_text(SEEDED.format(network=str(ROOT / "networks" / "PFN.py")))
    weaver(*data(jets), "-c", L1, "-n", plain, *STUDENT, "-m", tmp_path / "plain", "--log-file", tmp_path / "plain.log",
           "--num-epochs", 2, *TRAINING)
    distillation(jets, configs, teacher, tmp_path / "kd", *STUDENT, "-o", "seed", 1, "-o", "kd_alpha", 0.0)
    weaver(*data(jets), "-c", configs / "student.yaml", "-n", "networks/distill.py", *STUDENT,
           "-o", "student", "'networks/PFN.py'", "-o", "seed", 1, "-o", "kd_alpha", 0.0, "-m", tmp_path / "labels",
           "--log-file", tmp_path / "labels.log", "--num-epochs", 2, *TRAINING)
    assert same(state(tmp_path / "plain"), state(tmp_path / "kd"))
    assert same(state(tmp_path / "plain"), state(tmp_path / "labels"))
    assert "trained on labels alone" in (tmp_path / "labels.log").read_text()
    assert not same(state(tmp_path / "kd"), state(distilled[0]))


def test_asking_the_teacher_every_time_and_a_paired_config_for_validation(jets, configs, teacher, tmp_path, distilled):
    val = ("--data-config-val", configs / "paired.yaml")
    distillation(jets, configs, teacher, tmp_path / "kd", *STUDENT, "-o", "seed", 1, "-o", "kd_memory", 0, *val)
    assert (tmp_path / "kd_best_epoch_state.pt").is_file()
    a, b = state(tmp_path / "kd"), state(distilled[0])
    assert all(torch.allclose(a[k].float(), b[k].float(), atol=1e-3) for k in a)


def test_student_equal_to_its_teacher_has_no_kd_loss(jets, tmp_path):
    kd_trainer("pair", "--student", L1, "--teacher", L1, "-o", tmp_path)
    untrained(tmp_path / "dense.pt", L1, "dense")
    weaver(*data(jets), "-c", tmp_path / "paired.yaml", "--data-config-val", tmp_path / "student.yaml",
           "-n", "networks/distill.py", "-o", "student", "'networks/dense.py'", "-o", "teacher", "'networks/dense.py'",
           "-o", "teacher_weights", f"'{tmp_path}/dense.pt'", "--load-model-weights", tmp_path / "dense.pt",
           "-m", tmp_path / "net", "--log-file", tmp_path / "net.log", "--num-epochs", 1, *TRAINING[:-4],
           "--start-lr", 0, "--optimizer", "adam")
    log = (tmp_path / "net.log").read_text()
    kd_loss, agreement = re.search(r"kd_loss ([\d.]+), agreement ([\d.]+)", log).groups()
    assert float(kd_loss) < 1e-5 and float(agreement) == 1


def test_distillation_from_the_published_particlenet(shared, tmp_path):
    """ParticleNet_kin.pt, trained by its authors on 100M jets, teaches a student on 500 real JetClass jets."""
    jets = shared / "real" / "JetClass_kin_500.parquet"
    kin = ROOT / "data" / "JetClass" / "JetClass_kin.yaml"
    kd_trainer("pair", "--student", kin, "--teacher", kin, "-o", tmp_path)
    weights = shared / "real" / "ParticleNet_kin.pt"
    weaver("--data-train", jets, "--data-val", jets, "-c", tmp_path / "paired.yaml",
           "--data-config-val", tmp_path / "student.yaml", "-n", "networks/distill.py",
           "-o", "student", "'networks/PFN.py'", "-o", "teacher", "'networks/ParticleNet.py'",
           "-o", "teacher_weights", f"'{weights}'", "-o", "seed", 1, "-m", tmp_path / "net",
           "--log-file", tmp_path / "net.log", "--num-epochs", 3, *TRAINING)
    log = (tmp_path / "net.log").read_text()
    values = re.findall(r"kd_loss ([\d.]+), agreement ([\d.]+)", log)
    assert len(values) == 3 and float(values[-1][0]) < float(values[0][0])


def test_published_particlenet_has_its_accuracy(shared, tmp_path):
    result = weaver("--predict", "--data-test", shared / "real" / "JetClass_kin_500.parquet",
                    "-c", ROOT / "data" / "JetClass" / "JetClass_kin.yaml", "-n", "networks/ParticleNet.py",
                    "-m", shared / "real" / "ParticleNet_kin.pt", "--predict-output", tmp_path / "pred.root",
                    "--num-workers", 0, "--batch-size", 50)
    accuracy = float(re.search(r"Test metric ([\d.]+)", result.stdout).group(1))
    assert accuracy == pytest.approx(0.718, abs=1e-4)
