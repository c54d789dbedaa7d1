"""Jets without labels with the real weaver command: an ensemble with other classes, and embeddings."""

import re
from types import SimpleNamespace

import awkward as ak
import pytest
import torch
import yaml
from distillation import FULL, L1, STUDENT, TEACHER, TRAINING, state, taught_by, words
from helpers import ROOT, failure, kd_trainer, weaver
from weaver.utils.dataset import DataConfig
from weaver_inputs import network, untrained

from kd_trainer.distill import hooks

GROUPS = {"QCD": ["label_QCD"], "top": ["label_Tb*"], "VH": ["label_[HWZ]*"]}
SEED = ("-o", "seed", 3)


@pytest.fixture(scope="module")
def folder(jets, tmp_path_factory):
    """Two files without label branches, paired configs with and without groups, and a second teacher."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for split in ("train", "val"):
        table = ak.concatenate([ak.from_parquet(path) for path in sorted((jets / split).iterdir())])
        table = table[[name for name in table.fields if "label" not in name]]
        ak.to_parquet(table, folder / f"{split}.parquet")
    (folder / "groups.yaml").write_text(yaml.safe_dump(GROUPS))
    options = ("--student", L1, "--teacher", FULL, "--unlabelled")
    kd_trainer("pair", *options, "--classes", folder / "groups.yaml", "-o", folder / "groups")
    kd_trainer("pair", *options, "-o", folder / "all")
    untrained(folder / "other.pt", FULL, seed=4, **TEACHER)
    return folder


def train(folder, configs, prefix, weights, *args, **kwargs):
    """weaver on the jets without labels; returns the result and the text of the log."""
    log = f"{folder}/{prefix}{'-again' * ('--load-epoch' in args)}.log"
    result = weaver(
        "--data-train", folder / "train.parquet", "--data-val", folder / "val.parquet",
        "-c", folder / configs / "paired.yaml", "-n", "networks/distill.py", "-o", "student", "'networks/PFN.py'",
        *STUDENT, *taught_by(weights), "-o", "kd_alpha", 1.0, *SEED, "-m", folder / prefix, "--log-file", log,
        "--num-epochs", 1, *TRAINING, *args, **kwargs,
    )  # fmt: skip
    return result, open(log).read()


def test_an_ensemble_with_other_classes_teaches_jets_without_labels(folder, teacher):
    weights = [str(teacher), str(folder / "other.pt")]
    live = ("-o", "kd_temperature", "[(0, 2), (4, 1)]", "-o", "kd_loss", "'dist'", "-o", "kd_loss_options",
            "{'intra': 2.0}", "-o", "kd_ensemble", "'logits'")  # fmt: skip
    _, log = train(folder, "groups", "live", weights, *live)
    assert "ERROR" not in log and "mean of their logits; 10 of 10 classes in 3 groups" in log
    assert "alpha 1.0, temperature 2 in epoch 0, 1 in epoch 4, loss dist {'intra': 2.0}" in log
    (agreement,) = re.findall(r"Epoch #0 distillation: .* agreement ([\d.]+), alpha 1, temperature 2", log)
    assert f"AvgAcc: {agreement}" in log  # in training and validation, the label is the teacher's most likely class
    (line,) = re.findall(r"Evaluation class distribution: \n(.*)", log)
    assert re.findall(r"\((?:np.int64\()?(\d)\)?,", line) != ["0"]
    assert state(folder / "live", 0)["mod.fc.bias"].shape == (3,)

    arguments = [word for w in weights for word in ("--network", "networks/ParT.py", "--weights", w, *words(TEACHER))]
    cache = ("cache", folder / "train.parquet", "--paired", folder / "groups" / "paired.yaml", *arguments,
             "--ensemble", "logits", "--output", folder / "cache", "--dtype", "float32", "--device", "cpu")  # fmt: skip
    kd_trainer(*cache)
    one = failure(*(x for x in cache if x not in arguments), *arguments[: len(arguments) // 2])
    assert "teacher.network was absent, is" in one
    mean = failure(*cache, "--ensemble", "probabilities")
    assert "teacher.ensemble was logits of 2, is probabilities of 2" in mean
    cached = ("-o", "kd_cache", repr(str(folder / "cache")))
    _, log = train(folder, "groups", "cached", weights, *live, *cached)
    assert "soft targets from the cache" in log and "ERROR" not in log
    ours, theirs = state(folder / "live", 0), state(folder / "cached", 0)
    assert all(torch.allclose(ours[k].float(), theirs[k].float(), rtol=1e-3, atol=1e-4) for k in ours)


def test_a_student_learns_its_teachers_embedding(folder, teacher):
    embedding = ("-o", "kd_loss", "'none'", "-o", "kd_embed_weight", 1.0)
    _, log = train(folder, "all", "embed", str(teacher), *embedding, "--num-epochs", 2)
    assert "ERROR" not in log and "embedding loss cosine with weight 1.0" in log
    distances = [float(x) for x in re.findall(r"kd_loss 0.00000, embed_loss ([\d.]+), agreement", log)]
    assert len(distances) == 2 and distances[1] < distances[0]

    student, _ = network("PFN", folder / "all" / "student.yaml", phi_dims=(16, 16), rho_dims=(16,))
    student.load_state_dict(state(folder / "embed"))  # strictly
    parameters = sum(p.numel() for p in student.parameters())
    assert f"student networks/PFN.py ({parameters:,} parameters)" in log

    result, _ = train(folder, "all", "embed", str(teacher), *embedding, "--num-epochs", 2, "--load-epoch", 0,
                      check=False)  # fmt: skip
    assert "--load-epoch 0: the checkpoint of this epoch lacks the projection to the teacher's" in result.stderr


@pytest.mark.parametrize(
    "name, option, message",
    [
        ("student", {}, "the data config of the validation has neither labels nor inputs for the teacher: give"),
        ("paired", {"kd_alpha": [(0, 1.0), (9, 0.9)]}, "the data config has no labels, so the teacher is the only"),
        ("paired", {"kd_alpha": 0.0, "teacher": None}, "the data config has no labels, so the teacher is the only"),
    ],
)
def test_labels_or_a_teacher_are_needed(folder, teacher, name, option, message, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = {"student": "networks/PFN.py", "teacher": "networks/ParT.py", "teacher_weights": str(teacher),
               "teacher_options": TEACHER, "kd_alpha": 1.0, **option}  # fmt: skip
    paired, validation = (DataConfig.load(str(folder / "all" / f"{x}.yaml")) for x in ("paired", name))
    datasets = [SimpleNamespace(config=config, _init_file_dict={}) for config in (paired, validation)]
    loaders = [SimpleNamespace(dataset=dataset, collate_fn=None, num_workers=0) for dataset in datasets]
    train = hooks.get_train_fn(paired, **options)
    weavers = {"args": SimpleNamespace(regression_mode=False), "val_loader": loaders[1]}
    with pytest.raises(SystemExit, match=message):
        train(torch.nn.Identity(), None, None, None, loaders[0], torch.device("cpu"), 0, extra_args=weavers)
