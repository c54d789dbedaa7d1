"""Steps before a training open each file once, and `bench growth files` measures them."""

import argparse
import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from helpers import kd_trainer
from weaver.utils.data.config import DataConfig
from weaver.utils.data.preprocess import WeightMaker

from kd_trainer.bench import growth_files, setting
from kd_trainer.cache.compute import Production
from kd_trainer.datasets import check

NETWORK = ["--teacher-config", growth_files.CONFIGS / "JetClassII_l1.yaml"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Samples with 5 and 9 training files, and 3 for validation."""
    folder = tmp_path_factory.mktemp("growth")
    parser = argparse.ArgumentParser()
    setting.add_arguments(parser, teacher="PFN")
    config = growth_files.CONFIGS / "JetClassII_l1.yaml"
    parser.set_defaults(student_config=config, teacher_config=config)
    made = setting.prepare(parser.parse_args([]), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth_files, "PROCESSES", 1)
        for number in (4, 10):
            (folder / str(number)).mkdir()
        return [growth_files.make_files(made, folder / str(number), number, 200) for number in (4, 10)]


@pytest.mark.parametrize(
    "name, validation, more",
    [
        ("check", True, 1),  # the values of one file
        ("cache", False, 2),  # inputs and branches of the first file decide what to store
        ("again", False, 0),
        ("cache --check", False, 0),
        ("fingerprints", False, 0),
        ("hooks", True, None),  # and training files until all classes have jets
    ],
)
def test_each_file_is_opened_once(name, validation, more, samples, monkeypatch):
    opened = []
    first = pq.core.ParquetFile.__init__

    def counting(file, source, *args, **kwargs):
        opened.append(source)
        first(file, source, *args, **kwargs)

    monkeypatch.setattr(pq.core.ParquetFile, "__init__", counting)
    monkeypatch.setattr(check, "SAMPLED", 1)
    monkeypatch.setattr(Production, "write_all", growth_files._no_jets)
    numbers = []
    for files in samples:
        opened.clear()
        growth_files.side_of(name, files)()
        numbers.append(len(opened) - len(files.training) - validation * len(files.validation))
    assert [len(files.training) for files in samples] == [5, 9]
    if more is None:
        assert all(0 < number <= len(files.training) for number, files in zip(numbers, samples, strict=True))
    else:
        assert numbers == [more, more]


def test_growth_files(tmp_path, monkeypatch):
    monkeypatch.setattr(growth_files, "ProcessPoolExecutor", ThreadPoolExecutor)  # a new process imports for seconds
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda *args, **kwargs: None)
    for owner, name in ((Production, "write_all"), (WeightMaker, "make_weights"), (DataConfig, "dump")):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # restored after the test
    output = tmp_path / "growth.json"
    quantities = ["files", "weaver", "make_weight"]
    result = kd_trainer(
        "bench", "growth", "files", *NETWORK, "--values", 13, "--jets", 1000, "--quantities", *quantities,
        "--output", output,
    )  # fmt: skip
    results = json.loads(output.read_text())
    assert results["files"] == {"13": 28} and list(results["seconds"]) == quantities
    assert all(row["13"]["passed"]["median"] > 0 for row in results["seconds"].values())
    assert "make_weight, 5,000 jets in each file" in result.stdout


def test_bad_values():
    result = kd_trainer("bench", "growth", "files", "--jets", "10", check=False)
    assert result.returncode == 1 and "--jets has to be at least 1000" in result.stderr
