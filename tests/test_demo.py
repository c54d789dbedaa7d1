"""The demo in small, run as a user runs it."""

import json
import os
import re

import matplotlib.pyplot as plt
import onnx
from helpers import ROOT, run_cells, script


def test_demo_in_small_and_again(clone, tmp_path, monkeypatch, capsys):
    """Every stage of the demo with few jets, from another folder; a second run finds everything done."""
    settings = {"JETS": 6, "STUDENT": "dense", "SEED": 1, "COMMENT": "_small"}
    args = ("demo", "--num-epochs", "2", "--batch-size", "32")
    first = script(clone / "train_kd.sh", *args, cwd=tmp_path, env=settings)
    report = clone / "training" / "demo_report_small"
    figures = {f"{name}.png" for name in ("roc", "ratio", "rejection_vs_flops", "rejection_vs_latency")}
    assert {"report.html", "report.md", "report.json", *figures} <= set(os.listdir(report))
    data = json.loads((report / "report.json").read_text())
    assert set(data["models"]) == {"teacher", "dense distilled", "dense baseline"}
    for run_name in ("ParT-small_full_seed1", "dense_l1_kd_seed1", "dense_l1_baseline_seed1"):
        assert (clone / "training" / f"demo_{run_name}_small" / "pred.root").is_file()
    assert "dense distilled" in first.stdout and "report.html" in first.stdout
    log = (clone / "logs" / "demo_dense_l1_kd_seed1_small" / "train.log").read_text()
    assert "Teacher networks/ParT.py" in log and "alpha" in log and "cache/demo_ParT-small_full_seed1_small_l1" in log
    assert "3 of 32 jets of a batch have labels" in log
    assert "labels alone" in (clone / "logs" / "demo_dense_l1_baseline_seed1_small" / "train.log").read_text()

    weights = clone / "training" / "demo_dense_l1_kd_seed1_small" / "net_best_epoch_state.pt"
    before = weights.stat().st_mtime_ns
    second = script(clone / "train_kd.sh", *args, cwd=tmp_path, env=settings)
    assert "Nothing to be done" in second.stdout + second.stderr
    assert weights.stat().st_mtime_ns == before

    model = onnx.load(weights.with_name("model.onnx"))
    assert [o.name for o in model.graph.output] == ["softmax"]
    assert not re.search("teacher", weights.with_name("preprocess.json").read_text())

    monkeypatch.setenv("DEMO", str(clone))
    monkeypatch.setenv("STUDENT", "dense")
    monkeypatch.setenv("COMMENT", "_small")
    names = run_cells(ROOT / "docs" / "tutorials" / "first_distillation.ipynb")
    shown = capsys.readouterr().out
    assert "unlabelled  10 files,    600 jets" in shown and "3 of 32 jets of a batch have labels" in shown
    assert len(names["agreement"]) == 2 and len(names["table"]) == 5 and names["means"].shape == (10, 10)
    plt.close("all")
