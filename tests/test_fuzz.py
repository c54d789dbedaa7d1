"""Damaged files: every command that reads one ends well, or in one line.

A fuzz run of fixed length, with a fixed seed; `FUZZ=2000 tests/run tests/test_fuzz.py` is a longer one.
"""

import contextlib
import copy
import json
import os
import random
import re
import shutil
import tarfile

import awkward as ak
import h5py
import numpy as np
import pytest
import torch
import yaml
from helpers import PROGRESS, kd_trainer, write_hdf5, write_root
from weaver.train import save_parquet

from kd_trainer.cache.columns import Layout
from kd_trainer.cache.fingerprint import of_files, of_input
from kd_trainer.cache.origin import Source, write_beside
from kd_trainer.cache.writer import Writer
from kd_trainer.datasets.placing import unpack
from kd_trainer.deploy.model_dir import expected_preprocess
from kd_trainer.errors import InputError
from kd_trainer.evaluate import plots
from kd_trainer.teacher.spec import TeacherSpec

RUNS = int(os.environ.get("FUZZ", 12))  # of each case
JETS = 12
CLASSES = ["QCD", "Hbb"]
GROUP = {"length": 4, "pad_mode": "wrap", "vars": [["part_pt_log", 1.7, 0.7], ["part_energy"]]}
CONFIG = {
    "selection": "jet_pt > 10",
    "new_variables": {"part_pt": "np.hypot(part_px, part_py)", "part_pt_log": "np.log(part_pt)",
                      "part_mask": "ak.ones_like(part_energy)"},
    "preprocess": {"method": "manual", "data_fraction": 0.5},
    "inputs": {"pf": GROUP, "pf_mask": {"length": 4, "pad_mode": "constant", "vars": [["part_mask"]]}},
    "labels": {"type": "simple", "value": [f"label_{name}" for name in CLASSES]},
    "observers": ["jet_pt"],
    "weights": {"use_precomputed_weights": False, "reweight_method": "flat", "reweight_vars": {"jet_pt": [0, 50, 99]},
                "reweight_classes": ["label_QCD", "label_Hbb"], "class_weights": [1, 1],
                "reweight_hists": {"label_QCD": [[1.0, 0.5]], "label_Hbb": [[0.5, 1.0]]}},
}  # fmt: skip
SIDECAR = {"name": "PFN", "network": "n.py", "options": {}, "data_config": "c.yaml", "parameters": 9, "flops": 9,
           "particles": 4}  # fmt: skip
LATENCY = {"machine": {"processor": "x"}, "rows": [{"model": "a", "engine": "onnxruntime", "precision": "fp32",
           "threads": 1, "batch": 1, "p50_ms": 0.5}]}  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a small file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 9, JETS)
    momenta = rng.normal(0, 20, (3, counts.sum()))
    parts = dict(zip(("part_px", "part_py", "part_pz"), momenta))
    parts |= {"part_energy": np.sqrt((momenta**2).sum(axis=0)), "part_deta": momenta[0], "part_dphi": momenta[1]}
    labels = np.arange(JETS) % 2
    jets = ak.Array({name: ak.unflatten(values.astype("float32"), counts) for name, values in parts.items()})
    jets["jet_pt"] = rng.uniform(20, 90, JETS).astype("float32")
    for i, name in enumerate(CLASSES):
        jets[f"label_{name}"] = (labels == i).astype("int32")
    ak.to_parquet(jets, folder / "jets.parquet", row_group_size=5)
    write_root(folder / "jets.root", jets)
    write_hdf5(folder / "jets.h5", jets, 9)
    write_public_files(folder, rng, labels)
    for name in ("config", "other"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    (folder / "groups.yaml").write_text(yaml.safe_dump({f"label_{name}": [f"label_{name}"] for name in CLASSES}))
    write_predictions(folder, rng, labels)
    write_model(folder / "model")
    write_caches(folder, rng)
    with tarfile.open(folder / "some.tar.gz", "w:gz") as file:
        file.add(folder / "jets.parquet", "a/jets.parquet")
        file.add(folder / "jets.root", "b/jets.root")
    with tarfile.open(folder / "some.tar", "w") as file:
        file.add(folder / "config.yaml", "a/config.root")
    return folder


def write_public_files(folder, rng, labels):
    """As of the top tagging and quark/gluon benchmarks."""
    names = [f"{name}_{i}" for i in range(3) for name in ("E", "PX", "PY", "PZ")]
    table = np.zeros(JETS, [("index", "i8"), *((name, "f4") for name in names), ("is_signal_new", "i8")])
    for name in names:
        table[name] = rng.uniform(1, 9, JETS)
    table["is_signal_new"] = labels
    with h5py.File(folder / "top.h5", "w") as file:
        file.create_dataset("table/table", data=table, chunks=(5,), compression="gzip")
    np.savez_compressed(folder / "qg.npz", X=rng.uniform(1, 3, (JETS, 5, 4)), y=labels.astype(float))


def write_predictions(folder, rng, labels):
    scores = rng.dirichlet([1, 1], JETS).astype("float32")
    save_parquet(None, str(folder / "pred.parquet"), scores, {"_label_": labels}, {"jet_pt": np.ones(JETS)})
    columns = {"jet_pt": np.ones(JETS), "_label_": labels}
    columns |= {name: labels == i for i, name in enumerate(CLASSES)}
    columns |= {f"score_{name}": scores[:, i] for i, name in enumerate(CLASSES)}
    write_root(folder / "pred.root", columns, "Events")
    (folder / "pred.model.json").write_text(json.dumps(SIDECAR))
    (folder / "latency.json").write_text(json.dumps(LATENCY))


def write_model(folder):
    """As `deploy` leaves it; the scores are means over particles."""
    folder.mkdir()
    (folder / "data_config.yaml").write_text(yaml.safe_dump({**CONFIG, "weights": None}, sort_keys=False))
    (folder / "preprocess.json").write_text(json.dumps(expected_preprocess(CONFIG)))
    (folder / "deploy.json").write_text(json.dumps({"network": "n.py", "options": {"num_classes": 2}, "weights": "w"}))
    write_network(folder / "model.onnx", [2], ["N", 2])


def write_network(path, axes, shape):
    """Means over some axes of its input."""
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, of)
              for name, of in (("pf", ["N", 2, 4]), ("softmax", shape))]  # fmt: skip
    node = helper.make_node("ReduceMean", ["pf"], ["softmax"], axes=axes, keepdims=0)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)


def write_caches(folder, rng):
    """Two, as `cache` leaves them, which can be blended."""
    kd_trainer("pair", "--student", folder / "config.yaml", "--teacher", folder / "other.yaml", "-o", folder / "run")
    for name in ("n.py", "w.pt"):
        (folder / name).write_text("")
    source = Source(str(folder / "run" / "paired.yaml"), [TeacherSpec(str(folder / "n.py"), str(folder / "w.pt"), {})])
    for name in ("one", "two"):
        (folder / name / "jets").mkdir(parents=True)
        layout = Layout(2)
        origin = of_files(source.made_of(), vars(layout)) | {"input": of_input(folder / "jets.parquet")}
        table = ak.to_arrow_table(ak.from_parquet(folder / "jets.parquet"), list_to32=True, extensionarray=False)
        for key, column in layout.columns(torch.tensor(rng.normal(size=(JETS, 2)))).items():
            table = table.append_column(key, column)
        with open(folder / name / "jets" / "jets.parquet", "wb") as file, Writer(file, origin) as writer:
            writer.write(table)
        write_beside(folder / name, source.options(), layout, source)


def of_bytes(content, rng):
    """Flipped bits, other bytes, a piece that is missing, doubled or zero, or the end cut off."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 9))):
        start = rng.randrange(len(content))
        piece = content[start : start + rng.choice((1, 1, 4, 40))]
        others = (b"", piece * 2, *(bytes([x]) * len(piece) for x in (0, 0xFF, 0x7F, 0x80)), rng.randbytes(len(piece)))
        kind = rng.randrange(4)
        if kind < 2:
            content[start] ^= 1 << rng.randrange(8)
        elif kind == 2:
            content[start : start + len(piece)] = rng.choice(others)
        elif start:
            del content[start:]
    return bytes(content)


VALUES = (None, [], {}, "", "x", "part_px", "1 +", -1, 0, 2, 0.5, 1e300, 10**30, float("nan"), True, [[]], [1], ["x"],
          {"x": 1}, {1: None}, [None], "label_QCD", ["label_QCD"], "ak.num(part_px)", b"x")  # fmt: skip


def of_yaml(content, rng):
    """A document with other values, or without some, in some places."""
    tree = yaml.safe_load(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place, holder, key = tree, None, None
        while isinstance(place, dict | list) and place and (holder is None or rng.random() < 0.8):
            holder, key = place, rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
            place = place[key]
        if holder is not None and rng.random() < 0.2:
            del holder[key]
        elif holder is not None:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return yaml.safe_dump(tree, sort_keys=False).encode()


def of_json(content, rng):
    return json.dumps(yaml.safe_load(of_yaml(content, rng)), default=str).encode()


def command(text):
    """A function that runs a command on a file PATH; returns '' if it ends well, else its line of error."""

    def run(folder, path):
        words = [word.replace("PATH", str(path)).replace("DIR", str(folder)) for word in text.split()]
        result = kd_trainer(*words, check=False)
        lines = [line for line in re.split("[\r\n]+", result.stderr) if line and not PROGRESS.search(line)]
        assert result.returncode == 0 or lines[-1].startswith(f"kd_trainer {words[0]}: "), result.stderr
        assert result.returncode < 2 and "Traceback" not in result.stderr
        return lines[-1] if result.returncode else ""

    return run


def unpacking(folder, path):
    (folder / "out").mkdir()
    shutil.copy(path, folder / "out")
    try:
        unpack(folder / "out" / path.name, "md5:0", "*.root")
    except InputError as error:
        return str(error)
    return ""


CHECK = command("check --all --data-config DIR/config.yaml PATH")
TAG = command("tag DIR/model PATH -o DIR/out/t.parquet")
TAG_GOOD = command("tag DIR/model DIR/jets.parquet -o DIR/out/t.parquet")
REPORT = "report a=DIR/pred.root -o DIR/out --replicas 2"
PAIR = "pair --student DIR/config.yaml --teacher DIR/other.yaml -o DIR/out"
BLEND = command("cache --blend DIR/one=1 DIR/two=1 --output DIR/out")
CACHE = command("cache --check --all --paired DIR/run/paired.yaml --network DIR/n.py --weights DIR/w.pt "
                "--output DIR/one jets:DIR/jets.parquet")  # fmt: skip
CASES = {
    "check parquet": ("jets.parquet", of_bytes, CHECK),
    "check ROOT": ("jets.root", of_bytes, CHECK),
    "check HDF5": ("jets.h5", of_bytes, CHECK),
    "check some": ("jets.root", of_bytes, command("check --data-config DIR/config.yaml PATH")),
    "check config": ("config.yaml", of_yaml, command("check --data-config PATH DIR/jets.parquet")),
    "check text": ("config.yaml", of_bytes, command("check --data-config PATH DIR/jets.parquet")),
    "tag parquet": ("jets.parquet", of_bytes, TAG),
    "tag ROOT": ("jets.root", of_bytes, command("tag DIR/model PATH -o DIR/out/t.root")),
    "tag HDF5": ("jets.h5", of_bytes, TAG),
    "tag config": ("model/data_config.yaml", of_yaml, TAG_GOOD),
    "tag preprocess": ("model/preprocess.json", of_json, TAG_GOOD),
    "tag source": ("model/deploy.json", of_json, TAG_GOOD),
    "tag model": ("model/model.onnx", of_bytes, TAG_GOOD),
    "subset": ("jets.root", of_bytes, command("subset --by jet_pt --fraction 0.5 -o DIR/out/s.yaml --data-config "
                                              "DIR/config.yaml --files PATH")),
    "unlabelled": ("config.yaml", of_yaml, command("unlabelled --data-config PATH -o DIR/out/u.yaml")),
    "pair student": ("config.yaml", of_yaml, command(PAIR)),
    "pair teacher": ("other.yaml", of_yaml, command(PAIR)),
    "pair weights": ("other.yaml", of_yaml, command("pair --student DIR/config.yaml --weights PATH -o DIR/out")),
    "pair groups": ("groups.yaml", of_yaml, command(f"{PAIR} --classes PATH")),
    "pair unlabelled": ("config.yaml", of_yaml, command(f"{PAIR} --unlabelled")),
    "report parquet": ("pred.parquet", of_bytes,
                       command("report a=PATH --data-config DIR/config.yaml -o DIR/out --replicas 2")),
    "report ROOT": ("pred.root", of_bytes, command(REPORT)),
    "report sidecar": ("pred.model.json", of_json, command(REPORT)),
    "report latency": ("latency.json", of_json, command(f"{REPORT} --latency PATH")),
    "convert top": ("top.h5", of_bytes, command("convert top PATH -o DIR/out")),
    "convert qg": ("qg.npz", of_bytes, command("convert qg PATH -o DIR/out")),
    "convert jetclass": ("jets.root", of_bytes, command("convert jetclass PATH -o DIR/out")),
    "unpack tar.gz": ("some.tar.gz", of_bytes, unpacking),
    "unpack tar": ("some.tar", of_bytes, unpacking),
    "cache": ("one/jets/jets.parquet", of_bytes, CACHE),
    "cache paired": ("run/paired.yaml", of_yaml, CACHE),
    "blend": ("two/jets/jets.parquet", of_bytes, BLEND),
    "blend teachers": ("one/teachers.yaml", of_yaml, BLEND),
}  # fmt: skip


@contextlib.contextmanager
def changing(path):
    """A function that gives a file another content, but not another time; at the end it has its own."""
    whole, status = path.read_bytes(), path.stat()

    def write(content):
        path.write_bytes(content)
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))

    try:
        yield whole, write
    finally:
        write(whole)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_damaged_file(good, case, monkeypatch):
    """The command ends well or with one line of error, and leaves no incomplete file."""
    monkeypatch.setattr(plots, "draw_all", lambda *_: {})
    name, damaged, run = CASES[case]
    path, out, rng = good / name, good / "out", random.Random(case)
    with changing(path) as (whole, write):
        for number in range(RUNS + 1):
            write(damaged(whole, rng) if number else whole)
            shutil.rmtree(out, ignore_errors=True)
            trouble = run(good, path)
            assert number or not trouble
            assert not [left.name for left in out.rglob(".*") if left.name != f".{path.name}.json"], trouble


@pytest.mark.parametrize("case, change, message", [
    ("check config", lambda x: x["weights"].update(reweight_vars={1: [0, 9]}), "a branch must be a name"),
    ("pair student", lambda x: x["inputs"]["pf"].update(vars=[]), "must be a mapping with a list `vars`"),
    ("cache paired", lambda x: x["preprocess"].update(params=[1]), "`params` in `preprocess` must be a mapping"),
    ("blend teachers", lambda x: x.update(paired=[]), "teachers.yaml is not a file that 'cache' has written"),
    ("tag source", lambda x: x.update(options=0.5), "deploy.json: `options` has to be a mapping"),
    ("report sidecar", lambda x: x.update(flops=[]), "pred.model.json is not from `kd_trainer complexity`"),
    ("report sidecar", lambda x: x["options"].update(x=float("nan")), "NaN is not valid JSON"),
    ("report latency", lambda x: x["rows"][0].update(threads=[]), "is not the latency.json"),
])  # fmt: skip
def test_what_was_found(good, case, change, message, monkeypatch):
    monkeypatch.setattr(plots, "draw_all", lambda *_: {})
    name, _, run = CASES[case]
    with changing(good / name) as (whole, write):
        content = yaml.safe_load(whole)
        change(content)
        write(json.dumps(content).encode() if name.endswith("json") else yaml.safe_dump(content).encode())
        assert message in run(good, good / name)


def test_a_model_without_a_row_of_scores(good):
    with changing(good / "model" / "model.onnx"):
        write_network(good / "model" / "model.onnx", [1, 2], ["N"])
        assert "the model gives ['N'], not (N, K) scores" in TAG_GOOD(good, good)
