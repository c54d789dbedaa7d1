"""The steps of a study: commands, files, and shared steps."""

import pytest
from helpers import ROOT

from kd_trainer.errors import InputError
from kd_trainer.study import plan as plans
from kd_trainer.study import step, steps
from kd_trainer.study.step import TRAININGS

PUBLIC = {"PUBLIC_JETS": "public.parquet", "PUBLIC_TEACHER": "published.pt"}


def of_plan(content, **environment):
    plan = plans.parse(content, "mini.yaml", {"DATADIR": "jets", **environment})
    return {(step.kind, step.run): step for step in steps.of_plan(plan, lambda pattern: [pattern.replace("*", "0")])}


def shipped(name, folder, **environment):
    plan = plans.read(ROOT / "train_scripts" / "studies" / f"{name}.yaml", {"DATADIR": str(folder), **environment})
    return {(step.kind, step.run): step for step in steps.of_plan(plan, lambda pattern: [pattern])}


def count(found):
    kinds = [kind for kind, _ in found]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def test_a_teacher_that_is_a_student_of_the_baseline_is_one_step(content):
    found = of_plan(content())
    assert count(found) == {"baseline": 2, "train": 2, "cache": 1, "test": 4, "report": 1}
    twin, student = found["baseline", "study_mini/PFN_l1_labels_seed1"], found["train", "study_mini/PFN_l1_self_seed2"]
    weights = "training/study_mini/PFN_l1_labels_seed1/net_best_epoch_state.pt"
    assert weights in twin.outputs and student.settings["TEACHER_WEIGHTS"] == weights
    described = {"networks/PFN.py", "train_scripts/models/PFN-1k.sh", "data/TopLandscape/TopLandscape_l1.yaml"}
    made = {weights, "cache/study_mini/PFN_l1_seed1_l1/cached.yaml"}
    assert described | made | {"jets/train/0.parquet"} <= set(student.inputs)


def test_commands(content):
    found = of_plan(content(seeds=[1]))
    assert found["train", "study_mini/PFN_l1_self_seed1"].command == (
        "DATASET=TopLandscape DATADIR=jets STUDENT=PFN-1k TIER=l1 SEED=1 TRAIN_FILES='jets/train/*.parquet' "
        "TEACHER=PFN-1k TEACHER_TIER=l1 "
        "TEACHER_WEIGHTS=training/study_mini/PFN_l1_labels_seed1/net_best_epoch_state.pt "
        "CACHE=cache/study_mini/PFN_l1_seed1_l1 RUN=study_mini/PFN_l1_self_seed1 RESTART=changed ./train_kd.sh train "
        "--num-epochs 1 --batch-size 64 --samples-per-epoch 400 --samples-per-epoch-val 100 --num-workers 0 "
        "--start-lr 1e-2 -o kd_alpha 0.5"
    )
    test = found["test", "study_mini/PFN_l1_labels_seed1"]
    assert test.settings["PREDICT"] == "baseline" and test.command.endswith("./train_kd.sh test")
    report = found["report", "mini"].command
    assert report == "DATADIR=jets python -m kd_trainer study mini.yaml --report -o training/study_mini"


def test_what_is_told_later_overrides(content):
    study = content(
        seeds=[1],
        settings={"DDP_NGPUS": 2},
        models={"PFN": {"weaver": "--num-epochs 3", "settings": {"KD_ALPHA": 0.2, "WEIGHTS": ""}}},
        teachers={"full": {"model": "ParT", "tier": "kin", "weaver": "--num-epochs 4"}},
        arms={"labels": {}, "full": {"teacher": "full", "weaver": "--num-epochs 5", "options": {"kd_loss": "dkd"},
                                     "settings": {"KD_ALPHA": 0.4}}},
    )  # fmt: skip
    plan = plans.parse(study, "mini.yaml", {"DATADIR": "jets"}, ("--num-epochs", "6"))
    found = {step.run: step for step in steps.of_plan(plan, lambda pattern: [pattern]) if step.kind in TRAININGS}
    epochs = {run: [b for a, b in zip(s.arguments, s.arguments[1:]) if a == "--num-epochs"] for run, s in found.items()}
    assert epochs["study_mini/PFN_l1_full_seed1"] == ["1", "3", "5", "6"]
    assert epochs["study_mini/ParT_kin_seed1"] == ["1", "4", "6"]
    student = found["study_mini/PFN_l1_full_seed1"]
    assert "-o kd_loss 'dkd'" in " ".join(student.arguments)
    assert (student.settings["KD_ALPHA"], student.settings["DDP_NGPUS"]) == ("0.4", "2")
    assert "WEIGHTS" not in student.settings


def test_ensembles_samples_and_arms_without_labels(content):
    study = content(
        samples={"all": ["jets/*.parquet"], "few": ["jets/few.parquet"]},
        teachers={"two": {"model": "ParT", "tier": "kin", "seeds": [1, 2]}},
        seeds=[1],
        arms={
            "labels": {"samples": ["all", "few"]},
            "two": {"teacher": "two", "samples": ["all", "few"]},
            "mean": {"teacher": "two", "settings": {"KD_ENSEMBLE": "logits"}},
            "blind": {"teacher": "two", "labelled": False, "options": {"kd_alpha": 1.0}},
        },
    )
    found = of_plan(study)
    assert count(found) == {"teacher": 2, "baseline": 2, "train": 4, "cache": 3, "test": 8, "report": 1}
    cache = found["cache", "study_mini/ParT_kin_all_seed1+2_l1"]
    assert cache.settings["TRAIN_FILES"] == "jets/*.parquet jets/few.parquet"  # of all students that take it
    assert cache.settings["TEACHER_WEIGHTS"].count("net_best_epoch_state.pt") == 2
    assert found["cache", "study_mini/ParT_kin_all_seed1+2_l1_logits"].settings["KD_ENSEMBLE"] == "logits"
    assert found["cache", "study_mini/ParT_kin_all_seed1+2_l1_nolabels"].settings["LABELS"] == "no"
    assert found["train", "study_mini/PFN_l1_all_blind_seed1"].settings["LABELS"] == "no"
    assert found["train", "study_mini/PFN_l1_few_two_seed1"].settings["TRAIN_FILES"] == "jets/few.parquet"


SAMPLES = {name: [f"jets/{name}.parquet"] for name in ("few", "more", "most")}
CHECKPOINT = "net_best_epoch_state.pt"


def test_jets_without_labels(content):
    """A training has those of its arm, a cache those of all students that take it."""
    arms = {
        "labels": {"samples": ["few", "more"]},
        "beside": {"teacher": "large", "unlabelled": ["more", "most"], "settings": {"UNLABELLED_FRACTION": 0.75}},
        "plain": {"teacher": "large", "samples": ["more"]},
        "other": {"teacher": "same", "samples": ["few", "more"]},
    }
    teachers = {"large": {"model": "ParT"}, "same": {"model": "dense", "sample": "same"}}
    found = of_plan(content(samples=SAMPLES, teachers=teachers, seeds=[1], arms=arms))
    assert count(found) == {"teacher": 3, "baseline": 2, "train": 5, "cache": 3, "test": 10, "report": 1}
    student = found["train", "study_mini/PFN_l1_few_beside-most-without-labels_seed1"]
    wanted = ("jets/few.parquet", "jets/most.parquet", "0.75")
    assert tuple(student.settings[x] for x in ("TRAIN_FILES", "UNLABELLED", "UNLABELLED_FRACTION")) == wanted
    assert {"jets/few.parquet", "jets/most.parquet"} <= set(
        student.inputs
    ) and "jets/more.parquet" not in student.inputs
    plain = found["train", "study_mini/PFN_l1_more_plain_seed1"]
    cache = found["cache", "study_mini/ParT_l1_few_seed1_l1"]
    assert "UNLABELLED" not in plain.settings and plain.settings["CACHE"] == student.settings["CACHE"]
    assert cache.settings["TRAIN_FILES"] == "jets/few.parquet jets/more.parquet"
    assert cache.settings["UNLABELLED"] == "jets/more.parquet jets/most.parquet"
    assert "UNLABELLED_FRACTION" not in cache.settings
    assert {f"jets/{name}.parquet" for name in SAMPLES} <= set(cache.inputs)
    for sample in ("few", "more"):  # each has a teacher of its own
        other = found["train", f"study_mini/PFN_l1_{sample}_other_seed1"]
        name = f"study_mini/dense_l1_{sample}_seed1"
        assert other.settings["TEACHER_WEIGHTS"] == f"training/{name}/{CHECKPOINT}"
        assert found["teacher", name].settings["TRAIN_FILES"] == f"jets/{sample}.parquet"
        own = found["cache", f"{name}_l1"].settings
        assert own["TRAIN_FILES"] == f"jets/{sample}.parquet" and "UNLABELLED" not in own


def test_a_teacher_of_embeddings_is_asked_in_the_training(content):
    """A cache holds no embeddings."""
    options = {"kd_embed_weight": 1.0, "kd_embed_loss": "smooth_l1"}
    arms = {"labels": {}, "plain": {"teacher": "large"}, "near": {"teacher": "large", "options": options}}
    found = of_plan(content(teachers={"large": {"model": "ParT"}}, seeds=[1], arms=arms))
    near = found["train", "study_mini/PFN_l1_near_seed1"]
    assert near.settings["CACHE"] == "none" and not [path for path in near.inputs if path.startswith("cache/")]
    assert f"training/study_mini/ParT_l1_seed1/{CHECKPOINT}" in near.inputs
    assert count(found)["cache"] == 1  # of the other arm


def test_a_student_that_teaches_is_trained_once(content):
    arms = {
        "labels": {},
        "big": {"students": ["dense"], "teacher": "large", "unlabelled": "most"},
        "chain": {"teacher": "assistant", "students": ["PFN"], "unlabelled": "more"},
    }
    teachers = {"large": {"model": "ParT"}, "assistant": {"model": "dense", "arm": "big", "seeds": [1, 2]}}
    study = content(samples=SAMPLES, students=["PFN", "dense"], teachers=teachers, arms=arms, ceiling="assistant")
    found = of_plan(study)
    assert count(found) == {"teacher": 1, "baseline": 4, "train": 4, "cache": 2, "test": 9, "report": 1}
    assistants = [found["train", f"study_mini/dense_l1_big_seed{seed}"] for seed in (1, 2)]
    weights = [assistant.outputs[0] for assistant in assistants]
    assert all(path.endswith(CHECKPOINT) for path in weights)
    cache = found["cache", "study_mini/dense_l1_big_seed1+2_l1"]
    assert cache.settings["TEACHER_WEIGHTS"] == " ".join(weights) and set(weights) <= set(cache.inputs)
    assert cache.settings["UNLABELLED"] == "jets/more.parquet"
    student = found["train", "study_mini/PFN_l1_chain_seed1"]
    assert {*cache.outputs, *weights} <= set(student.inputs)
    first = found["cache", "study_mini/ParT_l1_seed1_l1"]
    assert set(first.outputs) <= set(assistants[0].inputs) and first.settings["UNLABELLED"] == "jets/most.parquet"


def blended(**arms):
    teachers = {"full": {"model": "ParT", "tier": "kin"}, "large": {"model": "ParT", "seeds": [1, 2]}}
    teachers |= {"both": {"blend": {"large": 0.8, "full": 0.2}}}
    entries = {"labels": {"samples": ["few", "more"]}, "both": {"teacher": "both", "unlabelled": "most"}, **arms}
    return {"samples": SAMPLES, "seeds": [1], "teachers": teachers, "arms": entries}


FULL, LARGE, BOTH = (f"cache/study_mini/{x}_l1" for x in ("ParT_kin_few_seed1", "ParT_l1_few_seed1+2", "both_few"))


def test_a_blend_is_made_of_the_caches_of_its_members(content):
    found = of_plan(content(**blended()))
    assert count(found) == {"teacher": 3, "baseline": 2, "train": 1, "cache": 3, "test": 6, "report": 1}
    blend, *members = (found["cache", path.removeprefix("cache/")] for path in (BOTH, FULL, LARGE))
    assert blend.settings["BLEND"] == f"{LARGE}=0.8 {FULL}=0.2" and blend.settings["CACHE"] == BOTH
    assert not {"TEACHER", "TEACHER_WEIGHTS", "LABELS"} & blend.settings.keys() and blend.arguments == ("--overwrite",)
    assert blend.inputs == (f"{LARGE}/cached.yaml", f"{FULL}/cached.yaml")
    for member in members:
        assert "BLEND" not in member.settings and member.settings["UNLABELLED"] == "jets/most.parquet"
    assert members[0].settings["TEACHER_TIER"] == "kin" and members[1].settings["TEACHER_WEIGHTS"].count(".pt") == 2
    student = found["train", "study_mini/PFN_l1_few_both_seed1"]
    wanted = {"BLEND": blend.settings["BLEND"], "CACHE": BOTH, "UNLABELLED": "jets/most.parquet"}
    assert {name: student.settings[name] for name in wanted} == wanted
    assert not {"TEACHER", "TEACHER_WEIGHTS"} & student.settings.keys()
    checkpoints = [step.outputs[0] for step in found.values() if step.kind == "teacher"]
    assert {*blend.outputs, *checkpoints} <= set(student.inputs)


def test_members_of_a_blend_have_the_same_files(content):
    """This holds also if other students use one of the members: a blend of caches of different files is refused."""
    alone = {"teacher": "large", "samples": ["more"]}, {"teacher": "large", "unlabelled": "more"}
    found = of_plan(content(**blended(alone=alone[0], beside=alone[1])))
    for path in (BOTH, FULL, LARGE):
        settings = found["cache", path.removeprefix("cache/")].settings
        assert settings["TRAIN_FILES"] == "jets/few.parquet jets/more.parquet"
        assert settings["UNLABELLED"] == "jets/most.parquet jets/more.parquet"
    assert found["train", "study_mini/PFN_l1_few_both_seed1"].settings["UNLABELLED"] == "jets/most.parquet"


def test_pretraining_then_labels_or_a_teacher(content):
    study = content(
        samples={"few": ["jets/few.parquet"], "many": ["jets/*.parquet"]},
        pretrainings={"contrast": {"sample": "many", "weaver": "--num-epochs 9", "settings": {"DDP_NGPUS": 2}}},
        arms={
            "labels": {},
            "pretrained": {"pretrained": "contrast", "weaver": "--start-lr 1e-3", "settings": {"HEAD_RATE": 10}},
            "both": {"pretrained": "contrast", "teacher": "self", "unlabelled": "many", "options": {"kd_alpha": 1.0}},
        },
    )
    found = of_plan(study)
    assert count(found) == {"pretrain": 1, "baseline": 2, "finetune": 2, "train": 2, "cache": 1, "test": 6, "report": 1}
    before = found["pretrain", "study_mini/PFN_l1_pretraining_contrast_seed1"]
    sizes = "--batch-size 64 --samples-per-epoch 400 --samples-per-epoch-val 100 --num-workers 0 --start-lr 1e-2"
    assert before.command == (
        "DATASET=TopLandscape DATADIR=jets TEACHER=PFN-1k TEACHER_TIER=l1 TEACHER_SEED=1 TIER=l1 "
        "TRAIN_FILES='jets/*.parquet' DDP_NGPUS=2 RUN=study_mini/PFN_l1_pretraining_contrast_seed1 RESTART=changed "
        f"./train_kd.sh pretrain --num-epochs 1 {sizes} --num-epochs 9"
    )
    weights = before.outputs[0]
    tuned = found["finetune", "study_mini/PFN_l1_pretrained_seed2"]
    assert weights in tuned.inputs and tuned.command == (
        "DATASET=TopLandscape DATADIR=jets TEACHER=PFN-1k TEACHER_TIER=l1 TEACHER_SEED=2 TIER=l1 "
        f"TRAIN_FILES=jets/few.parquet HEAD_RATE=10 PRETRAINED={weights} "
        "RUN=study_mini/PFN_l1_pretrained_seed2 RESTART=changed "
        f"./train_kd.sh finetune --num-epochs 1 {sizes} --start-lr 1e-3"
    )
    both = found["train", "study_mini/PFN_l1_both_seed2"]
    assert both.settings["PRETRAINED"] == weights in both.inputs and both.settings["UNLABELLED"] == "jets/*.parquet"
    test = found["test", tuned.run]
    assert (test.settings["PREDICT"], test.settings["TEACHER_WEIGHTS"]) == ("teacher", tuned.outputs[0])
    assert found["test", both.run].settings["PREDICT"] == "kd"

    study["pretrainings"]["contrast"]["seeds"] = [2, 3]  # a training of another seed begins with the first
    found = of_plan(study)
    assert [run for kind, run in found if kind == "pretrain"] == ["study_mini/PFN_l1_pretraining_contrast_seed2"]
    study["pretrainings"]["contrast"]["seeds"] = [1, 2]
    found = of_plan(study)
    starts = [found["train", f"study_mini/PFN_l1_both_seed{seed}"].settings["PRETRAINED"] for seed in (1, 2)]
    assert starts == [weights, weights.replace("seed1", "seed2")] and count(found)["pretrain"] == 2


def test_the_cache_knows_of_an_ensemble(content):
    study = content(arms={"labels": {}, "self": {"teacher": "self", "options": {"kd_ensemble": "logits"}}})
    with pytest.raises(InputError, match="arm self: the cache needs kd_ensemble too: give it as settings"):
        of_plan(study)


def test_a_step_that_is_alone_takes_all_cores(content):
    found = of_plan(content(seeds=[1], simulate={"train": "top --jets 3"}))
    assert {kind: step.alone for (kind, _), step in found.items()} == {
        "simulate": True, "baseline": True, "train": True, "cache": True, "test": False, "report": True}  # fmt: skip


def test_jets_that_are_simulated_need_not_be_there(content, tmp_path):
    study = content(simulate={"train": ["top --jets 3 --seed 1", "top --jets 2 --start-file 1"]})
    plan = plans.parse(study, "mini.yaml", {"DATADIR": str(tmp_path)})
    with pytest.raises(InputError, match=r"there is no file .*/val/\*.parquet"):
        steps.of_plan(plan)
    study["simulate"] |= {"val": "top --jets 1", "test": "top --jets 1"}
    found = steps.of_plan(plans.parse(study, "mini.yaml", {"DATADIR": str(tmp_path)}))
    train = next(step for step in found if step.run == "train")
    names = [f"{name}_00{i}" for i in (0, 1) for name in ("top", "QCD")]
    assert list(train.outputs) == [f"{tmp_path}/train/{name}.parquet" for name in names]
    assert train.command.count("python -m kd_trainer simulate --workers") == 2
    student = next(step for step in found if step.kind == "train")
    assert set(train.outputs) < set(student.inputs)


def test_two_trainings_of_one_name_are_refused(content):
    one, two = ({"model": "ParT", "tier": "kin", "weaver": f"--num-epochs {n}"} for n in (1, 2))
    arms = {"labels": {}, "one": {"teacher": "one"}, "two": {"teacher": "two"}}
    with pytest.raises(InputError, match="two different teacher steps would have the name study_mini/ParT_kin_seed1"):
        of_plan(content(teachers={"one": one, "two": two}, arms=arms))


def test_a_training_by_other_means_is_found_out(content, tmp_path, monkeypatch):
    found = list(of_plan(content()).values())
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "training" / "study_mini" / "PFN_l1_labels_seed1"
    folder.mkdir(parents=True)
    (folder / step.RECORD).write_text("1")
    step.refuse_foreign(found)  # the step has not ended yet
    (folder / step.TAKEN).write_text("1")
    step.refuse_foreign(found)
    (folder / step.RECORD).write_text("2")
    with pytest.raises(InputError, match="was trained again, but not by this study: remove "):
        step.refuse_foreign(found)


@pytest.mark.parametrize(
    "name, numbers",
    [
        ("demo", {"simulate": 4, "teacher": 1, "baseline": 2, "train": 2, "cache": 1, "test": 5, "latency": 1}),
        ("jetclass", {"simulate": 3, "teacher": 6, "baseline": 32, "train": 80, "cache": 6, "test": 118}),
        ("top", {"simulate": 3, "teacher": 5, "baseline": 30, "train": 58, "cache": 5, "test": 93}),
        ("public", {"simulate": 2, "baseline": 10, "train": 10, "cache": 4, "test": 20}),
    ],
)
def test_shipped_studies(name, numbers, tmp_path):
    found = shipped(name, tmp_path, **PUBLIC)
    assert count(found) == {**numbers, "report": 1}
    weights = {path for step in found.values() for path in step.outputs}
    needed = {path for step in found.values() for path in step.inputs if path.startswith(("training/", "cache/"))}
    assert needed <= weights  # every checkpoint is made by a step


def test_a_published_teacher(tmp_path):
    found = shipped("public", tmp_path, **PUBLIC)
    cache = found["cache", "study_public/ParticleNet_JetClass_kin_published.pt_l1_nolabels"]
    assert cache.settings["TEACHER_CONFIG"] == "data/JetClass/JetClass_kin.yaml" and cache.settings["LABELS"] == "no"
    assert cache.settings["CLASSES"].endswith("top_and_qcd.yaml") and cache.settings["PUBLIC_JETS"] == "public.parquet"
    asked = found["cache", "study_public/ParticleNet_JetClass_kin_published.pt_l1_test"]
    assert asked.settings["TRAIN_FILES"] == "public.parquet" and "LABELS" not in asked.settings
    assert asked.outputs[0] in found["report", "public"].inputs


def test_the_demo_has_the_names_of_the_modes(tmp_path):
    found = shipped("demo", tmp_path, STUDENT="PFN dense", SEED="1", TIER="hlt", JETS="40", COMMENT="_small")
    report = found["report", "demo_report_small"]
    assert report.command.endswith(
        "TEACHER=ParT-small TEACHER_TIER=full TEACHER_SEED=1 STUDENT='PFN dense' SEED=1 TIER=hlt COMMENT=_small "
        "./train_kd.sh report --title 'weaver-kd demo: hlt students'"
    )
    kinds = {kind for kind, run in found if run == "demo_PFN_hlt_kd_seed1_small"}
    assert kinds == {"train", "test"} and ("teacher", "demo_ParT-small_full_seed1_small") in found
    assert ("cache", "demo_ParT-small_full_seed1_small_hlt") in found
    assert "training/demo_latency_ParT-small_full_PFN_dense_hlt_small/latency.json" in report.inputs
    arguments = {step.run: " ".join(step.arguments) for step in found.values() if step.kind in TRAININGS}
    assert arguments["demo_PFN_hlt_kd_seed1_small"].endswith("--num-epochs 40 --samples-per-epoch 4000 --num-epochs 40")
    assert arguments["demo_ParT-small_full_seed1_small"].startswith(
        "--samples-per-epoch 800 --samples-per-epoch-val 200"
    )
    student = found["train", "demo_PFN_hlt_kd_seed1_small"]
    assert student.settings["UNLABELLED"].endswith("/unlabelled/*.parquet") and "TRAIN_FILES" in student.settings
    assert "Hqql=160" in found["simulate", "test"].command


def test_the_demo_with_a_given_teacher(tmp_path):
    found = shipped("demo", tmp_path, TEACHER="ParT", TEACHER_WEIGHTS="given.pt")
    assert "teacher" not in count(found) and count(found)["test"] == 5
    test = found["test", "demo_ParT_full_seed1"]
    assert test.settings["TEACHER_WEIGHTS"] == "given.pt" and test.outputs[0] in found["report", "demo_report"].inputs


def test_what_the_report_of_the_script_cannot_compare(content):
    with pytest.raises(InputError, match="compares the arms kd and baseline of one tier, with one teacher"):
        of_plan(content(report="--title x"))
