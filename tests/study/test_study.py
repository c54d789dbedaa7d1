"""A miniature study through the real weaver: interrupted, resumed, reported, written down."""

import json

import numpy as np
import pytest
from helpers import kd_trainer

from kd_trainer.evaluate.calibration import balanced_weights, ece_statistic
from kd_trainer.evaluate.predictions import read
from kd_trainer.study import document, execute, jobs, plots


@pytest.fixture(scope="module")
def interrupted(content, write, jets, tmp_path_factory):
    """(study.yaml, folder, records with their times) of a study that was stopped while its last but one arm ended."""
    folder = tmp_path_factory.mktemp("study")
    path = write(folder / "mini.yaml", content(jets))
    written = []

    def stop_at_the_fourth(job, seconds):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(job.name)
        jobs.write_record(job, seconds)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(execute, "write_record", stop_at_the_fourth)
        kd_trainer("study", path, "-o", folder / "out", "--jobs", 2)
    records = {path: path.stat().st_mtime_ns for path in (folder / "out").glob("*/*/record.json")}
    assert len(records) == 3
    return path, folder / "out", records


@pytest.fixture(scope="module")
def finished(interrupted):
    """(study.yaml, folder) of the same study, resumed and reported."""
    path, folder, _ = interrupted
    kd_trainer("study", path, "-o", folder, "--jobs", 2)
    kd_trainer("study", path, "-o", folder, "--report", "--replicas", 50)
    return path, folder


def test_a_study_goes_on_where_it_was_stopped(interrupted, finished):
    _, folder, records = interrupted
    assert all(path.stat().st_mtime_ns == then for path, then in records.items())
    runs = [folder / "runs" / f"PFN_l1_all_{arm}_seed{seed}" for arm in ("labels", "self") for seed in (1, 2)]
    assert sorted(folder.glob("runs/*")) == sorted(runs)
    assert all((run / name).is_file() for run in runs for name in ("record.json", "pred.root"))
    log = (runs[3] / "train.log").read_text()
    assert "soft targets from the cache" in log and "alpha 0.5" in log and "ERROR" not in log
    record = json.loads((runs[3] / "record.json").read_text())
    assert record["command"][0] == "weaver" and "--data-test" in record["command"]
    assert not list(folder.glob("runs/*/net_epoch*"))


def test_table_of_the_miniature(finished, capsys):
    _, folder = finished
    results = json.loads((folder / "results.json").read_text())
    labels, distilled = results["cells"]
    assert (labels["arm"], distilled["arm"], distilled["teacher"]) == ("labels", "self", "self")
    assert labels["seeds"] == distilled["seeds"] == distilled["paired_seeds"] == [1, 2]
    assert distilled["options"] == {"kd_alpha": 0.5, "kd_temperature": 1.0}
    assert results["training_jets"] == {"all": 400} and sum(results["test_jets"].values()) == 160
    assert labels["parameters"] > 500 and labels["particles"] == 16
    found = [read(folder / "runs" / f"PFN_l1_all_self_seed{seed}" / "pred.root") for seed in (1, 2)]
    accuracy = [np.mean(p.scores.argmax(axis=1) == p.labels) for p in found]  # as many test jets of each class
    assert distilled["accuracy"]["per_seed"] == pytest.approx(accuracy)
    nominal = np.ones((1, len(found[0].labels)))
    ece = [ece_statistic(p.labels, p.scores, balanced_weights(p.labels))(nominal)[0] for p in found]
    assert distilled["ece"]["value"] == pytest.approx(np.mean(ece))
    assert distilled["difference"]["accuracy"]["value"] == pytest.approx(
        distilled["accuracy"]["value"] - labels["accuracy"]["value"]
    )
    assert distilled["ratio"]["rej30"]["total"] > 0
    text = (folder / "results.md").read_text()
    assert "| PFN      | l1       | labels |" in text and text.count("\n| PFN") == 3


def test_document_is_made_anew_from_stored_results(finished, tmp_path):
    _, folder = finished
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
    _, folder = finished
    page = tmp_path / "page.md"
    page.write_text("no place")
    for source, output, message in (
        (folder / "results.json", page, "write '<!-- begin mini -->' and '<!-- end mini -->' into it"),
        (folder / "results.json", tmp_path, "is a folder"),
        (page, tmp_path / "new.md", "is not from `kd_trainer study --report`"),
        (tmp_path / "none.json", page, "cannot be read"),
    ):
        found = kd_trainer("study", source, "-o", output, "--document", check=False)
        assert found.returncode == 1 and message in found.stderr
    assert page.read_text() == "no place"


def test_figures_of_a_scan(finished, tmp_path, monkeypatch):
    """The same cell at two temperatures, alphas, sizes and with two samples: a line in each of the figures."""
    _, folder = finished
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
