"""python -m kd_trainer bench: benchmarks that compare two sides, measured alternately in one run."""

import importlib
import os
from collections.abc import Sequence

from kd_trainer.errors import InputError

BENCHMARKS = {
    "network": ("kd_trainer.bench.network", "jets/s and peak memory of networks, for training and inference"),
    "step": ("kd_trainer.bench.step", "a training step on labels, with cached soft targets, with the teacher"),
    "cache": ("kd_trainer.bench.cache", "soft targets by `cache` and by `weaver --predict`; memory of cache"),
    "io": ("kd_trainer.bench.io", "weaver's loader alone: ROOT, parquet and cache; bytes per jet"),
    "growth": ("kd_trainer.bench.growth", "times by particles, jets or classes; start-up by files"),
    "augment": ("kd_trainer.bench.augment", "two augmented views, and the training step of the encoder on them"),
    "latency": ("kd_trainer.bench.latency", "time of exported models for a batch of jets, for each inference engine"),
}


def main(argv: Sequence[str]) -> int | None:
    """Run one benchmark."""
    if not argv or argv[0] in ("-h", "--help"):
        lines = [f"  {name:<12}{text}" for name, (_, text) in BENCHMARKS.items()]
        print("\n".join(["usage: python -m kd_trainer bench BENCHMARK [--help] ...", "", "benchmarks:", *lines]))
        raise SystemExit(0 if argv else 2)
    name, *rest = argv
    if name not in BENCHMARKS:
        raise InputError(f"unknown benchmark '{name}'; valid are: {', '.join(BENCHMARKS)}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as setup.sh does for trainings; before torch is imported
    return importlib.import_module(BENCHMARKS[name][0]).main(rest)
