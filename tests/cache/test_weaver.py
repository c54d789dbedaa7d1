"""The same training through the real weaver command, with soft targets from the teacher and from a cache."""

import pytest
import torch
from distillation import STUDENT, distillation
from helpers import CLASSES


@pytest.fixture(scope="module")
def cache(make_cache, jets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cached") / "cache"
    patterns = [f"{name}:{jets}/train/{name}_*.parquet" for name in CLASSES]
    make_cache(folder, "--dtype", "float32", *patterns)
    return folder, make_cache(folder, "--dtype", "float32", "--check", *patterns).stdout.split()


def test_cached_and_live_training_give_the_same_student(jets, configs, teacher, cache, tmp_path):
    folder, files = cache
    augmented = ("-o", "aug_smearing", 0.1, "-o", "aug_dropping", 0.3, "-o", "aug_dropping_pt_max", 10)
    same = (*STUDENT, "-o", "seed", 3, *augmented)  # the student's jets: live targets are those of the jets as they are
    _, live = distillation(jets, configs, teacher, tmp_path / "live", *same)
    _, log = distillation(
        jets, configs, teacher, tmp_path / "cached", *same, "-c", folder / "cached.yaml",
        "-o", "kd_cache", f"'{configs}/paired.yaml'", "--data-train", *files,
    )  # fmt: skip
    assert "soft targets from the cache" not in live
    assert all("; the student sees jets with smearing 0.1, dropping 0.3" in text for text in (live, log))
    assert f"soft targets from the cache {folder} (10 files, all of 10 logits, float32)" in log and "ERROR" not in log
    states = [torch.load(tmp_path / f"{name}_epoch-1_state.pt", weights_only=True) for name in ("live", "cached")]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(value, states[1][key], rtol=1e-3, atol=1e-4)
