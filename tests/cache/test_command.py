"""Soft targets on disk: their content, their provenance, and the errors of the command."""

import errno
import json
import os

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from distillation import FULL, TEACHER
from helpers import ROOT, random_jets
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module
from weaver_inputs import table_of

from kd_trainer import configs as data_configs
from kd_trainer.cache import compute, fingerprint
from kd_trainer.cache.paths import targets_of
from kd_trainer.cache.ranks import rank_and_size, share
from kd_trainer.errors import InputError
from kd_trainer.teacher import precision
from kd_trainer.weaver_hooks.reading import read_whole

JETS = 90


@pytest.fixture
def files(tmp_path):
    """Two files of jets in two folders."""
    for seed, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        ak.to_parquet(random_jets(JETS + seed, particles=60, seed=seed), tmp_path / name / "jets.parquet")
    return [tmp_path / name / "jets.parquet" for name in "ab"]


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def content(folder):
    """The tables of all files of a cache, and what is said to have made them."""
    paths = sorted(folder.rglob("*.parquet"))
    return {str(path.relative_to(folder)): (pq.read_table(path), fingerprint.read(path)) for path in paths}


def test_logits_are_the_teachers_in_the_order_of_the_jets(make_cache, teacher, files, cache, monkeypatch):
    monkeypatch.setattr(compute, "JETS", 20)  # several chunks and row groups
    result = make_cache(cache, *files, "--dtype", "float32", "--store", "branches")
    assert "rank 0 of 1: 2 of 2 files, 0 of them complete" in result.stdout
    assert f"{2 * JETS + 1} of {2 * JETS + 1} jets were selected and written" in result.stdout
    config = DataConfig.load(str(FULL), load_observers=False)
    model, _ = import_module(str(ROOT / "networks" / "ParT.py")).get_model(config, **TEACHER)
    model.load_state_dict(torch.load(teacher, weights_only=True))
    for path in files:
        table, _ = table_of(config, path)
        with torch.no_grad():
            logits = model.eval()(*(torch.from_numpy(table["_" + name]) for name in config.input_names)).numpy()
        jets, written = ak.from_parquet(path), ak.from_parquet(cache / path.parent.name / "jets.parquet")
        shifted = logits - logits.max(axis=1, keepdims=True)
        np.testing.assert_allclose(ak.to_numpy(written.teacher_logits), shifted, atol=1e-4)
        assert logits.std(axis=0).min() > 1e-2
        for name in ("jet_pt", "part_px", "label_QCD"):
            assert ak.to_list(written[name]) == ak.to_list(jets[name])
        assert len(pq.ParquetFile(cache / path.parent.name / "jets.parquet").metadata.to_dict()["row_groups"]) == 5


@pytest.mark.parametrize("store", ["inputs", "branches"])
def test_the_config_reads_the_files_in_weaver(make_cache, files, cache, configs, store):
    make_cache(cache, *files, "--store", store, "--dtype", "float32")
    read_whole()
    config = DataConfig(print_info=False, **data_configs.load(cache / "cached.yaml") | {"observers": []})
    table, _ = table_of(config, cache / "a" / "jets.parquet", training=True, part=(0.1, 0.8))
    assert table["_teacher_logits"].shape == (63, 10) and table["_teacher_logits"].dtype == np.float32
    student = DataConfig(print_info=False, **data_configs.load(configs / "student.yaml") | {"observers": []})
    alone, _ = table_of(student, files[0], training=True, part=(0.1, 0.8))
    assert config.input_names == (*(student.input_names if store == "branches" else ()), "teacher_logits")
    for name in student.input_names:
        # numpy's vectorised functions depend on where in memory an array begins, in the last digit
        np.testing.assert_allclose(table["_" + name], alone["_" + name], rtol=1e-4, atol=1e-6)


def test_sampling_weights_come_with_the_config(make_cache, files, cache, configs, tmp_path):
    paired = yaml.safe_load((configs / "paired.yaml").read_text())
    weights = {
        "use_precomputed_weights": False,
        "reweight_method": "flat",
        "reweight_vars": {"jet_pt": [0, 2000], "jet_tau1": [0, 1]},
        "reweight_classes": ["label_QCD"],
        "reweight_hists": {"label_QCD": [[0.5]]},
    }
    for value in (0.5, 0.25):  # other weights leave the soft targets as they are
        weights["reweight_hists"]["label_QCD"] = [[value]]
        (tmp_path / "paired.yaml").write_text(yaml.safe_dump(paired | {"weights": weights}, sort_keys=False))
        result = make_cache(cache, *files, paired=tmp_path / "paired.yaml")
        assert yaml.safe_load((cache / "cached.yaml").read_text())["weights"] == weights
    assert "2 of them complete" in result.stdout
    assert {"jet_pt", "jet_tau1"} <= set(pq.read_schema(cache / "a" / "jets.parquet").names)


def test_top_logits(make_cache, files, cache):
    make_cache(cache, files[0], "--top", 3)
    table = pq.read_table(cache / "a" / "jets.parquet")
    assert {"teacher_top_logits", "teacher_top_classes", "teacher_rest"} <= set(table.column_names)
    assert "teacher_logits" not in table.column_names
    config = DataConfig(print_info=False, **data_configs.load(cache / "cached.yaml"))
    assert [name for name in config.input_names if "teacher" in name] == [
        "teacher_top_logits", "teacher_top_classes", "teacher_rest"]  # fmt: skip
    assert make_cache(cache, files[0], "--check").stdout.strip().endswith("a/jets.parquet")  # as train_kd.sh asks
    result = make_cache(cache, files[0], "--check", "--dtype", "float32", check=False)
    assert "layout.dtype was float16" in result.stderr


def test_bfloat16(make_cache, files, cache):
    make_cache(cache / "32", files[0], "--dtype", "float32")
    result = make_cache(cache / "16", files[0], "--dtype", "float32", "--precision", "bfloat16")
    assert "bfloat16 against float32 on " in result.stdout and " jets: log-probabilities differ by " in result.stdout
    paths = [cache / name / "a" / "jets.parquet" for name in ("32", "16")]
    exact, rounded = (ak.to_numpy(ak.from_parquet(path).teacher_logits) for path in paths)
    assert 1e-5 < np.abs(exact - rounded).max() < 0.2
    result = make_cache(cache / "16", files[0], "--dtype", "float32", check=False)
    assert "precision was bfloat16, is float32" in result.stderr
    result = make_cache(cache / "32", files[0], "--precision", "bfloat16", "--check", check=False)
    assert "precision was float32, is bfloat16" in result.stderr
    assert make_cache(cache / "16", files[0], "--check").stdout.strip().endswith("a/jets.parquet")


def test_what_is_wrong_with_every_file_is_said_once(make_cache, files, cache, monkeypatch):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    result = make_cache(cache, *files, "--precision", "bfloat16", check=False)
    assert result.stderr.count("this GPU does not support bfloat16: run cache with --precision float32") == 1
    assert "Traceback" not in result.stderr and not list(cache.rglob("*.parquet"))


def test_what_is_complete_is_left_alone(make_cache, files, cache):
    make_cache(cache, files[0])
    before = (cache / "a" / "jets.parquet").stat().st_mtime_ns
    assert make_cache(cache, *files, "--check", check=False).stderr.startswith(
        f"kd_trainer cache: the cache is not complete: there is no {cache}/b/jets.parquet"
    )
    assert "1 of them complete" in make_cache(cache, *files).stdout
    assert (cache / "a" / "jets.parquet").stat().st_mtime_ns == before
    result = make_cache(cache, f"x:{files[0]}", files[1], "--check", check=False)
    assert result.returncode == 1 and "no " + str(cache / "x" / "jets.parquet") in result.stderr
    assert make_cache(cache, *files, "--check").stdout.split() == [str(cache / n / "jets.parquet") for n in "ab"]
    make_cache(cache, f"x:{files[0]}")
    assert make_cache(cache, f"x:{files[0]}", "--check").stdout.split() == [f"x:{cache}/x/jets.parquet"]


@pytest.fixture
def others(configs, teacher, tmp_path):
    """The same settings in another notation, and different settings."""
    network = (ROOT / "networks" / "ParT.py").read_text()
    (tmp_path / "other.py").write_text(network + "\n# changed\n")
    weights = torch.load(teacher, weights_only=True)
    weights["mod.fc.0.bias"] += 1
    torch.save(weights, tmp_path / "other.pt")
    paired = yaml.safe_load((configs / "paired.yaml").read_text())
    (tmp_path / "same.yaml").write_text(
        "# a comment\n" + yaml.safe_dump(paired, sort_keys=False, default_flow_style=True)
    )
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(paired | {"selection": "jet_pt > 1"}, sort_keys=False))
    (tmp_path / "order.yaml").write_text(yaml.safe_dump(paired, sort_keys=True))
    return tmp_path


@pytest.mark.parametrize(
    "args, kwargs, message",
    [
        ([], {"network": "other.py"}, "teacher.network was "),
        ([], {"weights": "other.pt"}, "teacher.weights was "),
        (["-o", "trim", "False"], {}, "teacher.options was "),
        ([], {"paired": "other.yaml"}, "config was "),
        (["--dtype", "float32"], {}, "layout.dtype was float16, is float32"),
        (["--top", "4"], {}, "layout.top was 0, is 4"),
    ],
)
def test_each_kind_of_mismatch(make_cache, files, cache, others, args, kwargs, message):
    make_cache(cache, files[0])
    before = (cache / "a" / "jets.parquet").read_bytes()
    kwargs = {name: others / value for name, value in kwargs.items()}
    for mode in ([], ["--check"]):
        result = make_cache(cache, *args, *mode, files[0], check=False, **kwargs)
        assert result.returncode == 1 and result.stderr.count("\n") == 1
        assert "has another origin" in result.stderr and message in result.stderr
        assert "give --overwrite" in result.stderr
    assert (cache / "a" / "jets.parquet").read_bytes() == before
    assert "0 of them complete" in make_cache(cache, *args, "--overwrite", files[0], **kwargs).stdout
    assert "1 of them complete" in make_cache(cache, *args, "--overwrite", files[0], **kwargs).stdout


def test_a_config_written_otherwise_is_the_same(make_cache, configs, files, cache, others):
    make_cache(cache, files[0])
    assert "1 of them complete" in make_cache(cache, files[0], paired=others / "same.yaml").stdout
    (cache / "cached.0.auto.yaml").touch()
    DataConfig.load(str(configs / "paired.yaml")).dump(cache / "dumped.yaml")  # as weaver does with sampling weights
    assert "1 of them complete" in make_cache(cache, files[0], paired=cache / "dumped.yaml").stdout
    assert not (cache / "cached.0.auto.yaml").exists()
    result = make_cache(cache, files[0], paired=others / "order.yaml", check=False)
    assert "config was " in result.stderr  # the order of the inputs is that of the network's arguments


def test_input_files_changed_since(make_cache, files, cache):
    make_cache(cache, *files)
    os.utime(files[1], ns=(0, 1))
    result = make_cache(cache, *files, check=False)
    assert "b/jets.parquet has another origin (input.mtime_ns was " in result.stderr
    make_cache(cache, *files, "--overwrite")
    ak.to_parquet(random_jets(10), files[1])
    os.utime(files[1], ns=(0, 1))
    assert "input.size was " in make_cache(cache, *files, check=False).stderr


@pytest.mark.parametrize("package, strict", [("torch", False), ("weaver-kd", False), ("weaver-core", True)])
def test_other_versions(make_cache, files, cache, monkeypatch, package, strict):
    make_cache(cache, files[0])
    version = fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "9.9" if name == package else version(name))
    result = make_cache(cache, files[0], check=False)
    assert (
        result.returncode == strict
        and (f"versions.{package} was {version(package)}, is 9.9" in result.stderr) == strict
    )


def test_foreign_file_in_the_place_of_a_cached_one(make_cache, files, cache):
    (cache / "a").mkdir(parents=True)
    (cache / "a" / "jets.parquet").write_bytes(files[0].read_bytes())
    assert "jets.parquet is not a file that 'cache' has written" in make_cache(cache, files[0], check=False).stderr
    make_cache(cache, files[0], "--overwrite")
    assert "teacher_logits" in pq.read_schema(cache / "a" / "jets.parquet").names


def test_unreadable_files_do_not_stop_the_others(make_cache, files, cache, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "nonsense.parquet").write_bytes(b"PAR1 nonsense")
    whole = files[1].read_bytes()
    (tmp_path / "bad" / "half.parquet").write_bytes(whole[:3000] + bytes(len(whole) - 7000) + whole[-4000:])
    ak.to_parquet(random_jets(5)[["jet_pt"]], tmp_path / "bad" / "lacks.parquet")
    result = make_cache(cache, tmp_path / "bad" / "*.parquet", *files, check=False)
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert "3 of 5 files have no soft targets" in line
    for text in ("nonsense.parquet cannot be read", "half.parquet cannot be read", "lacks.parquet lacks jet_energy"):
        assert text in line
    assert sorted(content(cache)) == ["a/jets.parquet", "b/jets.parquet"]
    assert [path.name for path in cache.rglob(".*")] == []


def test_a_file_without_selected_jets(make_cache, files, cache, configs, tmp_path):
    paired = yaml.safe_load((configs / "paired.yaml").read_text())
    (tmp_path / "paired.yaml").write_text(yaml.safe_dump(paired | {"selection": "jet_pt > 1e9"}, sort_keys=False))
    result = make_cache(cache, files[0], paired=tmp_path / "paired.yaml", check=False)
    assert f"a/jets.parquet has no jets that pass the selection ({JETS} read)" in result.stderr


def test_teacher_of_other_classes_and_with_nan(make_cache, files, cache, teacher, tmp_path):
    result = make_cache(cache, files[0], "-o", "num_classes", "5", check=False)
    assert result.stderr.splitlines()[-1].startswith("kd_trainer cache: the weights")
    weights = torch.load(teacher, weights_only=True)
    weights["mod.fc.0.bias"][0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    result = make_cache(cache, files[0], weights=tmp_path / "nan.pt", check=False)
    assert "the teacher gives logits that are not finite" in result.stderr
    assert not content(cache)


def test_folder_that_cannot_be_written(make_cache, files, tmp_path):
    (tmp_path / "file").write_text("")
    result = make_cache(tmp_path / "file" / "cache", files[0], check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert f"{tmp_path}/file/cache/cached.yaml cannot be written: Not a directory" in result.stderr
    result = make_cache("/proc/cache", files[0], "--rank", 1, "--world-size", 2, check=False)
    assert result.returncode == 0  # another rank's file
    result = make_cache("/proc/cache", files[0], "--rank", 0, "--world-size", 2, check=False)
    assert result.returncode == 1 and "/proc/cache/cached.yaml cannot be written: " in result.stderr.splitlines()[-1]
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / files[0].parent.name).write_text("")
    result = make_cache(tmp_path / "cache", files[0], check=False)
    assert result.returncode == 1 and "cannot be written: " in result.stderr.splitlines()[-1]


class Full:
    """A disk with room for some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 20000, 10**9])
def test_full_disk(make_cache, files, cache, monkeypatch, room):
    writer = compute.Writer
    monkeypatch.setattr(compute, "JETS", 30)
    monkeypatch.setattr(compute, "Writer", lambda file, made: writer(Full(file, room), made))
    result = make_cache(cache, *files, check=False)
    if room == 10**9:
        assert result.returncode == 0
        return
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].endswith("cannot be written: the disk is full")
    assert not content(cache) and not list(cache.rglob(".*"))


def test_a_file_that_changes_while_it_is_read(make_cache, files, cache, monkeypatch):
    def touching(chunks):
        os.utime(files[0], ns=(0, 7))
        return chunks

    monkeypatch.setattr(compute, "ahead", touching)
    assert "a/jets.parquet changed while it was read" in make_cache(cache, files[0], check=False).stderr
    assert not content(cache)


def test_a_file_that_another_process_writes(make_cache, files, cache):
    import fcntl

    (cache / "a").mkdir(parents=True)
    with open(cache / "a" / ".jets.parquet.part", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "is being written by another process" in make_cache(cache, files[0], check=False).stderr
    make_cache(cache, files[0])
    assert sorted(content(cache)) == ["a/jets.parquet"] and not list(cache.rglob(".*.part"))


def test_names_of_files(tmp_path, files):
    targets = targets_of([f"x:{tmp_path}/a/*.parquet", str(files[1])], tmp_path / "cache")
    assert [str(target.output.relative_to(tmp_path)) for target in targets.values()] == [
        "cache/x/jets.parquet", "cache/b/jets.parquet"]  # fmt: skip
    with pytest.raises(InputError, match="would both become .*/x/jets.parquet: give them different group names"):
        targets_of([f"x:{files[0]}", f"x:{files[1]}"], tmp_path)
    with pytest.raises(InputError, match="no file matches nothing"):
        targets_of(["x:nothing*.root"], tmp_path)


def test_shares_are_balanced_and_cover_everything():
    sizes = dict(zip("abcdefg", (5, 1, 4, 3, 2, 9, 6)))
    shares = [share(sizes, rank, 3) for rank in range(3)]
    assert sorted(sum(shares, [])) == list("abcdefg")
    assert [sum(sizes[name] for name in part) for part in shares] == [11, 10, 9]
    assert share(sizes, 0, 1) == list("fgacdeb")


@pytest.mark.parametrize(
    "given, environment, expected",
    [
        ((None, None), {}, (0, 1)),
        ((None, None), {"RANK": "2", "WORLD_SIZE": "4", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (2, 4)),
        ((None, None), {"SLURM_PROCID": "3", "SLURM_NTASKS": "8"}, (3, 8)),
        ((1, 5), {"RANK": "2", "WORLD_SIZE": "4"}, (1, 5)),
    ],
)
def test_launchers(given, environment, expected):
    assert rank_and_size(*given, environment) == expected


def test_ranks_that_do_not_exist():
    with pytest.raises(InputError, match="rank 4 of 4 processes"):
        rank_and_size(4, 4)
    with pytest.raises(InputError, match="give both"):
        rank_and_size(1, None)


def test_the_fingerprint_is_json_in_the_metadata(make_cache, files, cache):
    make_cache(cache, "--store", "inputs", files[0])
    made = json.loads(pq.read_schema(cache / "a" / "jets.parquet").metadata[b"kd_trainer.cache"])
    assert set(made) == {"format", "teacher", "config", "layout", "precision", "versions", "input"}
    assert made["teacher"]["options"] == TEACHER
    assert made["layout"] == {"classes": 10, "top": 0, "dtype": "float16", "inputs": "arrays"}
    assert made["input"]["path"] == str(files[0]) and made["input"]["size"] == files[0].stat().st_size
