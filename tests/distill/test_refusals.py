"""Bad input of a distillation: one line, an exit code, nothing trained. Through the real weaver command."""

import awkward as ak
import pytest
import torch
from distillation import FULL, L1, STUDENT, TEACHER, TRAINING, data, distillation
from helpers import ROOT, weaver
from weaver.utils.dataset import DataConfig
from weaver.utils.import_tools import import_module


def fails(jets, configs, teacher, tmp_path, *args, **kwargs):
    result, log = distillation(jets, configs, teacher, tmp_path / "net", *args, check=False, **kwargs)
    assert result.returncode != 0
    assert not list(tmp_path.glob("net_*"))
    return result.stderr.strip().splitlines()[-1], log


def test_missing_and_truncated_and_foreign_weights(jets, configs, teacher, tmp_path):
    line, _ = fails(jets, configs, tmp_path / "none.pt", tmp_path)
    assert line == f"weaver-kd: the teacher's weights {tmp_path}/none.pt do not exist"
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(teacher.read_bytes()[:5000])
    line, _ = fails(jets, configs, truncated, tmp_path)
    assert line.startswith(f"weaver-kd: the teacher's weights {truncated} cannot be read")
    foreign = tmp_path / "foreign.pt"
    torch.save({"mod.phi.0.weight": torch.zeros(3, 3)}, foreign)
    line, _ = fails(jets, configs, foreign, tmp_path)
    assert "do not fit the teacher networks/ParT.py" in line and "mod.cls_token" in line and "mod.phi.0.weight" in line


def test_unknown_option(jets, configs, teacher, tmp_path):
    line, _ = fails(jets, configs, teacher, tmp_path, "-o", "kd_tempreature", 2.0)
    assert line.startswith("weaver-kd: unknown option kd_tempreature: valid are student, teacher")


def test_config_without_the_teachers_inputs(jets, configs, teacher, tmp_path):
    line, _ = fails(jets, configs, teacher, tmp_path, "-c", L1)
    assert line.startswith("weaver-kd: the data config has no inputs for the teacher")


def test_unreadable_and_incomplete_input_files(jets, configs, teacher, tmp_path):
    folder = tmp_path / "broken"
    (folder / "train").mkdir(parents=True)
    (folder / "val").symlink_to(jets / "val")
    for path in (jets / "train").iterdir():
        (folder / "train" / path.name).write_bytes(path.read_bytes())
    (folder / "train" / "Hbb_000.parquet").write_bytes(b"PAR1 nonsense")
    line, _ = fails(folder, configs, teacher, tmp_path)
    assert line.startswith("weaver-kd: 1 of 10 training files cannot be used")
    assert "Hbb_000.parquet cannot be read" in line
    table = ak.from_parquet(jets / "train" / "Hbb_000.parquet")
    ak.to_parquet(table[[f for f in table.fields if f != "part_d0val"]], folder / "train" / "Hbb_000.parquet")
    line, _ = fails(folder, configs, teacher, tmp_path)
    assert "Hbb_000.parquet lacks part_d0val" in line


def test_unreadable_validation_file(jets, configs, teacher, tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / "train").symlink_to(jets / "train")
    for path in (jets / "val").iterdir():
        (tmp_path / "val" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "val" / "Tbl_000.parquet").write_bytes(b"PAR1 nonsense")
    result, _ = distillation(tmp_path, configs, teacher, tmp_path / "net", *STUDENT, epochs=1, check=False)
    assert result.returncode != 0
    assert "weaver-kd: 1 of 10 validation files cannot be used" in result.stderr.splitlines()[-1]


def test_nan_stops_the_training(jets, configs, teacher, tmp_path):
    weights = torch.load(teacher, weights_only=True)
    weights["mod.fc.0.bias"][0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    line, _ = fails(jets, configs, tmp_path / "nan.pt", tmp_path, *STUDENT)
    assert line.startswith("weaver-kd: the loss is nan in epoch 0, batch 0: training stopped")


def test_teacher_with_other_classes(jets, configs, tmp_path):
    config = DataConfig.load(str(FULL), load_observers=False)
    model, _ = import_module(str(ROOT / "networks" / "ParT.py")).get_model(config, **TEACHER, num_classes=5)
    torch.save(model.state_dict(), tmp_path / "five.pt")
    five = str(TEACHER | {"num_classes": 5})
    line, _ = fails(jets, configs, tmp_path / "five.pt", tmp_path, "-o", "teacher_options", five)
    assert "the teacher gives an output of shape (2, 5) for two jets, the data config has 10 classes" in line


@pytest.mark.parametrize("where", ["student get_loss", "teacher get_model", "loop"])
def test_an_attribute_error_in_a_hook_does_not_train_without_teacher(jets, configs, teacher, tmp_path, where):
    broken = tmp_path / "broken.py"
    source = (ROOT / "networks" / "PFN.py").read_text()
    args, kwargs = STUDENT, {}
    if where == "student get_loss":
        broken.write_text(source.replace("return torch.nn.CrossEntropyLoss()", "return torch.nn.NoSuchLoss()"))
        kwargs["student"] = str(broken)
    elif where == "teacher get_model":
        broken.write_text(source.replace("cfg = dict(", "data_config.no_such_attribute\n    cfg = dict("))
        args = (*STUDENT, "-o", "teacher", f"'{broken}'")
    else:
        hook = (ROOT / "networks" / "distill.py").read_text()
        broken.write_text(hook + "\nimport kd_trainer.distill.loop as loop\nloop.train_fn = lambda *a: None.no_such\n")
        args = (*STUDENT, "-n", str(broken))
    result, log = distillation(jets, configs, teacher, tmp_path / "net", *args, check=False, **kwargs)
    assert result.returncode != 0
    assert "RuntimeError: weaver-kd: get_" in result.stderr
    assert "Running in classification mode" not in log and not list(tmp_path.glob("net_*"))


def test_hooks_of_weaver_itself_would_be_silent(jets, tmp_path):
    """The fact that makes `loud` necessary; if weaver changes, this test says so."""
    broken = tmp_path / "broken.py"
    hook = "\n\ndef get_train_fn(data_config, **kwargs):\n    return None.no_such_attribute\n"
    broken.write_text((ROOT / "networks" / "PFN.py").read_text() + hook)
    result = weaver(*data(jets), "-c", L1, "-n", broken, *STUDENT, "-m", tmp_path / "net", "--num-epochs", 1, *TRAINING)
    assert "Running in classification mode" in result.stdout


def test_student_with_its_own_loop_is_refused(jets, configs, teacher, tmp_path):
    own = tmp_path / "own.py"
    hook = "\n\ndef get_train_fn(data_config, **kwargs):\n    pass\n"
    own.write_text((ROOT / "networks" / "PFN.py").read_text() + hook)
    line, _ = fails(jets, configs, teacher, tmp_path, student=str(own))
    assert "brings its own get_train_fn" in line
