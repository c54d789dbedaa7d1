"""Bad input of a distillation: one line, an exit code, nothing trained.

Weaver ends with the line that a hook raises; that it does is tested through the real command, once for each hook and
for the files, the other lines are tested in the hooks.
"""

import awkward as ak
import pytest
import torch
from distillation import FULL, L1, STUDENT, TEACHER, TRAINING, data, distillation
from helpers import ROOT, weaver
from weaver.utils.dataset import DataConfig
from weaver_inputs import untrained

from kd_trainer.distill import hooks


def fails(jets, configs, teacher, tmp_path, *args, **kwargs):
    result, log = distillation(jets, configs, teacher, tmp_path / "net", *args, check=False, **kwargs)
    assert result.returncode != 0
    assert not list(tmp_path.glob("net_*"))
    return result.stderr.strip().splitlines()[-1], log


@pytest.fixture
def refused(configs, teacher, monkeypatch):
    """The line with which a hook ends weaver."""
    monkeypatch.chdir(ROOT)
    given = {"student": "networks/PFN.py", "teacher": "networks/ParT.py", "teacher_weights": str(teacher),
             "teacher_options": TEACHER}  # fmt: skip

    def refused(hook, config=configs / "paired.yaml", **options):
        options = {k: str(v) if hasattr(v, "parts") else v for k, v in (given | options).items()}
        with pytest.raises(SystemExit) as ended:
            getattr(hooks, hook)(DataConfig.load(str(config)), **options)
        return str(ended.value)

    return refused


def test_missing_weights(jets, configs, tmp_path):
    line, _ = fails(jets, configs, tmp_path / "none.pt", tmp_path)
    assert line == f"weaver-kd: the teacher's weights {tmp_path}/none.pt do not exist"


def test_truncated_and_foreign_weights(refused, teacher, tmp_path):
    truncated = tmp_path / "truncated.pt"
    truncated.write_bytes(teacher.read_bytes()[:5000])
    line = refused("get_train_fn", teacher_weights=truncated)
    assert line.startswith(f"weaver-kd: the teacher's weights {truncated} cannot be read")
    foreign = tmp_path / "foreign.pt"
    torch.save({"mod.phi.0.weight": torch.zeros(3, 3)}, foreign)
    line = refused("get_train_fn", teacher_weights=foreign)
    assert "do not fit the teacher networks/ParT.py" in line and "mod.cls_token" in line and "mod.phi.0.weight" in line


def test_options(refused):
    assert refused("get_model", kd_tempreature=2.0).startswith(
        "weaver-kd: unknown option kd_tempreature: valid are student, teacher"
    )
    line = refused("get_loss", kd_loss="dkd", num_classes=2)
    assert line.startswith("weaver-kd: kd_loss 'dkd' is not for two classes: the part of the non-target")
    line = refused("get_loss", kd_label_smoothing=0.1, student=ROOT / "networks" / "none.py")
    assert line == f"weaver-kd: the student's network file {ROOT}/networks/none.py does not exist"


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
    table = ak.from_parquet(jets / "train" / "Hcc_000.parquet")
    ak.to_parquet(table[[f for f in table.fields if f != "part_d0val"]], folder / "train" / "Hcc_000.parquet")
    line, _ = fails(folder, configs, teacher, tmp_path)
    assert line.startswith("weaver-kd: 2 of 10 training files cannot be used")
    assert "Hbb_000.parquet cannot be read" in line and "Hcc_000.parquet lacks part_d0val" in line


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


def test_teacher_with_other_classes(refused, tmp_path):
    untrained(tmp_path / "five.pt", FULL, **TEACHER, num_classes=5)
    line = refused("get_train_fn", teacher_weights=tmp_path / "five.pt", teacher_options=TEACHER | {"num_classes": 5})
    assert "the teacher gives an output of shape (2, 5) for two jets, the data config has 10 classes" in line


@pytest.fixture
def broken(tmp_path):
    """Network files with an AttributeError in a function."""
    source = (ROOT / "networks" / "PFN.py").read_text()
    hook = (ROOT / "networks" / "distill.py").read_text()
    texts = {
        "loss": source.replace("return torch.nn.CrossEntropyLoss()", "return torch.nn.NoSuchLoss()"),
        "model": source.replace("cfg = dict(", "data_config.no_such_attribute\n    cfg = dict("),
        "loop": hook + "\nimport kd_trainer.distill.loop as loop\nloop.train_fn = lambda *a: None.no_such\n",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_an_attribute_error_in_the_loop_does_not_train_without_teacher(jets, configs, teacher, broken):
    result, log = distillation(jets, configs, teacher, broken / "net", *STUDENT, "-n", broken / "loop.py", check=False)
    assert result.returncode != 0
    assert "RuntimeError: weaver-kd: get_" in result.stderr
    assert "Running in classification mode" not in log and not list(broken.glob("net_*"))


@pytest.mark.parametrize("hook, side, name", [("get_loss", "student", "loss"), ("get_train_fn", "teacher", "model")])
def test_no_attribute_error_leaves_a_hook(configs, teacher, broken, hook, side, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = {"student": "networks/PFN.py", "teacher": "networks/ParT.py", "teacher_weights": str(teacher),
               side: str(broken / f"{name}.py")}  # fmt: skip
    with pytest.raises(RuntimeError, match=f"weaver-kd: {hook} failed: "):
        getattr(hooks, hook)(DataConfig.load(str(configs / "paired.yaml")), **options)


def test_hooks_of_weaver_itself_would_be_silent(jets, tmp_path):
    """`loud` is necessary because of this behaviour of weaver; the test fails if weaver changes it."""
    broken = tmp_path / "broken.py"
    hook = "\n\ndef get_train_fn(data_config, **kwargs):\n    return None.no_such_attribute\n"
    broken.write_text((ROOT / "networks" / "PFN.py").read_text() + hook)
    result = weaver(*data(jets), "-c", L1, "-n", broken, *STUDENT, "-m", tmp_path / "net", "--num-epochs", 1, *TRAINING)
    assert "Running in classification mode" in result.stdout


def test_student_with_its_own_loop_is_refused(refused, tmp_path):
    own = tmp_path / "own.py"
    hook = "\n\ndef get_train_fn(data_config, **kwargs):\n    pass\n"
    own.write_text((ROOT / "networks" / "PFN.py").read_text() + hook)
    assert "defines its own get_train_fn" in refused("get_model", student=own)
