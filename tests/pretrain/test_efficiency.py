"""The study of data efficiency, in a small."""

import json

import awkward as ak
import pytest
import torch
from helpers import ROOT, random_jets

from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import load_data_config, load_network
from kd_trainer.pretrain.contrastive import as_contrastive
from kd_trainer.pretrain.efficiency import MODES, main, read_jets, start, train

CONFIG = ROOT / "data" / "TopLandscape" / "TopLandscape_l1.yaml"
NETWORK = ROOT / "networks" / "PFN.py"


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / "jets.parquet"
    ak.to_parquet(random_jets(60), path)
    return path


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    model, _ = load_network(NETWORK, load_data_config(CONFIG), {})
    return as_contrastive(model, projection=(8,), temperature=0.1).state_dict()


def test_a_linear_probe_leaves_the_encoder_bit_by_bit(sample, encoder):
    config = load_data_config(CONFIG)
    jets = read_jets(config, str(sample))
    for mode, frozen in (("linear", True), ("finetune", False)):
        model, _ = load_network(NETWORK, config, {})
        groups = start(model, mode, encoder)
        train(model, mode, groups, jets, jets, steps=5, batch_size=16, lr=1e-2)
        after = model.state_dict()
        same = [torch.equal(after[key], value) for key, value in encoder.items() if not key.startswith("contrast.")]
        assert len(same) > 10 and all(same) == frozen
        assert not torch.equal(after["mod.fc.weight"], load_network(NETWORK, config, {})[0].mod.fc.weight)


def test_a_study_goes_on_where_it_stopped(sample, encoder, tmp_path, capsys):
    torch.save(encoder, tmp_path / "encoder.pt")
    output = tmp_path / "study.jsonl"
    arguments = ["--network", str(NETWORK), "--data-config", str(CONFIG), "--pretrained", str(tmp_path / "encoder.pt"),
                 *(text for split in ("train", "val", "test") for text in (f"--data-{split}", str(sample))),
                 "--steps", "2", "--output", str(output)]  # fmt: skip
    main([*arguments, "--labels", "20", "--seeds", "1", "2"])
    first = output.read_text()
    rows = [json.loads(line) for line in first.splitlines()]
    assert [(row["mode"], row["seed"]) for row in rows] == [(mode, seed) for seed in (1, 2) for mode in MODES]
    main([*arguments, "--labels", "20", "40", "--seeds", "1"])
    second = output.read_text()
    assert second.startswith(first) and len(second.splitlines()) == 9
    table = capsys.readouterr().out
    assert "| 40 " in table and "±" in table
    with pytest.raises(InputError, match="there are 60 labelled jets, not 61"):
        main([*arguments, "--labels", "61"])


def test_subsets_are_nested_and_the_same_every_time(sample):
    config = load_data_config(CONFIG)
    (features, *_), labels = read_jets(config, str(sample))
    (again, *_), _ = read_jets(config, str(sample))
    assert len(labels) == 60 and torch.equal(features, again)


def test_weights_of_another_network(encoder):
    model, _ = load_network(NETWORK, load_data_config(CONFIG), {})
    with pytest.raises(InputError, match="the pre-trained weights lack mod.phi.0.weight"):
        start(model, "finetune", {key: value for key, value in encoder.items() if "phi.0.weight" not in key})
