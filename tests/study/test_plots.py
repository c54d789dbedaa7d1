"""The figure of rejection against jets without labels, from made-up results."""

import matplotlib.pyplot as plt
import pytest

from kd_trainer.study import plots


def cell(student="dense", arm="labels", role="student", rejection=10.0, seeds=(1, 2), **more):
    figures = {"rej50": {"value": rejection, "total": 1.0}}
    common = {"student": student, "tier": "l1", "sample": "10k", "grid": {}, "options": {}, "teacher": None}
    common |= {"unlabelled": "", "parameters": 36000, "seeds": list(seeds), **figures}
    return common | {"arm": arm, "role": role} | more


def taught(unlabelled, rejection, **more):
    arm = f"large, {unlabelled} without labels"
    known = {"arm": arm, "unlabelled": unlabelled, "teacher": "large", "ratio": {"rej50": {}}, "ceiling": CEILING}
    return cell(rejection=rejection, **known, **more)


CEILING = ["student", "ParT", "l1", "10k", "labels"]


@pytest.fixture
def results():
    return {
        "title": "Few labels", "baseline": "labels",
        "training_jets": {"10k": 10000, "3k": 3000, "30k": 30000, "300k": 300000},
        "cells": [
            cell("ParT", rejection=40.0), cell(), taught("", 15.0), taught("30k", 20.0), taught("300k", 31.0),
            taught("300k", 99.0, sample="3k", seeds=(1, 2, 3)),
            taught("300k", 98.0, options={"kd_ema": 0.999}, seeds=(1, 2, 3)),
            cell(arm="self", teacher="self", rejection=97.0, ratio={"rej50": {}}),
        ],
    }  # fmt: skip


def test_lines_against_jets_without_labels(results):
    (line,) = plots.unlabelled_lines(results, "dense", "l1").values()
    assert [(x, found["rej50"]["value"]) for x, found in line] == [(0, 15.0), (30000, 20.0), (300000, 31.0)]


def test_the_figure_has_twin_ceiling_and_teacher(results, tmp_path):
    figure = plots.draw_unlabelled(plt, results)
    (panel,) = figure.axes
    assert panel.get_legend_handles_labels()[1] == ["labels alone", "large model on labels", "taught by large"]
    assert [text.get_text() for text in panel.get_xticklabels()] == ["0", "30k", "300k"]
    assert {line.get_ydata()[0] for line in panel.lines if line.get_linestyle() == "--"} == {10.0, 40.0}
    del results["cells"][3:]
    assert plots.draw_unlabelled(plt, results) is None
