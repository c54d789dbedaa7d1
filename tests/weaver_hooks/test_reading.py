"""Damaged data with intact metadata, and classes without jets: weaver would continue with less data; the run ends."""

from types import SimpleNamespace

import awkward as ak
import numpy as np
import pyarrow.parquet as pq
import pytest
from distillation import FULL, L1, STUDENT, TEACHER, TRAINING, taught_by, words
from helpers import ROOT, damage_page, kd_trainer, random_jets, weaver
from weaver.utils import dataset
from weaver.utils.data import fileio, preprocess
from weaver_inputs import data_config, untrained

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import reading
from kd_trainer.weaver_hooks.arrays import promised
from kd_trainer.weaver_hooks.labels import check_classes
from kd_trainer.weaver_hooks.reading import read_whole

JETS = 240
SUPERVISED = ("-n", "networks/supervised.py", "-o", "network", "'networks/PFN.py'", *STUDENT)
DISTILL = ("-n", "networks/distill.py", "-o", "student", "'networks/PFN.py'", *STUDENT)


@pytest.fixture
def files(tmp_path):
    """a, b and val with the jets of all classes, as parquet files of three row groups."""
    for seed, name in enumerate(("a", "b", "val")):
        (tmp_path / name).mkdir()
        ak.to_parquet(random_jets(JETS, 20, seed), tmp_path / name / "jets.parquet", row_group_size=JETS // 3)
    return tmp_path


def train(folder, *args, **kwargs):
    return weaver("--data-train", folder / "a" / "*.parquet", folder / "b" / "*.parquet",
                  "--data-val", folder / "val" / "*.parquet", "-c", L1, "--num-epochs", 1, *TRAINING,
                  "-m", folder / "net", *args, **kwargs)  # fmt: skip


def refused(result, path):
    """The command ended with one line that names the file."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("weaver-kd: ")]
    assert result.returncode == 1 and "Traceback" not in result.stderr + result.stdout
    assert len(lines) == 1 and f"{path} cannot be read completely: " in lines[0]


@pytest.mark.parametrize("use, workers", [("a", 0), ("b", 1), ("val", 0)])
def test_a_damaged_page_ends_a_training(files, use, workers):
    path = files / use / "jets.parquet"
    damage_page(path, "part_px", group=1)
    result = train(files, *SUPERVISED, "--num-workers", workers, "--fetch-step", 0.5, check=False)
    refused(result, path)
    assert not list(files.glob("net_best*"))


def test_a_damaged_page_ends_a_prediction(files):
    untrained(files / "net.pt", L1, "PFN", phi_dims=(16, 16), rho_dims=(16,))
    path = files / "val" / "jets.parquet"
    damage_page(path, "jet_pt", group=2)
    result = weaver("--predict", "--data-test", path, "-c", L1, *SUPERVISED, *TRAINING[:4], "-m", files / "net.pt",
                    "--predict-output", files / "pred.root", check=False)  # fmt: skip
    refused(result, path)
    assert not (files / "pred.root").exists()


def test_weavers_own_training_function_reads_whole_files(files):
    path = files / "a" / "jets.parquet"
    damage_page(path, "part_px")
    refused(train(files, "-n", "networks/Sophon.py", *words(TEACHER), "--regression-mode", check=False), path)


def test_sampling_weights_come_from_whole_files(files):
    path = files / "a" / "jets.parquet"
    damage_page(path, "jet_sdmass")
    config = files / "config.yaml"
    config.write_text((ROOT / "data" / "JetClassII" / "JetClassII_l1.yaml").read_text())
    whole = ("--print", "--custom-functions", "train_scripts/whole.py")
    result = train(files, *SUPERVISED, *whole, "-c", config, check=False)
    assert result.returncode == 1 and f"weaver-kd: {path} cannot be read completely: " in result.stderr
    assert not list(files.glob("*.auto.yaml"))


class TestCaches:
    """Pages of a cache have checksums: no flipped bit of a soft target is read."""

    @pytest.fixture
    def cache(self, make_cache, files):
        make_cache(files / "cache", files / "a" / "*.parquet", files / "b" / "*.parquet")
        path = files / "cache" / "a" / "jets.parquet"
        damage_page(path, "teacher_logits", value=True)
        return path

    def test_check_all_finds_it(self, make_cache, files, cache):
        arguments = (files / "cache", files / "a" / "*.parquet", files / "b" / "*.parquet", "--check")
        result = make_cache(*arguments)
        assert result.stderr == "the metadata of 2 files match; the data were not read (--all reads them)\n"
        result = make_cache(*arguments, "--all", check=False)
        assert result.returncode == 1 and result.stderr.startswith(f"kd_trainer cache: {cache} is damaged (")
        assert result.stderr.count("\n") == 1 and not result.stdout
        make_cache(files / "cache", files / "a" / "*.parquet", "--overwrite")  # what is complete is not looked at
        cache.unlink()
        make_cache(*arguments[:-1])
        result = make_cache(*arguments, "--all")
        assert result.stderr == "the metadata of 2 files match; all data were read\n"
        result = make_cache(*arguments[:-1], "--all", check=False)
        assert result.stderr == "kd_trainer cache: --all is for --check: give both, or neither\n"

    def test_a_distillation_ends(self, files, cache, configs, teacher):
        train_files = ("--data-train", *(files / name / "jets.parquet" for name in "ab"))
        cached = ("-c", configs / "student.yaml", "-o", "kd_cache", f"'{files}/cache'")
        refused(train(files, *DISTILL, *taught_by(teacher), *cached, *train_files, check=False), cache)

    def test_jets_without_labels(self, files, configs, teacher):
        kd_trainer("pair", "--student", L1, "--teacher", FULL, "--unlabelled", "-o", files / "pair")
        damage_page(files / "b" / "jets.parquet", "part_py")
        mixed = (*DISTILL, *taught_by(teacher), "-c", configs / "paired.yaml",
                 "--data-config-val", configs / "student.yaml", "--data-train", files / "a" / "*.parquet",
                 "-o", "kd_unlabelled", f"['{files}/b/*.parquet']", "-o", "kd_unlabelled_config",
                 f"'{files}/pair/paired.yaml'", "-o", "kd_unlabelled_fraction", 0.5,
                 "--steps-per-epoch", 3, "--steps-per-epoch-val", 1)  # fmt: skip
        refused(train(files, *mixed, check=False), files / "b" / "jets.parquet")

    def test_jets_with_nan_get_no_soft_targets(self, make_cache, files):
        path = files / "a" / "jets.parquet"
        jets = ak.from_parquet(path)
        jets["part_d0val"] = jets.part_d0val * ak.Array([np.nan] * 2 + [1.0] * (JETS - 3) + [np.nan])
        ak.to_parquet(jets, path)
        result = make_cache(files / "cache", files / "*" / "*.parquet", check=False)
        assert result.returncode == 1 and result.stderr.endswith(
            f"1 of 3 files have no soft targets: {path}: 3 of {JETS} jets have NaN in the teacher's inputs, which "
            "weaver would replace by 0: repair the file, or give --allow-nan\n"
        )
        assert not (files / "cache" / "a").exists() or not list((files / "cache" / "a").iterdir())
        result = make_cache(files / "cache", files / "a" / "*.parquet", "--allow-nan")
        assert "3 of them have NaN in the teacher's inputs" in result.stdout


@pytest.fixture
def patched(monkeypatch):
    """Weaver's readers as a training has them; put back afterwards."""
    for module in (fileio, dataset, preprocess):
        monkeypatch.setattr(module, "_read_files", module._read_files)
    for name in reading.READERS:
        monkeypatch.setattr(fileio, name, getattr(fileio, name))
    for name in ("_preprocess", "_finalize_inputs"):
        monkeypatch.setattr(dataset, name, getattr(dataset, name))
    monkeypatch.setattr(pq, "ParquetFile", pq.ParquetFile)
    monkeypatch.setattr(reading, "ROWS", {})


@pytest.mark.parametrize("rows", [1, 7, 240])
@pytest.mark.parametrize("part", [None, (0, 1), (0.1, 0.35), (0.999, 1), (0.5, 0.5001)])
def test_as_many_jets_as_weaver_reads(patched, tmp_path, rows, part):
    ak.to_parquet(ak.Array({"x": np.arange(rows)}), tmp_path / "x.parquet", row_group_size=100)
    read_whole()
    table = fileio._read_files([str(tmp_path / "x.parquet")], ["x"], None if part is None else [part])
    assert len(table) == promised(rows, part)


def test_fewer_jets_than_promised(patched, tmp_path):
    path = tmp_path / "x.parquet"
    ak.to_parquet(ak.Array({"x": np.arange(20)}), path)
    read_whole({str(path): 40})
    with pytest.raises(InputError, match=r"x.parquet cannot be read completely: it gave 20 of 40 jets$"):
        fileio._read_files([str(path)], ["x"])
    with pytest.raises(SystemExit, match=r"weaver-kd: .*x.parquet cannot be read completely: it gave 10 of 20 jets$"):
        preprocess._read_files([str(path)], ["x"], (0, 0.5))
    readers = fileio._read_parquet
    read_whole()
    assert fileio._read_parquet is readers  # once is enough


def test_a_part_of_a_file_without_jets_that_pass_the_selection(patched, tmp_path):
    """As of a small file of JetClass-II, of which weaver would read a two-hundredth at a time."""
    config = data_config("JetClassII", "l1")
    jets = random_jets(10, 20)
    jets["jet_sdmass"] = [10.0] * 3 + [100.0] * 7
    ak.to_parquet(jets, tmp_path / "jets.parquet")
    options = {"training": True, "mode": "train", "reweight": False, "shuffle": False}
    read_whole()
    _, indices = dataset._load_next(config, [str(tmp_path / "jets.parquet")], [(0, 0.5)], options)
    assert len(indices) == 2
    with pytest.raises(InputError, match="none of the 2 jets that are read at once passes the selection: read more"):
        dataset._load_next(config, [str(tmp_path / "jets.parquet")], [(0, 0.2)], options)


def loader(*paths, part=(0, 1)):
    files, config = {"_": list(map(str, paths))}, data_config("JetClass", "l1")
    return SimpleNamespace(
        dataset=SimpleNamespace(config=config, _init_file_dict=files, _init_load_range_and_fraction=(part, 1, 1))
    )


class TestClasses:
    @pytest.fixture
    def without(self, tmp_path):
        """A file without QCD, but for the last jet."""
        jets = random_jets(JETS, 20)
        jets = ak.concatenate([jets[jets.label_QCD == 0], jets[jets.label_QCD == 1][:1]])
        ak.to_parquet(jets, tmp_path / "jets.parquet")
        return tmp_path / "jets.parquet"

    def test_a_class_without_jets(self, without, caplog):
        check_classes(loader(without), allowed=False)
        check_classes(loader(without, part=(0, 0.9)), allowed=True)
        with pytest.raises(InputError, match=r"have no jets of 1 of 10 classes \(QCD\): inspect them with"):
            check_classes(loader(without, part=(0, 0.9)), allowed=False)
        check_classes(loader(without, part=(0, 0.2)), allowed=False)  # chance

    def test_in_a_training(self, files):
        for name in "ab":
            jets = ak.from_parquet(files / name / "jets.parquet")
            ak.to_parquet(jets[jets.label_Tbl == 0], files / name / "jets.parquet")
        result = train(files, *SUPERVISED, check=False)
        assert result.returncode == 1 and "no jets of 1 of 10 classes (Tbl)" in result.stderr.splitlines()[-1]
        train(files, *SUPERVISED, "-o", "allow_missing_classes", "True")
        assert (files / "net_best_epoch_state.pt").exists()
