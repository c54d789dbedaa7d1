import copy
import hashlib
import shutil

import awkward as ak
import numpy as np
import pytest
import yaml
from helpers import ROOT, failure, kd_trainer
from weaver.utils.dataset import DataConfig
from weaver_inputs import inputs_of

from kd_trainer.configs import PREFIX, load
from kd_trainer.errors import InputError
from kd_trainer.pairing import pair, with_sampling_weights

JETCLASS = {tier: ROOT / "data" / "JetClass" / f"JetClass_{tier}.yaml" for tier in ("full", "kin", "l1", "hlt")}
JETCLASS2 = {tier: ROOT / "data" / "JetClassII" / f"JetClassII_{tier}.yaml" for tier in ("full", "l1")}


@pytest.fixture
def student():
    return load(JETCLASS["l1"])


@pytest.fixture
def teacher():
    return load(JETCLASS["full"])


@pytest.mark.parametrize("students, teachers", [("l1", "full"), ("hlt", "kin"), ("full", "l1"), ("full", "full")])
def test_paired_config_gives_each_side_its_own_inputs(students, teachers, jets):
    path = jets / "val" / "Hbb_000.parquet"
    options = {tier: load(JETCLASS[tier]) for tier in (students, teachers)}
    both = inputs_of(DataConfig(print_info=False, **pair(options[students], options[teachers])), path)
    alone = {tier: inputs_of(DataConfig(print_info=False, **options[tier]), path) for tier in options}
    assert list(both) == [*alone[students], *(PREFIX + name for name in alone[teachers])]
    for name, array in alone[students].items():
        np.testing.assert_array_equal(both[name], array)
    for name, array in alone[teachers].items():
        np.testing.assert_array_equal(both[PREFIX + name], array)


def test_only_what_the_teacher_needs_is_computed(student):
    teacher = load(JETCLASS2["full"])
    teacher["labels"] = copy.deepcopy(student["labels"])
    variables = pair(student, teacher)["new_variables"]
    assert "teacher_part_pt_scale_log" in variables and "teacher_label_X_QQ" not in variables


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s, t: t["labels"]["value"].pop(), "the student has 10 classes, the teacher has 9"),
        (lambda s, t: t["labels"]["value"].reverse(), "number 0 is label_QCD for .*, label_Tbl for the"),
        (lambda s, t: t["labels"].update(type="custom"), "labels are `simple`, the teacher's are `custom`"),
        (lambda s, t: s["new_variables"].update(part_deta="part_px"), "redefines part_deta, which the"),
        (lambda s, t: t.update(treename="tree"), "differ in `treename`"),
        (lambda s, t: t["preprocess"].update(method="auto"), "teacher's data config asks for automatic"),
    ],
)
def test_configs_that_cannot_be_paired(student, teacher, change, message):
    if "automatic" in message:
        teacher["inputs"]["pf_features"]["vars"][0] = "part_pt_log"
    change(student, teacher)
    with pytest.raises(InputError, match=message):
        pair(student, teacher)


def test_custom_labels_are_compared_by_name():
    student, teacher = load(JETCLASS2["l1"]), load(JETCLASS2["full"])
    assert pair(student, teacher)["labels"] == student["labels"]
    names = teacher["labels"]["names"]
    names[3], names[4] = names[4], names[3]
    with pytest.raises(InputError, match="number 4 is X_qq for the student, X_bc for the teacher"):
        pair(student, teacher)


def test_automatic_standardisation_is_carried_over(student, teacher, jets):
    teacher["preprocess"] = {"method": "auto", "data_fraction": 1.0}
    teacher["inputs"]["pf_features"]["vars"][0] = "part_pt_log"
    params = DataConfig(print_info=False, **copy.deepcopy(teacher)).preprocess_params
    params["part_pt_log"] |= {"center": 1.25, "scale": 0.5}
    plain = {k: v | {"center": None} for k, v in params.items() if v["center"] == "auto"}
    teacher["preprocess"]["params"] = params | plain
    paired = DataConfig(print_info=False, **pair(student, teacher))
    path = jets / "val" / "Hbb_000.parquet"
    pt = ak.from_parquet(path, columns=["part_px", "part_py"])[0]
    expected = (np.log(np.hypot(pt.part_px[0], pt.part_py[0])) - 1.25) * 0.5
    assert inputs_of(paired, path)["teacher_pf_features"][0, 0, 0] == pytest.approx(expected, rel=1e-5)


def weights_of(options, value):
    weights = copy.deepcopy(options["weights"])
    weights["reweight_hists"] = {name: np.full((14, 48), value).tolist() for name in weights["reweight_classes"]}
    return {**options, "weights": weights}


def test_sampling_weights_come_from_any_tier():
    student, full = load(JETCLASS2["l1"]), load(JETCLASS2["full"])
    got = with_sampling_weights(student, load(JETCLASS["full"]), weights_of(full, 0.5))
    assert got["weights"]["reweight_hists"]["label_QCD"][0][0] == 0.5
    own = with_sampling_weights(weights_of(student, 0.25), weights_of(full, 0.5))
    assert own["weights"]["reweight_hists"]["label_QCD"][0][0] == 0.25
    named = with_sampling_weights(weights_of(student, 0.25), named=[weights_of(full, 0.5)])
    assert named["weights"]["reweight_hists"]["label_QCD"][0][0] == 0.5


def test_sampling_weights_missing_or_made_otherwise(tmp_path):
    for path in JETCLASS2.values():
        shutil.copy(path, tmp_path)  # beside the originals there may be weights of a user
    student, full = (load(tmp_path / JETCLASS2[tier].name) for tier in ("l1", "full"))
    with pytest.raises(InputError, match="run make_weight first"):
        with_sampling_weights(student, full)
    other = weights_of(full, 0.5)
    other["weights"]["class_weights"][0] = 7
    with pytest.raises(InputError, match="another `class_weights`"):
        with_sampling_weights(student, other)


def test_no_weights_asked_for(student):
    assert with_sampling_weights(student) is student


def test_command_takes_weavers_auto_file(tmp_path):
    teacher = tmp_path / "full.yaml"
    teacher.write_bytes(JETCLASS2["full"].read_bytes())
    auto = tmp_path / f"full.{hashlib.md5(teacher.read_bytes()).hexdigest()}.auto.yaml"
    auto.write_text(yaml.safe_dump(weights_of(load(JETCLASS2["full"]), 0.5)))
    kd_trainer("pair", "--student", JETCLASS2["l1"], "--teacher", teacher, "-o", tmp_path / "run")
    for name in ("paired", "student"):
        config = yaml.safe_load((tmp_path / "run" / f"{name}.yaml").read_text())
        assert config["weights"]["reweight_hists"]["label_X_gg"][3][5] == 0.5
    kd_trainer("pair", "--student", JETCLASS2["l1"], "--weights", auto, "-o", tmp_path / "baseline")
    assert sorted(path.name for path in (tmp_path / "baseline").iterdir()) == ["student.yaml"]
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(weights_of(load(JETCLASS2["full"]), 0.25)))
    kd_trainer("pair", "--student", teacher, "--weights", tmp_path / "other.yaml", "-o", tmp_path / "named")
    config = yaml.safe_load((tmp_path / "named" / "student.yaml").read_text())
    assert config["weights"]["reweight_hists"]["label_X_gg"][3][5] == 0.25  # the file named, not the student's own


@pytest.mark.parametrize("text, message", [("a: [", "not valid YAML"), ("a: 1", "not a weaver data config")])
def test_command_with_a_bad_config(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    assert message in failure("pair", "--student", tmp_path / "bad.yaml", "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    line = failure("pair", "--student", tmp_path / "none.yaml", "-o", tmp_path / "run")
    assert line == f"kd_trainer pair: data config {tmp_path / 'none.yaml'} does not exist"
