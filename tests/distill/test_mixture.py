"""Jets with and without labels in one training: the loss, the batches, and the real weaver command."""

import re
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
import torch
import yaml
from distillation import FULL, L1, STUDENT, distillation, same, state
from helpers import CLASSES, kd_trainer
from weaver.utils.dataset import DataConfig

from kd_trainer.distill.loaders import groups_of
from kd_trainer.distill.loop import StudentView
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.mixture import LABELLED, Mixture, check_configs, check_fraction, split
from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets

GIVEN = {"student": "PFN.py", "teacher": "ParT.py", "teacher_weights": "t.pt", "kd_unlabelled": "u/*.parquet",
         "kd_unlabelled_config": "u.yaml"}  # fmt: skip


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("pattern", ["110100", "111111", "000000"])
def test_the_loss_is_that_of_each_jet(alpha, pattern):
    generator = torch.Generator().manual_seed(2)
    logits, targets = (torch.randn(6, 4, generator=generator) for _ in range(2))
    labels, labelled = torch.tensor([0, 1, 2, 3, 1, 0]), torch.tensor([x == "1" for x in pattern])
    loss_func = DistillationLoss(alpha=alpha, temperature=2.0)
    loss_func.soft_targets, loss_func.labelled = SoftTargets(targets), labelled
    expected, hard, soft = 0.0, [], []
    for z, t, label, has_label in zip(logits.double(), targets.double(), labels, labelled):
        p, q = (t / 2).softmax(0), (z / 2).softmax(0)
        soft.append(4 * (p * (p / q).log()).sum())
        hard += [-z.log_softmax(0)[label]] if has_label else []
        expected += (1 - alpha) * hard[-1] + alpha * soft[-1] if has_label else soft[-1]
    assert loss_func(logits, labels).item() == pytest.approx(float(expected) / 6, rel=1e-5)
    means = loss_func.means()
    assert means["kd_loss"] == pytest.approx(float(sum(soft)) / 6, rel=1e-5)
    if hard:
        assert means["task_loss"] == pytest.approx(float(sum(hard)) / len(hard), rel=1e-5)
    else:
        assert "task_loss" not in means


def test_labels_of_jets_without_do_not_enter():
    torch.manual_seed(1)
    logits, targets, labelled = torch.randn(5, 3), torch.randn(5, 3), torch.tensor([True, False, True, False, False])
    losses = []
    for wrong in (0, 1, 2):
        loss_func = DistillationLoss(alpha=0.4, temperature=1.0, label_smoothing=0.1)
        loss_func.soft_targets, loss_func.labelled = SoftTargets(targets), labelled
        losses.append(loss_func(logits, torch.where(labelled, torch.tensor([0, 0, 2, 0, 0]), wrong)).item())
    assert len(set(losses)) == 1


def test_a_mask_of_another_batch_is_refused():
    loss_func = DistillationLoss(alpha=0.4, temperature=1.0)
    loss_func.soft_targets, loss_func.labelled = SoftTargets(torch.zeros(4, 3)), torch.ones(5, dtype=torch.bool)
    with pytest.raises(InputError, match="labels are marked for 5 jets, but the batch has 4"):
        loss_func(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))


class Loader:
    """Batches of jets whose only input is their number."""

    def __init__(self, first, size, config=None):
        self.dataset = SimpleNamespace(config=config)
        self.first, self.size = first, size

    def __iter__(self):
        for start in range(self.first, self.first + 3 * self.size, self.size):
            x = torch.arange(start, start + self.size)
            yield {"teacher_x": x, "pf_x": x}, {"_label_": x % 7}, {}


def test_a_batch_has_the_jets_of_both_and_the_class_of_the_teacher(monkeypatch):
    labels = {"type": "simple", "value": [f"c{i}" for i in range(7)]}
    config = SimpleNamespace(labels=labels)
    monkeypatch.setattr("kd_trainer.distill.loop.student_view", lambda config: config)
    laid = []
    view = StudentView(
        Mixture(Loader(0, 2, config), Loader(100, 3)),
        lambda X, device: SoftTargets(torch.nn.functional.one_hot(X["teacher_x"] % 5, 7).float()),
        deposit=lambda targets, labelled: laid.append(labelled.tolist()),
    )
    batches = list(view)
    assert [X["pf_x"].tolist() for X, _, _ in batches] == [[0, 1, 100, 101, 102], [2, 3, 103, 104, 105],
                                                           [4, 5, 106, 107, 108]]  # fmt: skip
    assert [y["_label_"].tolist() for _, y, _ in batches] == [[0, 1, 0, 1, 2], [2, 3, 3, 4, 0], [4, 5, 1, 2, 3]]
    assert laid == [[True, True, False, False, False]] * 3
    assert all(set(y) == {"_label_"} and set(X) == {"pf_x"} for X, y, _ in batches)
    assert all(LABELLED in y for _, y, _ in Mixture(Loader(0, 2), Loader(100, 3)))
    view.steps = StudentView(view.loader, steps=0).steps  # weaver's, of fewer jets than a batch
    assert len(list(view)) == 1


def test_parts_of_a_batch():
    assert split(512, 0.9) == (51, 461) and split(2, 0.5) == (1, 1)
    for size, fraction in ((4, 0.9), (4, 0.1), (1, 0.5)):
        with pytest.raises(InputError, match=f"of a batch of {size} jets is .*: a batch needs jets"):
            split(size, fraction)
    for fraction in (0, 1, -0.2, 1.5, True, "half", float("nan"), None):
        with pytest.raises(InputError, match="it must lie between 0 and 1"):
            check_fraction(fraction)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"teacher": None, "kd_alpha": 0.0}, "a student needs a teacher to learn from jets without labels"),
        ({"kd_unlabelled_config": None}, "name the data config of these files with -o kd_unlabelled_config"),
        ({"kd_unlabelled": None}, "kd_unlabelled_config and kd_unlabelled_cache need kd_unlabelled"),
        ({"kd_cache": "c"}, "kd_cache and kd_unlabelled_cache: give both or none"),
        ({"kd_unlabelled_cache": "c"}, "kd_cache and kd_unlabelled_cache: give both or none"),
    ],
)
def test_refused_options(change, message):
    with pytest.raises(InputError, match=message):
        Options(**{**GIVEN, **change})


def config(**changes):
    options = yaml.safe_load(L1.read_text())
    return DataConfig(print_info=False, **{**options, "weights": None, "observers": None, **changes})


def test_refused_configs(tmp_path):
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "--unlabelled", "-o", tmp_path)
    without = DataConfig.load(str(tmp_path / "student.yaml"))
    check_configs(config(), without, "u.yaml")
    with pytest.raises(InputError, match="the data config of the training has no labels"):
        check_configs(without, without, "u.yaml")
    with pytest.raises(InputError, match="u.yaml reads labels: give a kd_unlabelled_config that"):
        check_configs(config(), config(), "u.yaml")
    definitions = {**without.options["new_variables"], "part_pt": "np.hypot(part_px, part_py) * 2"}
    other = DataConfig(print_info=False, **{**without.options, "new_variables": definitions})
    with pytest.raises(InputError, match="`new_variables` of u.yaml differs from the data config of the training"):
        check_configs(config(), other, "u.yaml")
    labels = {**without.labels, "names": list(reversed(without.labels["names"]))}
    with pytest.raises(InputError, match="the classes of u.yaml differ from those"):
        check_configs(config(), DataConfig(print_info=False, **{**without.options, "labels": labels}), "u.yaml")


@pytest.fixture(scope="module")
def unlabelled(jets, tmp_path_factory):
    """Folders of the same jets: without labels, with all labels wrong; and the config that reads none."""
    folder = tmp_path_factory.mktemp("without")
    rng = np.random.default_rng(1)
    for path in sorted((jets / "val").glob("*.parquet")):
        table = ak.from_parquet(path)
        names = [name for name in table.fields if name.startswith("label_")]
        for kind in ("none", "wrong"):
            (folder / kind).mkdir(exist_ok=True)
        ak.to_parquet(table[[name for name in table.fields if name not in names]], folder / "none" / path.name)
        guess = rng.integers(0, len(CLASSES), len(table))
        for i, name in enumerate(CLASSES):
            table[f"label_{name}"] = (guess == i).astype("int32")
        ak.to_parquet(table, folder / "wrong" / path.name)
    kd_trainer("pair", "--student", L1, "--teacher", FULL, "--unlabelled", "-o", folder)
    return folder


STEPS = ("--steps-per-epoch", 4, "--steps-per-epoch-val", 2, "-o", "kd_alpha", 0.5, "-o", "seed", 5, *STUDENT)


def options(files, folder, fraction=0.75):
    return ("-o", "kd_unlabelled", f"['{files}/*.parquet']", "-o", "kd_unlabelled_config", f"'{folder}/paired.yaml'",
            "-o", "kd_unlabelled_fraction", fraction)  # fmt: skip


@pytest.fixture(scope="module")
def live(jets, configs, teacher, unlabelled, tmp_path_factory):
    """A training with jets without labels and the teacher in it: (weights, log)."""
    prefix = tmp_path_factory.mktemp("live") / "net"
    _, log = distillation(jets, configs, teacher, prefix, *STEPS, *options(unlabelled / "none", unlabelled))
    return state(prefix), log


def test_no_jet_is_taken_for_labelled(jets, configs, teacher, unlabelled, live, tmp_path):
    ours, log = live
    distillation(jets, configs, teacher, tmp_path / "wrong", *STEPS, *options(unlabelled / "wrong", unlabelled))
    assert same(ours, state(tmp_path / "wrong"))
    assert "16 of 64 jets of a batch have labels" in log
    (found,) = re.findall(r"Epoch #1 distillation: (.*)", log)
    assert re.match(r"task_loss [\d.]+, kd_loss [\d.]+, agreement [\d.]+, alpha 0.5", found)

    distillation(jets, configs, teacher, tmp_path / "labels", *STEPS)
    assert not same(ours, state(tmp_path / "labels"))


def test_from_caches(jets, configs, teacher, unlabelled, live, make_cache, tmp_path):
    make_cache(tmp_path / "u", f"{unlabelled}/none/*.parquet", "--dtype", "float32", paired=unlabelled / "paired.yaml")
    files = [f"{name}:{jets}/train/{name}_*.parquet" for name in CLASSES]
    make_cache(tmp_path / "l", *files, "--dtype", "float32")
    cached = ("-o", "kd_cache", f"'{tmp_path}/l'", "-o", "kd_unlabelled", f"['{unlabelled}/none/*.parquet']",
              "-o", "kd_unlabelled_cache", f"'{tmp_path}/u'", "-o", "kd_unlabelled_fraction", 0.75)  # fmt: skip
    _, log = distillation(jets, configs, teacher, tmp_path / "cached", *STEPS, *cached)
    assert "ERROR" not in log and "soft targets from the cache" in log
    ours, theirs = live[0], state(tmp_path / "cached")
    assert all(torch.allclose(ours[k].float(), theirs[k].float(), rtol=1e-3, atol=1e-4) for k in ours)

    wrong = [word.replace("/none/", "/wrong/") if isinstance(word, str) else word for word in cached]
    result, _ = distillation(jets, configs, teacher, tmp_path / "other", *STEPS, *wrong, check=False)
    lacking = f"{tmp_path}/u has no soft targets for 10 of 10 files, for example {unlabelled}/wrong/"
    assert lacking in result.stderr and ": run cache with all of them" in result.stderr
    make_cache(tmp_path / "v", f"{unlabelled}/wrong/*.parquet", paired=configs / "paired.yaml")
    wrong += ["-o", "kd_unlabelled_cache", f"'{tmp_path}/v'"]
    result, _ = distillation(jets, configs, teacher, tmp_path / "other", *STEPS, *wrong, check=False)
    assert f"{tmp_path}/v/cached.yaml reads labels" in result.stderr


@pytest.mark.parametrize(
    "args, message",
    [
        (STEPS[2:], "give --samples-per-epoch"),
        ((*STEPS, "-o", "kd_unlabelled", "['nowhere/*.parquet']"), "no file matches nowhere"),
    ],
)
def test_refused_in_weaver(jets, configs, teacher, unlabelled, tmp_path, args, message):
    given = (*options(unlabelled / "none", unlabelled), *args)
    result, _ = distillation(jets, configs, teacher, tmp_path / "refused", *given, check=False)
    assert result.returncode and message in result.stderr
    assert not list(tmp_path.glob("refused_epoch*"))


def test_files_of_groups_and_processes(tmp_path, monkeypatch):
    paths = [tmp_path / f"{name}.parquet" for name in "abcd"]
    for path in paths:
        path.touch()
    a, b, c, d = map(str, paths)
    assert groups_of([f"{tmp_path}/*.parquet", a], None) == {"_": [a, b, c, d]}  # each once
    assert groups_of([f"x:{a}", f"y:{tmp_path}/[bcd].parquet"], None) == {"x": [a], "y": [b, c, d]}
    with pytest.raises(InputError, match="a.parquet is in two groups, x and _"):
        groups_of([f"x:{a}", a], None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    parts = [groups_of([f"{tmp_path}/*.parquet"], rank)["_"] for rank in (0, 1)]
    assert parts == [[a, c], [b, d]]
    with pytest.raises(InputError, match="1 files of x cannot be shared by 2 processes"):
        groups_of([f"x:{a}", f"y:{tmp_path}/[bcd].parquet"], 1)
