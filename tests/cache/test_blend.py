"""Blends of the caches of several teachers with different inputs: content, errors, and trainings with them."""

import os
import shutil
from types import SimpleNamespace

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from distillation import L1, STUDENT, TRAINING
from helpers import ROOT, kd_trainer, random_jets, weaver
from weaver.utils.dataset import DataConfig
from weaver_inputs import untrained

from kd_trainer import configs as data_configs
from kd_trainer.cache import blend, fingerprint
from kd_trainer.cache.columns import LOGITS
from kd_trainer.digests import sha256
from kd_trainer.distill import hooks
from kd_trainer.distill.losses import soft_target_loss
from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.teacher.ensemble import mixture
from kd_trainer.weaver_hooks.inputs import Gather

PFN, SMALL = "networks/PFN.py", {"phi_dims": [8, 8], "rho_dims": [8]}
WEIGHTS = {"large": 0.8, "full": 0.2}


@pytest.fixture(scope="module")
def originals(make_cache, configs, teacher, tmp_path_factory):
    """Two files of jets, the checkpoint and paired config of a second teacher, a cache of each teacher: a folder."""
    folder = tmp_path_factory.mktemp("blend")
    for seed, name in enumerate("ab"):
        (folder / name).mkdir()
        ak.to_parquet(random_jets(50 + seed, particles=20, seed=seed), folder / name / "jets.parquet")
    untrained(folder / "large.pt", L1, "PFN", seed=4, **SMALL)
    shutil.copy(teacher, folder / "full.pt")
    shutil.copytree(configs, folder / "pair_full")
    kd_trainer("pair", "--student", L1, "--teacher", L1, "-o", folder / "pair_large")
    make_cache(folder / "full", folder / "*" / "jets.parquet", "--dtype", "float32", weights=folder / "full.pt",
               paired=folder / "pair_full" / "paired.yaml")  # fmt: skip
    make_large(folder, folder / "large")
    return folder


def make_large(folder, output, *args, paired=None):
    options = [word for name, value in SMALL.items() for word in ("-o", name, value)]
    return kd_trainer("cache", "--paired", paired or folder / "pair_large" / "paired.yaml", "--network", PFN,
                      "--weights", folder / "large.pt", *options, "--output", output, "--device", "cpu",
                      "--dtype", "float32", *args, folder / "[ab]" / "jets.parquet")  # fmt: skip


@pytest.fixture
def folder(originals, tmp_path, monkeypatch):
    """The same, to be changed at will: the caches are copies, all else is restored."""
    monkeypatch.chdir(ROOT)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns)
            for pattern in ("*.pt", "[ab]/jets.parquet", "pair_*/paired.yaml")
            for path in originals.glob(pattern)}  # fmt: skip
    for name in WEIGHTS:
        shutil.copytree(originals / name, tmp_path / name)
    yield tmp_path
    for path, (content, time) in kept.items():
        path.write_bytes(content)
        os.utime(path, ns=(time, time))


def make_blend(folder, *args, check=True, output="blend", **weights):
    words = [f"{folder / name}={weight}" for name, weight in (weights or WEIGHTS).items()]
    return kd_trainer("cache", "--blend", *words, "--output", folder / output, *args, check=check)


def refused(folder, message, *args, output="blend", **weights):
    result = make_blend(folder, *args, check=False, output=output, **weights)
    assert result.returncode == 1 and message in result.stderr.splitlines()[-1], result.stderr
    assert "Traceback" not in result.stderr


def logits(path):
    return torch.from_numpy(ak.to_numpy(ak.from_parquet(path)[LOGITS]).astype("float64"))


def test_one_kl_against_the_blend_is_the_weighted_sum_of_all():
    """At temperature 1 the gradients are equal, and the values are equal up to a constant."""
    torch.manual_seed(0)
    teachers, weights = torch.randn(3, 20, 5, dtype=torch.float64) * 3, [0.5, 0.3, 0.2]
    kl = soft_target_loss("kl", {})
    labels = torch.zeros(20, dtype=torch.long)

    def loss(z, temperature):
        one = kl(teacher_logits=mixture(list(teachers), weights), student_logits=z, labels=labels,
                 temperature=temperature)  # fmt: skip
        every = [kl(teacher_logits=t, student_logits=z, labels=labels, temperature=temperature) for t in teachers]
        return one, sum(w * value for w, value in zip(weights, every))

    differences = []
    for _ in range(2):
        z = torch.randn(20, 5, dtype=torch.float64, requires_grad=True)
        ours, theirs = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in loss(z, 1.0))
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-14)
        one, every = loss(z, 1.0)
        differences.append((every - one).item())
        ours, theirs = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in loss(z, 3.0))
        assert (ours - theirs).abs().max() > 1e-4  # not so at another temperature
    assert differences[0] == pytest.approx(differences[1], rel=1e-9)
    assert differences[0] > 0


@pytest.mark.parametrize("dtype, tolerance", [("float32", 2e-7), ("float16", 1e-3)])
def test_a_blend_is_the_weighted_mean_of_probabilities(folder, monkeypatch, dtype, tolerance):
    monkeypatch.setattr(blend, "JETS", 20)  # several batches
    result = make_blend(folder, "--dtype", dtype, large=4, full=1)
    assert "rank 0 of 1: 2 of 2 files, 0 of them complete" in result.stdout
    for name in "ab":
        large, full, ours = (folder / part / name / "jets.parquet" for part in ("large", "full", "blend"))
        expected = 0.8 * logits(large).softmax(dim=1) + 0.2 * logits(full).softmax(dim=1)
        torch.testing.assert_close(logits(ours).softmax(dim=1), expected, rtol=0, atol=tolerance)
        tables = [pq.read_table(path).drop_columns([LOGITS]) for path in (large, ours)]
        assert tables[0].equals(tables[1])
        made, parts = fingerprint.read(ours), [fingerprint.read(path) for path in (large, full)]
        assert made["input"] == parts[0]["input"] and made["layout"]["dtype"] == dtype
        for member, part, weight in zip(made["members"].values(), parts, (0.8, 0.2)):
            assert member == {"weight": weight, **{key: value for key, value in part.items() if key != "input"}}
    cached = [data_configs.load(folder / name / "cached.yaml") for name in ("blend", "large", "full")]
    assert cached[0] == cached[1] == cached[2]
    members = yaml.safe_load((folder / "blend" / "blend.yaml").read_text())["members"]
    assert [(one["folder"], one["weight"]) for one in members] == [
        (str(folder / name), weight) for name, weight in WEIGHTS.items()]  # fmt: skip
    assert members[0]["fingerprint"]["teacher"]["weights"] == sha256(members[0]["teachers"][0]["weights"])
    assert members[0]["teachers"][0]["options"] == SMALL


def test_what_is_complete_is_left_alone_and_an_interrupted_blend_goes_on(folder, monkeypatch):
    written, write = [], blend.write

    def stopping(paths, weights, output, *args):
        if written:
            raise KeyboardInterrupt
        written.append(output)
        write(paths, weights, output, *args)

    monkeypatch.setattr(blend, "write", stopping)
    with pytest.raises(KeyboardInterrupt):
        make_blend(folder)
    refused(folder, f"the cache is not complete: there is no {folder}/blend/", "--check")
    time = written[0].stat().st_mtime_ns
    monkeypatch.setattr(blend, "write", write)
    assert "1 of them complete" in make_blend(folder).stdout
    assert "2 of them complete" in make_blend(folder).stdout
    assert written[0].stat().st_mtime_ns == time
    output = folder / "blend"
    assert make_blend(folder, "--check").stdout.split() == [f"{name}:{output}/{name}/jets.parquet" for name in "ab"]
    refused(folder, "has another origin (members.1.weight was 0.8, is 0.5", large=1, full=1)
    refused(folder, "layout.dtype was float16, is float32", "--dtype", "float32")
    refused(folder, "layout.dtype was float16, is float32", "--dtype", "float32", "--check")
    assert yaml.safe_load((output / "blend.yaml").read_text())["members"][0]["weight"] == 0.8
    assert "0 of them complete" in make_blend(folder, "--overwrite", large=1, full=1).stdout


@pytest.mark.parametrize(
    "words, message",
    [
        (["large=1"], "--blend needs at least two caches, each as DIR=WEIGHT"),
        (["large=1", "full=-1"], "full=-1: give DIR=WEIGHT, with a number above 0 as weight"),
        (["large=1", "full=0"], "full=0: give DIR=WEIGHT"),
        (["large=1", "full=nan"], "full=nan: give DIR=WEIGHT"),
        (["large=1", "full=inf"], "full=inf: give DIR=WEIGHT"),
        (["large=1", "full=much"], "full=much: give DIR=WEIGHT"),
        (["large=1", "full"], "full: give DIR=WEIGHT"),
        (["large=1", "large/=1"], "large/ twice"),
        (["large=1", "none=1"], "there is no cache in none"),
        (
            ["large=1", "full=1", "--paired", "x.yaml", "--top", "3"],
            "existing caches: leave out --paired, --",
        ),
        (["large=1", "full=1", "--network", "x.py", "--weights", "x.pt"], "leave out --network, --weights or -o"),
        (["large=1", "full=1", "--output", "large"], "large is a member of the blend: give another --output"),
    ],
)
def test_wrong_arguments(folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    result = kd_trainer("cache", "--output", "blend", "--blend", *words, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1 and message in result.stderr
    assert not (folder / "blend").exists()


def test_without_a_blend_files_and_teachers_are_needed(capsys):
    with pytest.raises(SystemExit):
        kd_trainer("cache", "--output", "x", check=False)


def test_a_member_must_say_what_made_it(folder):
    make_blend(folder)
    refused(folder, f"{folder}/blend is itself a blend", output="other", blend=1, full=1)
    (folder / "full" / "teachers.yaml").write_text("[")
    refused(folder, "full/teachers.yaml is not valid YAML")
    (folder / "full" / "teachers.yaml").unlink()
    refused(folder, f"{folder}/full has no teachers.yaml: run cache again to write it (complete files are kept)")


def test_caches_of_other_files_are_refused(folder, originals):
    path = folder / "full" / "b" / "jets.parquet"
    path.rename(folder / "full" / "b" / "others.parquet")
    for weights in (WEIGHTS, dict(reversed(WEIGHTS.items()))):
        refused(folder, f"{folder}/", **weights)
        refused(folder, "lacks 1 of the files in", **weights)
    path.parent.joinpath("others.parquet").rename(path)
    table = pq.read_table(path)
    made = fingerprint.read(path)
    made["input"]["size"] += 1
    rewrite(path, table, made)
    refused(folder, "b/jets.parquet in ")
    refused(folder, "have different input files: size was ")


def test_input_files_that_changed_since(folder, originals):
    os.utime(originals / "a" / "jets.parquet", ns=(0, 1))
    refused(folder, f"1 input files have changed since their soft targets were computed: {originals}/a/jets.parquet")


def rewrite(path, table, made=None):
    made = made or fingerprint.read(path)
    metadata = {fingerprint.KEY: fingerprint.canonical(made)}
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=7)  # any size of row groups will do


def test_jets_must_be_the_same_in_the_same_order(folder):
    path = folder / "full" / "b" / "jets.parquet"
    table = pq.read_table(path)
    rewrite(path, table)
    make_blend(folder)
    rewrite(path, table.take(np.arange(len(table))[::-1]))
    refused(folder, "do not hold the same jets in the same order", output="other")
    rewrite(path, table[1:])
    refused(folder, "has 51 jets, but the files of the other caches have [50]", output="other")
    changed = [name for name in table.column_names if name.startswith("part_")][0]
    values = ak.from_arrow(table[changed])
    rewrite(path, table.drop_columns([changed]).append_column(changed, ak.to_arrow(values + 1, extensionarray=False)))
    refused(folder, "do not hold the same jets in the same order", output="other")
    assert not list((folder / "other").rglob("*.parquet*"))


def test_columns_are_equal_nan_for_nan():
    lists = pa.array([[1.0, np.nan], [], [2.0]])
    batch = pa.RecordBatch.from_pydict({"x": lists, LOGITS: [1, 2, 3]})
    for other, same in (
        ([[1.0, np.nan], [], [2.0]], True),
        ([[1.0, 0.0], [], [2.0]], False),
        ([[1.0], [np.nan], [2.0]], False),
        ([[1.0, np.nan], None, [2.0]], False),
        ([[1.0, None], [], [2.0]], False),
    ):
        assert blend.same_jets(batch, pa.RecordBatch.from_pydict({"x": pa.array(other), LOGITS: [0, 0, 0]})) == same
    assert not blend.same_jets(batch, pa.RecordBatch.from_pydict({"y": lists, LOGITS: [1, 2, 3]}))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda paired: paired | {"selection": "jet_pt > 1"}, "`selection` of the student's data config in "),
        (
            lambda paired: paired | {"labels": {**paired["labels"], "value": paired["labels"]["value"][:9]}},
            "`labels` of",
        ),
        (lambda paired: paired | {"observers": ["jet_pt"]}, "`observers` of"),
        (lambda paired: paired | {"labels": paired["labels"] | {"teacher": {}, "groups": {}}}, " written: config "),
    ],
)
def test_another_student_is_refused(folder, originals, monkeypatch, change, message):
    """As if each cache had been made with its own paired config, as it is now."""
    path = originals / "pair_large" / "paired.yaml"
    path.write_text(yaml.safe_dump(change(yaml.safe_load(path.read_text())), sort_keys=False))
    refused(folder, message)


def test_members_of_one_kind_with_all_logits(folder, originals):
    path = folder / "full" / "b" / "jets.parquet"
    rewrite(path, pq.read_table(path), fingerprint.read(path) | {"precision": "bfloat16"})
    refused(folder, "have different origins: precision was float32, is bfloat16")
    for name in "ab":
        path = folder / "full" / name / "jets.parquet"
        made = fingerprint.read(path)
        rewrite(path, pq.read_table(path), made | {"precision": "float32", "layout": made["layout"] | {"top": 3}})
    refused(folder, f"{folder}/full stores only the largest logits: run cache without --top for a blend")
    for name in "ab":
        path = folder / "full" / name / "jets.parquet"
        made = fingerprint.read(path)
        rewrite(path, pq.read_table(path), made | {"layout": made["layout"] | {"top": 0, "inputs": "arrays"}})
    refused(folder, f"{folder}/full stores the student's inputs, but {folder}/large stores branches: run cache")


def train_again(originals, name="full"):
    """Change the checkpoint of a teacher."""
    state = torch.load(originals / f"{name}.pt", weights_only=True)
    next(iter(state.values())).add_(1)
    torch.save(state, originals / f"{name}.pt")


def data_config(folder, name="blend/cached.yaml"):
    return DataConfig(print_info=False, **data_configs.load(folder / name) | {"observers": []})


def begin(folder, validation=None, **options):
    """The checks of a training before its first batch."""
    given = {"student": PFN, "kd_cache": str(folder / "blend"), **options}
    train = hooks.get_train_fn(data_config(folder), **given)
    files = [str(path) for path in sorted((folder / "blend").glob("*/*.parquet"))]
    dataset = SimpleNamespace(config=data_config(folder), _init_file_dict={"_": files})
    loader = SimpleNamespace(dataset=dataset, collate_fn=None, num_workers=0)
    config = validation or dataset.config
    validated = SimpleNamespace(dataset=SimpleNamespace(config=config), collate_fn=Gather(config), num_workers=0)
    args = {"args": SimpleNamespace(regression_mode=False, data_config="c.yaml"), "val_loader": validated}
    train(torch.nn.Identity(), None, None, None, loader, torch.device("cpu"), 0, extra_args=args)


def test_a_stale_teacher_is_refused(folder, originals):
    make_blend(folder)
    train_again(originals)
    refused(folder, f"weights {originals}/full.pt")
    changed = f"weights {originals}/full.pt .*have changed since the cache {folder}/full was written: .*teacher.weights"
    with pytest.raises(SystemExit, match=changed):
        begin(folder)
    (originals / "full.pt").unlink()
    with pytest.raises(SystemExit, match=f"the teacher's weights {originals}/full.pt does not exist"):
        begin(folder)


def test_a_changed_paired_config_is_refused(folder, originals):
    make_blend(folder)
    path = originals / "pair_full" / "paired.yaml"
    path.write_text(path.read_text().replace("selection: null", "selection: jet_pt > 1"))
    with pytest.raises(SystemExit, match="written: config was .*; run cache again, and then cache --blend"):
        begin(folder)


def test_files_of_another_blend_are_refused(folder, originals):
    make_blend(folder)
    shutil.copytree(folder / "blend", folder / "first")
    make_blend(folder, "--overwrite", large=1, full=1)
    shutil.copy(folder / "first" / "a" / "jets.parquet", folder / "blend" / "a")
    with pytest.raises(SystemExit, match="1 of 2 files of the cache have another origin; .*members.1.weight"):
        begin(folder)
    shutil.copy(folder / "large" / "a" / "jets.parquet", folder / "blend" / "a")
    with pytest.raises(SystemExit, match="members.1.weight was absent, is 0.5"):
        begin(folder)
    make_blend(folder, "--overwrite")
    os.utime(originals / "a" / "jets.parquet", ns=(0, 1))
    with pytest.raises(SystemExit, match="1 input files have changed since"):
        begin(folder)


def test_a_file_that_is_no_blend_is_refused(folder):
    make_blend(folder)
    (folder / "blend" / "blend.yaml").write_text("members: 3")
    with pytest.raises(SystemExit, match="blend.yaml is not a file that 'cache' has written"):
        begin(folder)
    (folder / "blend" / "blend.yaml").unlink()
    with pytest.raises(SystemExit, match="blend has no teachers.yaml: run cache again"):
        begin(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"teacher": PFN, "teacher_weights": "x.pt"}, "is a blend, which has its own teachers: leave out teacher"),
        ({"teacher_weights": "x.pt"}, "teacher_weights, teacher_options and kd_ensemble need teacher"),
        ({"kd_ensemble": "logits"}, "teacher_weights, teacher_options and kd_ensemble need teacher"),
        ({"kd_embed_weight": 1.0}, "a cache has no embeddings"),
        ({"kd_loss": "none"}, "the student learns nothing from the teacher"),
    ],
)
def test_options_that_do_not_go_with_a_blend(tmp_path, change, message):
    (tmp_path / "blend.yaml").touch()
    given = {"student": PFN, "kd_cache": str(tmp_path)}
    assert Options.split(given)[0].taught
    with pytest.raises(InputError, match=message):
        Options.split({**given, **change})


def test_a_blend_does_not_replace_labels_of_other_files(folder, originals):
    make_blend(folder)
    labels = {"type": "custom", "value": {"no_label": "0"}, "names": list("abcdefghij")}
    paired = data_configs.load(originals / "pair_full" / "paired.yaml") | {"labels": labels}
    with pytest.raises(SystemExit, match="a blend has no teacher that could replace the labels of the validation"):
        begin(folder, validation=DataConfig(print_info=False, **paired))


def test_a_student_is_trained_by_weaver(folder, originals):
    make_blend(folder, "--dtype", "float32")
    files = [f"{name}:{originals}/{name}/*.parquet" for name in "ab"]
    args = ("-n", "networks/distill.py", "-c", originals / "pair_full" / "student.yaml", "--data-train", *files,
            "--data-config-val", originals / "pair_full" / "student.yaml", "--data-val", originals / "a" / "*.parquet",
            "-o", "student", f"'{PFN}'", *STUDENT, "-o", "kd_cache", f"'{folder}/blend'",
            "-o", "kd_alpha", "1.0", "-o", "kd_temperature", "1.0", "-o", "seed", "1", *TRAINING,
            "--batch-size", "16")  # fmt: skip
    weaver(*args, "-m", folder / "net", "--log-file", folder / "log", "--num-epochs", 2)
    log = (folder / "log").read_text()
    assert f"0.8 x ({ROOT}/{PFN}, weights {originals}/large.pt" in log
    assert f"soft targets from the cache {folder}/blend (2 files, all of 10 logits, float32)" in log
    assert "Epoch #1 distillation: task_loss" in log and "ERROR" not in log and "kd_loss" in log
    assert (folder / "net_epoch-1_state.pt").exists()
    train_again(originals)
    result = weaver(*args, "-m", folder / "other", "--num-epochs", 2, check=False)
    assert result.returncode and f"weights {originals}/full.pt" in result.stderr
