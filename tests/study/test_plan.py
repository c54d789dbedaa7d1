"""The YAML of a study: how it is expanded, and what is refused."""

import pytest
from helpers import ROOT

from kd_trainer.errors import InputError
from kd_trainer.study import plan as plans
from kd_trainer.study import report, runs, scripts
from kd_trainer.study.variables import expand

STUDIES = ROOT / "train_scripts" / "studies"


def parse(content, **environment):
    return plans.parse(content, "study.yaml", {"DATADIR": "jets", **environment})


def test_arms_are_the_product_of_students_tiers_grids_and_seeds(content):
    study = content(
        students=["PFN", "dense"],
        tiers=["l1", "hlt"],
        arms={
            "labels": {},
            "scan": {"teacher": "self", "seeds": [2], "tiers": ["l1"],
                     "grid": {"kd_alpha": [0.5, 1.0], "kd_temperature": [1.0, 3.0, 5.0]}},
        },
    )  # fmt: skip
    plan = parse(study)
    scan = [cell for cell in plan.cells if cell.teacher]
    assert len(plan.cells) - len(scan) == 4 and len(scan) == 2 * 2 * 3
    assert {cell.arm for cell in scan} >= {"scan, kd_alpha 0.5, kd_temperature 1.0"}
    assert all(cell.seeds == (2,) and cell.tier == "l1" for cell in scan)
    assert scan[0].options == {"kd_alpha": 0.5, "kd_temperature": 1.0}
    teachers, students = runs.stages(plan)
    assert not teachers  # the students of the baseline teach
    assert len({runs.run_name(plan, run) for run in students}) == len(students) == 4 * 2 + 12


def test_what_a_teacher_leaves_open_is_the_students(content):
    more = {"full": {"model": "ParT", "tier": "kin", "seeds": [1, 2]}, "large": {"model": "ParT"}}
    study = content(teachers={"self": {}, **more})
    study["samples"]["few"] = ["few.parquet"]
    study["arms"] = {
        "labels": {"samples": ["all", "few"]},
        **{name: {"teacher": name, "samples": ["few"]} for name in ("self", "full", "large")},
    }
    plan = parse(study)
    of = {c.arm: runs.settled(plan, c) for c in plan.cells if c.teacher}
    assert of["self"][:4] == ("PFN", "l1", "few", (1,))
    assert of["full"][:4] == ("ParT", "kin", "all", (1, 2))  # a teacher of its own learns from the first sample
    assert of["large"][:4] == ("ParT", "l1", "all", (1,))
    names = [runs.run_name(plan, run) for run in runs.trained(plan, of["full"])]
    assert names == ["study_study/ParT_kin_all_seed1", "study_study/ParT_kin_all_seed2"]
    (twin,) = runs.trained(plan, of["self"])
    assert runs.run_name(plan, twin) == "study_study/PFN_l1_few_labels_seed1"


SAMPLES = {"few": ["$DATADIR/few.parquet"], "half": ["$DATADIR/half.parquet"], "more": ["$DATADIR/m/*.parquet"]}


def test_an_arm_for_each_sample_without_labels(content):
    beside = {"teacher": "self", "unlabelled": ["half", "more"], "grid": {"kd_alpha": [0.5, 1.0]}}
    arms = {"labels": {}, "beside": beside, "one": {"teacher": "self", "unlabelled": "more"}}
    plan = parse(content(samples=SAMPLES, seeds=[1], arms=arms))
    found = {cell.arm: cell for cell in plan.cells if cell.teacher}
    assert list(found) == [
        *("beside, half without labels, kd_alpha 0.5", "beside, half without labels, kd_alpha 1.0"),
        *("beside, more without labels, kd_alpha 0.5", "beside, more without labels, kd_alpha 1.0", "one"),
    ]
    assert [cell.unlabelled for cell in found.values()] == ["half", "half", "more", "more", "more"]
    assert all(cell.sample == "few" and cell.labelled for cell in found.values())
    cell = found["beside, more without labels, kd_alpha 1.0"]
    assert cell.point == {"kd_alpha": 1.0}
    name = runs.run_name(plan, cell.runs[0])
    assert name == "study_study/PFN_l1_beside-more-without-labels-kd_alpha-1.0_seed1"
    assert runs.run_name(plan, found["one"].runs[0]) == "study_study/PFN_l1_one_seed1"


def test_a_teacher_of_the_students_own_sample(content):
    """`sample: same`; a sample may have a name that begins so."""
    samples = {"few": ["few.parquet"], "same10k": ["same10k.parquet"]}
    teachers = {name: {"model": "dense", "sample": name} for name in ("same", "same10k")} | {"self": {}}
    arms = {"labels": {"samples": list(samples)}}
    arms |= {name: {"teacher": name, "samples": list(samples)} for name in teachers}
    plan = parse(content(samples=samples, teachers=teachers, arms=arms))
    of = {(c.arm, c.sample): runs.settled(plan, c).sample for c in plan.cells if c.teacher}
    assert of == {
        ("same", "few"): "few", ("same", "same10k"): "same10k", ("same10k", "few"): "same10k",
        ("same10k", "same10k"): "same10k", ("self", "few"): "few", ("self", "same10k"): "same10k",
    }  # fmt: skip
    cells = runs.teacher_cells(plan)
    assert [cell.sample for cell in cells["same"]] == ["few", "same10k"]
    assert [cell.sample for cell in cells["same10k"]] == ["same10k"]


def chain(**teacher):
    """Changes of a study in which the student of the arm `big` teaches those of the arm `chain`."""
    return {
        "students": ["PFN", "dense"],
        "seeds": [1, 2],
        "teachers": {"self": {}, "assistant": {"model": "dense", "arm": "big", "seeds": [1, 2], **teacher}},
        "arms": {"labels": {}, "big": {"students": ["dense"], "teacher": "self"}, "chain": {"teacher": "assistant"}},
    }


def test_a_student_that_teaches(content):
    plan = parse(content(**chain()))
    student = next(cell for cell in plan.cells if cell.arm == "chain" and cell.student == "PFN")
    of = runs.settled(plan, student)
    assert of[:4] == ("dense", "l1", "all", (1, 2)) and of.arm == "big"
    trained = runs.trained(plan, of)
    assert [runs.run_name(plan, run) for run in trained] == [f"study_study/dense_l1_big_seed{i}" for i in (1, 2)]
    assert runs.teacher_name(plan, of) == "study_study/dense_l1_big_seed1+2"
    teachers, students = runs.stages(plan)
    assert not teachers and all(students.count(run) == 1 for run in trained)
    assert [cell.arm for cell in runs.teacher_cells(plan)["assistant"]] == ["big"]
    samples = {("student", "dense", "l1", "all", arm): {"accuracy": arm} for arm in ("labels", "big")}
    ceiling = report.ceiling_of(plan._replace(ceiling="assistant"), student, samples)
    assert ceiling == ("student", "dense", "l1", "all", "big")  # not the twin on labels alone


def test_a_teacher_that_is_a_twin_has_no_arguments_of_its_own(content):
    plan = parse(content(teachers={"self": {"seeds": [1], "weaver": "--num-epochs 7"}}))
    with pytest.raises(InputError, match="the teacher PFN on l1 inputs, sample all is also trained in the arm labels"):
        runs.stages(plan)


@pytest.mark.parametrize(
    "teacher, what",
    [
        ({"model": "PFN"}, r"PFN on l1 inputs, sample all, with the seeds \(1, 2\)"),
        ({"tier": "hlt"}, "dense on hlt inputs, sample all"),
        ({"seeds": [1, 3]}, r"with the seeds \(1, 3\) of the teacher"),
    ],
)
def test_a_teacher_that_its_arm_does_not_train(content, teacher, what):
    plan = parse(content(**chain(**teacher)))
    with pytest.raises(InputError, match=f"^the arm big does not train .*{what}") as error:
        runs.stages(plan)
    assert "\n" not in str(error.value)


def test_variables():
    variables = {"JETS": "1000", "NAME": "a b"}
    entry = {"x": ["--jets ${JETS/3} --more ${JETS*4}", "$NAME/${NAME}"], "y": 2}
    assert expand(entry, variables) == {"x": ["--jets 333 --more 4000", "a b/a b"], "y": 2}
    for text, message in (
        ("$NONE", "NONE: set this variable in the environment"),
        ("${NAME*2}", "NAME is 'a b', not a whole number"),
    ):
        with pytest.raises(InputError, match=message):
            expand(text, variables)


def test_variables_of_the_environment_come_before_the_defaults(content):
    study = content(defaults={"STUDENT": "dense", "SEED": "1 2"}, students="$STUDENT", seeds="$SEED")
    assert {cell.student for cell in parse(study).cells} == {"dense"}
    plan = parse(study, STUDENT="PFN dense", SEED="7", COMMENT="_x")
    assert {cell.student for cell in plan.cells} == {"PFN", "dense"} and plan.cells[0].seeds == (7,)
    assert runs.run_name(plan, plan.cells[0].runs[0]) == "study_study_x/PFN_l1_labels_seed7"
    assert plan.variables == {"DATADIR": "jets", "COMMENT": "_x", "STUDENT": "PFN dense", "SEED": "7"}


def test_models_and_datasets_are_those_of_the_scripts(tmp_path):
    found = scripts.model("PFN-1k")
    assert found.network == "networks/PFN.py" and dict(found.options)["rho_dims"] == "[16]"
    assert found.distillation == {"kd_alpha": 0.5, "kd_temperature": 1.0}
    assert scripts.model("ParT").distillation == {"kd_alpha": 0.7, "kd_temperature": 3.0}
    (tmp_path / "train").mkdir()
    jets = scripts.dataset("TopLandscape", {"DATADIR": str(tmp_path)})
    assert jets.config == "data/TopLandscape/TopLandscape" and jets.test == (f"{tmp_path}/test/*.parquet",)


def arm(**entry):
    return {"arms": {"labels": {}, "x": entry}}


def teacher(more=(), **entry):
    return {"teachers": {"self": {}, "u": {"model": "PFN"}, "t": entry, **dict(more)}, **arm(teacher="self")}


BAD = {
    "arms: nameless": ({"arms": {"labels": {}, "x": {"teacher": "Hinton"}}}, "arm x: unknown teacher 'Hinton'"),
    "unknown key of the study": ({"seed": [1]}, "the study: unknown entry 'seed'; valid are: title"),
    "unknown key of an arm": ({"arms": {"labels": {}, "x": {"kd_alpha": 1}}}, "arm x: unknown entry 'kd_alpha'"),
    "unknown student": ({"students": ["LHCb"]}, "unknown model 'LHCb'; train_scripts/models has: InteractionNet"),
    "unknown sample": ({"arms": {"labels": {"samples": ["half"]}}}, "unknown sample 'half'; valid are: all"),
    "unknown model": ({"models": {"PFN": {"model": "PNF"}}}, "unknown model 'PNF'"),
    "unknown dataset": ({"dataset": "Top"}, "unknown dataset 'Top'; train_scripts/datasets has: Aspen"),
    "unknown key of a model": ({"models": {"PFN": {"network": "PFN.py"}}}, "model PFN: unknown entry 'network'"),
    "samples": ({"samples": ["a.parquet"]}, "samples must be a mapping from names"),
    "patterns": ({"samples": {"all": []}}, "samples: all must be a list, not empty"),
    "unknown tier": ({"tiers": ["l2"]}, "tier l2: there is no data config"),
    "unknown baseline": ({"baseline": "none"}, "baseline: unknown arm 'none'; valid are: labels, self"),
    "unknown ceiling": ({"ceiling": "sky"}, "ceiling: unknown teacher 'sky'"),
    "baseline with options": ({"arms": {"labels": {"options": {"kd_label_smoothing": 0.1}}}}, "remove its teacher"),
    "no twin": ({"arms": {"labels": {"seeds": [1]}, "x": {"seeds": [1, 2], "teacher": "self"}}}, "has no twin with"),
    "alpha without teacher": ({"arms": {"labels": {}, "x": {"options": {"kd_alpha": 0.5}}}}, "there is no teacher"),
    "one folder": ({"arms": {"labels": {}, "a b": {"teacher": "self"}, "a-b": {"teacher": "self"}}}, "share the"),
    "seeds": ({"seeds": ["one"]}, "seeds must be whole numbers"),
    "repeated seeds": ({"seeds": [1, 1]}, "without repetitions"),
    "twice": ({"arms": {"labels": [{}, {"students": ["PFN"]}]}}, "labels: PFN, l1 inputs, sample all is there twice"),
    "no arms": ({"arms": {}}, "baseline: unknown arm"),
    "list of arms": ({"arms": ["labels"]}, "arms must be a mapping from names"),
    "arguments": ({"weaver": "--log 'x"}, "cannot be split"),
    "unknown pretraining": ({"arms": {"labels": {}, "x": {"pretrained": "c"}}}, "arm x: unknown pretraining 'c'"),
    "sample of a pretraining": ({"pretrainings": {"c": {"sample": "x"}}}, "pretraining c: unknown sample 'x'; valid"),
    "no sample": ({"pretrainings": {"c": {}}}, "pretraining c: name its sample"),
    "unknown key of a pretraining": ({"pretrainings": {"c": {"tier": "l1"}}}, "pretraining c: unknown entry 'tier'"),
    "pretrained baseline": (
        {"pretrainings": {"c": {"sample": "all"}}, "arms": {"labels": {"pretrained": "c"}}},
        "remove its teacher, options and pretrained",
    ),
    "fine-tuning with options of a distillation": (
        {"pretrainings": {"c": {"sample": "all"}},
         "arms": {"labels": {}, "x": {"pretrained": "c", "options": {"kd_ema": 0.9}}}},
        "arm x: fine-tuning without a teacher has no options kd_",
    ),
    "weights": ({"teachers": {"self": {"weights": "a.pt"}}}, "weights need a model, and a tier"),
    "unlabelled, no teacher": (arm(unlabelled="all"), "arm x: unlabelled jets need a teacher, and jets with"),
    "unlabelled, no labels": (arm(teacher="self", unlabelled="all", labelled=False, options={"kd_alpha": 1.0}),
                              "arm x: unlabelled jets need a teacher, and jets with labels"),
    "unlabelled baseline": ({"arms": {"labels": {"unlabelled": "all"}}}, "arm labels: unlabelled jets need a"),
    "unknown unlabelled": (arm(teacher="self", unlabelled="half"), "arm x: unknown sample 'half'; valid are: all"),
    "unlabelled twice": (arm(teacher="self", unlabelled=["all", "all"]), "x: unlabelled must be a list, not empty"),
    "no unlabelled": (arm(teacher="self", unlabelled=[]), "x: unlabelled must be a list, not empty and without"),
    "sample of a teacher": (teacher(model="PFN", sample="half"), "teacher t: unknown sample 'half'; valid are: all"),
    "arm of a teacher": (teacher(model="PFN", arm="y"), "teacher t: unknown arm 'y'; valid are: labels, x"),
    "arm without model": (teacher(arm="x"), "teacher t: it is a student of the arm x: name the student with model"),
    "blend of one": (teacher(blend={"self": 1}), "teacher t: blend must name at least two teachers, each with a w"),
    "blend without weight": (teacher(blend={"self": 1, "u": 0}), "teacher t: blend must name at least two teachers"),
    "blend of words": (teacher(blend={"self": 1, "u": "half"}), "teacher t: blend must name at least two teachers"),
    "blend of a list": (teacher(blend=["self", "u"]), "teacher t: blend must be a mapping from names"),
    "blend of unknown": (teacher(blend={"self": 1, "v": 1}), "teacher t: unknown teacher 'v'; valid are: self, u, t"),
    "blend of a blend": (teacher(blend={"self": 1, "u": 1}, more={"w": {"blend": {"t": 1, "self": 1}}}),
                         "teacher w: t is itself a blend: name its members"),
    "blend and model": (teacher(blend={"self": 1, "u": 1}, model="PFN"), "a blend combines other teachers: it has"),
    "blend and sample": (teacher(blend={"self": 1, "u": 1}, sample="same"), "teacher t: a blend combines other"),
    "ceiling of a blend": (teacher(blend={"self": 1, "u": 1}) | {"ceiling": "t"}, "ceiling: t is a blend, not a"),
    "blend without labels": (teacher(blend={"self": 1, "u": 1}) | arm(teacher="t", labelled=False,
                             options={"kd_alpha": 1.0}), "arm x: a blend cannot replace the labels of the val"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_refused(name, content):
    changes, message = BAD[name]
    with pytest.raises(InputError, match=message) as error:
        parse(content(**changes))
    assert "\n" not in str(error.value)


def test_an_entry_that_is_needed(content):
    study = content()
    del study["baseline"]
    with pytest.raises(InputError, match="the study has no entry 'baseline'"):
        parse(study)


def test_the_study_of_a_published_teacher(tmp_path):
    values = {"DATADIR": str(tmp_path), "PUBLIC_JETS": "public.parquet", "PUBLIC_TEACHER": "published.pt"}
    plan = plans.read(STUDIES / "public.yaml", values)
    assert plan.teachers["published"].weights == "published.pt" and plan.dataset.test == ("public.parquet",)
    arms = {(cell.student, cell.tier, cell.arm): cell for cell in plan.cells}
    assert len(arms) == 4
    assert all(cell.labelled == (cell.arm == "labels") for cell in plan.cells)
    assert arms["PFN", "kin", "published"].options["kd_alpha"] == 1.0
    with pytest.raises(InputError, match="PUBLIC_JETS: set this variable in the environment"):
        plans.read(STUDIES / "public.yaml", {"DATADIR": str(tmp_path)})


@pytest.mark.parametrize("name", ["jetclass", "top"])
def test_shipped_studies_have_the_arms_that_they_are_for(name, tmp_path):
    plan = plans.read(STUDIES / f"{name}.yaml", {"DATADIR": str(tmp_path)})
    cells = [cell for cell in plan.cells if cell.sample == next(iter(plan.samples))]
    for student in ("dense", "PFN"):
        arms = {cell.arm: cell for cell in cells if cell.student == student}
        wanted = {"labels", "smoothing", "self", "full", "ensemble", "large"}
        assert wanted <= set(arms) and all(len(arms[name].seeds) == 5 for name in wanted)
    assert plan.ceiling == "large" and not plan.teachers["large"].tier
    assert not plan.teachers["self"].model and len(plan.teachers["ensemble"].seeds) > 1


def test_files_that_are_no_study(tmp_path):
    path = tmp_path / "study.yaml"
    for text, message in (
        ("arms:\n  a: {}\n  a: {}\n", "line 2: a is given twice"),
        ("arms: [", "is not valid YAML"),
        ("- a", "must be a mapping"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            plans.read(path, {})
    with pytest.raises(InputError, match="there is no study"):
        plans.read(tmp_path / "other.yaml", {})
