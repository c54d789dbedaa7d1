"""Soft targets of any logits: they are read as they were written, and a blend is the weighted sum."""

import io

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kd_trainer.cache import blend, compute, fingerprint
from kd_trainer.cache.columns import LOGITS, Layout
from kd_trainer.cache.writer import Writer
from kd_trainer.errors import InputError

COLUMNS = {"pt": "float32", "charge": "int8", "n": "int64", "flag": "bool"}


@st.composite
def logits_of(draw, classes=None, jets=None, largest=1e4):
    classes, jets = classes or draw(st.integers(2, 300)), jets or draw(st.integers(1, 12))
    scale, seed = draw(st.floats(0, largest)), draw(st.integers(0, 99))
    return torch.tensor(np.random.default_rng(seed).normal(0, scale, (jets, classes)), dtype=torch.float32)


def read_back(layout, logits):
    """Through a file, and as weaver's loader hands the columns over."""
    file = io.BytesIO()
    with Writer(file, {"made": 1}) as writer:
        writer.write(pa.table(layout.columns(logits)))
    jets = ak.from_arrow(pq.read_table(file))
    assert list(layout.groups()) == jets.fields
    return layout.logits({k: torch.tensor(ak.to_numpy(ak.values_astype(jets[k], "float32"))) for k in jets.fields})


@given(logits_of(), st.data())
def test_what_is_written_is_read(logits, data):
    classes = logits.shape[1]
    top, dtype = data.draw(st.integers(0, classes - 1)), data.draw(st.sampled_from(["float16", "float32"]))
    found = read_back(Layout(classes, top, dtype), logits)
    expected = (logits - logits.amax(dim=1, keepdim=True)).clip(torch.finfo(getattr(torch, dtype)).min)
    assert found.shape == logits.shape and torch.isfinite(found).all()
    exact = {"float32": 1e-6, "float16": 2**-10}[dtype]
    kept = logits.topk(top or classes, dim=1)[1]
    torch.testing.assert_close(found.gather(1, kept), expected.gather(1, kept), rtol=exact, atol=1e-6)
    if top and dtype == "float32":  # the others share what is left of the probability
        rest = found.scatter(1, kept, float("-inf")).logsumexp(dim=1)
        torch.testing.assert_close(
            rest, expected.scatter(1, kept, float("-inf")).logsumexp(dim=1), rtol=1e-4, atol=1e-3
        )


@given(logits_of(largest=30), st.floats(-1e3, 1e3))
def test_a_constant_does_not_matter(logits, constant):
    ours, theirs = (
        read_back(Layout(logits.shape[1], dtype="float32"), z).softmax(dim=1) for z in (logits, logits + constant)
    )
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("layout", [Layout(3), Layout(3, 1), Layout(3, 2, "float32")])
@given(arrays.arrays("float32", (2, 3), elements=st.floats(width=32)))
def test_any_numbers_are_stored_or_refused(layout, logits):
    try:
        found = read_back(layout, torch.tensor(logits))
    except InputError:
        assert not np.isfinite(logits).all() or not np.isfinite(np.ptp(logits, axis=1)).all()
    else:
        assert torch.isfinite(found).all() and np.isfinite(logits).all()


@st.composite
def tables(draw):
    """Some columns, with lists and without, NaN and infinity among the values."""
    jets, table = draw(st.integers(1, 30)), {}
    for name, dtype in COLUMNS.items():
        counts = draw(st.lists(st.integers(0, 4), min_size=jets, max_size=jets))
        flat = draw(arrays.arrays(dtype, sum(counts)))
        table[f"part_{name}"] = ak.unflatten(flat, counts)
        table[f"jet_{name}"] = draw(arrays.arrays(dtype, jets))
    return ak.to_arrow_table(ak.Array(table), list_to32=True, extensionarray=False)


@given(tables(), st.integers(1, 40))
def test_no_bit_of_the_branches_is_lost(table, cut):
    file = io.BytesIO()
    with Writer(file, {"made": [1, "ü"]}) as writer:
        writer.write(table[:cut])
        if cut < len(table):
            writer.write(table[cut:])
    found = pq.read_table(file)
    assert found.schema.equals(table.schema) and fingerprint.read(file) == {"made": [1, "ü"]}
    one, other = (ak.from_arrow(t) for t in (table, found))
    for name in table.column_names:
        ours, theirs = (ak.to_numpy(ak.flatten(x[name], axis=None)) for x in (one, other))
        assert ours.tobytes() == theirs.tobytes() and ak.array_equal(*(x[name] for x in (one, other)), equal_nan=True)
    assert blend.same_jets(
        *(t.append_column(LOGITS, pa.array([0] * len(t))).combine_chunks().to_batches()[0] for t in (table, found))
    )


@given(st.data(), st.integers(2, 4), st.integers(2, 20), st.integers(1, 9))
def test_a_blend_is_the_weighted_sum(folder, data, members, classes, jets):
    logits = [data.draw(logits_of(classes, jets, largest=9)) for _ in range(members)]
    given = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=members, max_size=members))
    weights = blend.weights_of([f"f{i}={w!r}" for i, w in enumerate(given)])
    assert sum(weights.values()) == pytest.approx(1)
    layout = Layout(classes, dtype="float32")
    paths = [folder / f"{i}.parquet" for i in range(members)]
    for path, z in zip(paths, logits):
        with open(path, "wb") as file, Writer(file, {}) as writer:
            writer.write(pa.table({"jet_pt": np.arange(jets), **layout.columns(z)}))
    blend.write(paths, list(weights.values()), folder / "blend.parquet", layout, {"input": {}})
    compute.read_pages(folder / "blend.parquet")
    table = pq.read_table(folder / "blend.parquet")
    found = torch.tensor(np.stack(table[LOGITS].to_pylist())).softmax(dim=1)
    expected = sum(w / sum(given) * z.double().softmax(dim=1) for w, z in zip(given, logits))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-7)
    assert table["jet_pt"].to_pylist() == list(range(jets))
