"""Chunks of files of any format agree with what weaver itself reads and preprocesses."""

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tables
import uproot
from distillation import FULL, L1
from helpers import random_jets
from weaver.utils.dataset import DataConfig
from weaver_inputs import table_of

from kd_trainer import configs
from kd_trainer.cache.columns import Layout, _fixed_lists
from kd_trainer.cache.reader import Reader, ahead
from kd_trainer.configs import complete, defined, load, stored
from kd_trainer.errors import InputError
from kd_trainer.pairing import pair
from kd_trainer.weaver_hooks import Gather
from kd_trainer.weaver_hooks.arrays import to_columns
from kd_trainer.weaver_hooks.reading import read_whole


def paired(**changes):
    """Options of a paired config with a selection, and with all that a config can do about files."""
    student = load(L1) | {"selection": "(jet_pt > 400) & (cand_count > 3)"} | changes
    student["new_variables"] = {**student["new_variables"], "cand_count": "ak.num(part_px)"}
    return pair(student, load(FULL) | {k: v for k, v in changes.items() if k.endswith("magic")})


def as_weaver_reads(options, path):
    """X of weaver's training loader, in the order of the file."""
    config = DataConfig(print_info=False, **options | {"observers": []})
    table, indices = table_of(config, path, training=True)
    assert list(indices) == list(range(len(indices)))
    return {name: table["_" + name] for name in config.input_names if name.startswith("teacher_")}


@pytest.fixture(params=["parquet", "one row group", "root"])
def path(request, tmp_path):
    jets = random_jets(100)
    if request.param == "root":
        path = tmp_path / "jets.root"
        with uproot.recreate(path) as file:
            file.mktree("tree", {name: jets[name].type for name in jets.fields}).extend(
                dict(zip(jets.fields, ak.unzip(jets)))
            )
        return path
    path = tmp_path / "jets.parquet"
    ak.to_parquet(jets, path, row_group_size=1000 if "one" in request.param else 13)
    return path


@pytest.mark.parametrize("rows", [7, 64, 1000])
def test_inputs_are_weavers(path, rows):
    options = paired()
    expected = as_weaver_reads(options, path)
    chunks = list(Reader(DataConfig(print_info=False, **options)).read(str(path), rows))
    assert sum(chunk.rows for chunk in chunks) == 100 and max(chunk.rows for chunk in chunks) <= rows
    for name, array in expected.items():
        assert 10 < len(array) < 90
        np.testing.assert_array_equal(np.concatenate([chunk.X[name] for chunk in chunks if chunk.X]), array)


def test_branches_of_the_student_are_kept(path):
    options = paired(weights={"use_precomputed_weights": True, "weight_branches": ["jet_tau1"]})
    chunks = list(Reader(DataConfig(print_info=False, **options)).read(str(path), 1000))
    table = ak.from_arrow(chunks[0].table)
    jets = random_jets(100)
    jets = jets[(jets.jet_pt > 400) & (ak.num(jets.part_px) > 3)]
    for name in ("part_px", "part_isPhoton", "jet_pt", "jet_tau1", "jet_sdmass", "label_Hbb"):
        assert ak.to_list(table[name]) == ak.to_list(jets[name]), name
    assert "part_d0val" not in table.fields and not [
        name for name in table.fields if name.startswith(("teacher", "cand"))
    ]


def inputs(options, *paths):
    """X of weaver's training loader for a student, in the order of the files: {name: (N, ...)}."""
    read_whole()
    config = DataConfig(print_info=False, **options | {"observers": []})
    table, rows = table_of(config, *paths, training=True)
    X, _, _ = Gather(config)([(table, rows)])
    return {name: array.numpy() for name, array in X.items()}


def cached(student, path, folder, dtype):
    """The table for a cache of jets, which is also written to a file in three row groups."""
    paired = DataConfig(print_info=False, **pair(student, load(FULL)))
    table = next(Reader(paired, dtype).read(str(path), 1000)).table
    table = table.append_column("teacher_logits", _fixed_lists(np.arange(200, dtype=dtype).reshape(100, 2)))
    pq.write_table(table, folder / f"{dtype}.parquet", row_group_size=33)
    options = configs.cached(complete(student), Layout(2).groups())
    return table, stored(options), folder / f"{dtype}.parquet"


@pytest.fixture
def student():
    """Options with variables in several groups, without length, in fp64, and of the branches themselves."""
    made = load(L1)
    more = {"wide": "ak.values_astype(cand_pt, 'float64') / 3"}
    made["new_variables"] = {**made["new_variables"], **more}
    made["inputs"]["pf_points"]["vars"] += [["wide", 1.0, 0.3], "cand_charge"]
    made["inputs"] |= {"jet": {"length": None, "vars": [["jet_tau1", 0.5], ["jet_pt", 500, 0.01]]},
                       "tau": {"length": None, "vars": [["jet_tau1", 0.5]]}}  # fmt: skip
    return made


@pytest.fixture
def jets(tmp_path):
    ak.to_parquet(random_jets(100), tmp_path / "jets.parquet")
    return tmp_path / "jets.parquet"


def test_stored_inputs_are_the_evaluated_ones_bit_for_bit(student, jets, tmp_path):
    table, options, path = cached(student, jets, tmp_path, "float32")
    assert list(options["inputs"]) == ["teacher_logits"] and not {"part_px", "cand_pt"} & {*table.column_names}
    shapes = {name: table.field(name).metadata[b"shape"] for name in table.column_names if name[0] == "_"}
    assert shapes == {"_pf_points": b"4,16", "_pf_features": b"10,16", "_pf_vectors": b"4,16", "_pf_mask": b"1,16",
                      "_jet": b"2,1"}  # fmt: skip
    found, expected = inputs(options, path), inputs(student, jets)
    assert list(found) == [*expected, "teacher_logits"]
    for name, array in expected.items():
        assert array.dtype == found[name].dtype and array.shape == found[name].shape
        np.testing.assert_array_equal(array, found[name])
    np.testing.assert_array_equal(found["teacher_logits"], np.arange(200).reshape(100, 2))
    assert defined(options) == configs.cached(complete(student), Layout(2).groups())


def test_half_precision_only_where_its_rounding_is_small(student, jets, tmp_path):
    table, options, path = cached(student, jets, tmp_path, "float16")
    dtypes = {name[1:]: table.field(name).metadata[b"dtype"] for name in table.column_names if name[0] == "_"}
    assert dtypes.pop("pf_vectors") == b"float32" and set(dtypes.values()) == {b"float16"}
    found, expected = inputs(options, path), inputs(student, jets)
    np.testing.assert_array_equal(found["pf_vectors"], expected["pf_vectors"])
    for name in ("pf_points", "pf_features", "pf_mask", "jet"):
        assert np.abs(found[name] - expected[name]).max() <= 0.002
    np.testing.assert_array_equal(found["pf_mask"], expected["pf_mask"])


def test_files_of_both_precisions_are_read_together(student, jets, tmp_path):
    """A group is in fp32 in a file whose first jets have large values, and in fp16 in others."""
    paths = [cached(student, jets, tmp_path, dtype)[2] for dtype in ("float16", "float32")]
    options = cached(student, jets, tmp_path, "float16")[1]
    found, alone = inputs(options, *paths), [inputs(options, path) for path in paths]
    for name, array in found.items():
        np.testing.assert_array_equal(array, np.concatenate([one[name] for one in alone]))


def test_a_part_and_a_selection(student, jets, tmp_path):
    """Rows that begin and end within row groups, of two files; the selection is that of the training."""
    _, options, path = cached(student, jets, tmp_path, "float32")
    config = DataConfig(print_info=False, **options | {"observers": [], "selection": "jet_pt > 600"})
    table, _ = table_of(config, path, path, training=True, part=(0.25, 0.9))
    alone, _ = table_of(DataConfig(print_info=False, **student | {"observers": [], "selection": "jet_pt > 600"}), jets,
                        training=True, part=(0.25, 0.9))  # fmt: skip
    assert 5 < len(alone["_tau"]) < 60
    for name in ("_pf_features", "_tau", "_label_"):
        np.testing.assert_array_equal(table[name], np.concatenate([alone[name]] * 2))


def test_what_cannot_be_stored_stays_an_expression(student, jets, tmp_path):
    more = {"noise": "0 * np.random.normal() + cand_pt", "mode": "cand_pt * ak.values_astype(aux_training_, 'float32')"}
    student["new_variables"] = {**student["new_variables"], **more}
    student["inputs"]["pf_points"]["vars"].append("noise")
    student["inputs"]["pf_vectors"]["vars"].append("mode")
    table, options, path = cached(student, jets, tmp_path, "float32")
    assert list(options["inputs"]) == ["pf_points", "pf_vectors", "teacher_logits"]
    assert {"part_px", "_pf_features", "_jet"} < {*table.column_names} and "part_d0val" not in table.column_names
    found = inputs(options, path)
    for name, array in inputs(student, jets).items():
        np.testing.assert_array_equal(array, found[name])


@pytest.mark.parametrize(
    "array, spec, message",
    [
        (np.array([1e9, 2]), {"length": None, "vars": ["a"]}, "group g has values outside the range of float16"),
        (np.ones((2, 3, 4, 5)), {"length": None, "vars": ["a", "b", "c"]}, "group g has 3 dimensions: give --store b"),
    ],
)
def test_refused_arrays(array, spec, message):
    with pytest.raises(InputError, match=message):
        list(to_columns({"_g": array.astype("float32")}, {"g": spec}, {"_g": "float16"}))


def test_types_stay_what_they_are(path):
    table = next(Reader(DataConfig(print_info=False, **paired())).read(str(path), 1000)).table
    assert table.schema.field("part_px").type == pa.list_(pa.field("item", pa.float32(), nullable=False))
    assert not table.schema.field("part_px").nullable and table.schema.field("jet_tau1").type == pa.float32()


def test_what_depends_on_the_name_of_the_file(tmp_path):
    jets = random_jets(20)
    fields = [name for name in jets.fields if name != "jet_sdmass"]
    ak.to_parquet(
        ak.zip({**{k: jets[k] for k in fields}, "fj_mass": jets.jet_sdmass}, depth_limit=1), tmp_path / "Hbb.parquet"
    )
    options = paired(file_magic={"process": {"QCD": 1, "Hbb": 2}}, branch_magic={"jet_sdmass": "fj_mass"})
    options["observers"] = [*options["observers"], "process"]
    reader = Reader(DataConfig(print_info=False, **options))
    assert "fj_mass" in reader.branches() and "process" not in reader.branches()
    table = ak.from_arrow(next(reader.read(str(tmp_path / "Hbb.parquet"), 100)).table)
    assert set(table.process) == {2}
    assert set(ak.to_list(table.jet_sdmass)) <= set(ak.to_list(jets.jet_sdmass))


def test_hdf5(tmp_path):
    values = np.arange(50, dtype="float32")
    with tables.open_file(str(tmp_path / "jets.h5"), "w") as file:
        for name in ("a", "b", "label_x", "label_y"):
            file.create_array(
                "/", name, np.stack([values] * 3, 1) if name == "b" else (values % 2 == (name[-1] == "x")) * 1
            )
    student = {
        "inputs": {"pf": {"length": 3, "vars": [["b", None]]}},
        "labels": {"type": "simple", "value": ["label_x", "label_y"]},
    }
    options = pair({**student, "selection": "b[:, 0] > 9"}, student)
    chunks = list(Reader(DataConfig(print_info=False, **options)).read(str(tmp_path / "jets.h5"), 20))
    assert np.concatenate([chunk.X["teacher_pf"][:, 0, 0] for chunk in chunks]).tolist() == list(range(10, 50))
    assert [chunk.rows for chunk in chunks] == [20, 20, 10]


def test_the_schema_is_the_same_for_all_chunks(path):
    reader = Reader(DataConfig(print_info=False, **paired()))
    schemas = {chunk.table.schema for chunk in reader.read(str(path), 7) if chunk.table}
    assert len(schemas) == 1


def test_unreadable_and_inconsistent_files(tmp_path):
    reader = Reader(DataConfig(print_info=False, **paired()))
    ak.to_parquet(random_jets(100), tmp_path / "truncated.parquet")
    content = (tmp_path / "truncated.parquet").read_bytes()
    (tmp_path / "truncated.parquet").write_bytes(content[:3000] + bytes(len(content) - 7000) + content[-4000:])
    with pytest.raises(InputError, match="truncated.parquet cannot be read"):
        list(reader.read(str(tmp_path / "truncated.parquet"), 10))
    jets = random_jets(100)
    jets["label_Hbb"] = np.ones(100, "int32")
    ak.to_parquet(jets, tmp_path / "labels.parquet")
    with pytest.raises(InputError, match="labels.parquet: weaver cannot preprocess its jets: Inconsistent label"):
        list(reader.read(str(tmp_path / "labels.parquet"), 10))


def test_reading_ahead_changes_nothing_and_passes_errors_on():
    def source():
        yield from range(3)
        raise InputError("broken")

    chunks = ahead(source())
    assert [next(chunks) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match="broken"):
        next(chunks)
    assert list(ahead(iter([1, 2]))) == [1, 2] and list(ahead(iter([]))) == []


def test_empty_parquet(tmp_path):
    ak.to_parquet(random_jets(5), tmp_path / "jets.parquet")
    pq.write_table(pq.read_table(tmp_path / "jets.parquet")[:0], tmp_path / "empty.parquet")
    reader = Reader(DataConfig(print_info=False, **paired()))
    assert sum(chunk.rows for chunk in reader.read(str(tmp_path / "empty.parquet"), 10)) == 0
