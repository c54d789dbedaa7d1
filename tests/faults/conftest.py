"""A folder as a user has it, with good files and damaged ones, and commands that are run in it."""

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import tempfile
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import uproot
import yaml
from distillation import FULL, L1
from helpers import CLASSES, ROOT, Program, damage_page, failure, flip, kd_trainer, random_jets, write_hdf5, write_root
from weaver_inputs import exported, untrained

from kd_trainer.deploy import reference
from kd_trainer.deploy.command import complete

NOBODY = 65534
PFN = {"phi_dims": (8,), "rho_dims": (8,)}
OPTIONS = ("-o", "phi_dims", "(8,)", "-o", "rho_dims", "(8,)")
STUDY = """
title: Miniature
dataset: TopLandscape
samples: {all: [jets.parquet]}
models: {PFN: {model: PFN-1k}}
students: [PFN]
tiers: [l1]
seeds: [1]
baseline: labels
arms: {labels: {}}
"""


@pytest.fixture(scope="session")
def folder():
    """The folder, which other users may look into: for reading only, but for `out`."""
    path = Path(tempfile.mkdtemp(prefix="weaver-kd-faults-"))
    path.chmod(0o755)
    try:
        fill(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def fill(path):
    for name in ("networks", "data", "train_scripts"):
        (path / name).symlink_to(ROOT / name)
    shutil.copy(L1, path / "l1.yaml")
    shutil.copy(FULL, path / "full.yaml")
    write_jets(path)
    write_configs(path)
    write_models(path)
    write_predictions(path)
    (path / "file").touch()
    make_out(path)
    (path / "closed").mkdir()
    (path / "closed").chmod(0o555)


def write_jets(path):
    jets = random_jets(40, particles=20)
    for i, name in enumerate(CLASSES):
        jets[f"label_{name}"] = np.arange(40) % 10 == i
    ak.to_parquet(jets, path / "jets.parquet", compression=None)
    good = (path / "jets.parquet").read_bytes()
    for name in ("header", "closed"):
        (path / f"{name}.parquet").write_bytes(good)
    ak.to_parquet(jets, path / "value.parquet", compression="gzip")
    damage_page(path / "header.parquet", "part_px")
    damage_page(path / "value.parquet", "part_px", value=True)
    (path / "short.parquet").write_bytes(good[: len(good) // 2])
    (path / "empty.parquet").touch()
    (path / "folder.parquet").mkdir()
    os.mkfifo(path / "fifo.parquet")
    for name, column in {"text": "part_px", "label_text": "label_QCD"}.items():
        words = ak.Array(["one"] * 40 if column == "label_QCD" else [["one"] * n for n in ak.num(jets[column])])
        ak.to_parquet(ak.with_field(jets, words, column), path / f"{name}.parquet")
    write_root(path / "jets.root", jets)
    shutil.copy(path / "jets.root", path / "value.root")
    damage_basket(path / "value.root", "tree", "part_px")
    write_hdf5(path / "jets.h5", jets, 20, compression="gzip")
    shutil.copy(path / "jets.h5", path / "value.h5")
    with h5py.File(path / "value.h5") as file:
        start = file["part_px"].id.get_chunk_info(0).byte_offset
    flip(path / "value.h5", start + 8, 40)
    for ending in ("root", "h5"):
        good = (path / f"jets.{ending}").read_bytes()
        (path / f"short.{ending}").write_bytes(good[: len(good) // 2])
        (path / f"empty.{ending}").touch()
        (path / f"noise.{ending}").write_bytes(np.random.default_rng(1).bytes(2000))
    (path / "closed.parquet").chmod(0)


def damage_basket(path, tree, branch):
    """Flip bits of the data of a branch in a ROOT file."""
    with uproot.open(path) as file:
        branch = file[tree][branch]
        start = int(branch.member("fBasketSeek")[0]) + branch.basket_key(0).fKeylen + 9
    flip(path, start, 40)


def write_configs(path):
    """Data configs with one section wrong: `labels_list.yaml` and the like, and files that are no YAML."""
    options = yaml.safe_load(L1.read_text())
    changes = {
        "inputs_list": {"inputs": [1, 2]},
        "inputs_text": {"inputs": "pf_features"},
        "inputs_null": {"inputs": None},
        "group_null": {"inputs": {"pf_features": None}},
        "group_number": {"inputs": {1: {"length": 2, "vars": ["x"]}}},
        "vars_text": {"inputs": {"pf_features": {"length": 16, "vars": "cand_pt_log"}}},
        "vars_numbers": {"inputs": {"pf_features": {"length": 16, "vars": [1, 2]}}},
        "length_missing": {"inputs": {"pf_features": {"vars": ["cand_pt_log"]}}},
        "length_text": {"inputs": {"pf_features": {"length": "many", "vars": ["cand_pt_log"]}}},
        "labels_list": {"labels": ["label_QCD"]},
        "labels_null": {"labels": None},
        "labels_mapping": {"labels": {"type": "simple", "value": {"QCD": 1}}},
        "labels_numbers": {"labels": {"type": "simple", "value": [1, 2]}},
        "labels_typeless": {"labels": {"value": ["label_QCD"]}},
        "new_list": {"new_variables": ["cand_pt"]},
        "new_numbers": {"new_variables": {1: "part_px"}},
        "new_circle": {"new_variables": {"part_px": "cand_px", "cand_px": "cand_pt", "cand_pt": "np.abs(part_px)"}},
        "new_itself": {"new_variables": {"part_px": "2 * part_px"}},
        "observers_text": {"observers": "jet_pt"},
        "observers_numbers": {"observers": [1]},
        "preprocess_list": {"preprocess": ["manual"]},
        "preprocess_null": {"preprocess": {"method": None}},
        "weights_text": {"weights": "flat"},
        "weights_empty": {"weights": {}},
        "selection_list": {"selection": ["jet_pt > 1"]},
        "unknown": {"inptus": {}},
    }
    for name, change in changes.items():
        (path / f"{name}.yaml").write_text(yaml.safe_dump({**options, **change}))
    (path / "invalid.yaml").write_text("inputs: [")
    (path / "binary.yaml").write_bytes(bytes(range(256)))
    (path / "empty.yaml").touch()
    (path / "folder.yaml").mkdir()
    (path / "itself.yaml").write_text(L1.read_text() + "\nbucketing: &a {var: *a}\n")
    (path / "deep.yaml").write_text("[" * 3000 + "]" * 3000)
    for name in ("mem.yaml", "mem.json"):
        (path / name).symlink_to("/proc/self/mem")  # it opens, and cannot be read
    shutil.copy(L1, path / "closed.yaml")
    (path / "closed.yaml").chmod(0)


def write_models(path):
    """Weights of a teacher and of a student, and the student's folder as `deploy` leaves it."""
    untrained(path / "teacher.pt", FULL, "PFN", **PFN)
    (path / "model").mkdir()
    exported(path / "model", "PFN", L1, **PFN)
    (path / "model" / "net.pt").rename(path / "student.pt")
    shutil.copytree(path / "model", path / "exported")
    with contextlib.chdir(path):
        complete("model", "l1.yaml", reference.describe("networks/PFN.py", PFN, "student.pt"))
    for name, change in {
        "model_json": ("preprocess.json", b"{"),
        "model_onnx": ("model.onnx", b"no model"),
        "model_yaml": ("data_config.yaml", b"inputs: ["),
        "model_source": ("deploy.json", b"[]"),
    }.items():
        shutil.copytree(path / "model", path / name)
        (path / name / change[0]).write_bytes(change[1])
    (path / "broken.py").write_text("def get_model(")
    torch.save({"state": Program("executed")}, path / "malicious.pt")
    (path / "short.pt").write_bytes((path / "student.pt").read_bytes()[:1000])
    (path / "empty.pt").touch()
    kd_trainer("pair", "--student", path / "l1.yaml", "--teacher", path / "full.yaml", "-o", path / "pair")
    with contextlib.chdir(path):
        kd_trainer("cache", "jets.parquet", "--paired", "pair/paired.yaml", "--network", "networks/PFN.py", *OPTIONS,
                   "--weights", "teacher.pt", "--output", "cache")  # fmt: skip
    shutil.copytree(path / "cache", path / "cache_value")
    (stored,) = (path / "cache_value").glob("*/*.parquet")
    damage_page(stored, "teacher_logits", value=True)
    shutil.copytree(path / "cache", path / "cache_same")


def write_predictions(path):
    """Predictions of ten classes, damaged ones, and those of two small studies."""
    good = write_prediction(path / "pred.root", [f"label_{name}" for name in CLASSES])
    for name in ("value_pred", "sidecar"):
        (path / f"{name}.root").write_bytes(good)
    damage_basket(path / "value_pred.root", "Events", "_label_")
    (path / "short_pred.root").write_bytes(good[: len(good) // 2])
    (path / "sidecar.model.json").write_text("{}")
    for name, scores, labels in (("text", ["a", "b"], [0, 1]), ("label", [0.5, 0.5], ["a", "b"])):
        pq.write_table(pa.table({"scores": [scores] * 2, "_label_": labels}), path / f"{name}_pred.parquet")
    (path / "study.yaml").write_text(STUDY)
    for name, change in {
        "seeds": "seeds: {a: 1}",
        "arms": "arms: [labels]",
        "samples": "samples: [1]",
        "noise": "samples: {all: [noise.root]}",
        "unsized": "title: Without pred.model.json",
        "value": "title: With a damaged prediction",
    }.items():
        text = re.sub(f"^{change.partition(':')[0]}:.*$", change, STUDY, flags=re.M)
        (path / f"study_{name}.yaml").write_text(text)
    (path / "datasets" / "TopLandscape").mkdir(parents=True)
    for split in ("train", "val", "test"):
        shutil.copy(path / "jets.parquet", path / "datasets" / "TopLandscape" / f"{split}_file.parquet")
    for name in ("study", "study_noise", "study_unsized", "study_value"):
        run = path / "training" / ("study_" + name) / "PFN_l1_labels_seed1"
        run.mkdir(parents=True)
        write_prediction(run / "pred.root", ["jet_isTop", "jet_isQCD"])
        size = {**dict.fromkeys(("name", "network", "data_config"), "x"), "options": {},
                **dict.fromkeys(("parameters", "flops", "particles"), 1)}  # fmt: skip
        (run / "pred.model.json").write_text(json.dumps(size))
    damage_basket(run / "pred.root", "Events", "_label_")
    (path / "training" / "study_study_unsized" / "PFN_l1_labels_seed1" / "pred.model.json").unlink()
    results = {"name": "study", "title": "", "training_jets": {}, "test_jets": {}, "background": "QCD", "averaged": {},
               "bootstrap_replicas": 2, "baseline": "labels", "jobs": {"done": 0, "planned": 0}, "minutes": 0,
               "cells": []}  # fmt: skip
    (path / "results.json").write_text(json.dumps(results))


def write_prediction(path, classes):
    """What weaver writes for 400 jets; returns its bytes."""
    truth = np.arange(400) % len(classes)
    scores = np.random.default_rng(2).dirichlet(np.ones(len(classes)), 400).astype("float32")
    columns = {f"score_{name}": scores[:, i] for i, name in enumerate(classes)}
    columns |= {name: (truth == i).astype("int32") for i, name in enumerate(classes)} | {"_label_": truth}
    write_root(path, columns, "Events")
    return path.read_bytes()


@pytest.fixture
def fails(folder, monkeypatch, capfd):
    """fails(line, meanwhile): the one line that a command ends with, for what is typed after `python -m kd_trainer`.

    Nothing may be left in `out`, but for what `cache` says there of its sources.
    """
    monkeypatch.chdir(folder)

    def call(line, meanwhile=contextlib.nullcontext):
        with meanwhile():
            said = failure(*shlex.split(line))
        assert said.startswith(f"kd_trainer {line.split()[0]}: ") and "weights_only" not in said
        assert not capfd.readouterr().err
        left = {path.name for path in Path("out").rglob("*") if not path.is_dir()}
        assert left <= {"cached.yaml", "teachers.yaml", "blend.yaml"}
        return said

    yield call
    assert not (folder / "executed").exists()
    shutil.rmtree(folder / "out")
    make_out(folder)


def make_out(path):
    (path / "out").mkdir()
    (path / "out").chmod(0o777)


@pytest.fixture
def nobody():
    """nobody(): give up the rights of root, if the tests have them."""

    @contextlib.contextmanager
    def without_rights():
        before = os.geteuid()
        if before == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(before)

    return without_rights


@pytest.fixture
def full_disk():
    """full_disk(room): no file can grow beyond so many bytes, as after `ulimit -f`."""

    @contextlib.contextmanager
    def limited(room=0):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited
