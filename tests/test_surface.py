"""The public names of `import kd_trainer`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import kd_trainer
from kd_trainer.distill import losses
from kd_trainer.evaluate import metrics

SLOW = {"torch", "numpy", "weaver", "awkward", "yaml"}


def test_import_is_quick():
    code = "import sys, kd_trainer; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "kd_trainer" in loaded and not SLOW & set(loaded)


def test_every_name_is_there_and_is_said_in_the_docstring():
    for name in kd_trainer.__all__:
        assert callable(getattr(kd_trainer, name)) and name in dir(kd_trainer) and name in kd_trainer.__doc__
    assert kd_trainer.kd_loss is losses.kd_loss
    with pytest.raises(AttributeError, match="module 'kd_trainer' has no attribute 'taggers'"):
        _ = kd_trainer.taggers


def test_the_package_is_typed():
    assert Path(kd_trainer.__file__).with_name("py.typed").is_file()


def test_figures_of_merit():
    labels, scores = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    assert kd_trainer.accuracy(labels, scores) == 0.75
    assert kd_trainer.auc(labels, scores) == metrics.auc_influence(labels, scores)[0] == 1.0
    signal, background = (kd_trainer.discriminant(scores[labels == c], 1, [0]) for c in (1, 0))
    assert kd_trainer.rejection(signal, background, 1.0).lower_limit == pytest.approx(1.29, abs=0.01)
