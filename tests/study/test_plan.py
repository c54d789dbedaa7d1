"""The YAML of a study: what it expands to, and what is refused."""

import copy

import pytest
from helpers import ROOT

from kd_trainer.errors import InputError
from kd_trainer.study import plan as plans
from kd_trainer.study import runs

LARGE = {"network": "networks/ParT.py"}


def teachers(content, **more):
    networks = content()["networks"] | {"ParT": LARGE}
    return content(networks=networks, teachers={"self": {}, **more})


def test_arms_are_the_product_of_students_tiers_grids_and_seeds(content):
    study = content(
        students=["PFN", "small"],
        tiers=["l1", "hlt"],
        networks={"PFN": {"network": "networks/PFN.py"}, "small": {"network": "networks/dense.py"}},
        arms={
            "labels": {},
            "scan": {"teacher": "self", "seeds": [2], "tiers": ["l1"],
                     "grid": {"kd_alpha": [0.5, 1.0], "kd_temperature": [1.0, 3.0, 5.0]}},
        },
    )  # fmt: skip
    plan = plans.parse(study)
    scan = [cell for cell in plan.cells if cell.teacher]
    assert len(plan.cells) - len(scan) == 4 and len(scan) == 2 * 2 * 3
    assert {cell.arm for cell in scan} >= {"scan, kd_alpha 0.5, kd_temperature 1.0"}
    assert all(cell.seeds == (2,) and cell.tier == "l1" for cell in scan)
    assert scan[0].options == {"kd_alpha": 0.5, "kd_temperature": 1.0}
    first, second = runs.stages(plan)
    assert [run.name for run in first] == ["PFN_l1_all_labels_seed1", "small_l1_all_labels_seed1"]
    assert len({run.name for run in first + second}) == len(first + second) == 4 * 2 + 12


def test_what_a_teacher_leaves_open_is_the_students(content):
    study = teachers(content, full={"network": "ParT", "tier": "full", "seeds": [1, 2]}, large={"network": "ParT"})
    study["data"]["train"]["few"] = ["few.parquet"]
    study["arms"] = {
        "labels": {"samples": ["all", "few"]},
        **{name: {"teacher": name, "samples": ["few"]} for name in ("self", "full", "large")},
    }
    plan = plans.parse(study)
    of = {c.arm: runs.members(plan, c.teacher, *c[:3]) for c in plan.cells if c.teacher}
    assert of["self"][:4] == ("PFN", "l1", "few", (1,))
    assert of["full"][:4] == ("ParT", "full", "all", (1, 2))  # a teacher of its own learns from the first sample
    assert of["large"][:4] == ("ParT", "l1", "all", (1,))
    names = [run.name for run in runs.trained(plan, of["full"])]
    assert names == ["ParT_full_all_labels_seed1", "ParT_full_all_labels_seed2"]


def test_students_are_ordered_seed_by_seed(content):
    _, students = runs.stages(plans.parse(content(teachers={"self": {"seeds": [1]}}, seeds=[3, 1])))
    assert [(run.arm, run.seed) for run in students] == [("labels", 3), ("self", 3), ("self", 1)]


def test_options_of_the_student_hold_unless_the_arm_says_otherwise(content):
    plan = plans.parse(content())
    (cell,) = [cell for cell in plan.cells if cell.teacher]
    assert runs.of_cell(plan, cell)[0].options == {"kd_temperature": 1.0, "kd_alpha": 0.5}


BAD = {
    "arms: nameless": ({"arms": {"labels": {}, "x": {"teacher": "Hinton"}}}, "arm x: unknown teacher 'Hinton'"),
    "unknown key of the study": ({"seed": [1]}, "the study: unknown entry 'seed'; valid are: title"),
    "unknown key of an arm": ({"arms": {"labels": {}, "x": {"kd_alpha": 1}}}, "arm x: unknown entry 'kd_alpha'"),
    "unknown student": ({"students": ["LHCb"]}, "unknown network 'LHCb'; there are: PFN"),
    "unknown sample": ({"arms": {"labels": {"samples": ["half"]}}}, "unknown sample 'half'; there are: all"),
    "unknown network": ({"teachers": {"big": {"network": "ParT"}}, "arms": {"labels": {}}}, "unknown network 'ParT'"),
    "no network file": ({"networks": {"PFN": {"network": "PNF.py"}}}, "network PFN: there is no file PNF.py"),
    "unknown tier": ({"tiers": ["l2"]}, "tier l2: there is no data config"),
    "unknown baseline": ({"baseline": "none"}, "baseline: unknown arm 'none'; there are: labels, self"),
    "unknown ceiling": ({"ceiling": "sky"}, "ceiling: unknown teacher 'sky'"),
    "baseline with options": ({"arms": {"labels": {"options": {"kd_label_smoothing": 0.1}}}}, "neither teacher nor"),
    "no twin": ({"arms": {"labels": {"seeds": [1]}, "x": {"seeds": [1, 2], "teacher": "self"}}}, "has no twin with"),
    "alpha without teacher": ({"arms": {"labels": {}, "x": {"options": {"kd_alpha": 0.5}}}}, "there is no teacher"),
    "one folder": ({"arms": {"labels": {}, "a b": {"teacher": "self"}, "a-b": {"teacher": "self"}}}, "one folder"),
    "seeds": ({"seeds": ["one"]}, "seeds are whole numbers"),
    "repeated seeds": ({"seeds": [1, 1]}, "without repetitions"),
    "twice": ({"arms": {"labels": [{}, {"students": ["PFN"]}]}}, "labels: PFN, l1 inputs, sample all: twice"),
    "no arms": ({"arms": {}}, "baseline: unknown arm"),
    "list of arms": ({"arms": ["labels"]}, "arms has to be a mapping from names"),
    "arguments": ({"weaver": "--log 'x"}, "cannot be split"),
    "weights": ({"teachers": {"self": {"weights": "a.pt"}}}, "weights go with a network and a tier"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name, content):
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message):
        plans.parse(content(**changes))


def test_data_of_a_study_are_checked(content):
    study = content()
    for change, message in (
        (lambda data: data.pop("val"), "data lacks the entry 'val'"),
        (lambda data: data.update(train=["a.parquet"]), "train has to name samples"),
        (lambda data: data.update(test="a.parquet"), "test has to be a list of files"),
        (lambda data: data.update(test=["$NOT_SET_HERE/a.parquet"]), "set that variable in the environment"),
    ):
        broken = copy.deepcopy(study)
        change(broken["data"])
        with pytest.raises(InputError, match=message):
            plans.parse(broken)


def test_the_study_of_a_published_teacher(monkeypatch):
    for name, value in {"DATADIR": "jets", "PUBLIC_JETS": "public.parquet", "PUBLIC_TEACHER": "published.pt"}.items():
        monkeypatch.setenv(name, value)
    plan = plans.read(ROOT / "train_scripts" / "studies" / "public.yaml")
    assert plan.teachers["published"].weights == "published.pt" and plan.test == ["public.parquet"]
    arms = {(cell.student, cell.tier, cell.arm): cell for cell in plan.cells}
    assert len(arms) == 4
    assert all(cell.labelled == (cell.arm == "labels") for cell in plan.cells)
    assert arms["PFN", "kin", "published"].options["kd_alpha"] == 1.0


@pytest.mark.parametrize("name", ["jetclass", "top"])
def test_shipped_studies_have_the_arms_that_they_are_for(name, monkeypatch):
    monkeypatch.setenv("DATADIR", "datasets")
    path = ROOT / "train_scripts" / "studies" / f"{name}.yaml"
    plan = plans.read(path)
    cells = [cell for cell in plan.cells if cell.sample == next(iter(plan.samples))]
    for student in ("dense", "PFN"):
        arms = {cell.arm: cell for cell in cells if cell.student == student}
        wanted = {"labels", "smoothing", "self", "full", "ensemble", "large"}
        assert wanted <= set(arms) and all(len(arms[name].seeds) == 5 for name in wanted)
    assert plan.ceiling == "large" and plan.teachers["large"].tier is None
    assert plan.teachers["self"].network is None and len(plan.teachers["ensemble"].seeds) > 1
    with pytest.raises(InputError, match="DATADIR/.* set that variable in the environment"):
        monkeypatch.delenv("DATADIR")
        plans.read(path)


def test_files_that_are_no_study(tmp_path):
    path = tmp_path / "study.yaml"
    for text, message in (
        ("arms:\n  a: {}\n  a: {}\n", "line 2: a is given twice"),
        ("arms: [", "is not valid YAML"),
        ("- a", "has to be a mapping"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            plans.read(path)
    with pytest.raises(InputError, match="there is no study"):
        plans.read(tmp_path / "other.yaml")
