"""Expressions of data configs: all of ours are accepted, those that do more than compute are refused."""

import hashlib
import json
import shutil

import awkward as ak
import numpy as np
import pytest
import yaml
from helpers import ROOT, failure, kd_trainer, random_jets

from kd_trainer import configs, expressions
from kd_trainer.arguments import TRUST
from kd_trainer.errors import InputError
from kd_trainer.pretrain.subset import hash_expression

L1 = ROOT / "data" / "JetClass" / "JetClass_l1.yaml"
CONFIGS = sorted(ROOT.glob("data/*/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_our_configs_pass(path):
    assert configs.load(path)["inputs"]


@pytest.mark.parametrize("expression", [
    None, 1, 0.5, True, "label", " label", "part_px[cand_index][:, :16]", "(a > 1) & ~(b <= 2) | (c != 0)",
    "np.where(a < np.pi, -a, +a ** 2)", "numpy.log(a) if len(a) else 0", "awkward.num(part_px, axis=1)",
    "x[None, ...]", "np.float32(a)[np.newaxis]", "not a and b or c in [1, 2]", "math.sqrt(2) * math.pi",
    "_p4_from_ptetaphie(pt, eta, phi, e).mass", "_p4_from_ptetaphim(pt, eta, phi, m).deltaR(other)",
    "ak.zip({'pt': pt, 'eta': eta}).pt", "_batch_gather(a, ak.argsort(b))", "a.astype('uint64').T", "np.add.reduce(a)",
    "jets['part_px']", "event.part.px", hash_expression("event_number"),
])  # fmt: skip
def test_let_through(expression):
    assert expressions.refused(expression) == ""


@pytest.mark.parametrize("expression, what", [
    ("__import__('os').system('true')", "`__import__`"),
    ("np.__class__", "`np.__class__`"),
    ("().__class__", "`.__class__`"),
    ("a.__class__.__mro__", "`.__mro__`"),
    ("__builtins__", "`__builtins__`"),
    ("_label_", "`_label_`"),
    ("open('x')", "`open`"),
    ("eval('1')", "`eval`"),
    ("len", "`len`"),
    ("abs(pdgId) == 211", "`abs`, which is `np.abs` here,"),
    ("np", "`np`"),
    ("_stack.__globals__", "`_stack.__globals__`"),
    ("_stack", "`_stack`"),
    ("np.load('x', allow_pickle=True)", "`np.load`"),
    ("np.testing.runstring('1', {})", "`.runstring`"),
    ("np.f2py", "`np.f2py`"),
    ("np.lib.format.os", "`.format`"),
    ("np.vectorize(a)", "`np.vectorize`"),
    ("np.fromfile('x')", "`np.fromfile`"),
    ("np.savetxt('x', a)", "`np.savetxt`"),
    ("np.ctypeslib.load_library('x', 'y')", "`.load_library`"),
    ("np.no_such_thing", "`np.no_such_thing`"),
    ("np.log.__self__", "`.__self__`"),
    ("np.log.resolve_dtypes", "`.resolve_dtypes`"),
    ("ak.from_parquet('x')", "`ak.from_parquet`"),
    ("ak.to_parquet(a, 'x')", "`ak.to_parquet`"),
    ("ak.numba.register()", "`.register`"),
    ("ak.transform(a, b)", "`ak.transform`"),
    ("a.tofile('x')", "`a.tofile`"),
    ("a.dump('x')", "`a.dump`"),
    ("a.layout", "`a.layout`"),
    ("'{0.x}'.format(a)", "`.format`"),
    ("(lambda: 1)()", "a call of something other than a name"),
    ("lambda: 1", "a Lambda"),
    ("[x for x in a]", "a ListComp"),
    ("ak.sum(x for x in a)", "a GeneratorExp"),
    ("(a := 1)", "a NamedExpr"),
    ("f'{a}'", "a JoinedStr"),
    ("np.sum(*a)", "a Starred"),
    ("np.sum(**a)", "`**`"),
    ("ak.zip({**a})", "`**`"),
    ("a[0](1)", "a call of something other than a name"),
    ("import os", "an expression that Python cannot parse"),
    ("a; b", "an expression that Python cannot parse"),
    ("a\0", "an expression that Python cannot parse"),
    ("(" * 1000, "an expression that Python cannot parse"),
    ("-" * 100_000 + "a", "an expression that Python cannot parse"),
    ("a # '''", "a comment"),
    (b"__import__('os')", "a bytes"),
    (["a"], "a list"),
])  # fmt: skip
def test_refused(expression, what):
    assert expressions.refused(expression) == what


@pytest.fixture
def own(tmp_path):
    """A function that writes a data config with a change, and a file that no expression may have made."""
    marker = tmp_path / "evil"

    def write(change):
        options = yaml.safe_load(L1.read_text())
        change(options, f"__import__('os').mkdir({str(marker)!r})")
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
        return tmp_path / "own.yaml"

    write.marker = marker
    return write


PLACES = {
    "selection": lambda options, x: options.update(selection=x),
    "test_time_selection": lambda options, x: options.update(test_time_selection=x),
    "new_variables: a": lambda options, x: options["new_variables"].update(a=x),
    "labels": lambda options, x: options["labels"]["value"].append(x),
    "labels: truth": lambda options, x: options.update(labels={"type": "custom", "value": {"truth": x}}),
    "labels of the teacher": lambda options, x: options["labels"].update(teacher={"type": "simple", "value": [x]}),
    "weight_branches": lambda options, x: options.update(weights={"weight_branches": [x]}),
    "reweight_basewgt": lambda options, x: options.update(weights={"reweight_basewgt": x}),
}


@pytest.mark.parametrize("place", PLACES)
def test_everywhere_in_a_config(own, place):
    path = own(PLACES[place])
    with pytest.raises(InputError, match=f"own.yaml: `{place}` is .*mkdir.* `__import__` is not allowed.* --trust"):
        configs.load(path)


def test_what_weaver_has_computed_is_looked_at_too(own):
    path = own(lambda options, x: None)
    auto = path.with_suffix(f".{hashlib.md5(path.read_bytes()).hexdigest()}.auto.yaml")
    auto.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "selection": "().__class__"}))
    with pytest.raises(InputError, match="auto.yaml: `selection`"):
        configs.load(path)


@pytest.mark.parametrize("command", [
    ("check", "--data-config", "CFG", "JETS"),
    ("subset", "--data-config", "CFG", "--fraction", "0.5", "-o", "OUT", "--files", "JETS"),
    ("unlabelled", "--data-config", "CFG", "-o", "OUT"),
    ("pair", "--student", "CFG", "-o", "OUT"),
    ("pair", "--student", L1, "--teacher", "CFG", "-o", "OUT"),
    ("cache", "--paired", "CFG", "--network", "n.py", "--weights", "w.pt", "--output", "OUT", "JETS"),
    ("complexity", "--data-config", "CFG", "--network", ROOT / "networks" / "PFN.py"),
])  # fmt: skip
def test_commands(own, tmp_path, command):
    path = own(PLACES["selection"])
    ak.to_parquet(random_jets(20), tmp_path / "jets.parquet")
    paths = {"CFG": path, "JETS": tmp_path / "jets.parquet", "OUT": tmp_path / "out"}
    line = failure(*(paths.get(word, word) for word in command))
    assert "`selection` is \"__import__('os').mkdir(" in line
    assert not own.marker.exists() and not list(tmp_path.glob("out*"))


def test_trust(own, tmp_path, monkeypatch):
    path = own(PLACES["selection"])
    ak.to_parquet(random_jets(20), tmp_path / "jets.parquet")
    args = ["check", "--data-config", path, tmp_path / "jets.parquet"]
    monkeypatch.delenv(TRUST, raising=False)
    kd_trainer(*args, "--trust", check=False)  # mkdir gives None, which is no selection
    assert own.marker.exists()
    assert "`__import__` is not allowed" in kd_trainer(*args, check=False).stderr
    monkeypatch.setenv(TRUST, "1")
    assert configs.load(path)["selection"].startswith("__import__")


def test_commands_without_data_configs_do_not_know_it():
    with pytest.raises(SystemExit):
        kd_trainer("init", "x", "--trust")


def foreign_model(folder, **changes):
    """A folder that looks like one of `deploy`, with a network file that makes a file when it is run."""
    import onnx
    from onnx import TensorProto, helper

    from kd_trainer.deploy.model_dir import expected_preprocess

    folder.mkdir()
    options = {**yaml.safe_load(L1.read_text()), "weights": None, **changes}
    (folder / "data_config.yaml").write_text(yaml.safe_dump(options, sort_keys=False))
    (folder / "preprocess.json").write_text(json.dumps(expected_preprocess(options)))
    (folder / "net.py").write_text(f"open({str(folder / 'evil')!r}, 'w')\n")
    source = {"network": str(folder / "net.py"), "options": {}, "weights": str(folder / "net.pt"), "weights_sha256": ""}
    (folder / "deploy.json").write_text(json.dumps(source))
    sum_ = helper.make_node("ReduceMean", ["pf_features"], ["mean"], axes=[2], keepdims=0)
    flat = helper.make_node("Concat", ["mean", "mean", "mean"], ["all"], axis=1)
    cut = helper.make_node("Slice", ["all", "from", "to", "axis"], ["softmax"])
    numbers = [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("from", 0), ("to", 10), ("axis", 1))]
    config = options["inputs"]["pf_features"]
    shape = ["N", len(config["vars"]), config["length"]]
    graph = helper.make_graph(
        [sum_, flat, cut], "g", [helper.make_tensor_value_info("pf_features", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("softmax", TensorProto.FLOAT, ["N", 10])], numbers,
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), folder / "model.onnx"
    )
    return folder


def test_tag_runs_nothing_of_a_foreign_folder(tmp_path):
    ak.to_parquet(random_jets(20), tmp_path / "jets.parquet")
    folder = foreign_model(tmp_path / "model")
    kd_trainer("tag", folder, tmp_path / "jets.parquet", "-o", tmp_path / "o.parquet")
    kd_trainer("variables", folder, tmp_path / "jets.parquet", "-o", tmp_path / "o.txt")
    scores = ak.from_parquet(tmp_path / "o.parquet")
    assert len(scores) == 20 and np.isfinite(ak.to_numpy(scores.score_label_Hbb)).all()
    shutil.rmtree(folder)
    program = f"__import__('os').mkdir({str(tmp_path / 'evil')!r})"
    for change in ({"selection": program}, {"observers": [], "test_time_selection": program}):
        folder = foreign_model(tmp_path / "model", **change)
        for command, *output in (("tag", "-o", tmp_path / "p.root"), ("variables", "-o", tmp_path / "p"), ("parity",)):
            assert "`__import__` is not allowed" in failure(command, folder, tmp_path / "jets.parquet", *output)
        shutil.rmtree(folder)
    assert not (tmp_path / "evil").exists() and not list(tmp_path.glob("p*"))
