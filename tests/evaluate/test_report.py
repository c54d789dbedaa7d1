"""`python -m kd_trainer report` from prediction files to tables and plots."""

import json
import sys

import numpy as np
import pytest
import yaml
from helpers import ROOT, failure, kd_trainer

from kd_trainer.errors import InputError
from kd_trainer.evaluate import content, plots, style, tables
from kd_trainer.evaluate.report import pairs_to_compare
from kd_trainer.families import ORDER

LABELS = np.arange(6000) % 10
JET_PT = np.linspace(500, 1000, 6000)


@pytest.fixture
def models(tmp_path, toy, write, write_sidecar):
    """Arguments of report: a teacher, and three seeds of a student with and without it, as ROOT and parquet files."""
    teacher = write(tmp_path / "teacher.root", LABELS, toy(LABELS, 3.0, 1), jet_pt=JET_PT)
    write_sidecar(teacher, name="ParT", parameters=2143486, flops=334759680, particles=128)
    for seed in range(3):
        for name, strength, kind in (("distilled", 2.3, "parquet"), ("baseline", 1.7, "root")):
            path = tmp_path / name / f"seed{seed}.{kind}"
            write(path, LABELS, toy(LABELS, strength + 0.02 * seed, 10 * seed + len(name)), jet_pt=JET_PT)
            write_sidecar(path)
    return [
        f"teacher={teacher}",
        f"distilled={tmp_path}/distilled/*.parquet",
        f"baseline={','.join(str(tmp_path / 'baseline' / f'seed{seed}.root') for seed in range(3))}",
    ]


@pytest.fixture
def no_plots(monkeypatch):
    """Drawing takes seconds; for tests of the numbers."""
    monkeypatch.setattr(plots, "draw_all", lambda *_: {})


@pytest.fixture
def png_alone(monkeypatch):
    """For tests of other things than the formats."""
    monkeypatch.setattr(plots, "paths", lambda folder, name: [folder / f"{name}.png"])


def run(*arguments):
    """What is printed."""
    return kd_trainer("report", *arguments).stdout


def results_of(folder):
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def test_report(models, tmp_path):
    folder = tmp_path / "report"
    shown = run(*models, "-o", folder, "--title", "Toy jets")
    results = results_of(folder)

    written = {path.name for path in folder.iterdir()}
    figures = {f"{name}.{kind}" for name in ("roc", "ratio", "rejection_vs_flops") for kind in ("png", "pdf")}
    assert written == figures | {f"report.{kind}" for kind in ("html", "md", "json")}
    assert all((folder / name).stat().st_size > 10_000 for name in figures if name.endswith("png"))

    assert list(results["models"]) == ["teacher", "distilled", "baseline"]
    assert results["n_jets"] == 6000
    assert set(results["jets_per_class"].values()) == {600}
    points = {p["key"]: p["efficiency"] for p in results["working_points"]}
    assert len(points) == 9
    assert (points["Hqql@99%"], points["Tbl@99.5%"], points["Hbb@50%"]) == (0.99, 0.995, 0.5)
    student = results["models"]["distilled"]
    assert (student["parameters"], student["flops"], student["particles"]) == (15812, 150848, 16)
    assert student["accuracy"]["value"] == pytest.approx(np.mean(student["accuracy"]["per_seed"]))
    assert len(student["rejections"]["Hbb@50%"]["background_left"]) == 3
    assert student["rejection"]["seed_spread"] > 0
    assert results["models"]["teacher"]["accuracy"]["seed_spread"] is None

    (comparison,) = results["comparisons"]
    assert (comparison["numerator"], comparison["denominator"]) == ("distilled", "baseline")
    ratio = comparison["rejection_ratio"]
    assert ratio["value"] > 1 + 2 * ratio["total"]
    assert ratio["total"] == pytest.approx(np.hypot(ratio["statistical"], ratio["seed_error"]))
    assert set(comparison["rejection_ratios"]) == set(points)
    start = f"With the teacher, the background rejection of the student (distilled) is {tables.plus_minus(ratio)} times"
    assert comparison["conclusion"].startswith(start)
    assert comparison["conclusion"].endswith("6000 test jets, 3 seeds.")

    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# Toy jets\n\n" + comparison["conclusion"])
    assert "JetClass_l1, 16 particles" in text and "2.14M" in text and "335M" in text
    assert "the standard error of this mean" in text and "only the statistical uncertainty: their spread" in text
    assert all(f"]({name})" in text for name in ("roc.png", "ratio.png", "rejection_vs_flops.png"))
    paths = (str(folder / name) for name in ("roc.png", "report.html"))
    assert all(said in shown for said in (comparison["conclusion"], *paths, "2.14M"))
    assert results["caveat"] == "" and "Caution" not in shown + text


def test_the_same_call_gives_the_same_numbers(models, tmp_path, no_plots):
    for name in ("a", "b"):
        run(*models[1:], "-o", tmp_path / name, "--replicas", 20)
    assert (tmp_path / "a" / "report.json").read_text() == (tmp_path / "b" / "report.json").read_text()


def test_no_gain_is_said_plainly(tmp_path, toy, write, no_plots):
    for name in ("distilled", "baseline"):
        write(tmp_path / f"{name}.root", LABELS, toy(LABELS, 2.0, len(name)))
    pair = [f"PFN {name}={tmp_path}/{name}.root" for name in ("distilled", "baseline")]
    shown = run(*pair, "-o", tmp_path)
    results = results_of(tmp_path)
    conclusion = results["comparisons"][0]["conclusion"]
    start = "No gain is seen with the teacher: the background rejection of the student (PFN distilled)"
    assert conclusion.startswith(start)
    assert conclusion.endswith("1 seed each, statistical uncertainty only.")
    assert results["models"]["PFN distilled"]["flops"] is None
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "–" in text
    paths = [f"{tmp_path}/{name}.root" for name in ("baseline", "distilled")]
    assert results["caveat"].startswith(f"Caution: only the number and the labels of the jets in {paths[0]} could")
    assert results["caveat"] in text and results["caveat"] in shown


def test_compare_names_the_pairs(models, tmp_path, no_plots):
    asked = ["--compare", "distilled=teacher", "baseline=baseline"]
    run(*models, "-o", tmp_path / "r", "--replicas", 20, *asked)
    first, second = results_of(tmp_path / "r")["comparisons"]
    assert first["rejection_ratio"]["value"] < 1
    assert first["conclusion"].startswith("The background rejection of distilled is 0.")
    assert "3 and 1 seeds, without the seed-to-seed uncertainty of teacher" in first["conclusion"]
    assert (second["rejection_ratio"]["value"], second["rejection_ratio"]["statistical"]) == (1.0, 0.0)
    assert second["conclusion"].startswith("No difference is seen: the")


def test_the_gap_to_a_larger_model(models, tmp_path, no_plots):
    run(*models, "-o", tmp_path / "out", "--ceiling", "teacher", "--replicas", 20)
    (comparison,) = results_of(tmp_path / "out")["comparisons"]
    found = results_of(tmp_path / "out")["models"]
    aucs = [found[name]["auc"]["value"] for name in ("distilled", "baseline", "teacher")]
    way = comparison["recovered"]
    assert way["ceiling"] == "teacher" and way["auc"]["value"] == pytest.approx(
        (aucs[0] - aucs[1]) / (aucs[2] - aucs[1])
    )
    assert 0 < way["log_rejection"]["value"] < 1 and way["log_rejection"]["total"] > 0
    assert "(AUC) and " in comparison["conclusion"] and " of the gap to teacher." in comparison["conclusion"]
    run(*models, "-o", tmp_path / "without", "--replicas", 20)
    assert "recovered" not in results_of(tmp_path / "without")["comparisons"][0]


def test_without_a_pair_no_ratio(models, tmp_path, no_plots):
    assert content.NO_COMPARISON in run(*models[:2], "-o", tmp_path / "r", "--replicas", 20)
    assert results_of(tmp_path / "r")["comparisons"] == []


def write_pair(folder, toy, write, classes):
    """Arguments of report: two seeds of a student with and without its teacher, two classes."""
    labels = np.arange(4000) % 2
    for name, strength in (("distilled", 1.5), ("baseline", 1.2)):
        for seed in range(2):
            scores = toy(labels, strength + 0.02 * seed, 10 * seed + len(name), n_classes=2)
            write(folder / f"{name}{seed}.root", labels, scores, classes=classes)
    return [f"{name}={folder}/{name}*.root" for name in ("distilled", "baseline")]


def test_two_classes(tmp_path, toy, write, png_alone):
    pair = write_pair(tmp_path, toy, write, ["jet_isTop", "jet_isQCD"])
    shown = run(*pair, "-o", tmp_path, "--published", "TopLandscape")
    results = results_of(tmp_path)
    assert results["background"] == {"name": "QCD", "classes": ["jet_isQCD"]}
    assert [p["key"] for p in results["working_points"]] == ["jet_isTop@30%", "jet_isTop@50%"]
    students = results["models"]
    assert students["distilled"]["auc"]["value"] > students["baseline"]["auc"]["value"]
    for key in ("accuracy", "auc", "rejection"):
        assert students["distilled"][key]["seed_spread"] > 0
    rejection = students["distilled"]["rejections"]["jet_isTop@30%"]
    assert rejection["value"] == pytest.approx(np.mean(rejection["per_seed"])) and len(rejection["per_seed"]) == 2
    conclusion = results["comparisons"][0]["conclusion"]
    assert "geometric mean of 2 working points" in conclusion and conclusion.endswith("4000 test jets, 2 seeds.")
    assert {path.stem for path in tmp_path.glob("*.png")} == {"roc", "ratio"}  # no sidecar, no FLOPs
    assert results["published"]["benchmark"] == "TopLandscape"
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert text.index("## Rejection of QCD") < text.index("## Published results on TopLandscape, not ours")
    assert "Published results on TopLandscape, for orientation" in shown and "LorentzNet" not in shown


def test_quarks_against_gluons_without_options(tmp_path, toy, write, no_plots):
    pair = write_pair(tmp_path, toy, write, ["jet_isQ", "jet_isG"])
    run(*pair, "-o", tmp_path, "--replicas", 20)
    results = results_of(tmp_path)
    assert results["background"] == {"name": "jet_isG", "classes": ["jet_isG"]}
    assert [p["key"] for p in results["working_points"]] == ["jet_isQ@30%", "jet_isQ@50%"]
    assert results["published"]["benchmark"] == "QuarkGluon"
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Rejection of jet_isG" in text and "| 118.4 ± 1.5 " in text


def test_published_results_can_be_left_out(tmp_path, toy, write, no_plots):
    pair = write_pair(tmp_path, toy, write, ["jet_isTop", "jet_isQCD"])
    run(*pair, "-o", tmp_path, "--replicas", 20, "--published", "none")
    assert results_of(tmp_path)["published"] is None
    assert "Published" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_few_background_jets_are_not_an_infinite_rejection(tmp_path, toy, write, png_alone):
    for name, strength in (("distilled", 12.0), ("baseline", 9.0)):
        write(tmp_path / f"{name}.root", LABELS[:1000], toy(LABELS[:1000], strength, 1))
    pair = [f"{name}={tmp_path}/{name}.root" for name in ("distilled", "baseline")]
    run(*pair, "-o", tmp_path)
    results = results_of(tmp_path)
    found = results["models"]["distilled"]["rejections"]["Hbb@50%"]
    assert (found["value"], found["few"], found["background_left"]) == (None, True, [0])
    assert results["models"]["distilled"]["rejection"] is None
    assert results["comparisons"][0]["rejection_ratio"] is None
    assert "1000 test jets are too few" in results["comparisons"][0]["conclusion"]
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "> 34" in text and "Geometric means exclude these working points" in text
    assert {path.stem for path in tmp_path.glob("*.png")} == {"roc"}


def write_many(folder, write, names, labels):
    """Arguments of report: two models of K classes and the data config that names them."""
    config = folder / "config.yaml"
    config.write_text(
        "inputs: {pf_features: {length: 2, vars: [[a, null]]}}\n"
        f"labels: {{type: custom, value: {{truth_label: jet_label}}, names: {names}}}"
    )
    common = np.random.default_rng(2).normal(size=(len(labels), len(names)))
    for name, strength in (("distilled", 3.0), ("baseline", 2.0)):
        scores = np.exp(common + strength * np.eye(len(names))[labels])
        scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
        write(folder / f"{name}.parquet", labels.astype("f4"), scores, label_name="truth_label")
    return [f"{name}={folder}/{name}.parquet" for name in ("distilled", "baseline")] + ["--data-config", config]


def test_discriminants_of_jetclass_ii(tmp_path, write, png_alone):
    names = yaml.safe_load((ROOT / "data" / "JetClassII" / "JetClassII_full.yaml").read_text())["labels"]["names"]
    rng = np.random.default_rng(1)
    parts = [rng.integers(0, 2, 3000), rng.integers(3, 161, 3000), rng.integers(161, 188, 4000)]
    arguments = write_many(tmp_path, write, names, rng.permutation(np.concatenate(parts)))
    run(*arguments, "-o", tmp_path, "--replicas", 50)
    results = results_of(tmp_path)
    assert results["background"] == {"name": "QCD", "classes": names[161:]}
    labels = ("X_bb vs QCD", "X_cc vs QCD", "X_cc vs X_bb")
    expected = [f"{label}@{percent}%" for label in labels for percent in (30, 50)]
    assert [p["key"] for p in results["working_points"]] == expected
    found = results["models"]["baseline"]
    assert found["auc"] is None and 0.05 < found["accuracy"]["value"] < 0.5
    assert sum(found["rejections"]["X_cc vs X_bb@50%"]["background_left"]) < results["jets_per_class"]["X_bb"]
    assert results["comparisons"][0]["rejection_ratios"]["X_bb vs QCD@50%"]["value"] > 1
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "## Background rejections" in text and "p_S / (p_S + p_B), p_B the sum over its classes" in text
    assert {path.stem for path in tmp_path.glob("*.png")} == {"roc", "ratio", "confusion_1", "confusion_2"}
    assert results["families"] == list(ORDER)
    rows = np.array(found["confusion"])
    assert rows.sum(axis=1) == pytest.approx(1) and rows[0, 0] < results["models"]["distilled"]["confusion"][0][0]
    assert "![confusion_1](confusion_1.png)" in text and "188 classes are too many for one figure" in text


def test_hundreds_of_classes_under_other_names(tmp_path, write):
    names = [f"X_{i}" for i in range(161)] + [f"QCD_{i}" for i in range(27)]
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.concatenate([rng.integers(0, 150, 6000), rng.integers(161, 188, 4000)]))
    run(*write_many(tmp_path, write, names, labels), "-o", tmp_path, "--replicas", 50)
    results = results_of(tmp_path)
    assert [p["key"] for p in results["working_points"]] == [f"X_{i}@50%" for i in range(150)]
    assert results["comparisons"][0]["rejection_ratio"]["value"] > 1
    assert not list(tmp_path.glob("*.png")) and "families" not in results
    assert "X_149 (50 %)" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}"], "is not NAME=PRED[,PRED...]"),
        (["x={a}", "x={b}"], "the name x is given twice"),
        (["x={tmp}/none*.root"], "no file matches {tmp}/none*.root"),
        (["x={a}", "y={shuffled}"], "a.root and {tmp}/shuffled.root do not hold the same jets"),
        (["x={a},{shuffled}"], "a.root and {tmp}/shuffled.root do not hold the same jets"),
        (["x={a}", "y={more}", "z={others}"], "more.root and {tmp}/others.root do not hold the same jets"),
        (["x={no_hbb}"], "no_hbb.root has no test jets of class Hbb"),
        (["x={a}", "--compare", "x=y"], "--compare x=y: 'y' is not among the models given (x)"),
        (["x={a}", "--ceiling", "y"], "--ceiling y is not among the models given (x)"),
        (["x={a}", "--compare", "x"], "--compare x: '' is not among the models given (x)"),
        (["x={a}", "--background", "jj"], "no class has 'jj' in its name: give --background with one of QCD, Hbb"),
        (["x={a}", "--signals", "Hxx"], "--signals Hxx: there is no class 'Hxx'"),
        (["x={a}", "--signals", "QCD"], "--signals QCD: QCD is part of the background QCD"),
        (["x={custom}"], "custom.root holds no class names: give the --data-config"),
        (["x={a}", "--replicas", "1"], "--replicas: an uncertainty needs at least 2"),
        (["x={a}", "-o", "{a}"], "is a file; give a folder"),
    ],
)
def test_wrong_input_ends_in_one_line(tmp_path, toy, write, arguments, message, no_plots):
    labels = LABELS[:300]
    scores = toy(labels, 2.0, 1)
    kept = labels != 1
    paths = {
        "tmp": tmp_path,
        "a": write(tmp_path / "a.root", labels, scores),
        "b": write(tmp_path / "b.root", labels, scores),
        "more": write(tmp_path / "more.root", labels, scores, jet_pt=JET_PT[:300]),
        "others": write(tmp_path / "others.root", labels, scores, jet_pt=JET_PT[300:600]),
        "shuffled": write(tmp_path / "shuffled.root", labels[::-1].copy(), scores),
        "no_hbb": write(tmp_path / "no_hbb.root", labels[kept], scores[kept]),
        "custom": write(tmp_path / "custom.root", labels, scores, label_name="truth_label"),
    }
    line = failure("report", "-o", tmp_path / "r", *(argument.format(**paths) for argument in arguments))
    assert line.startswith("kd_trainer report: ") and message.format(**paths) in line
    assert not (tmp_path / "r").exists()


def test_plots_without_mplhep(monkeypatch):
    monkeypatch.setitem(sys.modules, "mplhep", None)
    with pytest.raises(InputError, match=r"plots need mplhep: pip install 'weaver-kd\[plot\]'"):
        style.load_style()


def test_pairs_by_name():
    names = ["teacher", "PFN distilled", "PFN baseline", "dense distilled"]
    assert pairs_to_compare(None, names) == [("PFN distilled", "PFN baseline")]


@pytest.mark.parametrize(
    ("value", "total", "text"),
    [(1234.5, 56.7, "1234 ± 57"), (0.86123, 0.00087, "0.86123 ± 0.00087"), (1.0, 0.0, "1"), (None, None, "–")],
)
def test_numbers_are_rounded_to_their_uncertainty(value, total, text):
    assert tables.plus_minus({"value": value, "total": total}) == text


def test_colours():
    found = style.colours(["ParT teacher", "a", "b", "second Teacher"])
    assert (found["ParT teacher"], found["second Teacher"]) == style.TEACHERS
    assert len(set(found.values())) == 4
