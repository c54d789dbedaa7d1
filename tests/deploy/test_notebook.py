"""The notebooks in docs/tutorials run (that of the demo in test_demo.py), and the stored notebooks are executed."""

import sys

import matplotlib.pyplot as plt
import nbformat
from helpers import ROOT, run_cells
from nbclient import NotebookClient

FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOK = FOLDER / "tagger.ipynb"
DEMO = FOLDER / "first_distillation.ipynb"


def outputs(notebook):
    """Text of the outputs, and the number of pictures."""
    found = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in found)
    return text, sum("image/png" in output.get("data", {}) for output in found)


def test_runs(model_dir, jets, monkeypatch):
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    monkeypatch.setenv("JETS", str(jets / "val"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    where = {"metadata": {"path": FOLDER}}
    client = NotebookClient(notebook, timeout=120, startup_timeout=180, resources=where)
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = sys.executable  # whatever the kernels that a user has installed
    client.execute()
    text, pictures = outputs(notebook)
    assert "16 QCD jets, 16 top jets" in text and "at an efficiency of 50 %" in text and pictures == 1


def test_stored_copy_is_executed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    text, pictures = outputs(notebook)
    assert "500 QCD jets, 500 top jets" in text and "flagged: 0" in text and pictures == 1
    assert "/tmp" not in text and "/root" not in text
    demo = (ROOT / "train_scripts" / "studies" / "demo.yaml").read_text()
    assert "STUDENT: InteractionNet\n" in demo and "training/demo_InteractionNet_l1_kd_seed1" in NOTEBOOK.read_text()


CLASSES188 = FOLDER / "jetclass2.ipynb"


def test_the_notebook_of_188_classes_runs(model_dir, jets, monkeypatch, capsys):
    """Its cells in this process, with ten classes, which are families of their own."""
    monkeypatch.setenv("MODEL_DIR", str(model_dir))
    monkeypatch.setenv("JETS", str(jets / "val"))
    names = run_cells(CLASSES188)
    assert "160 jets of 10 classes" in capsys.readouterr().out and len(names["families"]) == 10
    plt.close("all")


def test_the_notebook_of_188_classes_is_executed():
    text, pictures = outputs(nbformat.read(CLASSES188, as_version=4))
    assert "in the right family" in text and pictures == 2 and "/tmp" not in CLASSES188.read_text()


def test_the_notebook_of_the_demo_is_executed():
    text, pictures = outputs(nbformat.read(DEMO, as_version=4))
    assert "unlabelled  10 files" in text and pictures == 5
    assert "/tmp" not in DEMO.read_text() and "/root" not in DEMO.read_text()
