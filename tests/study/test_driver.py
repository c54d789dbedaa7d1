"""The driver without weaver: what is done, in which order, by whom, and what is done again."""

import threading

import pytest
from helpers import kd_trainer

from kd_trainer.errors import InputError
from kd_trainer.study import command, execute, jobs
from kd_trainer.study import plan as plans


@pytest.fixture
def folder(tmp_path):
    """Where train/, val/ hold files of a few bytes."""
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "jets.parquet").write_text(split)
    return tmp_path


@pytest.fixture
def performed(monkeypatch):
    """Names of the jobs done, in order: instead of running, they leave what weaver would."""
    done = []

    def perform(todo, *, parallel, bar):
        trouble = []
        for job in todo:
            job.command()
            if "fails" in job.name:
                trouble.append(f"{job.name} failed")
                continue
            job.folder.mkdir(parents=True, exist_ok=True)
            for name in job.products:
                (job.folder / name).write_text(job.name)
            jobs.write_record(job, 1.0)
            done.append(job.name)
        return trouble

    monkeypatch.setattr(execute, "perform", perform)
    return done


@pytest.fixture
def study(folder, content, write):
    """study(*arguments, **changes): the command on a study.yaml with some changes; its result."""

    def run(*arguments, **changes):
        path = write(folder / "study.yaml", content(folder, **changes))
        return kd_trainer("study", path, "-o", folder / "out", "--gpus", "", *arguments, check=False)

    return run


ALL = [
    "PFN_l1_all_labels_seed1",
    "soft targets l1_from_PFN_l1_all_seed1",
    "PFN_l1_all_self_seed1",
    "PFN_l1_all_labels_seed2",
    "PFN_l1_all_self_seed2",
]


def test_teachers_then_soft_targets_then_students_and_nothing_twice(study, performed, folder):
    assert study().returncode == 0
    assert performed == ALL
    assert study().returncode == 0
    assert performed == ALL
    (folder / "out" / "runs" / ALL[3] / "record.json").unlink()  # as after an interruption
    assert "4 of 5" not in study("--list").stdout and "students: 2 of 3 done" in study("--list").stdout
    assert study().returncode == 0
    assert performed == [*ALL, ALL[3]]


def test_an_arm_that_was_made_from_something_else_is_refused(study, performed, folder):
    study()
    changed = study(seeds=[1, 2], arms={"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.9}}})
    assert changed.returncode == 1 and performed == ALL
    for words in (ALL[2], "distillation.kd_alpha was 0.5, is 0.9", "1 other arms", "--redo-stale"):
        assert words in changed.stderr
    arms = {"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.9}}}
    assert study("--redo-stale", arms=arms).returncode == 0
    assert performed == [*ALL, ALL[2], ALL[4]]
    (folder / "train" / "jets.parquet").write_text("other jets")
    report = study("--report", arms=arms)
    assert report.returncode == 1 and "was made from something else" in report.stderr


def test_what_is_no_longer_there_is_a_difference_too(study, performed, folder):
    study(arms={"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.5, "kd_label_smoothing": 0.1}}})
    arms = {"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.5}}}
    refused = study(arms=arms)
    assert refused.returncode == 1 and "distillation.kd_label_smoothing is absent, was 0.1" in refused.stderr
    (folder / "train" / "more.parquet").write_text("more")
    assert study("--redo-stale", arms=arms).returncode == 0
    (folder / "train" / "more.parquet").unlink()
    refused = study(arms=arms)
    assert refused.returncode == 1 and "more.parquet is absent, was 4 bytes" in refused.stderr


def test_a_machine_does_not_wait_for_what_has_failed_elsewhere(folder, content, write):
    plan = plans.read(write(folder / "study.yaml", content(folder)))
    job = jobs.Workshop(plan, folder / "out").stages()["teachers"][0]
    job.folder.mkdir(parents=True)
    (job.folder / jobs.FAILED).touch()
    command.wait_for_others([job], minutes=0)
    (job.folder / jobs.FAILED).unlink()
    with pytest.raises(InputError, match="are not there after"):
        command.wait_for_others([job], minutes=-1)


def test_a_teacher_that_is_trained_anew_has_its_students_trained_anew(study, performed, folder):
    study()
    weights = folder / "out" / "runs" / ALL[0] / jobs.BEST
    weights.write_text("other weights")
    refused = study()
    assert refused.returncode == 1 and "teacher.weights" in refused.stderr
    study("--redo-stale")
    assert performed == [*ALL, ALL[1], ALL[2], ALL[4]]


def test_machines_share_the_arms_and_wait_for_each_other(study, performed, monkeypatch, folder, content, write):
    monkeypatch.setattr(command, "POLL", 0.01)
    path = write(folder / "study.yaml", content(folder))
    plan = plans.read(path)
    results = []

    def machine(rank):
        stages = jobs.Workshop(plan, folder / "out").stages()
        args = command.parse([str(path), "-o", str(folder / "out"), "--patience", "0.5"])
        results.append(command.train(stages, rank, 2, args))

    monkeypatch.setattr(command.signal, "signal", lambda *_: None)  # for the main thread only
    machines = [threading.Thread(target=machine, args=(rank,)) for rank in (0, 1)]
    for one in machines:
        one.start()
    for one in machines:
        one.join()
    assert results == [0, 0]
    assert sorted(performed) == sorted(ALL) and performed[:2] == ALL[:2]


def test_a_machine_that_never_comes(study, performed):
    alone = study("--rank", 1, "--world-size", 2, "--patience", 0)
    assert alone.returncode == 1 and performed == []
    assert f"1 arms of other machines are not there after 0 minutes, {ALL[0]} among them" in alone.stderr


def test_one_process_a_share(study, performed, folder):
    with command.alone(folder / "out", 0, 1):
        second = study()
    assert second.returncode == 1 and f"another process is at work on {folder}/out" in second.stderr
    assert performed == [] and study().returncode == 0


def test_what_fails_does_not_stop_the_others_but_what_it_teaches(study, performed, content):
    networks = content()["networks"]
    networks |= {"fails": networks["PFN"]}
    found = study(
        networks=networks,
        teachers={"self": {}, "fails": {"network": "fails"}},
        arms={"labels": {}, "self": {"teacher": "self"}, "taught": {"teacher": "fails"}},
    )
    assert found.returncode == 1 and len(performed) == len(ALL)
    for words in ("4 of 9 arms are not trained", "fails_l1_all_labels_seed1 failed", "taught_seed2 waits for what"):
        assert words in found.stderr


def test_wrong_calls(study, performed, folder, tmp_path):
    for arguments, message in (
        (("--jobs", 0), "--jobs is 0"),
        (("--replicas", 1), "--replicas"),
        (("--rank", 1), "--rank and --world-size go together"),
        (("--report",), "nothing of this study is trained yet"),
    ):
        found = study(*arguments)
        assert found.returncode == 1 and message in found.stderr
    (folder / "val" / "jets.parquet").unlink()
    missing = study()
    assert missing.returncode == 1 and "there is no file" in missing.stderr
    assert performed == []


def test_a_job_that_leaves_nothing_is_not_recorded(tmp_path):
    job = jobs.Job("arm", tmp_path, (), dict, lambda: ("weaver", []), ("pred.root",))
    with pytest.raises(InputError, match="arm left no pred.root"):
        jobs.write_record(job, 1.0)
    assert jobs.read_record(job) is None
