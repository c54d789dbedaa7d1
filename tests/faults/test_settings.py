"""Settings and options with wrong values: one line that says which values are valid, before any work."""

import ast
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import awkward as ak
import pytest
import torch
import yaml
from distillation import L1, STUDENT
from helpers import ROOT, failure, fork_bin, random_jets, run, wait_for, weaver

from kd_trainer.distill.options import Options
from kd_trainer.errors import InputError
from kd_trainer.pretrain.options import Options as Contrastive
from kd_trainer.weaver_hooks.hook import check_arguments, loud
from kd_trainer.weaver_hooks.whole import _saving

KD, SSL, SOPHON = (ROOT / "train_scripts" / f"train_{name}.sh" for name in ("kd", "ssl", "sophon"))
WHOLE, COUNT = "it must be a whole number, for example 1", "it must be a whole number, at least 1"
ALPHA, TEMPERATURE = "it must lie between 0 and 1", "it must be a number above 0"
JETS = "it must be a whole number, at least 2"
COLON = "weaver takes the text before a colon as a group name"


@pytest.mark.parametrize(
    "script, mode, setting, value, message",
    [
        *((KD, "train", "SEED", value, WHOLE) for value in ("abc", "-1", "1.5", "'1'", "01", "1 two", " ")),
        (KD, "teacher", "TEACHER_SEED", "a[$(touch x)]", WHOLE),
        (SOPHON, "train", "SEED", "abc", WHOLE),
        (SSL, "scratch", "SEED", "-1", WHOLE),
        *((KD, "train", "KD_ALPHA", value, ALPHA) for value in ("half", "nan", "inf", "1.5", "-0.1", "1e9", "1 1")),
        *((KD, "train", "KD_TEMPERATURE", value, TEMPERATURE) for value in ("0", "0.0", "nan", "-1", "warm", "0x2")),
        (KD, "cache", "KD_TEMPERATURE", 'x"; system("touch x"); "', TEMPERATURE),
        *((KD, "train", "DDP_NGPUS", value, COUNT) for value in ("two", "0", "08", "1 2", "-1")),
        (SOPHON, "train", "DDP_NGPUS", "two", COUNT),
        *((KD, "demo", "JETS", value, JETS) for value in ("abc", "a[$(touch x)]", "1", "010", "-5", "1e3", "20 30")),
        (KD, "firmware", "EBOPS_WEIGHT", "-1", "it must be a number, 0 or above, for example 1e-6"),
        (KD, "finetune", "HEAD_RATE", "1)", "it must be a number above 0"),
        (SSL, "scan", "JOBS", "two", COUNT),
        *((script, mode, "DATADIR", "/a:b", COLON) for script, mode in ((KD, "train"), (KD, "demo"), (SSL, "scratch"))),
        (ROOT / "train_scripts" / "study.sh", "list", "DATADIR", "/a:b", COLON),
        (KD, "train", "CACHE", "/a:b", COLON),
    ],
)
def test_settings(script, mode, setting, value, message, tmp_path):
    study = ["demo"] if script.stem == "study" else []
    found = run(script, mode, *study, "--dry-run", check=False, cwd=tmp_path, env={setting: value})
    last = found.stderr.splitlines()[-1]
    assert found.returncode == 1 and last.startswith(f"{script.name}: {setting} is '{value}': {message}")
    assert len(found.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())
    assert not (ROOT / "x").exists()  # where the scripts work


@pytest.mark.parametrize("value", ["1", "0", "1.0", ".5", "1e-3", "[(0, 0.9), (20, 0.5)]"])
def test_numbers_and_schedules(value):
    found = run(KD, "train", "--dry-run", env={"KD_ALPHA": value, "DATASET": "demo"})
    weaver = shlex.split(found.stdout.splitlines()[-1])
    assert weaver[weaver.index("kd_alpha") + 1] == value


@pytest.mark.parametrize(
    "kind, option, value, message",
    [
        *((Options, "seed", value, "it must be a whole number from 0 to 2^32 - 1")
          for value in ("abc", "-1", "1.5", "'1'", "nan", "4294967296", "01", "True")),
        (Options, "kd_alpha", "nan", "it must be a number, or a schedule"),
        (Options, "kd_alpha", "half", "it must be a number, or a schedule"),
        (Options, "kd_alpha", "1e999", "it must be a number, or a schedule"),
        (Options, "kd_alpha", "-0.1", "it must lie between 0 and 1"),
        *((Options, "kd_temperature", value, "it must be a number, or a schedule") for value in ("nan", "inf", "'3'")),
        *((Options, "kd_temperature", value, "it must be above 0") for value in ("0", "-1", "[(0, 3), (9, 0)]")),
        *((Options, name, value, "it must be a number") for value in ("nan", "None", "1e999", "'1'", "True")
          for name in ("kd_label_smoothing", "kd_embed_weight", "kd_memory", "kd_ema")),
        (Options, "kd_memory", "-5", "it must be 0 or above"),
        (Options, "kd_embed_weight", "-1", "it must be 0 or above"),
        (Options, "kd_label_smoothing", "1", "it must be 0 or above, and below 1"),
        (Options, "kd_ema", "1", "it must be 0 or above, and below 1"),
        *((Options, "kd_unlabelled_fraction", value, "it must lie between 0 and 1") for value in ("0", "1", "nan")),
        *((Contrastive, name, "nan", "it must be a number") for name in ("cl_temperature", "aug_boost")),
        *((Contrastive, name, "-1", "it must be") for name in ("cl_temperature", "aug_rotation")),
        (Options, "phi_dims", "(8, 8", "is not a Python literal"),
        (Options, "phi_dims", "{[]: 1}", "is not a Python literal"),
    ],
)  # fmt: skip
def test_options(kind, option, value, message, monkeypatch):
    given = {"student": "'a.py'", "teacher": "'b.py'", "teacher_weights": "'c.pt'", "encoder": "'d.py'"}
    words = [word for name, text in {**given, option: value}.items() for word in ("-o", name, text)]
    monkeypatch.setattr(sys, "argv", ["weaver", *words])
    with pytest.raises(SystemExit) as ended:
        check_arguments(kind)
        loud(kind.split)({name: ast.literal_eval(text) for name, text in {**given, option: value}.items()})
    line = str(ended.value)
    assert line.startswith("weaver-kd: ") and option in line and message in line and "\n" not in line


def test_a_path_with_everything(tmp_path):
    """weaver and kd_trainer receive the path of a teacher unchanged."""
    folder = tmp_path / 'it\'s "my" back\\slash $HOME'
    folder.mkdir()
    (weights := folder / "t.pt").touch()
    env = {"TEACHER_WEIGHTS": weights, "DATASET": "demo"}

    def words(mode, program):
        lines = run(KD, mode, "--dry-run", env=env).stdout.splitlines()
        return [words for words in map(shlex.split, lines) if program in words]

    (train,) = words("train", "weaver")
    assert ast.literal_eval(train[train.index("teacher_weights") + 1]) == str(weights)
    (cache,) = words("cache", "cache")
    assert cache[cache.index("--weights") + 1] == str(weights)
    test, *_ = words("test", "weaver")
    assert test[test.index("--model-prefix") + 1] == str(weights)


@pytest.mark.parametrize("kind", ["parquet", "root", "h5"])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: socket.socket(socket.AF_UNIX).bind(str(path)),
                                  lambda path: path.symlink_to("/dev/zero")])  # fmt: skip
def test_what_is_no_file(kind, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path(f"jets.{kind}"))
    line = failure("check", "--data-config", L1, f"jets.{kind}")
    assert f"jets.{kind} cannot be read: is not a regular file" in line


def test_a_colon_in_a_path():
    line = failure("check", "--data-config", L1, "a:/x:y/*.root")
    assert line.endswith("a:/x:y/*.root has a colon in its path: weaver takes the text before it as a group name")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with two files of jets."""
    folder = tmp_path_factory.mktemp("jets")
    for name in ("a", "b"):
        ak.to_parquet(random_jets(100), folder / f"{name}.parquet")
    return folder


def train(files, prefix, *args, config=L1):
    """The last line of a short training, which has no traceback, and its exit code."""
    result = weaver("--data-train", f"{files}/*.parquet", "--data-val", f"{files}/*.parquet", "-c", config,
                    "-n", "networks/supervised.py", "-o", "network", "'networks/PFN.py'", *STUDENT, "-m", prefix,
                    "--num-workers", 0, "--fetch-step", 1, "--batch-size", 16, "--steps-per-epoch", 1,
                    "--steps-per-epoch-val", 1, "--num-epochs", 1, *args, check=False)  # fmt: skip
    assert "Traceback" not in result.stderr
    return result.stderr.splitlines()[-1], result.returncode


def test_lists_as_plain_inputs(files, tmp_path):
    options = yaml.safe_load(L1.read_text())
    options["inputs"]["scalars"] = {"length": None, "vars": ["part_px"]}
    (config := tmp_path / "lists.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
    line, code = train(files, tmp_path / "net", config=config)
    assert code == 1 and line == ("weaver-kd: the inputs of the data config cannot be made: part_px with a list for "
                                  "each jet, but `length` is null")  # fmt: skip


def test_an_epoch_that_is_truncated(files, tmp_path):
    assert train(files, tmp_path / "net")[1] == 0
    path = tmp_path / "net_epoch-0_state.pt"
    path.write_bytes(path.read_bytes()[:1000])
    line, code = train(files, tmp_path / "net", "--load-epoch", 0, "--num-epochs", 2)
    assert code == 1 and line == (f"weaver-kd: --load-epoch 0: {tmp_path}/net_epoch-0_*.pt cannot be loaded: "
                                  "it is truncated, or belongs to another network or optimizer")  # fmt: skip


def test_an_option_that_weaver_cannot_read(files, tmp_path):
    line, code = train(files, tmp_path / "net", "-o", "seed", "abc")
    assert (line, code) == ("weaver-kd: seed is 'abc': it must be a whole number from 0 to 2^32 - 1", 1)


def test_a_full_disk(tmp_path):
    """The disk is full after 4 kB."""
    save, before = _saving(torch.save), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(
            SystemExit, match="weaver-kd: .*/net.pt cannot be written .*: is there space in .* Run the same"
        ):
            save(torch.zeros(10_000), tmp_path / "net.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_two_caches_at_once(make_cache, files, tmp_path):
    def start(*args):
        command = [fork_bin() / "python", "-m", "kd_trainer", *args]
        return subprocess.Popen([str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, text=True)

    both = [make_cache(tmp_path, f"{files}/*.parquet", run=start) for _ in "12"]
    texts = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("another process is writing" in text for text in texts) <= 1
    assert sorted("200 of 200 jets were selected and written" in text for text in texts) == [False, True]
    make_cache(tmp_path, f"{files}/*.parquet", "--check", "--all")
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("name, needed", [("network", ("--network", "a.py", "--data-config", L1)), ("augment", ()),
                                          ("io", ()), ("step", ()), ("cache", ())])  # fmt: skip
def test_bench_expands_a_quoted_pattern(name, needed, files, monkeypatch):
    found = []

    def stop(*given):
        found.extend(one.files for one in given if hasattr(one, "files"))
        raise InputError("stop")

    for function in ("prepare", "measure"):  # whichever comes first
        monkeypatch.setattr(f"kd_trainer.bench.{name}.{function}", stop, raising=False)
    assert failure("bench", name, f"{files}/*.parquet", *needed) == "kd_trainer bench: stop"
    assert found == [[f"{files}/a.parquet", f"{files}/b.parquet"]]
    assert "no file matches" in failure("bench", name, f"{files}/*.root", *needed)


def test_a_study_that_is_interrupted(tmp_path):
    (tmp_path / "snakemake").write_text(f"#!/usr/bin/env bash\ntouch {tmp_path}/begun\nexec sleep 60\n")
    (tmp_path / "snakemake").chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "COMMENT": "_interrupted"}
    study = subprocess.Popen([ROOT / "train_scripts" / "study.sh", "run", "demo"], env=env, cwd=tmp_path,
                             stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    wait_for((tmp_path / "begun").exists)
    os.killpg(study.pid, signal.SIGINT)  # as Ctrl-C
    assert study.communicate(timeout=30)[1] == "snakemake: stopped; the same command goes on from here\n"
    assert study.returncode == 128 + signal.SIGINT
    (ROOT / "training" / "study_demo_interrupted" / ".lock").unlink()
    (ROOT / "training" / "study_demo_interrupted").rmdir()
