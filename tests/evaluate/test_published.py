"""The file of published results is complete and consistent, and is shown as published."""

import pytest

from kd_trainer.evaluate import published
from kd_trainer.evaluate.working_points import default_background, working_points

BENCHMARKS = published.load()


def cells(table):
    """Rows of a table, the header first."""
    return [table.header, *table.rows]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_file_is_consistent(benchmark):
    entry = BENCHMARKS[benchmark]
    points = entry["working_points"]
    for row in entry["rows"]:
        assert row["source"] in entry["sources"]
        auc, accuracy = row.get("auc"), row.get("accuracy")
        assert (auc or accuracy) and 0.5 < (accuracy or 0.501) < (auc or 1) < (1 if auc else 1.1)
        assert len(row.get("rejections", points)) == len(points)
    assert {row["source"] for row in entry["rows"]} == set(entry["sources"])
    if len(entry["classes"]) == 2:
        found = [row["rejections"] for row in published.select(benchmark, [])["rows"]]
        assert all(of[points[0]]["value"] > of[points[1]]["value"] for of in found if len(of) == 2)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_working_points_are_those_of_a_report(benchmark):
    names = BENCHMARKS[benchmark]["classes"]
    ours = working_points(names, default_background(names), [True] * len(names))
    assert {point.key for point in ours} == set(BENCHMARKS[benchmark]["working_points"])


def test_selection():
    assert published.select("auto", ["jet_isQCD", "jet_isTop"])["benchmark"] == "TopLandscape"
    assert published.select("auto", ["Hbb", "QCD"]) is None
    assert published.select("none", ["jet_isTop", "jet_isQCD"]) is None
    assert published.select("JetClass", ["a", "b"])["benchmark"] == "JetClass"


def test_table_shows_what_was_published():
    header, *rows = cells(published.published_table(published.select("TopLandscape", [])))
    assert header[:5] == ["published", "parameters", "FLOPs", "accuracy", "AUC"]
    assert header[5:] == ["jet_isTop@30%", "jet_isTop@50%", "source"]
    found = {row[0]: row[1:] for row in rows}
    source = "arXiv:2407.08682"
    assert found["ParT"] == ["2.14M", "340M", "0.940", "0.9858", "1602 ± 81", "413 ± 16", source]
    assert found["PELICAN"] == ["–", "–", "0.9426", "0.9870", "–", "–", source]
    assert found["CGENN"][-3:] == ["2172", "500", source]


def test_table_of_jetclass_names_the_training_sample():
    header, *rows = cells(published.published_table(published.select("JetClass", [])))
    assert header[1] == "training jets"
    assert [row[1] for row in rows if row[0] == "ParT"] == ["2M", "10M", "100M"]


def test_table_of_firmware():
    header, *rows = cells(published.published_table(published.select("LHCJets", [])))
    assert header[:5] == ["published", "LUTs", "latency on the FPGA (ns)", "accuracy", "AUC"]
    found = {row[0]: row[1:5] for row in rows}
    assert found["JEDI-linear, 64 particles, 3 features, permutation invariant"] == ["164k", "78", "0.818", "–"]
    assert found["MLP-Mixer, 64 particles, 3 features"] == ["159k", "72", "0.797", "–"]
    assert len(rows) == 26 and published.select("auto", ["W", "t", "Z", "QCD_q", "QCD_g"])["benchmark"] == "LHCJets"


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ({"value": 2195, "total": 173}, "2195 ± 173"),
        ({"value": 118.0, "total": 2.2}, "118.0 ± 2.2"),
        ({"value": 37.4, "total": 0.7}, "37.4 ± 0.7"),
        ({"value": 500, "total": None}, "500"),
        (None, "–"),
    ],
)
def test_figures_keep_their_published_digits(figure, text):
    assert published.published_cell(figure) == text


def test_the_section_says_that_it_is_not_ours():
    heading, (explanation, _, sources), _ = published.section(published.select("QuarkGluon", []))
    assert heading == "Published results on QuarkGluon, not ours"
    assert "comparable with the figures above only if these predictions were made on that test set" in explanation
    assert sources[0].startswith("arXiv:2407.08682: MIParT")
