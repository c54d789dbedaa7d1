"""A model directory: the files that convert writes, and the errors for damaged ones."""

import json
import re

import onnx
import pytest
import yaml
from distillation import L1
from helpers import failure, flip, kd_trainer, random_jets, run

from kd_trainer.deploy.command import complete
from kd_trainer.deploy.model_dir import recorded
from kd_trainer.deploy.session import open_session
from kd_trainer.deploy.tagger import Tagger
from kd_trainer.errors import InputError


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_deploy_leaves(model_dir):
    preprocess = json.loads((model_dir / "preprocess.json").read_text())
    assert preprocess["input_names"] == ["pf_points", "pf_features", "pf_vectors", "pf_mask"]
    assert [preprocess[name]["pad_mode"] for name in preprocess["input_names"]] == ["wrap"] * 3 + ["constant"]
    config = yaml.safe_load((model_dir / "data_config.yaml").read_text())
    assert config["new_variables"] == yaml.safe_load(L1.read_text())["new_variables"]
    source = json.loads((model_dir / "deploy.json").read_text())
    assert source["options"] == {"phi_dims": [16, 16], "rho_dims": [16]} and len(source["weights_sha256"]) == 64
    assert json.loads((model_dir / "parity.json").read_text())["passed"]
    static = onnx.load(model_dir / "model_static.onnx")
    for value in static.graph.input:
        assert [d.dim_value for d in value.type.tensor_type.shape.dim][::2] == [1, 16]
    dynamic = onnx.load(model_dir / "model.onnx")
    for value in dynamic.graph.input:
        assert [d.dim_param for d in value.type.tensor_type.shape.dim][::2] == ["N", "n_pf"]
    names = [path.name for path in model_dir.iterdir()]
    assert not [name for name in names if name.startswith(".")] and "teacher" not in "".join(names)


def test_deploy_again_leaves_nothing_of_the_model_before(recorded_dir):
    derived = ("parity.json", "model_static.onnx")
    names = sorted(path.name for path in recorded_dir.iterdir() if path.name not in derived)
    for name in ("model_int8.onnx", "quantised.json", "firmware.json"):
        (recorded_dir / name).write_text("of another model")
    (recorded_dir / "firmware" / "src").mkdir(parents=True)
    complete(recorded_dir, L1, json.loads((recorded_dir / "deploy.json").read_text()))
    assert sorted(path.name for path in recorded_dir.iterdir()) == names


def test_gpu_is_for_the_tagger(own_dir, monkeypatch):
    asked = []

    def session(path, options, providers):
        asked.append(providers)
        raise RuntimeError("no more is asked")

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: both)
    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    for use in (open_session, Tagger):
        with pytest.raises(InputError, match="no more is asked"):
            use(own_dir / "model.onnx" if use is open_session else own_dir)
    assert asked == [["CPUExecutionProvider"], both]


def refuses(folder, text):
    with pytest.raises(InputError, match=text):
        Tagger(folder)


@pytest.mark.parametrize("name", ["model.onnx", "preprocess.json", "data_config.yaml"])
def test_missing_file_or_folder(own_dir, name):
    (own_dir / name).unlink()
    refuses(own_dir, name)
    refuses(own_dir / "nothing", "there is no model directory")


def damage(path):
    flip(path, path.stat().st_size // 2)


@pytest.mark.parametrize("name", ["model.onnx", "model_static.onnx", "deploy.json"])
def test_flipped_bits(recorded_dir, val_files, tmp_path, name):
    if name == "deploy.json":
        edit(recorded_dir / name, lambda source: source["options"].update(rho_dims=[32]))
    else:
        damage(recorded_dir / name)
    line = f"{recorded_dir / name} is damaged or was changed: its SHA-256 is not that in SHA256SUMS beside it; copy the"
    model = name if name.endswith(".onnx") else "model.onnx"
    with pytest.raises(InputError, match=f"^{re.escape(line)}"):
        Tagger(recorded_dir, model=model)
    commands = {"tag": ("-o", tmp_path / "o.parquet", "--model", model), "parity": ()}
    for command, options in commands.items():
        assert line in failure(command, recorded_dir, val_files[0], *options)
    assert not (tmp_path / "o.parquet").exists()


def test_data_config_that_was_edited(recorded_dir):
    path = recorded_dir / "data_config.yaml"
    path.write_text(path.read_text().replace("selection: null", "selection: jet_pt > 600", 1))
    refuses(recorded_dir, "data_config.yaml is damaged or was changed")


def test_checksums_are_those_of_sha256sum(recorded_dir, val_files):
    """A command records only the files that it writes, so that a damaged file is still found."""
    files = {"data_config.yaml", "deploy.json", "model.onnx", "model_static.onnx", "parity.json", "preprocess.json"}
    assert recorded(recorded_dir).keys() == files
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=recorded_dir)
    damage(recorded_dir / "model_static.onnx")
    kd_trainer("quantise", recorded_dir, val_files[0], "--test", *val_files, "--repetitions", 1, "--jets", 16)
    assert recorded(recorded_dir).keys() == files | {"model_int8.onnx", "quantised.json"}
    result = run("sha256sum", "--check", "--quiet", "SHA256SUMS", cwd=recorded_dir, check=False)
    assert result.stdout == "model_static.onnx: FAILED\n"


@pytest.mark.parametrize(
    "name, content, text",
    [
        *(("preprocess.json", content, "preprocess.json is not") for content in (b"{", b"[1]", b"\x00\xff")),
        ("model.onnx", b"not a model", "model.onnx cannot be loaded by ONNX Runtime"),
    ],
)
def test_file_of_something_else(own_dir, name, content, text):
    (own_dir / name).write_bytes(content)
    refuses(own_dir, text)


def standardise_differently(preprocess):
    preprocess["pf_features"]["var_infos"]["cand_pt_log"].update(median=2.0)


def drop_last_feature(preprocess):
    preprocess["pf_features"]["var_infos"].pop(preprocess["pf_features"]["var_names"].pop())


def test_preprocess_of_another_config(own_dir):
    edit(own_dir / "preprocess.json", standardise_differently)
    refuses(own_dir, "preprocess.json and data_config.yaml do not belong together: `pf_features` differs")


@pytest.mark.parametrize(
    "change, same, text",
    [
        (standardise_differently, lambda found: [["cand_pt_log", 2.0, 0.7], *found[1:]],
         "model.onnx and preprocess.json do not belong together: the model was exported with another pre"),
        (drop_last_feature, lambda found: found[:-1],
         r"do not belong together: pf_features is \[13, 'n_pf'\] in the model, \[12, 16\] in the file"),
    ],
)  # fmt: skip
def test_model_of_another_training(own_dir, change, same, text):
    """The other two files agree."""
    config = yaml.safe_load((own_dir / "data_config.yaml").read_text())
    config["inputs"]["pf_features"]["vars"] = same(config["inputs"]["pf_features"]["vars"])
    (own_dir / "data_config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    edit(own_dir / "preprocess.json", change)
    refuses(own_dir, text)


def test_plain_export_of_weaver_has_no_fingerprint_and_works(own_dir):
    model = onnx.load(own_dir / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, own_dir / "model.onnx")
    (own_dir / "deploy.json").unlink()
    assert len(Tagger(own_dir)(random_jets(3))) == 3


def test_embedding_that_the_network_does_not_give(own_dir, val_files):
    options = ["--network", "networks/PFN.py", "-o", "export_embed", "True", "--weights", own_dir / "net.pt"]
    line = failure("deploy", own_dir, *val_files, *options, "--data-config", L1)
    assert "networks/PFN.py does not know export_embed: export the model without" in line


def test_deploy_of_what_was_not_exported(own_dir, val_files):
    options = ["--network", "networks/PFN.py", "--weights", own_dir / "net.pt"]
    (own_dir / "model.onnx").unlink()
    line = failure("deploy", own_dir, *val_files, *options, "--data-config", L1)
    assert "export the model with weaver first" in line
