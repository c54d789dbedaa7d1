"""Jet files without Pythia: row groups, settings, ROOT, and what happens when writing fails."""

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from weaver.utils.data.fileio import _read_files

from kd_trainer.datasets import storage
from kd_trainer.errors import InputError

SETTINGS = {"class": "QCD", "jets": 2500, "pythia": ("a", "b")}


@pytest.fixture
def table():
    counts = np.arange(2500) % 5
    flat = np.arange(counts.sum(), dtype=np.float32)
    part, flag = ak.unflatten(flat, counts), ak.unflatten(flat % 2 == 0, counts)
    columns = {"part_px": part, "part_isMuon": flag, "genpart_px": part, "jet_pt": np.arange(2500, dtype=np.float32)}
    return storage.to_table(ak.zip(columns, depth_limit=1))


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_weaver_reads_back_what_was_written(tmp_path, table, suffix):
    path = storage.file_path(tmp_path, "QCD", 7, suffix)
    assert path.name == f"QCD_007.{suffix}"
    storage.write(path, [table.slice(0, 600), table.slice(600)], SETTINGS)
    read = _read_files([str(path)], [*table.column_names, "event_number"])
    for name in table.column_names:
        assert ak.to_list(read[name]) == table[name].to_pylist()
    assert read.event_number.to_list() == list(range(2500))
    assert storage.is_complete(path, SETTINGS)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_baskets_of_a_root_file_hold_some_jets_only(tmp_path, table):
    path = tmp_path / "x.root"
    storage.write(path, [table], SETTINGS)
    with uproot.open(path) as file:
        assert file["tree/part_px"].basket_entry_start_stop(0) == (0, 1000)
        assert file["tree/jet_pt"].num_baskets == 3


def test_row_groups_and_ranges(tmp_path, table):
    path = tmp_path / "x.parquet"
    storage.write(path, [table], SETTINGS)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1000, 1000, 500]
    assert _read_files([str(path)], ["jet_pt"], load_ranges=(0.5, 0.6))["jet_pt"].to_list() == list(range(1250, 1500))


def test_versions_are_recorded_but_not_compared(tmp_path, table, monkeypatch):
    path = tmp_path / "x.parquet"
    storage.write(path, [table], SETTINGS)
    assert storage.read_settings(str(path))["versions"] == storage.versions() != {}
    monkeypatch.setattr(storage, "versions", lambda: {})
    assert storage.is_complete(path, SETTINGS)


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_other_settings_are_an_error(tmp_path, table, suffix):
    path = tmp_path / f"x.{suffix}"
    storage.write(path, [table], SETTINGS)
    with pytest.raises(InputError, match=r"other settings \(jets, pythia\).*--overwrite"):
        storage.is_complete(path, SETTINGS | {"jets": 10, "pythia": ("a", "c")})


@pytest.mark.parametrize("suffix", ["parquet", "root"])
def test_foreign_file_is_an_error(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"not a jet file")
    with pytest.raises(InputError, match="was not written by 'simulate'"):
        storage.is_complete(path, SETTINGS)
    assert not storage.is_complete(tmp_path / "absent", SETTINGS)


def test_parquet_file_of_something_else_is_an_error(tmp_path, table):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    with pytest.raises(InputError, match="was not written by 'simulate'"):
        storage.is_complete(path, SETTINGS)


def test_failed_write_leaves_nothing(tmp_path, table):
    (tmp_path / "x.parquet").mkdir()
    with pytest.raises(InputError, match="x.parquet cannot be written: Is a directory"):
        storage.write(tmp_path / "x.parquet", [table], SETTINGS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]
