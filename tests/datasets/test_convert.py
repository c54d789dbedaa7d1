"""Conversion of files that are written here in the public layouts."""

import errno
import os
import pickle
import platform
import sys
from unittest.mock import Mock

import awkward as ak
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import uproot
from helpers import Program, failure, kd_trainer, random_jets, write_root
from weaver.utils.data.fileio import _read_files

from kd_trainer.datasets import conversion

COMPONENTS = {"E": "energy", "PX": "px", "PY": "py", "PZ": "pz"}


def top_arrays(number=2300, particles=200, seed=1):
    """Four-momenta (N, 200) by component, by decreasing transverse momentum and padded with zeros, and labels."""
    rng = np.random.default_rng(seed)
    pt = -np.sort(-rng.exponential(20, (number, particles)), axis=1) + 0.01
    eta, phi = rng.normal(0, 1, (2, number, particles))
    pt *= np.arange(particles) < rng.integers(1, 60, number)[:, None]
    momenta = {"E": pt * np.cosh(eta), "PX": pt * np.cos(phi), "PY": pt * np.sin(phi), "PZ": pt * np.sinh(eta)}
    return {name: values.astype(np.float32) for name, values in momenta.items()}, rng.integers(0, 2, number)


def write_top(path, momenta, labels, **options):
    """As the benchmark was written: one block of floats, one of integers, particle by particle."""
    names = [f"{name}_{i}" for i in range(momenta["E"].shape[1]) for name in momenta]
    values = np.stack(list(momenta.values()), axis=2).reshape(len(labels), -1)
    table = pd.DataFrame(values, columns=names).assign(ttv=0, is_signal_new=labels)
    table.to_hdf(path, key="table", format="table", **options)


def quark_gluon_arrays(number=1200, particles=139, seed=2):
    rng = np.random.default_rng(seed)
    x = np.stack([rng.exponential(10, (number, particles)) + 0.01, *rng.normal(0, 1, (2, number, particles)),
                  rng.choice([22, 211, -211, 130, -2112, 11, 13], (number, particles))], axis=2)  # fmt: skip
    x[np.arange(particles) >= rng.integers(1, 60, number)[:, None]] = 0
    return x, rng.integers(0, 2, number).astype(float)


@pytest.fixture(scope="module")
def top_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("top") / "train.h5"
    write_top(path, *top_arrays())
    return path


def total(lists):
    return ak.to_numpy(ak.sum(ak.values_astype(lists, np.float64), axis=1))


def groups(path):
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]


def fails(*args):
    line = failure("convert", *args)
    assert line.startswith("kd_trainer convert: ")
    return line


class TestTop:
    def test_round_trip(self, top_file, tmp_path):
        momenta, labels = top_arrays()
        assert "wrote 2300 jets; 0 rows" in kd_trainer("convert", "top", top_file, "-o", tmp_path).stdout
        assert [path.name for path in tmp_path.iterdir()] == ["train_file.parquet"]
        jets = ak.from_parquet(tmp_path / "train_file.parquet")
        count = (momenta["E"] > 0).sum(axis=1)
        assert jets.jet_nparticles.to_list() == count.tolist() and jets.label.to_list() == labels.tolist()
        assert jets.event_number.to_list() == list(range(2300))
        for name, field in COMPONENTS.items():
            made = ak.to_numpy(ak.flatten(jets[f"part_{field}"]))
            np.testing.assert_allclose(made, momenta[name][momenta["E"] > 0], rtol=1e-6)
        np.testing.assert_allclose(jets.jet_energy, momenta["E"].sum(axis=1, dtype=float), rtol=1e-6)
        np.testing.assert_allclose(jets.jet_pt, np.hypot(total(jets.part_px), total(jets.part_py)), rtol=1e-5)
        assert groups(tmp_path / "train_file.parquet") == [1000, 1000, 300]

    def test_types_of_the_public_conversion(self, shared, top_file, tmp_path):
        kd_trainer("convert", "top", top_file, "-o", tmp_path)
        made, public = (pq.read_schema(path) for path in (
            tmp_path / "train_file.parquet", shared / "real" / "TopLandscape_1000.parquet"))  # fmt: skip
        assert set(made.names) == {*public.names, "event_number"}
        for field in public:
            kind = made.field(field.name).type
            assert getattr(kind, "value_type", kind) == getattr(field.type, "value_type", field.type)
        assert made.field("event_number").type == "int64" and str(made.field("part_px").type).startswith("list<")

    def test_weaver_reads_ranges(self, top_file, tmp_path):
        kd_trainer("convert", "top", top_file, "-o", tmp_path)
        path = str(tmp_path / "train_file.parquet")
        read = _read_files([path], ["event_number", "part_px"], load_ranges=(0.5, 0.6))
        assert read.event_number.to_list() == list(range(1150, 1380))

    def test_rows_without_particles_are_counted_and_keep_their_number(self, tmp_path):
        momenta, labels = top_arrays(3000)
        for values in momenta.values():
            values[[0, 17, 1500]] = 0
        write_top(tmp_path / "other.h5", momenta, labels)
        result = kd_trainer("convert", "top", tmp_path / "other.h5", "-o", tmp_path / "out")
        assert "wrote 2997 jets; 3 rows without particles" in result.stdout
        path = tmp_path / "out" / "other.parquet"
        numbers = ak.from_parquet(path).event_number.to_list()
        assert numbers == [i for i in range(3000) if i not in (0, 17, 1500)]
        assert groups(path) == [1000, 1000, 997]

    def test_pieces_make_up_the_file(self, top_file, tmp_path, monkeypatch):
        kd_trainer("convert", "top", top_file, "-o", tmp_path / "whole")
        monkeypatch.setattr(conversion, "STEP", 700)
        kd_trainer("convert", "top", top_file, "-o", tmp_path / "pieces")
        whole, pieces = (tmp_path / name / "train_file.parquet" for name in ("whole", "pieces"))
        assert groups(pieces) == groups(whole) and pq.read_table(pieces).equals(pq.read_table(whole))

    @pytest.mark.parametrize("options", [{"data_columns": ["is_signal_new"]}, {"complib": "zlib", "complevel": 1}])
    def test_other_ways_to_write_the_table(self, tmp_path, options):
        momenta, labels = top_arrays(20)
        write_top(tmp_path / "x.h5", momenta, labels, **options)
        kd_trainer("convert", "top", tmp_path / "x.h5", "-o", tmp_path)
        assert ak.from_parquet(tmp_path / "x.parquet").label.to_list() == labels.tolist()

    def test_compression_that_h5py_lacks(self, tmp_path):
        write_top(tmp_path / "x.h5", *top_arrays(20), complib="blosc", complevel=1)
        line = fails("top", tmp_path / "x.h5", "-o", tmp_path)
        assert "x.h5 is compressed with blosc: pip install hdf5plugin" in line

    def test_nothing_is_unpickled(self, tmp_path):
        """Any attribute may hold a pickle that runs a command; that of the column names is refused."""
        write_top(tmp_path / "x.h5", *top_arrays(20))
        bomb = np.bytes_(pickle.dumps(Program(tmp_path / "bomb"), protocol=0))
        with h5py.File(tmp_path / "x.h5", "r+") as file:
            for node in (file, file["table"], file["table/table"]):
                node.attrs["TITLE"] = bomb
        kd_trainer("convert", "top", tmp_path / "x.h5", "-o", tmp_path)
        with h5py.File(tmp_path / "x.h5", "r+") as file:
            file["table/table"].attrs["values_block_1_kind"] = bomb
        assert "asks for posix.mkdir" in fails("top", tmp_path / "x.h5", "-o", tmp_path, "--overwrite")
        assert not (tmp_path / "bomb").exists()


class TestQuarkGluon:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_round_trip(self, tmp_path, save, monkeypatch):
        monkeypatch.setattr(conversion, "STEP", 500)
        x, y = quark_gluon_arrays()
        save(tmp_path / "QG_jets.npz", X=x, y=y)
        kd_trainer("convert", "qg", tmp_path / "QG_jets.npz", "-o", tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["train_file_0.parquet"]
        jets = ak.from_parquet(tmp_path / "out" / "train_file_0.parquet")
        assert jets.label.to_list() == y.tolist() and jets.event_number.to_list() == list(range(len(y)))
        pt, eta, phi, pid = np.moveaxis(x, 2, 0)
        expected = {"px": pt * np.cos(phi), "py": pt * np.sin(phi)}
        expected |= {"pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
        for name, values in expected.items():
            np.testing.assert_allclose(total(jets[f"part_{name}"]), values.sum(axis=1), rtol=1e-5, atol=1e-3)
        assert ak.all(jets.part_pid[:, 0] == pid[np.arange(len(y)), pt.argmax(axis=1)])
        order = np.argsort(-pt[3])[: (pt[3] > 0).sum()]
        np.testing.assert_allclose(jets.part_px[3], expected["px"][3, order], rtol=1e-6)
        assert jets.part_pid[3].to_list() == pid[3, order].tolist()

    def test_names_and_split(self, tmp_path):
        """Ten files after nine, the first 90 % of them for training."""
        for i in range(20):
            x, y = quark_gluon_arrays(i + 1, particles=5)
            np.savez(tmp_path / f"QG_jets{f'_{i}' if i else ''}.npz", X=x, y=y)
        kd_trainer("convert", "qg", tmp_path, "-o", tmp_path / "out")
        rows = {path.stem: pq.read_metadata(path).num_rows for path in (tmp_path / "out").iterdir()}
        assert rows == {f"train_file_{i}": i + 1 for i in range(18)} | {"test_file_0": 19, "test_file_1": 20}
        kd_trainer("convert", "qg", f"{tmp_path}/*_[12].npz", "-o", tmp_path / "half", "--train-test-split", 0.5)
        assert sorted(p.name for p in (tmp_path / "half").iterdir()) == ["test_file_0.parquet", "train_file_0.parquet"]

    def test_real_size(self, shared, tmp_path):
        kd_trainer("convert", "qg", shared / "sim" / "qg_45k.npz", "-o", tmp_path)
        assert sum(groups(tmp_path / "train_file_0.parquet")) == 45382


class TestJetClass:
    def test_round_trip(self, tmp_path):
        jets = random_jets(1500, particles=20)
        write_root(tmp_path / "HToBB_000.root", jets)
        kd_trainer("convert", "jetclass", tmp_path, "-o", tmp_path / "out")
        made = ak.from_parquet(tmp_path / "out" / "HToBB_000.parquet")
        counters = {f"n{field}" for field in jets.fields}  # that uproot writes, JetClass has none
        assert set(made.fields) - counters == {*jets.fields, "event_number"}
        for field in jets.fields:
            assert ak.array_equal(made[field], jets[field], same_content_types=False, check_parameters=False), field
        assert groups(tmp_path / "out" / "HToBB_000.parquet") == [1000, 500]

    def test_trees(self, tmp_path):
        with uproot.recreate(tmp_path / "a.root") as file:
            for name in ("one", "two"):
                file.mktree(name, {"jet_pt": "float32"})
        assert "a.root has 2 trees: one, two" in fails("jetclass", tmp_path / "a.root", "-o", tmp_path)
        write_root(tmp_path / "a.root", random_jets(3)[["jet_pt", "part_px"]])
        line = fails("jetclass", tmp_path, "-o", tmp_path)
        assert "a.root lacks part_deta, part_dphi, part_energy, part_py and 1 more" in line
        jets = random_jets(3)
        jets["event_number"] = [1, 2, 3]
        write_root(tmp_path / "a.root", jets)
        assert "a.root already has a branch event_number" in fails("jetclass", tmp_path, "-o", tmp_path)


class TestResume:
    def test_same_input_is_kept_and_another_is_an_error(self, top_file, tmp_path):
        source, target = tmp_path / "val.h5", tmp_path / "val_file.parquet"
        source.write_bytes(top_file.read_bytes())
        kd_trainer("convert", "top", source, "-o", tmp_path)
        before = target.stat().st_mtime_ns
        assert "1 files, 1 of them already in" in kd_trainer("convert", "top", source, "-o", tmp_path).stdout
        assert target.stat().st_mtime_ns == before
        write_top(source, *top_arrays(50))
        line = fails("top", source, "-o", tmp_path)
        assert "val_file.parquet was made from another input (size was " in line and "mtime" in line
        assert line.endswith("give --overwrite to replace it")
        kd_trainer("convert", "top", source, "-o", tmp_path, "--overwrite")
        assert groups(target) == [50]

    @pytest.mark.parametrize("make", [lambda path: path.write_bytes(b"x"), lambda path: ak.to_parquet([1], path)])
    def test_foreign_file(self, top_file, tmp_path, make):
        make(tmp_path / "train_file.parquet")
        assert "was not written by 'convert'" in fails("top", top_file, "-o", tmp_path)

    def test_leftovers_of_killed_processes(self, top_file, tmp_path):
        name = f".train_file.parquet.{platform.node()}"
        stale, alive = (tmp_path / f"{name}.{pid}" for pid in (2**22 + 1, os.getppid()))
        stale.touch(), alive.touch()
        kd_trainer("convert", "top", top_file, "-o", tmp_path)
        assert set(tmp_path.iterdir()) == {alive, tmp_path / "train_file.parquet"}

    def test_full_disk_and_stopped(self, top_file, tmp_path, monkeypatch):
        write = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
        monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
        assert fails("top", top_file, "-o", tmp_path).endswith("train_file.parquet cannot be written: the disk is full")
        assert list(tmp_path.iterdir()) == []
        write.side_effect = KeyboardInterrupt
        result = kd_trainer("convert", "top", top_file, "-o", tmp_path, check=False)
        assert result.returncode == 130 and "complete files are kept" in result.stdout
        assert list(tmp_path.iterdir()) == []


def nan(momenta, labels):
    momenta["PX"][7, 0] = np.nan


def no_energy(momenta, labels):
    momenta["E"][7, 0] = np.nan


def along_the_beam(momenta, labels):
    momenta["PX"][7, 0] = momenta["PY"][7, 0] = 0


def odd_label(momenta, labels):
    labels[3] = 2


def lacking(momenta, labels):
    del momenta["PY"]


def empty(momenta, labels):
    for values in momenta.values():
        values[:] = 0


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (nan, "has NaN or infinity in part_px of row 7"),
            (no_energy, "has NaN or infinity in part_energy of row 7"),
            (along_the_beam, "has NaN or infinity in part_deta of row 7"),
            (odd_label, "has labels other than 0 and 1"),
            (lacking, "lacks PY_0, PY_1, PY_10, PY_100 and 196 more"),
            (empty, "has no jets with particles"),
        ],
    )
    def test_top(self, tmp_path, change, message):
        momenta, labels = top_arrays(40)
        change(momenta, labels)
        write_top(tmp_path / "test.h5", momenta, labels)
        line = fails("top", tmp_path, "-o", tmp_path)
        assert line.endswith(f"1 of 1 files were not converted: {tmp_path}/test.h5 {message}")
        assert [path.name for path in tmp_path.iterdir()] == ["test.h5"]

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"X": np.zeros((3, 5, 4))}, "lacks y.npy"),
            ({"X": np.zeros((3, 5, 3)), "y": np.zeros(3)}, "X of shape (3, 5, 3) and y of shape (3,)"),
            ({"X": np.zeros((3, 5, 4)), "y": np.zeros(4)}, "y of shape (4,)"),
            ({"X": np.zeros((0, 5, 4)), "y": np.zeros(0)}, "has no jets"),
            ({"X": np.zeros((3, 5, 4)), "y": np.zeros(3)}, "has no jets with particles"),
            ({"X": np.array([[{}]]), "y": np.zeros(3)}, "has to hold plain numbers"),
            ({"X": np.zeros((4, 5, 3)).T, "y": np.zeros(3)}, "has to hold plain numbers in C order"),
        ],
    )
    def test_quark_gluon(self, tmp_path, arrays, message):
        np.savez(tmp_path / "a.npz", **arrays)
        assert message in fails("qg", tmp_path, "-o", tmp_path)

    @pytest.mark.parametrize("form, name", [("top", "a.h5"), ("qg", "a.npz"), ("jetclass", "a.root")])
    def test_unreadable(self, tmp_path, form, name):
        path = tmp_path / name
        for content in (b"", b"not what it is called", truncated(form, path)):
            path.write_bytes(content)
            assert f"{path} " in fails(form, path, "-o", tmp_path / "out")
            assert list((tmp_path / "out").iterdir()) == []

    def test_damage_in_the_middle(self, tmp_path):
        """The header is good, the data are not."""
        np.savez_compressed(tmp_path / "a.npz", **dict(zip("Xy", quark_gluon_arrays())))
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[5000:5100] = bytes(100)
        (tmp_path / "a.npz").write_bytes(content)
        assert "a.npz cannot be read: " in fails("qg", tmp_path, "-o", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_other_hdf5(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["jets"] = np.zeros(3)
        assert "a.h5 has no pandas table 'table'" in fails("top", tmp_path, "-o", tmp_path)

    def test_one_among_many(self, tmp_path):
        for name in ("a", "c"):
            np.savez(tmp_path / f"{name}.npz", **dict(zip("Xy", quark_gluon_arrays(30))))
        (tmp_path / "b.npz").write_bytes(b"")
        line = fails("qg", tmp_path, "-o", tmp_path / "out", "--train-test-split", 1)
        assert f"1 of 3 files were not converted: {tmp_path}/b.npz cannot be read: File is not a zip file" in line
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["train_file_0.parquet", "train_file_2.parquet"]

    def test_arguments(self, tmp_path, top_file, monkeypatch):
        assert f"no file matches {tmp_path}/*.h5" in fails("top", tmp_path, "-o", tmp_path)
        assert "no file matches nowhere/*.h5" in fails("top", "nowhere/*.h5", "-o", tmp_path)
        assert "has to be between 0 and 1, not 2.0" in fails("qg", "x", "-o", tmp_path, "--train-test-split", 2)
        (tmp_path / "train.h5").touch()
        assert "would both become train_file.parquet" in fails("top", top_file, tmp_path, "-o", tmp_path)
        assert "cannot write to" in fails("top", top_file, "-o", tmp_path / "train.h5" / "below")
        with pytest.raises(SystemExit):
            kd_trainer("convert", "atlas", "x", "-o", tmp_path)
        monkeypatch.setitem(sys.modules, "h5py", None)
        assert "pip install 'weaver-kd[convert]'" in fails("top", top_file, "-o", tmp_path)


def truncated(form, path):
    """The first half of a good file."""
    if form == "top":
        write_top(path, *top_arrays(500))
    elif form == "qg":
        np.savez(path, **dict(zip("Xy", quark_gluon_arrays())))
    else:
        write_root(path, random_jets(500))
    return path.read_bytes()[: path.stat().st_size // 2]
