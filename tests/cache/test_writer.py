"""The layout of the columns of a cache in a file."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from weaver.utils.data.fileio import _read_files

from kd_trainer.cache.writer import Writer

JETS = 1000


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    offsets = np.arange(JETS + 1) * 20
    momenta = rng.exponential(10, JETS * 20).astype("float32")
    momenta[:4] = np.nan, np.inf, 1e-42, -0.0
    charges = rng.integers(-1, 2, JETS * 20).astype("int8")
    logits = rng.normal(size=JETS * 10).astype("float16")
    return pa.table(
        {
            "part_px": pa.LargeListArray.from_arrays(offsets, momenta),
            "part_charge": pa.ListArray.from_arrays(offsets.astype("int32"), charges),
            "jet_pt": rng.exponential(500, JETS),
            "label": np.arange(JETS) % 10,
            "teacher_logits": pa.FixedSizeListArray.from_arrays(pa.array(logits), 10),
        }
    )


def write(path, table):
    with open(path, "wb") as file, Writer(file, {}) as writer:
        writer.write(table.slice(0, 600))
        writer.write(table.slice(600))
    return str(path)


def test_no_bit_is_lost(table, tmp_path):
    path = write(tmp_path / "x.parquet", table)
    found = pq.read_table(path)
    for name in table.column_names:
        ours, theirs = (t[name].combine_chunks() for t in (table, found))
        while not pa.types.is_primitive(ours.type):
            ours, theirs = ours.flatten(), theirs.flatten()
        assert ours.to_numpy(zero_copy_only=False).tobytes() == theirs.to_numpy(zero_copy_only=False).tobytes()
    read = _read_files([path], table.column_names, load_ranges=(0.5, 0.7))
    assert read.jet_pt.to_list() == table["jet_pt"].to_pylist()[500:700]


def test_numbers_that_do_not_repeat_take_their_own_size(table, tmp_path):
    metadata = pq.read_metadata(write(tmp_path / "x.parquet", table))
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    size = {}
    for column in columns:
        name = column.path_in_schema.split(".")[0]
        size[name] = size.get(name, 0) + column.total_compressed_size
        dictionary = any("DICTIONARY" in encoding for encoding in column.encodings)
        assert dictionary == (name in ("part_charge", "label"))
    assert size["part_px"] < JETS * 20 * 4 and size["jet_pt"] < JETS * 8
    assert JETS * 20 <= size["teacher_logits"] < JETS * 21
