"""Augmentation of the student's inputs in training: what it changes, and what it leaves alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT, random_jets
from weaver.utils.dataset import DataConfig

from kd_trainer.augment.constituents import from_momenta
from kd_trainer.augment.features import Inputs
from kd_trainer.augment.views import Views
from kd_trainer.distill import hooks, loop
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets
from kd_trainer.weaver_hooks.seeds import seed_epoch

CPU = torch.device("cpu")
SOFT = 20.0  # GeV
DROP = {"aug_dropping": 0.5, "aug_dropping_pt_max": SOFT}
ALL = {"aug_rotation": 3.0, "aug_smearing": 0.05, **DROP}


@pytest.fixture
def config(load_config):
    return load_config("JetClass", "l1")


@pytest.fixture
def X(read, config):
    """Inputs of jets of radius 0.15 or so."""
    jets = random_jets(number=300)
    pt = np.hypot(jets.part_px, jets.part_py)
    eta = jets.jet_eta + 0.15 * (np.arcsinh(jets.part_pz / pt) - jets.jet_eta)
    dphi = (np.arctan2(jets.part_py, jets.part_px) - jets.jet_phi + np.pi) % (2 * np.pi) - np.pi
    phi = jets.jet_phi + 0.15 * dphi
    jets["part_px"], jets["part_py"], jets["part_pz"] = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return read(jets, config)


@pytest.fixture
def augmented(config, X):
    """Function of options: the inputs that the student sees."""

    def augmented(**options):
        torch.manual_seed(2)
        return Views(Inputs(config), Options("PFN.py", kd_alpha=0.0, **options))(X, number=1)[0]

    return augmented


def feature(X, config, name):
    """A variable (N, P) as it is before standardisation."""
    names, params = config.input_dicts["pf_features"], config.preprocess_params[name]
    values = X["pf_features"][:, names.index(name)].double()
    return values if params["center"] is None else values / params["scale"] + params["center"]


def particles(X):
    return from_momenta(X["pf_vectors"], X["pf_mask"])


def test_rotation_keeps_momenta_and_distances(X, config, augmented):
    Y = augmented(aug_rotation=3.0)
    close = dict(rtol=1e-4, atol=1e-4)
    assert torch.equal(X["pf_mask"], Y["pf_mask"])
    torch.testing.assert_close(particles(Y).pt, particles(X).pt, **close)
    torch.testing.assert_close(feature(Y, config, "cand_pt_log"), feature(X, config, "cand_pt_log"), **close)
    pairs = [(x["pf_points"][..., None] - x["pf_points"][:, :, None]).norm(dim=1) for x in (X, Y)]
    torch.testing.assert_close(*pairs, **close)
    assert (Y["pf_points"] - X["pf_points"]).abs().mean() > 0.02
    before, after = (feature(x, config, "cand_deltaR") for x in (X, Y))
    assert (after - before).abs().max() < 0.01  # the sum of what was turned moves, in second order


def test_smearing_has_its_width(X, config):
    before = particles(X)
    torch.manual_seed(2)
    after = Views(Inputs(config), Options("PFN.py", kd_alpha=0.0, aug_smearing=0.05)).augmented(before)
    change = torch.log(after.pt / before.take(after.source).pt)[after.mask]
    assert torch.equal(after.mask, before.mask) and (after.pt.diff() <= 0)[after.mask[:, 1:]].all()
    assert abs(change.mean()) < 5 * 0.05 / len(change) ** 0.5
    assert change.std().item() == pytest.approx(0.05, abs=5 * 0.05 / (2 * len(change)) ** 0.5)


def test_smeared_inputs_agree_with_each_other(config, augmented):
    Y = augmented(aug_smearing=0.3)
    mask = Y["pf_mask"][:, 0] > 0
    logs = feature(Y, config, "cand_pt_log"), particles(Y).pt.log()
    torch.testing.assert_close(*(x[mask] for x in logs), rtol=1e-4, atol=1e-4)


def test_only_soft_candidates_are_dropped(X, augmented):
    Y = augmented(**DROP)
    gone, kept = 0, 0
    for before, mask, after, left in zip(*(t for x in (X, Y) for t in (particles(x).pt, x["pf_mask"][:, 0] > 0))):
        number = int(left.sum())
        assert left[:number].all()  # real ones first, as weaver has them
        assert torch.equal(after, after[torch.arange(len(after)) % max(number, 1)])  # free slots repeat them
        old, new = before[mask], after[left]
        hard = old >= SOFT
        assert torch.allclose(new[new >= SOFT], old[hard]) and torch.isin(new.float(), old.float()).all()
        gone, kept = gone + len(old) - number, kept + int((new < SOFT).sum())
        assert number > 0 or not len(old)
    empty = ~X["pf_mask"].any(dim=(1, 2))
    assert empty.any() and all(torch.equal(X[name][empty], Y[name][empty]) for name in X)
    assert gone / (gone + kept) == pytest.approx(0.5, abs=0.05)


class Loader:
    def __init__(self, config, X):
        self.batch = X, {"_label_": torch.zeros(300).long()}, {}
        self.dataset = SimpleNamespace(config=config)

    def __iter__(self):
        yield self.batch


@pytest.fixture
def seen(monkeypatch, config, X):
    """Function of options: the inputs of the teacher and of the student in an epoch of training, then in validation."""
    monkeypatch.setattr(loop, "matching_of", lambda model: None)
    monkeypatch.setattr(loop, "epoch_metrics", lambda *args, **kwargs: {})
    monkeypatch.setattr(loop, "train_classification", lambda *args, **kwargs: students.extend(args[4]))
    monkeypatch.setattr(loop, "evaluate_classification", lambda *args, **kwargs: students.extend(args[1]))
    monkeypatch.setattr(loop, "report", lambda *args: None)
    monkeypatch.setattr(loop, "keep_memory", lambda *args: None)
    students = []

    def seen(taught=True, epoch=0, **options):
        students.clear()
        options, teachers = Options("PFN.py", kd_alpha=0.0, **options), []

        def teacher(X, device):
            teachers.append({name: values.clone() for name, values in X.items()})
            return SoftTargets(torch.zeros(300, 10))

        teacher.description = "T"
        loss, loader = DistillationLoss(alpha=0.0, temperature=1.0), Loader(config, X)
        more = {"extra_args": {"args": None}}
        seed_epoch(3, epoch)
        model = torch.nn.Identity()
        train = loop.train_fn(teacher if taught else None, "S", 0.0, hooks._views(config, options))
        train(model, loss, None, None, loader, CPU, epoch, **more)
        loop.evaluate_fn(["a"], lambda loader: None)(model, loader, CPU, epoch, **more)
        return teachers, *(batch[0] for batch in students)

    return seen


def test_the_teacher_and_the_validation_have_the_jets_as_they_are(seen, X):
    before = {name: values.clone() for name, values in X.items()}
    (teachers,), training, validation = seen(**ALL)
    assert all(torch.equal(teachers[name], before[name]) for name in X)
    assert training.keys() == X.keys() and not any(torch.equal(training[name], before[name]) for name in X)
    assert all(validation[name] is X[name] and torch.equal(X[name], before[name]) for name in X)
    _, alone, _ = seen(taught=False, **ALL)  # labels alone, as the twin of a student
    assert all(torch.equal(alone[name], training[name]) for name in X)


def test_an_epoch_has_its_own_views_again(seen, X):
    first, again, other = (seen(epoch=epoch, **ALL)[1] for epoch in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in X)


def test_without_augmentation_nothing_is_touched(seen, X):
    _, training, _ = seen()
    state = torch.random.get_rng_state()
    seed_epoch(3, 0)
    assert all(training[name] is X[name] for name in X) and torch.equal(state, torch.random.get_rng_state())


def test_nothing_to_drop_is_an_error(augmented):
    with pytest.raises(InputError, match="no particle of the first batch is below aug_dropping_pt_max, 1.0 GeV"):
        augmented(aug_dropping=0.1)  # this tier has none below 2 GeV


def test_a_config_without_momenta_is_refused_when_it_comes_to_training(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    inputs = {name: spec for name, spec in config.options["inputs"].items() if name != "pf_vectors"}
    without = DataConfig(print_info=False, **{**config.options, "inputs": inputs})
    train = hooks.get_train_fn(without, student="networks/PFN.py", kd_alpha=0.0, aug_rotation=3.0)
    with pytest.raises(SystemExit, match="weaver-kd: the data config has no four-momenta to augment"):
        train()
