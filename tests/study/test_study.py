"""A miniature study through snakemake and weaver: run, changed, killed, on a cluster, reported, written down."""

import json
import os
import signal
import subprocess

import numpy as np
import psutil
import pytest
from helpers import failure, fork_bin, kd_trainer, script, wait_for, write_splits

from kd_trainer.evaluate.calibration import balanced_weights, ece_statistic
from kd_trainer.evaluate.predictions import read
from kd_trainer.study import document, plots

RUNS = {f"{arm}{seed}": f"training/study_mini/PFN_l1_{arm}_seed{seed}" for arm in ("labels", "self") for seed in (1, 2)}


@pytest.fixture(scope="module")
def jets(tmp_path_factory):
    """train/, val/ and test/ of jets without physics."""
    return write_splits(tmp_path_factory.mktemp("jets"), train=400, val=100, test=200)


@pytest.fixture(scope="module")
def study(clone, jets, content, write):
    """study(mode, *arguments, env, **changes): train_scripts/study.sh on a study.yaml with changes."""

    def call(mode, *arguments, env=None, check=True, **changes):
        path = write(clone / "mini.yaml", content(**changes))
        env = {"DATADIR": jets, "JOBS": 2, **(env or {})}
        return script(clone / "train_scripts" / "study.sh", mode, path, *arguments, cwd=clone, env=env, check=check)

    return call


@pytest.fixture(scope="module")
def finished(study, clone):
    """The folder of the clone, and what the first run has said."""
    done = study("run")
    return clone, done.stdout + done.stderr


def planned(done):
    """{rule: number of jobs} of a dry run."""
    lines = (done.stdout + done.stderr).split("Job stats:")[-1].split("total")[0].splitlines()
    return {words[0]: int(words[1]) for words in map(str.split, lines[3:]) if len(words) == 2}


def record(clone, name):
    return json.loads((clone / name / "net_record.json").read_text())


def left_behind(clone):
    """Processes that work in the clone."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(clone)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_every_step_leaves_its_results(finished):
    clone, said = finished
    for name in RUNS.values():
        made = {"net_best_epoch_state.pt", "net_record.json", "pred.root", "pred.model.json"}
        assert made <= set(os.listdir(clone / name))
    log = (clone / "logs" / "study_mini" / "PFN_l1_self_seed1" / "train.log").read_text()
    assert "soft targets from the cache" in log and "alpha 0.5" in log and "ERROR" not in log
    assert "train run=study_mini/PFN_l1_self_seed1: done in " in said
    assert "(PFN_l1" not in said and "jet/s" in said  # the cache is made alone, so its bar is seen


def test_nothing_is_done_twice_and_what_depends_on_a_change_is_done_again(study, finished):
    clone, _ = finished
    assert "Nothing to be done" in (again := study("list")).stdout + again.stderr
    arms = {"labels": {}, "self": {"teacher": "self", "options": {"kd_alpha": 0.9}}}
    changed = study("list", arms=arms)
    assert planned(changed) == {"train": 2, "test": 2, "report": 1, "all": 1}
    reason = "Params have changed since last execution: was kd_alpha 0.5; is kd_alpha 0.9"
    assert reason in changed.stdout + changed.stderr
    config = clone / "data" / "TopLandscape" / "TopLandscape_l1.yaml"
    model = clone / "train_scripts" / "models" / "dense.sh"  # of no arm
    then, text = config.stat(), config.read_text()
    for path in (config, model):
        path.write_text(path.read_text() + "# another\n")
    assert planned(study("list")) == {"baseline": 2, "cache": 1, "train": 2, "test": 4, "report": 1, "all": 1}
    config.write_text(text)
    os.utime(config, ns=(then.st_atime_ns, then.st_mtime_ns))
    checkpoint = clone / RUNS["self1"] / "net_best_epoch_state.pt"
    weights = checkpoint.read_bytes()
    checkpoint.write_bytes(weights + b" ")
    assert planned(study("list")) == {"test": 1, "report": 1, "all": 1}
    checkpoint.write_bytes(weights)


def test_a_training_by_hand_is_not_taken_silently(study, finished):
    clone, _ = finished
    path = clone / RUNS["self2"] / "net_record.json"
    text = path.read_text()
    path.write_text(text + " ")
    refused = study("list", check=False)
    path.write_text(text)
    assert refused.returncode != 0 and "was trained again, but not by this study" in refused.stdout + refused.stderr


def test_a_study_that_was_killed_goes_on_and_leaves_nothing_behind(finished, jets, content, write):
    clone, _ = finished
    path = write(clone / "mini.yaml", content(seeds=[1]))
    env = {"DATADIR": jets, "JOBS": 2, "COMMENT": "_killed"}
    command = [clone / "train_scripts" / "study.sh", "run", path]
    everything = {**os.environ, **{k: str(v) for k, v in env.items()}, "PATH": f"{fork_bin()}:{os.environ['PATH']}"}
    begun = clone / "training" / "study_mini_killed" / "PFN_l1_labels_seed1"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for number, wanted in ((signal.SIGKILL, begun), (signal.SIGTERM, begun / "net_record.json")):
        process = subprocess.Popen(command, cwd=clone, env=everything, **quiet)
        wait_for(wanted.exists)
        assert process.poll() is None
        process.send_signal(number)
        process.wait(timeout=30)
        wait_for(lambda: left_behind(clone) == [], 5)
    dying = clone / "dying" / "cp"  # killed in the middle of its work
    dying.parent.mkdir()
    dying.write_text('#!/usr/bin/env bash\nhead -c 10 "$1" >"$2"\nkill -9 $$\n')
    dying.chmod(0o755)
    script(*command, cwd=clone, env={**env, "PATH": f"{dying.parent}:{os.environ['PATH']}"}, check=False)
    assert (begun / "net_record.taken.json.part").stat().st_size == 10
    script(*command, cwd=clone, env=env)
    assert not list(clone.glob("training/*/*/*.part"))
    for arm in ("labels", "self"):
        name = RUNS[f"{arm}1"]
        assert record(clone, name.replace("_mini", "_mini_killed"))["sha256"] == record(clone, name)["sha256"]


def test_the_same_study_through_a_cluster(study, finished, tmp_path):
    """Each step is submitted to a queue, here a process of its own, as the profiles of Slurm and HTCondor do."""
    clone, _ = finished
    submit = tmp_path / "submit"
    submit.write_text('#!/usr/bin/env bash\nnohup bash "$1" >"$1.log" 2>&1 &\necho $!\n')
    submit.chmod(0o755)
    executor = ("--executor", "cluster-generic", "--cluster-generic-submit-cmd", submit, "--jobs", 2)
    executor += ("--seconds-between-status-checks", 1)
    name = RUNS["self1"].replace("_mini", "_mini_cluster")
    study("run", *executor, f"{name}/pred.root", env={"COMMENT": "_cluster"}, seeds=[1])
    for run in (RUNS["labels1"], RUNS["self1"]):
        assert record(clone, run.replace("_mini", "_mini_cluster"))["sha256"] == record(clone, run)["sha256"]
    here, there = (read(clone / folder / "pred.root") for folder in (RUNS["self1"], name))
    assert np.array_equal(here.scores, there.scores)


def test_table_of_the_miniature(finished, jets):
    clone, _ = finished
    results = json.loads((clone / "training" / "study_mini" / "results.json").read_text())
    labels, distilled = results["cells"]
    assert (labels["arm"], distilled["arm"], distilled["teacher"]) == ("labels", "self", "self")
    assert labels["seeds"] == distilled["seeds"] == distilled["paired_seeds"] == [1, 2]
    assert distilled["options"] == {"kd_alpha": 0.5, "kd_temperature": 1.0}
    assert results["training_jets"] == {"all": 400} and sum(results["test_jets"].values()) == 200
    assert results["jobs"] == {"done": 5, "planned": 5} and results["minutes"] > 0
    assert results["caveat"] == ""  # the test jets were compared
    assert labels["parameters"] > 500 and labels["particles"] == 16
    found = [read(clone / RUNS[f"self{seed}"] / "pred.root") for seed in (1, 2)]
    weights = [balanced_weights(p.labels) for p in found]
    accuracy = [np.average(p.scores.argmax(axis=1) == p.labels, weights=w) for p, w in zip(found, weights)]
    assert distilled["accuracy"]["per_seed"] == pytest.approx(accuracy)
    nominal = np.ones((1, len(found[0].labels)))
    ece = [ece_statistic(p.labels, p.scores, w)(nominal)[0] for p, w in zip(found, weights)]
    assert distilled["ece"]["value"] == pytest.approx(np.mean(ece))
    assert distilled["difference"]["accuracy"]["value"] == pytest.approx(
        distilled["accuracy"]["value"] - labels["accuracy"]["value"]
    )
    text = (clone / "training" / "study_mini" / "results.md").read_text()
    assert "| PFN      | l1       | labels |" in text and text.count("\n| PFN") == 3


def test_document_is_made_anew_from_stored_results(finished, tmp_path):
    folder = finished[0] / "training" / "study_mini"
    stored = tmp_path / "results" / "mini.json"
    stored.parent.mkdir()
    stored.write_text((folder / "results.json").read_text())
    page = tmp_path / "results.md"
    page.write_text("# Title\n\n<!-- begin mini -->\nold\n<!-- end mini -->\n\nWhat it means.\n")
    kd_trainer("study", stored, "-o", page, "--document")
    text = page.read_text()
    assert text.startswith("# Title\n") and text.endswith("\nWhat it means.\n") and "old" not in text
    inside = text.split("<!-- begin mini -->")[1].split("<!-- end mini -->")[0]
    assert inside in (folder / "results.md").read_text()
    kd_trainer("study", stored, "-o", page, "--document")
    assert page.read_text() == text


def test_documents_that_cannot_be_written(finished, tmp_path):
    folder = finished[0] / "training" / "study_mini"
    page = tmp_path / "page.md"
    page.write_text("no place")
    for source, output, message in (
        (folder / "results.json", page, "add the lines '<!-- begin mini -->' and '<!-- end mini -->'"),
        (folder / "results.json", tmp_path, "is a folder"),
        (page, tmp_path / "new.md", "is not from `kd_trainer study --report`"),
        (tmp_path / "none.json", page, "none.json is not there"),
    ):
        assert message in failure("study", source, "-o", output, "--document")
    assert page.read_text() == "no place"


def test_figures_of_a_scan(finished, tmp_path, monkeypatch):
    """One cell at two temperatures, alphas and sizes and with two samples gives a line in each figure."""
    folder = finished[0] / "training" / "study_mini"
    results = json.loads((folder / "results.json").read_text())
    _, cell = results["cells"]
    results["training_jets"]["few"] = 100
    cells = [dict(cell, options={"kd_alpha": a, "kd_temperature": t}) for a, t in ((0.5, 3), (1.0, 3))]
    cells += [dict(cell, student="large", parameters=10_000), dict(cell, sample="few")]
    labels = results["cells"][0]
    results["cells"] += [*cells, dict(labels, student="large"), dict(labels, sample="few")]
    lines = {axis: plots.series(results, axis) for axis in plots.AXES}
    assert {axis: list(found) for axis, found in lines.items()} == {
        "size": ["self, l1"],
        "jets": ["PFN, self"],
        "temperature": ["PFN, l1, self, alpha 0.5"],
        "alpha": ["PFN, l1, self, temperature 3"],
    }
    assert [x for x, _ in lines["temperature"]["PFN, l1, self, alpha 0.5"]] == [1, 3]
    monkeypatch.setattr(plots, "AXES", {axis: plots.AXES[axis] for axis in ("jets", "alpha")})  # drawing takes seconds
    path = tmp_path / "scan.json"
    path.write_text(json.dumps(results))
    assert document.write_document([path], tmp_path / "scan.md") == 0
    written = {figure.name for figure in tmp_path.glob("scan_*")}
    assert written == {f"scan_{axis}.{kind}" for axis in plots.AXES for kind in ("png", "pdf")}
    assert "![scan_jets](scan_jets.png)" in (tmp_path / "scan.md").read_text()
