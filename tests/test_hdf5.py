"""HDF5 files whose metadata would run a program when PyTables opens them."""

import pickle
import sys

import awkward as ak
import h5py
import numpy as np
import pytest
import tables
from helpers import ROOT, Program, failure, kd_trainer, random_jets, write_hdf5

from kd_trainer.jet_files import chunks, contents, first_rows, inspect

KIN = ROOT / "data" / "TopLandscape" / "TopLandscape_kin.yaml"
VALUES = np.arange(12, dtype="float32")


@pytest.fixture
def path(tmp_path):
    """A file as weaver would read it, with the attributes of PyTables."""
    with tables.open_file(str(tmp_path / "jets.h5"), "w", title="jets of run 2.") as file:
        file.create_array("/", "a", VALUES)
        file.create_array("/", "flag", VALUES > 5)
        file.create_carray("/", "part", obj=np.stack([VALUES] * 3, 1), filters=tables.Filters(1, "zlib"))
        ragged = file.create_vlarray("/", "list", tables.Float32Atom())
        for i in range(12):
            ragged.append(VALUES[:i])
        file.root.a.attrs.units = {"a": ["GeV", 1.5, None]}  # pickled, and nothing but data
    return tmp_path / "jets.h5"


def spoil(path, node, name, content):
    with h5py.File(path, "r+") as file:
        file[node].attrs[name] = content


def test_the_same_as_pytables(path):
    assert contents(path) == ({"a", "flag", "part", "list"}, 12) and inspect(path, ["a", "list"]) == (12, "")
    with tables.open_file(str(path)) as file:
        for name in ("a", "flag", "part"):
            expected = file.root[name][:]
            found = first_rows(path, [name], None)[name]
            assert ak.array_equal(found, ak.Array(expected)) and ak.to_numpy(found).dtype == expected.dtype, name
        assert first_rows(path, ["list"], 5).list.to_list() == [row.tolist() for row in file.root["list"][:5]]
    parts = list(chunks(path, ["a", "part"], 5))
    assert [len(part) for part in parts] == [5, 5, 2] and ak.concatenate(parts).a.to_list() == VALUES.tolist()


@pytest.mark.parametrize("node, name", [("/", "TITLE"), ("/a", "TITLE"), ("/part", "unit"), ("/deep/down", "x")])
@pytest.mark.parametrize("protocol", [0, 2])
def test_a_pickled_program(path, tmp_path, node, name, protocol):
    with h5py.File(path, "r+") as file:
        file.create_group("/deep/down")
    spoil(path, node, name, np.bytes_(pickle.dumps(Program(tmp_path / "evil"), protocol)))
    _, trouble = inspect(path, ["a"])
    asked = f"attribute {name} of {node} is a pickled program (asks for posix.mkdir)"
    assert trouble == f"cannot be read: {asked}, which weaver would execute"
    assert not (tmp_path / "evil").exists()
    with tables.open_file(str(path)) as file:  # what weaver does
        file.get_node(node)._v_attrs[name]
    assert (tmp_path / "evil").exists()


def test_pickled_objects(path):
    with tables.open_file(str(path), "a") as file:
        file.create_vlarray("/", "objects", tables.ObjectAtom()).append([1])
    trouble = inspect(path, ["a"])[1]
    assert trouble == "cannot be read: /objects holds pickled objects, which weaver would execute: remove it"


def test_links_to_other_files(path, tmp_path):
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["a"] = h5py.ExternalLink(str(path), "/a")
        file["b"] = VALUES
    assert contents(tmp_path / "linked.h5") == ({"b"}, 12)


def test_commands_run_nothing(path, tmp_path, monkeypatch):
    spoil(path, "/", "TITLE", np.bytes_(pickle.dumps(Program(tmp_path / "evil"), 0)))
    monkeypatch.setattr(tables, "open_file", None)
    for command in (("check", path), ("subset", "--fraction", "0.5", "-o", tmp_path / "x", "--files", path)):
        line = failure(command[0], "--data-config", KIN, *command[1:])
        assert "attribute TITLE of / is a pickled program" in line
    assert not (tmp_path / "evil").exists()


def test_without_h5py(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert inspect(path, ["a"])[1] == "cannot be read: h5py is not installed; pip install 'weaver-kd[convert]'"


def test_jets(tmp_path):
    """`check` goes through an honest file."""
    write_hdf5(tmp_path / "jets.h5", random_jets(20), 100)
    assert kd_trainer("check", "--data-config", KIN, tmp_path / "jets.h5").returncode == 0
