"""Jets in files of every format, public files and archives: they are read as written, in pieces or at once."""

import io
import json
import pickle
import shutil
import tarfile
from pathlib import PurePosixPath

import awkward as ak
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kd_trainer import hdf5
from kd_trainer.datasets import conversion, fetching, placing, storage
from kd_trainer.errors import InputError
from kd_trainer.jet_files import chunks, contents, first_rows, inspect, within

DTYPES = st.sampled_from(["float32", "float64", "int32", "bool"])


@st.composite
def jets(draw, lists=True):
    """Records with numbers and, if the format has them, lists."""
    number, columns = draw(st.integers(1, 25)), {}
    for i in range(draw(st.integers(1, 3))):
        dtype = draw(DTYPES)
        columns[f"jet_{i}"] = draw(arrays.arrays(dtype, number))
        if lists:
            counts = draw(st.lists(st.integers(0, 3), min_size=number, max_size=number))
            columns[f"part_{i}"] = ak.unflatten(draw(arrays.arrays(dtype, sum(counts))), counts)
    return ak.Array(columns)


def write(path, table, group):
    if path.suffix == ".parquet":
        pq.write_table(storage.to_table(table), path, row_group_size=group)
    elif path.suffix == ".root":
        with uproot.recreate(path) as file:
            tree = file.mktree("tree", {name: table[name].type for name in table.fields})
            for start in range(0, len(table), group):
                tree.extend({name: ak.to_packed(table[name][start : start + group]) for name in table.fields})
    else:
        with h5py.File(path, "w") as file:
            for name in table.fields:
                file[name] = ak.to_numpy(table[name])


@pytest.mark.parametrize("suffix", [".parquet", ".root", ".h5"])
@given(st.data(), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=15)
def test_jets_are_read_as_written_in_pieces_and_at_once(folder, suffix, data, group, step):
    table, path = data.draw(jets(lists=suffix != ".h5")), folder / f"jets{suffix}"
    write(path, table, group)
    found, rows = contents(path)
    assert found >= set(table.fields) and rows == len(table)  # uproot adds counters
    assert inspect(path, table.fields) == (len(table), "")
    some = first_rows(path, table.fields, step)
    parts = list(chunks(path, table.fields, step))
    assert [len(part) for part in parts[:-1]] == [step] * (len(parts) - 1) or suffix == ".parquet"
    for name in table.fields:
        for found, expected in ((ak.concatenate(parts), table), (some, table[: len(some)])):
            assert ak.array_equal(found[name], expected[name], equal_nan=True, dtype_exact=True), name


def test_lists_that_reach_beyond_their_values():
    """Such lists come from uproot for damaged ROOT files; awkward would access foreign memory or crash."""
    index = ak.index.Index64
    content = ak.contents.NumpyArray(np.arange(3.0))
    whole, damaged = (ak.contents.ListArray(index([0, 1]), index([1, stop]), content) for stop in (3, 9))
    assert within(ak.Array({"px": ak.Array(whole)})).px.to_list() == [[0], [1, 2]]
    with pytest.raises(InputError, match="its lists do not fit their values"):
        within(ak.Array({"px": ak.Array(damaged)}))


@given(st.data())
@settings(max_examples=12)
def test_a_public_file_gives_the_same_whatever_the_step(folder, data):
    rows, particles, step = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 3)), data.draw(st.integers(2, 7))
    x = data.draw(arrays.arrays(float, (rows, particles, 4), elements=st.floats(-3, 3, width=16)))
    x[..., 0] = abs(x[..., 0])
    x[..., 3] = np.round(x[..., 3])
    label = data.draw(arrays.arrays(float, rows, elements=st.sampled_from([0.0, 1.0])))
    np.savez(folder / "qg.npz", X=x, y=label)
    made = folder / "qg.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "STEP", step)
        try:
            form = conversion.FORMATS["qg"]
            number = conversion.convert_file(form, folder / "qg.npz", {"of": "qg"}, made, lambda rows: None)
        except InputError as error:
            assert "no jets with particles" in str(error) and not x[..., 0].any()
            return
    found = ak.from_parquet(made)
    kept = [i for i in range(rows) if x[i, :, 0].any()]
    assert number == len(found) == len(kept) and found.event_number.to_list() == kept
    assert found.label.to_list() == label[kept].tolist()
    assert ak.num(found.part_px).to_list() == [(x[i, :, 0] != 0).sum() for i in kept]
    pt = np.hypot(ak.to_numpy(ak.sum(found.part_px, axis=1)), ak.to_numpy(ak.sum(found.part_py, axis=1)))
    expected = np.hypot(*((x[kept][..., 0] * f(x[kept][..., 2])).sum(axis=1) for f in (np.cos, np.sin)))
    np.testing.assert_allclose(pt, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", conversion.FORMATS)
@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04", b"root", b"\x89HDF\r\n\x1a\n"]))
def test_bytes_that_are_no_public_file(folder, form, content, magic):
    form = conversion.FORMATS[form]
    source = folder / f"x{form.suffix}"
    source.write_bytes(magic + content)
    with pytest.raises(InputError, match=source.name):
        conversion.count_rows(form, source)
    with pytest.raises(InputError, match=source.name):
        conversion.convert_file(form, source, {}, folder / "no.parquet", lambda rows: None)
    assert not (folder / "no.parquet").exists()


@given(st.text(max_size=4) | st.lists(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)))
def test_pickles_of_data_are_read_and_nothing_else(content):
    for protocol in (0, 2, 4):
        assert hdf5.PlainUnpickler(pickle.dumps(content, protocol)).load() == content
        with pytest.raises(InputError, match="asks for"):
            hdf5.PlainUnpickler(pickle.dumps([content, len], protocol)).load()


PARTS = st.sampled_from(
    ["a.root", "b.root", "c.txt", "sub", "..", ".", "", ".hidden.root", "x\\y.root", "ü.root", "d" * 99]
)
KINDS = [tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]


@given(
    st.lists(
        st.tuples(st.lists(PARTS, min_size=1, max_size=3).map("/".join), st.sampled_from(KINDS), st.binary(max_size=9)),
        max_size=4,
    ),
    st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]),
)
def test_an_archive_is_unpacked_whole_and_inside_or_not_at_all(folder, members, mode):
    shutil.rmtree(folder / "box", ignore_errors=True)
    (folder / "box" / "in").mkdir(parents=True)
    path = folder / "box" / "in" / "some.tar"
    with tarfile.open(path, mode) as file:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "../../x", len(content) if kind == tarfile.REGTYPE else 0
            file.addfile(member, io.BytesIO(content))
    expected = {
        PurePosixPath(name).name: content
        for name, kind, content in members
        if kind == tarfile.REGTYPE and name.endswith(".root")
    }
    try:
        placing.unpack(path, "md5:0", "*.root")
    except InputError:
        assert [entry.name for entry in (folder / "box").rglob("*")] == ["in", "some.tar"]
    else:
        left = {entry.name: entry.read_bytes() for entry in path.parent.iterdir() if entry.name != ".some.tar.json"}
        assert left == expected and placing.is_placed(path.parent, "some.tar", "md5:0")
        assert all(kind in (tarfile.REGTYPE, tarfile.DIRTYPE) and ".." not in name for name, kind, _ in members)
    assert [entry.name for entry in (folder / "box").iterdir()] == ["in"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_damaged_compression(folder, mode):
    """Each library raises its own exception."""
    path = folder / "some.tar"
    with tarfile.open(path, mode) as file:
        member = tarfile.TarInfo("a.root")
        member.size = 100_000
        file.addfile(member, io.BytesIO(np.random.default_rng(1).bytes(100_000)))
    content = bytearray(path.read_bytes())
    for place in (500, 50_000, len(content) - 20):
        path.write_bytes(
            bytes(content[:place]) + bytes(b ^ 0xFF for b in content[place : place + 15]) + content[place + 15 :]
        )
        with pytest.raises(InputError, match="some.tar cannot be unpacked"):
            placing.unpack(path, "md5:0", "*.root")
    assert not (folder / ".some.tar.unpacked").exists()


@given(st.text(max_size=6) | st.lists(PARTS, max_size=3).map("/".join))
def test_names_from_elsewhere_are_those_of_files_in_the_folder(folder, name):
    part = {"to": "there", "url": "http://x/y", "name": name, "md5": "0"}
    try:
        (item,) = fetching.items_of(part, folder)
    except InputError as error:
        assert "is not a plain file name" in str(error)
        return
    assert item.path.resolve().parent == (folder / "there").resolve() and item.path.name == name


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda x: (
            st.lists(x, max_size=2)
            | st.fixed_dictionaries({"check": st.just("md5:1"), "files": x})
            | st.dictionaries(st.text(max_size=2), x, max_size=2)
        ),
    )
)
def test_any_note_of_what_is_placed(folder, note):
    """A note without files counts as complete."""
    assume(not isinstance(note, dict) or note.get("files") not in ([], "", {}))
    (folder / ".any.json").write_text(json.dumps(note))
    assert not placing.is_placed(folder, "any", "md5:1")
