import copy

import pytest
import yaml
from helpers import ROOT, failure, kd_trainer
from weaver.utils.dataset import DataConfig

from kd_trainer import classes
from kd_trainer.configs import cached, load, student_view, teacher_view
from kd_trainer.errors import InputError
from kd_trainer.pairing import pair

FULL, L1 = (ROOT / "data" / "JetClassII" / f"JetClassII_{tier}.yaml" for tier in ("full", "l1"))
TEACHER = ["X_bb", "X_cc", "QCD_bb", "QCD_light", "X_mm"]
GROUPS = {"X_bb": ["X_bb"], "QCD": ["QCD_*"], "X_cc": ["X_cc"], "ignored": ["X_mm"]}
STUDENT = ["QCD", "X_bb", "X_cc"]


def test_groups_are_in_the_order_of_the_classes():
    assert list(classes.resolve(GROUPS, STUDENT, TEACHER).items()) == [
        ("QCD", ["QCD_bb", "QCD_light"]), ("X_bb", ["X_bb"]), ("X_cc", ["X_cc"])]  # fmt: skip
    two = classes.resolve({"a": ["X_b?", "X_bb", "QCD_*"], "b": ["X_[cm]*"]}, ["a", "b"], TEACHER)
    assert two == {"a": ["X_bb", "QCD_bb", "QCD_light"], "b": ["X_cc", "X_mm"]}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"QCD": ["QCD_*", "X_*"]}, "overlap: the teacher's X_bb is in X_bb and in QCD"),
        ({"ignored": []}, "X_mm of the teacher's classes are in no group: add them to a group or to `ignored`"),
        ({"QCD": ["QCD_cc"]}, "QCD: the teacher has no class QCD_cc; it has X_bb, X_cc, QCD_bb, QCD_light, X_mm"),
        ({"X_cc": []}, "X_cc has no classes of the teacher"),
        ({"Tbqq": ["X_mm"]}, "the student has no class Tbqq; the student's classes are QCD, X_bb, X_cc"),
        ({"QCD": None}, "there is no group for QCD"),
    ],
)
def test_groups_that_cannot_be(change, message):
    groups = {k: v for k, v in (GROUPS | change).items() if v is not None}
    with pytest.raises(InputError, match=message):
        classes.resolve(groups, STUDENT, TEACHER)


@pytest.mark.parametrize("text", ["a: [", "- x", "a: x", "a: [1]"])
def test_files_that_are_no_groups(text, tmp_path):
    (tmp_path / "groups.yaml").write_text(text)
    message = "class groups .*groups.yaml(: give a list of the teacher's| is not valid YAML)"
    with pytest.raises(InputError, match=message):
        classes.load_groups(tmp_path / "groups.yaml")
    with pytest.raises(InputError, match="groups .*none.yaml does not exist"):
        classes.load_groups(tmp_path / "none.yaml")


@pytest.fixture
def groups():
    return {"X_bb": ["X_bb"], "QCD": ["QCD_*"], "ignored": ["X_[!b]*", "X_b[!b]"]}


@pytest.fixture
def student():
    student = load(L1)
    student["labels"] = {"type": "simple", "value": ["QCD", "X_bb"]}
    student["new_variables"] |= {"QCD": "jet_label >= 161", "X_bb": "jet_label == 0"}
    return student


def test_a_paired_config_has_two_sets_of_labels(student, groups):
    teacher = load(FULL)
    paired = pair(student, teacher, groups)
    config = DataConfig(print_info=False, **copy.deepcopy(paired))
    assert student_view(config).labels == student["labels"]
    assert teacher_view(config).labels == teacher["labels"]
    columns = classes.columns_of(config.labels)
    assert columns == [list(range(161, 188)), [0]]  # QCD, X_bb
    assert columns == classes.columns_of(cached(paired, {})["labels"])
    assert classes.columns_of(student["labels"]) is None
    with pytest.raises(InputError, match="labels are `simple`, the teacher's are `custom`; .* give --classes"):
        pair(student, teacher)
    del teacher["labels"]["names"]
    with pytest.raises(InputError, match="the teacher's data config does not name its classes"):
        pair(student, teacher, groups)


def test_command_with_groups_and_without_labels(groups, tmp_path):
    (tmp_path / "groups.yaml").write_text(yaml.safe_dump(groups))
    options = ("--student", L1, "--teacher", FULL, "--unlabelled")
    kd_trainer("pair", *options, "--classes", tmp_path / "groups.yaml", "-o", tmp_path / "two")
    kd_trainer("pair", *options, "-o", tmp_path / "all")
    for folder, names in (("two", sorted(["X_bb", "QCD"])), ("all", load(FULL)["labels"]["names"])):
        for name in ("student", "paired"):
            config = DataConfig(print_info=False, **load(tmp_path / folder / f"{name}.yaml"))
            assert classes.is_unlabelled(config.labels) and classes.names_of(config.labels) == names
            assert "jet_label" not in config.train_load_branches and not config.weights
    line = failure("pair", "--student", L1, "--unlabelled", "-o", tmp_path / "none")
    assert line.endswith("without labels the classes come from the teacher: name its data config with --teacher")
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(classes.unlabelled(load(L1))))
    kd_trainer("pair", "--student", tmp_path / "plain.yaml", "--teacher", FULL, "-o", tmp_path / "again")
    assert load(tmp_path / "again" / "paired.yaml") == load(tmp_path / "all" / "paired.yaml")
