"""Commands on broken files, wrong configs, full disks: each ends in one line with the path, and leaves nothing."""

import errno
import os
import re
import sys
from functools import partial

import pytest

from kd_trainer.__main__ import main

DEPLOY = "deploy exported jets.parquet --network networks/PFN.py --weights student.pt --data-config l1.yaml"
CACHE = "cache jets.parquet --paired pair/paired.yaml --network networks/PFN.py --weights teacher.pt --output out"
OPTIONS = " -o phi_dims '(8,)' -o rho_dims '(8,)'"
CACHE += OPTIONS
NO_YAML = "is not valid YAML: "
TEXT = "text stands where numbers are expected, in part_px"

JETS = {
    "header.parquet": "cannot be read.*: Couldn't deserialize",
    "value.parquet": "cannot be read.*: (Corrupt|GZip)",
    "text.parquet": TEXT,
    "short.parquet": "cannot be read: Parquet magic bytes not found",
    "empty.parquet": "cannot be read: Parquet file size is 0 bytes",
    "folder.parquet": "cannot be read: is not a regular file",
    "fifo.parquet": "cannot be read: is not a regular file",
    "value.root": "cannot be read.*: Error -3 while decompressing",
    "short.root": "cannot be read.*: expected Chunk",
    "empty.root": "cannot be read: expected Chunk",
    "noise.root": "cannot be read: not a ROOT file",
    "value.h5": "cannot be read.*: Can't synchronously read data",
    "short.h5": "cannot be read: Unable to synchronously open file",
    "empty.h5": "cannot be read: Unable to synchronously open file",
    "noise.h5": "cannot be read: Unable to synchronously open file",
    "file": "file is not a parquet, ROOT or HDF5 file",
    "none.root": "no file matches none.root",
}  # fmt: skip


@pytest.mark.parametrize("name", JETS)
@pytest.mark.parametrize(
    "line", ["check --all --data-config l1.yaml {}", "tag model {} -o out/o.parquet", "variables model {} -o out/o.txt"]
)
def test_jets(fails, line, name):
    said = fails(line.format(name))
    assert name in said and re.search(JETS[name], said)


CONFIGS = {
    "inputs_list": "`inputs` must be a mapping",
    "inputs_text": "`inputs` must be a mapping",
    "inputs_null": "no inputs or no labels",
    "group_null": "the group pf_features in `inputs` must be a mapping with a list `vars`",
    "group_number": "1 in `inputs` must be a name",
    "vars_text": "the group pf_features in `inputs` must be a mapping with a list `vars`",
    "vars_numbers": "`vars` of the group pf_features in `inputs` must be a list of names",
    "length_missing": "cannot be used by weaver: KeyError 'length'",
    "length_text": "`length` of the group pf_features in `inputs` must be a whole number",
    "labels_list": "`labels` must be a mapping",
    "labels_null": "no inputs or no labels",
    "labels_mapping": "`labels` needs a `type`, simple or custom, and a `value`",
    "labels_numbers": "`value` in `labels` must hold names",
    "labels_typeless": "`labels` needs a `type`",
    "new_list": "`new_variables` must be a mapping",
    "new_numbers": "1 in `new_variables` must be a name",
    "new_circle": "`new_variables` goes in a circle (cand_pt -> part_px -> cand_px -> cand_pt): give these variables",
    "new_itself": "`new_variables` goes in a circle (part_px -> part_px)",
    "observers_text": "`observers` must be a list",
    "observers_numbers": "1 in `observers` or `monitor_variables` must be a name",
    "preprocess_list": "`preprocess` must be a mapping",
    "preprocess_null": "cannot be used by weaver: AttributeError",
    "weights_text": "`weights` must be a mapping",
    "weights_empty": "cannot be used by weaver: KeyError 'use_precomputed_weights'",
    "selection_list": "`selection` must be a text",
    "unknown": "cannot be used by weaver: KeyError 'inptus'",
    "invalid": NO_YAML,
    "binary": NO_YAML,
    "deep": NO_YAML,
    "itself": NO_YAML + "found unconstructable recursive node",
    "empty": "no inputs or no labels",
    "folder": "is no file",
    "mem": "cannot be read: Input/output error",
    "none": "does not exist",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_data_configs(fails, name):
    for line in (f"pair --student {name}.yaml -o out", f"check --data-config {name}.yaml jets.parquet"):
        said = fails(line)
        assert f"{name}.yaml" in said and CONFIGS[name] in said


OTHERS = [
    ("tag model_json jets.parquet -o out/o.root", "model_json/preprocess.json is not JSON"),
    ("tag model_onnx jets.parquet -o out/o.root", "model_onnx/model.onnx is damaged or was changed"),
    ("tag model_yaml jets.parquet -o out/o.root", "model_yaml/data_config.yaml is not valid YAML"),
    ("tag model_source jets.parquet -o out/o.root", "model_source/deploy.json is not what"),
    ("tag file jets.parquet -o out/o.root", "there is no model directory file"),
    ("parity model value.parquet", "value.parquet cannot be read: "),
    ("parity model value.root", "value.root cannot be read: "),
    ("parity model text.parquet", f"text.parquet: {TEXT}"),
    ("quantise model short.h5 --test jets.parquet", "short.h5 cannot be read: "),
    ("quantise model jets.parquet --test text.parquet", f"text.parquet: {TEXT}"),
    ("bench latency model/model.onnx --files value.root -o out", "value.root cannot be read: "),
    ("bench latency model_onnx/model.onnx -o out", "model_onnx/model.onnx is damaged or was changed"),
    (DEPLOY.replace("jets.parquet", "value.root") + OPTIONS, "value.root cannot be"),
    (DEPLOY.replace("student.pt", "malicious.pt"), "malicious.pt cannot be read: .* not a checkpoint of weaver$"),
    (DEPLOY.replace("student.pt", "short.pt"), "short.pt cannot be read: .* not a checkpoint of weaver$"),
    (DEPLOY.replace("student.pt", "mem.yaml"), "mem.yaml cannot be read: Input/output error"),
    (DEPLOY.replace("networks/PFN.py", "l1.yaml"), "l1.yaml is not valid Python: its name must end in .py"),
    (DEPLOY.replace("exported", "file"), "there is no file/model.onnx"),
    ("complexity --network l1.yaml --data-config l1.yaml", "l1.yaml is not valid Python"),
    ("complexity --network broken.py --data-config l1.yaml", "broken.py is not valid Python: "),
    ("complexity --network networks --data-config l1.yaml", "--network networks is not there"),
    ("report A=value_pred.root -o out", "value_pred.root cannot be read: "),
    ("report A=short_pred.root -o out", "short_pred.root cannot be read: "),
    ("report A=noise.root -o out", "noise.root cannot be read: "),
    ("report A=empty.root -o out", "empty.root cannot be read: "),
    ("report A=short.parquet -o out", "short.parquet cannot be read: "),
    ("report A=folder.parquet -o out", "folder.parquet is not there"),
    ("report A=jets.root -o out", "jets.root has neither branches"),
    ("report A=text_pred.parquet -o out", "text_pred.parquet: scores and labels .* must be numbers"),
    ("report A=label_pred.parquet -o out", "label_pred.parquet: scores and labels .* must be numbers"),
    ("report A=sidecar.root -o out", "sidecar.model.json is not from `kd_trainer complexity`"),
    ("report A=pred.root --latency noise.root -o out", "noise.root is not the latency.json"),
    ("efficiency scratch:100=value_pred.root -o out", "value_pred.root cannot be read: "),
    ("efficiency scratch:mem.json=pred.root -o out", "mem.json cannot be read: Input/output error"),
    ("study --report study_seeds.yaml -o out", "study_seeds.yaml: the study: seeds must be a list"),
    ("study --report study_arms.yaml -o out", "study_arms.yaml: the study: arms must be a mapping"),
    ("study --report study_samples.yaml -o out", "study_samples.yaml: the study: samples must be a mapping"),
    ("study --report study_noise.yaml -o out", "noise.root cannot be read: "),
    ("study --report study_value.yaml -o out", "study_value/.*/pred.root cannot be read: "),
    ("study --report study_unsized.yaml -o out", "no pred.model.json beside training/study_study_unsized/"),
    ("study --report binary.yaml -o out", f"binary.yaml {NO_YAML}"),
    ("study --report itself.yaml -o out", f"itself.yaml {NO_YAML}"),
    ("study --report mem.yaml -o out", "mem.yaml cannot be read: "),
    ("study --document binary.yaml -o out/o.md", "binary.yaml is not from `kd_trainer study"),
    ("study --document results.json -o binary.yaml", "binary.yaml cannot be read: "),
    ("pair --student l1.yaml --teacher full.yaml --classes binary.yaml -o out", f"binary.yaml {NO_YAML}"),
    ("pair --student l1.yaml --teacher full.yaml --classes folder.yaml -o out", "folder.yaml is no file"),
    ("unlabelled --data-config binary.yaml -o out/o.yaml", f"binary.yaml {NO_YAML}"),
    ("subset --data-config l1.yaml --fraction 0.5 -o out/x --files short.parquet", "short.parquet cannot be read: "),
    (CACHE.replace("jets.parquet", "header.parquet"), "header.parquet cannot be read: Couldn't deserialize"),
    (CACHE.replace("jets.parquet", "text.parquet"), f"text.parquet: .*{TEXT}"),
    (CACHE.replace("jets.parquet", "short.root"), "short.root cannot be read: "),
    (CACHE.replace("jets.parquet", "value.h5"), "value.h5 cannot be read: "),
    (CACHE.replace("teacher.pt", "malicious.pt"), "malicious.pt cannot be read: .* not a checkpoint of weaver$"),
    (CACHE.replace("teacher.pt", "empty.pt"), "empty.pt cannot be read: .* not a checkpoint of weaver$"),
    (CACHE.replace("teacher.pt", "mem.yaml"), "mem.yaml cannot be read: Input/output error"),
    (CACHE.replace("networks/PFN.py", "l1.yaml"), "l1.yaml is not valid Python"),
    (CACHE.replace("pair/paired.yaml", "l1.yaml"), "no inputs for the teacher"),
    (CACHE.replace("--output out", "--check --all --output cache_value"), "cache_value/.*/jets.parquet is damaged"),
    ("cache --blend cache=1 cache_value=1 --output out", "cache_value/.*/jets.parquet cannot be read: .*CRC"),
    ("cache --blend cache=1 file=1 --output out", "there is no cache in file"),
    ("convert jetclass short.root -o out", "short.root cannot be read: "),
    ("convert jetclass value.root -o out", "value.root cannot be read: "),
    ("convert jetclass noise.root -o out", "noise.root cannot be read: "),
    ("convert top short.h5 -o out", "short.h5 cannot be read: "),
    ("convert top noise.h5 -o out", "noise.h5 cannot be read: "),
    ("convert qg file -o out", "file cannot be read: File is not a zip file"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "text"), OTHERS, ids=[line[:60] for line, _ in OTHERS])
def test_other_commands(fails, line, text):
    assert re.search(text, fails(line))


WRITING = {  # with the file that is named
    "tag model jets.parquet -o OUT/o.parquet": "OUT/o.parquet",
    "tag model jets.parquet -o OUT/o.root": "OUT/o.root",
    "variables model jets.parquet -o OUT/o.txt": "OUT/o.txt",
    "report A=pred.root --replicas 2 -o OUT/report": "OUT/report/roc.png",
    "study --report study.yaml --replicas 2 -o OUT/study": "OUT/study",
    "study --document results.json -o OUT/o.md": "OUT/o.md",
    "pair --student l1.yaml -o OUT/pair": "OUT/pair/student.yaml",
    CACHE.replace("--output out", "--output OUT/cache"): "OUT/cache/",
    "cache --blend cache=1 cache_same=2 --output OUT/blend": "OUT/blend/",
    "unlabelled --data-config l1.yaml -o OUT/o.yaml": "OUT/o.yaml",
    "complexity --network networks/PFN.py --data-config l1.yaml --output OUT/o.json": "OUT/o.json",
    "convert jetclass jets.root -o OUT/jets": "OUT/jets",
    "init OUT/new": "OUT/new/data/",
    "efficiency scratch:100=pred.root --replicas 2 -o OUT/efficiency": "OUT/efficiency/",
}  # fmt: skip
CHEAP = [line for line in WRITING if line.split()[0] not in ("report", "study", "efficiency")]


@pytest.mark.parametrize("place", ["file", "/proc", "closed"])
@pytest.mark.parametrize("line", CHEAP, ids=[line[:40] for line in CHEAP])
def test_a_folder_that_cannot_be_written(fails, nobody, line, place):
    said = fails(line.replace("OUT", place), nobody)
    assert WRITING[line].replace("OUT", place) in said
    reasons = "Not a directory|File exists|No such file or directory|Permission denied"
    assert re.search(f"(cannot be written|cannot write to .*): ({reasons})$", said)


@pytest.mark.parametrize("line", WRITING, ids=[line[:40] for line in WRITING])
def test_a_disk_that_cannot_hold_the_results(fails, folder, full_disk, line):
    room = (folder / "model" / "preprocess.json").stat().st_size if " model " in line else 0  # written in /tmp first
    said = fails(line.replace("OUT", "out"), partial(full_disk, room))
    assert re.search(f"{WRITING[line].replace('OUT', 'out')}.* cannot be written: File too large$", said)


def test_a_full_disk(fails, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    assert fails("pair --student l1.yaml -o out").endswith(" out/student.yaml cannot be written: the disk is full")
    assert "out/o.root cannot be written: the disk is full" in fails("tag model jets.parquet -o out/o.root")


def test_a_full_disk_behind_the_standard_output(folder, monkeypatch, capfd):
    monkeypatch.chdir(folder)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["complexity", "--network", "networks/PFN.py", "--data-config", "l1.yaml"]) == 1
    assert capfd.readouterr().err == "kd_trainer complexity: the output: the disk is full\n"


@pytest.mark.parametrize("line", [
    "check --data-config l1.yaml closed.parquet", "check --data-config closed.yaml jets.parquet",
    "tag model closed.parquet -o out/o.root", "pair --student closed.yaml -o out",
])  # fmt: skip
def test_files_that_may_not_be_read(fails, nobody, line):
    assert re.search(r"closed\.\w+ cannot be read: Permission denied", fails(line, nobody))
