"""A training with soft targets from files: which files are accepted, and which are refused."""

import json
import shutil
from types import SimpleNamespace

import awkward as ak
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from distillation import TEACHER
from helpers import ROOT, random_jets
from weaver.utils.dataset import DataConfig, SimpleIterDataset

from kd_trainer import configs as data_configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.cached_teacher import CachedTeacher
from kd_trainer.cache.origin import Source
from kd_trainer.configs import teacher_view
from kd_trainer.distill import hooks
from kd_trainer.errors import InputError
from kd_trainer.teacher.frozen import load_teacher
from kd_trainer.teacher.spec import TeacherSpec

NETWORK = "networks/ParT.py"


@pytest.fixture
def folder(make_cache, configs, tmp_path, monkeypatch):
    """A folder with jets.parquet, its paired.yaml, and a cache."""
    monkeypatch.chdir(ROOT)
    ak.to_parquet(random_jets(60), tmp_path / "jets.parquet")
    shutil.copy(configs / "paired.yaml", tmp_path)
    make_cache(tmp_path / "cache", f"g:{tmp_path}/jets.parquet")
    return tmp_path


def cached_file(folder):
    return str(folder / "cache" / "g" / "jets.parquet")


def data_config(folder, name="cache/cached.yaml"):
    return DataConfig(print_info=False, **data_configs.load(folder / name) | {"observers": []})


def source(folder, weights, **changes):
    member = TeacherSpec(NETWORK, str(weights), TEACHER)._replace(**changes)
    return CachedTeacher(folder / "cache", Source(str(folder / "paired.yaml"), [member]))


def batch(folder, name="cache/cached.yaml", path=None):
    """All jets as weaver's training loader gives them: dict of tensors."""
    files, config = {"_": [str(path or cached_file(folder))]}, str(folder / name)
    loader = SimpleIterDataset(files, config, for_training=False, fetch_step=1, name="val", async_load=False)
    return {k: torch.stack([torch.as_tensor(X[k]) for X, *_ in loader]) for k in loader.config.input_names}


@pytest.mark.parametrize("args, tolerance", [([], 2e-3), (["--dtype", "float32"], 1e-6), (["--top", "9"], 2e-3)])
def test_soft_targets_are_those_of_the_live_teacher(folder, teacher, make_cache, args, tolerance):
    make_cache(folder / "cache", f"g:{folder}/jets.parquet", "--overwrite", *args)
    cached = source(folder, teacher)
    cached.verify([cached_file(folder)])
    view = teacher_view(data_config(folder, "paired.yaml"))
    jets = batch(folder, "paired.yaml", folder / "jets.parquet")
    live = load_teacher(NETWORK, teacher, view, TEACHER)(jets, "cpu").logits
    logits = cached(batch(folder), "cpu").logits
    assert logits.dtype == torch.float32 and logits.shape == (60, 10)
    for temperature in (1, 3):
        p, q = (live / temperature).softmax(dim=1), (logits / temperature).softmax(dim=1)
        torch.testing.assert_close(q, p, rtol=0, atol=tolerance)


def test_the_log_says_where_they_come_from(folder, teacher):
    cached = source(folder, teacher)
    cached.verify([cached_file(folder)])
    where = f"from the cache {folder}/cache (1 files, all of 10 logits, float16)"
    for part in (NETWORK, str(teacher), "SHA-256", where):
        assert part in cached.description


def refused(folder, weights, message, path=None, **changes):
    with pytest.raises(InputError, match=message):
        source(folder, weights, **changes).verify([path or cached_file(folder)])


def test_another_teacher_is_refused(folder, teacher):
    other = torch.load(teacher, weights_only=True)
    other["mod.fc.0.bias"] += 1
    torch.save(other, folder / "other.pt")
    refused(folder, folder / "other.pt", "1 of 1 files .* have another origin; .*teacher.weights was")
    (folder / "other.py").write_text((ROOT / NETWORK).read_text() + "\n")
    refused(folder, teacher, "teacher.network was", network=str(folder / "other.py"))
    refused(folder, teacher, r"teacher.options was .*, is .*\"trim\": false", options=TEACHER | {"trim": False})
    refused(folder, "none.pt", "weights none.pt does not exist")


def test_a_network_file_counts_with_those_that_it_names(tmp_path):
    """As Sophon.py, which is ParT.py with other sizes."""
    for name in ("Sophon", "ParT"):
        shutil.copy(ROOT / "networks" / f"{name}.py", tmp_path)
    before = {name: fingerprint.of_network(tmp_path / f"{name}.py") for name in ("Sophon", "ParT")}
    assert before["ParT"] == fingerprint.sha256(tmp_path / "ParT.py")
    with open(tmp_path / "ParT.py", "a") as file:
        file.write("# changed")
    after = {name: fingerprint.of_network(tmp_path / f"{name}.py") for name in ("Sophon", "ParT")}
    assert after["ParT"] != before["ParT"] and after["Sophon"] != before["Sophon"]


def test_another_version_of_weaver_is_refused_and_of_torch_is_logged(folder, teacher, monkeypatch):
    version, warnings = fingerprint.version, []
    monkeypatch.setattr("kd_trainer.cache.cached_teacher._logger.warning", lambda *args: warnings.append(args))
    monkeypatch.setattr(fingerprint, "version", lambda name: "9.9" if name == "torch" else version(name))
    source(folder, teacher).verify([cached_file(folder)])
    assert "versions.torch was" in warnings[0][1]
    monkeypatch.setattr(fingerprint, "version", lambda name: "9.9" if name == "weaver-core" else version(name))
    refused(folder, teacher, "versions.weaver-core was")


def test_a_changed_config_is_refused(folder, teacher):
    paired = yaml.safe_load((folder / "paired.yaml").read_text())
    write = (folder / "paired.yaml").write_text
    write(yaml.safe_dump(paired | {"selection": "jet_pt > 1"}, sort_keys=False))
    refused(folder, teacher, "config was")
    changed = yaml.safe_dump(paired, sort_keys=False).replace("2.0", "2.5", 1)
    write(changed)
    refused(folder, teacher, "of .*paired.yaml differs from .*cached.yaml|config was")
    classes = paired | {"labels": {"type": "simple", "value": paired["labels"]["value"][:9]}}
    write(yaml.safe_dump(classes, sort_keys=False))
    refused(folder, teacher, "`labels` of .*paired.yaml differs from .*cached.yaml: run cache again")
    cached = yaml.safe_load((folder / "cache" / "cached.yaml").read_text())
    (folder / "cache" / "cached.yaml").write_text(
        yaml.safe_dump(cached | {"labels": classes["labels"]}, sort_keys=False)
    )
    refused(folder, teacher, "the cache has 10 classes, the data config has 9")


def test_old_sampling_weights_are_refused(folder, teacher, make_cache):
    paired = yaml.safe_load((folder / "paired.yaml").read_text())
    weights = {"use_precomputed_weights": False, "reweight_method": "flat", "reweight_vars": {"jet_pt": [0, 2000],
               "jet_tau1": [0, 1]}, "reweight_classes": ["label_QCD"]}  # fmt: skip
    for value in (0.5, 0.25):
        with_weights = paired | {"weights": {**weights, "reweight_hists": {"label_QCD": [[value]]}}}
        (folder / "paired.yaml").write_text(yaml.safe_dump(with_weights, sort_keys=False))
        if value == 0.5:
            make_cache(folder / "cache", f"g:{folder}/jets.parquet", "--overwrite", paired=folder / "paired.yaml")
            source(folder, teacher).verify([cached_file(folder)])
    refused(folder, teacher, "`weights` of .*paired.yaml differs from")


def test_other_files_are_refused(folder, teacher, make_cache):
    refused(folder, teacher, "jets.parquet is not a file that 'cache' has written", path=str(folder / "jets.parquet"))
    table = pq.read_table(cached_file(folder))
    for metadata in (None, {b"kd_trainer.cache": b"{"}):
        pq.write_table(table.replace_schema_metadata(metadata), folder / "bare.parquet")
        refused(folder, teacher, "is not a file that 'cache' has written", path=str(folder / "bare.parquet"))
    old = json.loads(table.schema.metadata[b"kd_trainer.cache"]) | {"format": 0}
    pq.write_table(table.replace_schema_metadata({b"kd_trainer.cache": json.dumps(old)}), folder / "old.parquet")
    refused(folder, teacher, "format was 0, is 1", path=str(folder / "old.parquet"))
    before = (folder / "cache" / "cached.yaml").read_text()
    make_cache(folder / "cache", f"g:{folder}/jets.parquet", "--overwrite", "--top", 2)
    now = (folder / "cache" / "cached.yaml").read_text()
    (folder / "cache" / "cached.yaml").write_text(before)
    refused(folder, teacher, "reads columns that the cache lacks")
    (folder / "cache" / "cached.yaml").write_text(now)
    make_cache(folder / "two", f"g:{folder}/jets.parquet")
    with pytest.raises(InputError, match="1 of 2 files .*layout.top was 0, is 2"):
        source(folder, teacher).verify([cached_file(folder), str(folder / "two" / "g" / "jets.parquet")])


def test_input_files_that_changed_or_are_gone(folder, teacher, monkeypatch):
    lines = []
    monkeypatch.setattr("kd_trainer.cache.cached_teacher._logger.info", lambda text, *args: lines.append(text % args))
    ak.to_parquet(random_jets(60, seed=9), folder / "jets.parquet")
    refused(folder, teacher, "1 input files have changed since .*jets.parquet; run cache again")
    (folder / "jets.parquet").unlink()
    source(folder, teacher).verify([cached_file(folder)])
    assert lines == ["1 of 1 input files of the cache do not exist here, so they cannot be verified"]


def options(folder, teacher, **changes):
    given = {"student": "networks/PFN.py", "teacher": NETWORK, "teacher_weights": str(teacher),
             "teacher_options": TEACHER, "kd_cache": str(folder / "cache")}  # fmt: skip
    return {k: v for k, v in (given | changes).items() if v is not None}


def test_the_hook_takes_a_cache_only_when_asked(folder, teacher):
    with pytest.raises(SystemExit, match="reads soft targets from a cache: name its folder with -o kd_cache"):
        hooks.get_train_fn(data_config(folder), **options(folder, teacher, kd_cache=None))
    with pytest.raises(SystemExit, match="there is no cache in nowhere"):
        hooks.get_train_fn(data_config(folder), **options(folder, teacher, kd_cache="nowhere"))
    for name in ("cache/cached.yaml", "paired.yaml"):
        assert callable(hooks.get_train_fn(data_config(folder, name), **options(folder, teacher)))


def test_the_files_are_verified_before_the_first_batch(folder, teacher):
    ak.to_parquet(random_jets(60, seed=9), folder / "jets.parquet")
    train = hooks.get_train_fn(data_config(folder), **options(folder, teacher))
    dataset = SimpleNamespace(config=data_config(folder), _init_file_dict={"g": [cached_file(folder)]})
    loader = SimpleNamespace(dataset=dataset, collate_fn=None, num_workers=0)
    args = {"args": SimpleNamespace(regression_mode=False, data_config="c.yaml"), "val_loader": loader}
    with pytest.raises(SystemExit, match="1 input files have changed since"):
        train(torch.nn.Identity(), None, None, None, loader, torch.device("cpu"), 0, extra_args=args)


def test_labels_alone_from_a_cache_need_no_teacher(folder):
    assert callable(hooks.get_train_fn(data_config(folder), student="networks/PFN.py", kd_alpha=0.0))
