"""The same training through the real weaver command, with soft targets from the teacher and from a cache."""

import re

import pytest
import torch
from distillation import STUDENT, distillation
from helpers import CLASSES

NO_TEACHER = ("-o", "teacher", "None", "-o", "teacher_weights", "None", "-o", "teacher_options", "{}")


@pytest.fixture(scope="module")
def cache(make_cache, jets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached") / "cache"
    patterns = [f"{name}:{jets}/train/{name}_*.parquet" for name in CLASSES]
    make_cache(folder, "--dtype", "float32", *patterns)
    return folder, make_cache(folder, "--dtype", "float32", "--check", *patterns).stdout.split()


def test_cached_and_live_training_give_the_same_student(jets, configs, teacher, cache, tmp_path):
    folder, files = cache
    same = (*STUDENT, "-o", "seed", 3)
    _, live = distillation(jets, configs, teacher, tmp_path / "live", *same)
    assert "soft targets from the cache" not in live
    given = ("-o", "kd_cache", f"'{folder}'")
    ways = {
        "paired": given,  # with the data config and the files of the live training
        "of the student": ("-c", configs / "student.yaml", *given, *NO_TEACHER),
        "of the cache": ("-c", folder / "cached.yaml", "--data-train", *files, *given),
    }
    for name, arguments in ways.items():
        _, log = distillation(jets, configs, teacher, tmp_path / name, *same, *arguments)
        assert f"soft targets from the cache {folder} (10 files, all of 10 logits, float32)" in log
        assert "ERROR" not in log
    states = [torch.load(tmp_path / f"{name}_epoch-1_state.pt", weights_only=True) for name in ("live", *ways)]
    for state in states[1:]:
        assert state.keys() == states[0].keys()
        for key, value in state.items():
            torch.testing.assert_close(value, states[0][key], rtol=1e-3, atol=1e-4)
    for state in states[2:]:
        assert all(torch.equal(value, states[1][key]) for key, value in state.items())


def test_a_selection_that_the_cache_has_not_is_refused(jets, configs, teacher, cache, tmp_path):
    """The files of the cache are read with its own data config, which would not apply it."""
    folder, _ = cache
    text = (configs / "student.yaml").read_text()
    assert "selection: null" in text
    (tmp_path / "hard.yaml").write_text(text.replace("selection: null", "selection: jet_pt > 600", 1))
    given = ("-c", tmp_path / "hard.yaml", "-o", "kd_cache", f"'{folder}'")
    result, _ = distillation(jets, configs, teacher, tmp_path / "net", *STUDENT, *given, check=False)
    assert result.returncode and "hard.yaml is jet_pt > 600, that of the cache" in result.stderr
    assert not list(tmp_path.glob("net_epoch*"))


def test_without_validation_files_both_take_their_part_of_the_cache(jets, configs, teacher, cache, tmp_path):
    """As the scripts train on JetClass-II, where a part of each file is for the validation."""
    folder, _ = cache
    split = (*STUDENT, "-o", "seed", 3, "--train-val-split", 0.75, "--data-val")
    logs = {
        name: distillation(jets, configs, teacher, tmp_path / name, *given, *split)[1]
        for name, given in {"live": (), "cached": ("-o", "kd_cache", f"'{folder}'")}.items()
    }
    assert "soft targets from the cache" in logs["cached"] and "ERROR" not in logs["cached"]
    ours, theirs = (torch.load(tmp_path / f"{name}_epoch-1_state.pt", weights_only=True) for name in logs)
    for key, value in ours.items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-4)
    metrics = [re.findall(r"Current validation metric: ([\d.]+)", log) for log in logs.values()]
    assert len(metrics[0]) == 2 and metrics[0] == metrics[1]  # of the same jets
    asks = ("-o", "kd_cache", f"'{folder}'", "--data-config-val", configs / "paired.yaml", "-o", "restart", "'yes'")
    result, _ = distillation(jets, configs, teacher, tmp_path / "cached", *asks, *split, check=False)
    assert result.returncode and "the validation uses a part of the cache" in result.stderr
