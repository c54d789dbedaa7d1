"""Pre-training through the real weaver command, on files without labels."""

import math
import re
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from distillation import TEACHER, TRAINING, data, words
from helpers import ROOT, weaver
from weaver.utils.dataset import DataConfig

from kd_trainer.augment.features import Inputs
from kd_trainer.augment.views import Views
from kd_trainer.errors import InputError
from kd_trainer.pretrain import hooks
from kd_trainer.pretrain.loop import FixedViews, TwoViews
from kd_trainer.pretrain.options import Options
from kd_trainer.pretrain.unlabelled import main, unlabelled

HLT = ROOT / "data" / "JetClass" / "JetClass_hlt.yaml"
ENCODER = words(TEACHER)


@pytest.fixture(scope="module")
def pretrained(jets, tmp_path_factory):
    """A small ParT pre-trained for two epochs on files without labels: (model prefix, log)."""
    folder = tmp_path_factory.mktemp("pretrained")
    for split in ("train", "val"):
        (folder / split).mkdir()
        for path in (jets / split).iterdir():
            table = pq.read_table(path)
            names = [name for name in table.column_names if not name.startswith(("label", "jet_tau", "jet_sdmass"))]
            pq.write_table(table.select(names), folder / split / path.name)
    main(["--data-config", str(HLT), "-o", str(folder / "unlabelled.yaml")])
    prefix, log = folder / "net", folder / "net.log"
    weaver("--data-train", f"{folder}/train/*.parquet", "--data-val", f"{folder}/val/*.parquet",
           "-c", folder / "unlabelled.yaml", "-n", "networks/contrastive.py", "-o", "encoder", "'networks/ParT.py'",
           *ENCODER, "-o", "seed", 1, "-m", prefix, "--log-file", log, "--num-epochs", 2, *TRAINING)  # fmt: skip
    return prefix, log.read_text()


def test_contrastive_accuracy_rises(pretrained):
    _, log = pretrained
    assert "Using custom train/evaluate functions" in log
    assert "Pre-training networks/ParT.py" in log
    assert "rotation 3.14, translation 1, distortion 0.1, splitting 1" in log
    train = [float(x) for x in re.findall(r"Train AvgLoss: [\d.]+, AvgAcc: ([\d.]+)", log)]
    val = [float(x) for x in re.findall(r"Eval AvgLoss: [\d.]+, AvgAcc: ([\d.]+)", log)]
    assert len(train) == len(val) == 2
    chance = 1 / (2 * 64 - 1)
    assert train[-1] > max(train[0], 2 * chance)
    assert val[-1] > 2 * chance
    losses = [float(x) for x in re.findall(r"Eval AvgLoss: ([\d.]+)", log)]
    best = [float(x) for x in re.findall(r"Current validation metric: ([\d.]+)", log)]
    assert best == pytest.approx([math.exp(-loss) for loss in losses], abs=2e-5)  # of the epochs
    assert "class distribution" not in log and "ERROR" not in log and "Error" not in log


def test_checkpoint_goes_on_in_the_ordinary_network(pretrained, jets, tmp_path):
    prefix, _ = pretrained
    log = tmp_path / "net.log"
    weaver(*data(jets), "-c", HLT, "-n", "networks/ParT.py", *ENCODER, "-m", tmp_path / "net", "--log-file", log,
           "--load-model-weights", f"{prefix}_best_epoch_state.pt", "--num-epochs", 1, *TRAINING[:-4],
           "--start-lr", 0, "--optimizer", "adam")  # fmt: skip
    assert "Missing: ['mod.fc.0.weight', 'mod.fc.0.bias']" in log.read_text()
    before = torch.load(f"{prefix}_best_epoch_state.pt", weights_only=True)
    after = torch.load(tmp_path / "net_epoch-0_state.pt", weights_only=True)
    weights = [key for key in after if key in before and not key.endswith(("running_mean", "running_var", "tracked"))]
    assert len(weights) > 20 and all(torch.equal(before[key], after[key]) for key in weights)


def test_config_without_labels(load_config):
    options = unlabelled(yaml.safe_load((ROOT / "data/JetClassII/JetClassII_l1.yaml").read_text()))
    config = DataConfig(print_info=False, **options)
    assert config.label_names == ("no_label",) and config.weight_name is None and not config.observer_names
    branches = config.train_load_branches
    assert "jet_label" not in branches and "jet_sdmass" in branches  # of the selection
    with pytest.raises(InputError, match="no pf_mask"):
        unlabelled({"inputs": {"pf_features": {"vars": []}}})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"encoder": "networks/none.py"}, "the encoder's network file networks/none.py does not exist"),
        ({"encoder": "networks/PFN.py", "for_inference": True}, "fine-tune it, then export"),
        ({"encoder": "networks/PFN.py", "aug_boost": -1}, "aug_boost is -1"),
    ],
)
def test_refusals(options, message, load_config, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=message):
        hooks.get_model(load_config("JetClass", "kin"), **options)


def test_a_broken_hook_is_loud(load_config, monkeypatch):
    monkeypatch.setattr(hooks, "Inputs", lambda *args: args.nothing)
    for hook in (hooks.get_train_fn, hooks.get_evaluate_fn):
        with pytest.raises(RuntimeError, match=f"{hook.__name__} failed"):
            hook(load_config("JetClass", "kin"), encoder="networks/PFN.py")


class Loader(list):
    """Batches of so many full jets, as a loader has them."""

    def __init__(self, config, *sizes):
        self.dataset, self.views = SimpleNamespace(config=config), Views(Inputs(config), Options("x"))
        for size in sizes:
            X = {name: torch.rand(size, *shape[1:]) for name, shape in config.input_shapes.items()}
            self.append(({**X, "pf_mask": torch.ones(size, 1, 128)}, {}, {}))


def test_validation_has_as_many_choices_in_every_batch(load_config):
    """Weaver puts the scores of all batches into one array."""
    config, cpu = load_config("JetClass", "kin"), torch.device("cpu")
    loader = Loader(config, 10, 7)
    once, again = (list(FixedViews(loader, loader.views, cpu, jets=4)) for _ in range(2))
    assert [len(y["partner"]) for _, y, _ in once] == [8, 8, 8]
    assert all(torch.equal(a[0]["pf_features"], b[0]["pf_features"]) for a, b in zip(once, again))
    endless = Loader(config, *[8] * 20)
    assert len(list(FixedViews(endless, endless.views, cpu, jets=4, batches=3))) == 6
    assert len(list(FixedViews(endless, endless.views, cpu, jets=4, batches=0))) == 2
    assert [len(X["pf_features"]) for X, _, _ in TwoViews(loader, loader.views, cpu)] == [20, 14]
    single = Loader(config, 1)
    with pytest.raises(InputError, match="a batch of one jet"):
        next(iter(TwoViews(single, single.views, cpu)))


def test_jets_are_not_contrasted_with_themselves(load_config):
    """In the first batch of a training, as weaver's loader fills it from a sample of 6 or 7 jets."""

    def first_of(sample, first=True):
        loader = Loader(load_config("JetClass", "kin"), sample)
        loader[0] = {name: values[torch.arange(8) % sample] for name, values in loader[0][0].items()}, {}, {}
        return next(iter(TwoViews(loader, loader.views, "cpu", first=first)))

    assert len(first_of(7)[0]["pf_mask"]) == len(first_of(6, first=False)[0]["pf_mask"]) == 16
    with pytest.raises(InputError, match="the sample has fewer jets than a batch.*--fetch-step 1"):
        first_of(6)
