"""Subsets of jets: nested, of the right size, the same in every epoch and in every order of the files."""

import json

import awkward as ak
import numpy as np
import pytest
import yaml
from helpers import ROOT, failure, kd_trainer, random_jets
from weaver.utils.data.eval_utils import _eval_expr
from weaver.utils.dataset import SimpleIterDataset

from kd_trainer.errors import InputError
from kd_trainer.pretrain.subset import HASH, hash_expression, subset

CONFIG = ROOT / "data" / "TopLandscape" / "TopLandscape_l1.yaml"


def hashes(numbers):
    return _eval_expr(hash_expression("event_number"), {"event_number": ak.Array(numbers)})


def test_hash_is_splitmix64():
    """The published steps in Python's integers; the first output for a state of 0 is 0xE220A8397B1DCDAF."""

    def reference(number):
        x = (number + 1) * 0x9E3779B97F4A7C15 % 2**64
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % 2**64
        return x ^ (x >> 31)

    numbers = [0, 1, 1000, 2**40, 2**62]
    assert reference(0) == 0xE220A8397B1DCDAF
    assert hashes(numbers).tolist() == [reference(n) / 2**64 for n in numbers]


def test_subsets_are_nested_and_of_the_right_size():
    numbers = np.arange(100_000)
    values = hashes(numbers)
    assert values.min() >= 0 and values.max() <= 1
    for fraction in (0.01, 0.03, 0.1, 0.3):
        assert (values < fraction).sum() == pytest.approx(1e5 * fraction, abs=4 * np.sqrt(1e5 * fraction))
    counts = np.histogram(values, bins=100, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() == pytest.approx(99, abs=4 * np.sqrt(2 * 99))
    assert np.corrcoef(values[:-1], values[1:])[0, 1] == pytest.approx(0, abs=0.02)  # neighbours are independent
    assert np.array_equal(hashes(numbers[::-1])[::-1], values)


def test_selection():
    options = yaml.safe_load((ROOT / "data" / "JetClassII" / "JetClassII_l1.yaml").read_text())
    chosen = subset(options, 0.1, "run_event")
    assert chosen["selection"] == f"({options['selection']}) & ({HASH} < 0.1)"
    assert "np.asarray(run_event)" in chosen["new_variables"][HASH] and HASH not in options["new_variables"]
    assert subset({"inputs": {}}, 0.3)["selection"] == f"({HASH} < 0.3)"
    assert subset(options, 1.0) == options


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("numbered")
    for i in range(3):
        jets = random_jets(100, seed=i)
        jets["event_number"] = 100 * i + np.arange(100)
        ak.to_parquet(jets, folder / f"{i}.parquet")
    return sorted(folder.iterdir())


def epoch(config, files):
    """The jets that weaver trains on in an epoch, from the values of their particles."""
    dataset = SimpleIterDataset({"_": [str(f) for f in files]}, str(config), fetch_step=1, name="train",
                                load_range_and_fraction=((0, 1), 1, 1))  # fmt: skip
    return sorted(X["pf_vectors"].tobytes() for X, _, _ in dataset)


def test_weaver_trains_on_the_same_jets_in_every_epoch_and_order_of_files(files, tmp_path):
    result = kd_trainer("subset", "--data-config", CONFIG, "--fraction", "0.1", "0.3", "1", "-o", tmp_path / "labelled",
                        "--files", *files)  # fmt: skip
    chosen = {fraction: epoch(tmp_path / f"labelled_{fraction}.yaml", files) for fraction in ("0.1", "0.3", "1")}
    sizes = {fraction: len(jets) for fraction, jets in chosen.items()}
    expected = {fraction: int((hashes(np.arange(300)) < float(fraction)).sum()) for fraction in chosen}
    assert sizes == expected and 0 < sizes["0.1"] < sizes["0.3"] < sizes["1"] == 300
    assert set(chosen["0.1"]) < set(chosen["0.3"]) < set(chosen["1"])
    assert epoch(tmp_path / "labelled_0.3.yaml", files) == chosen["0.3"]
    assert epoch(tmp_path / "labelled_0.3.yaml", files[::-1]) == chosen["0.3"]
    for fraction, size in sizes.items():
        assert f"{fraction}: {size} of 300 jets, {tmp_path}/labelled_{fraction}.yaml\n" in result.stdout
        assert json.loads((tmp_path / f"labelled_{fraction}.json").read_text()) == {"jets": size, "of": 300}


def test_subset_without_labels(files, tmp_path):
    kd_trainer("subset", "--data-config", CONFIG, "--fraction", "0.3", "--unlabelled", "-o", tmp_path / "x", "--files",
               files[0])  # fmt: skip
    options = yaml.safe_load((tmp_path / "x_0.3.yaml").read_text())
    assert list(options["labels"]["value"]) == ["no_label"] and options["selection"] == f"({HASH} < 0.3)"


def test_sampling_weights(files, tmp_path):
    weights = {"use_precomputed_weights": False, "reweight_method": "flat", "reweight_classes": ["jet_isTop"],
               "reweight_vars": {"jet_pt": [0, 5000], "jet_eta": [-5, 5]}, "class_weights": [1]}  # fmt: skip
    options = {**yaml.safe_load(CONFIG.read_text()), "weights": weights}
    (tmp_path / "asks.yaml").write_text(yaml.safe_dump(options))
    made = {**weights, "reweight_hists": {"jet_isTop": [[1.0]]}}
    (tmp_path / "has.auto.yaml").write_text(yaml.safe_dump({**options, "weights": made}))
    words = ("subset", "--data-config", tmp_path / "asks.yaml", "--fraction", "0.3", "-o", tmp_path / "x",
             "--files", *files)  # fmt: skip
    assert "give an existing *.auto.yaml with --weights" in failure(*words)
    kd_trainer(*words, "--weights", tmp_path / "has.auto.yaml")
    assert yaml.safe_load((tmp_path / "x_0.3.yaml").read_text())["weights"] == made


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.01, float("nan")])
def test_fraction_out_of_range(fraction):
    with pytest.raises(InputError, match="it must be above 0 and at most 1"):
        subset({}, fraction)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--fraction", "few"), "the fraction is 'few': it must be a number"),
        (("--fraction", "1e-6"), "a fraction of 1e-6 of 300 jets leaves none: give a larger one"),
        (("--fraction", "0.1", "--by", "run_event"), "(of 3) has no run_event for the choice of jets: "),
    ],
)
def test_bad_input(arguments, message, files, tmp_path):
    assert message in failure("subset", "--data-config", CONFIG, *arguments, "-o", tmp_path / "x", "--files", *files)
    assert not list(tmp_path.iterdir())
