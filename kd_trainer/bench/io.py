"""python -m kd_trainer bench io: weaver's loader alone, plain and with our hooks, on ROOT, parquet and caches."""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak

from kd_trainer.arguments import check_at_least, write_output
from kd_trainer.bench import sample
from kd_trainer.bench.setting import Setting, Weaver, add_arguments, add_jets, loading, prepare
from kd_trainer.cache.columns import LOGITS
from kd_trainer.errors import InputError
from kd_trainer.jet_files import files_of
from kd_trainer.machine import machine
from kd_trainer.timing import alternate, rates, ratio, text

CACHES = {"branches": "cache of branches", "inputs": "cache of inputs"}  # by `cache --store`
OURS = ", as in a training with our hooks"


def sides_of(setting: Setting, events: ak.Array, how: list[Any]) -> tuple[dict[str, list[Any]], dict[str, list[str]]]:
    """The arguments of weaver for each loader that is measured, and the paths of each kind; `how`: loader arguments."""
    files = {kind: sample.write_two(setting.folder, kind, events) for kind in ("parquet", "root")}
    sides = {f"student, {kind}": [*setting.plain(*files[kind]), *how] for kind in ("parquet", "root")}
    sides |= {f"student and teacher, {kind}": [*setting.live(*files[kind]), *how] for kind in ("parquet", "root")}
    for store, kind in CACHES.items():
        folder = setting.folder / kind
        files[kind] = setting.make_cache(folder, "--store", store, *files["parquet"])
        sides[f"student, {kind}"] = [*setting.cached(folder, *files[kind]), *how]
    return sides, files


def measure(setting: Setting, events: ak.Array, args: argparse.Namespace) -> dict[str, Any]:
    """Jets per second of each side, their ratios to the first one, and bytes per jet of the files: dict."""
    sides, files = sides_of(setting, events, loading(args.batch_size, fetch_step=args.fetch_step))
    inputs = f"student, {CACHES['inputs']}"  # weaver alone cannot read these
    loaders = {name: Weaver(words) for name, words in sides.items() if name != inputs}
    loaders |= {f"{name}{OURS}": Weaver(words).as_trained() for name, words in sides.items() if "teacher" not in name}
    jets = {name: loader.read() for name, loader in loaders.items()}
    if not all(jets.values()):
        raise InputError(f"the data config selects fewer than {args.batch_size} jets (one batch) of {len(events)}")
    seconds = alternate({name: loader.read for name, loader in loaders.items()}, args.repetitions)
    first, *others = loaders
    targets = sample.column_bytes(files[CACHES["inputs"]], LOGITS)
    bytes_per_jet = {kind: sum(map(os.path.getsize, paths)) / len(events) for kind, paths in files.items()}
    return {
        "machine": machine(),
        "student_config": args.student_config,
        "teacher_config": args.teacher_config,
        "jets": {"from": args.files or "random", "number": args.jets},
        "batch_size": args.batch_size,
        "jets_per_s": {name: rates(times, jets[name]) for name, times in seconds.items()},
        "ratios": {f"{name} / {first}": ratio(seconds[name], seconds[first]) for name in others},
        "bytes_per_jet": bytes_per_jet | {"soft targets in a cache": targets},
    }


def print_results(results: Mapping[str, Any]) -> None:
    """Print the results."""
    where = results["machine"]
    print(f"{where['processor']}; {results['jets']['number']} jets, batches of {results['batch_size']}")
    for name, value in results["jets_per_s"].items():
        print(f"{name}: {text(value, 4)} jets/s")
    for name, value in results["ratios"].items():
        print(f"speed of {name} = {text(value)}")
    for name, value in results["bytes_per_jet"].items():
        print(f"{name}: {value:.4g} bytes per jet")


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench io",
        description="Measure weaver's loader alone, without workers: jets per second from ROOT, parquet and cache "
        "files, alternately, plain and as in a training with our hooks; and bytes per jet. The jets are first copied "
        "to files of each kind.",
    )
    add_jets(parser, 20000)
    add_arguments(parser, teacher="PFN")
    add = parser.add_argument
    add("--batch-size", type=int, default=512, metavar="B", help="default: %(default)s")
    add("--fetch-step", type=float, default=0.1, metavar="F", help="fraction of a file per read (default: %(default)s)")
    add("--repetitions", type=int, default=5, metavar="R", help="how often each is read (default: %(default)s)")
    args = parser.parse_args(argv)
    args.files = files_of(args.files)
    check_at_least(1, args, "batch_size", "repetitions")
    if args.jets < max(2, args.batch_size):
        raise InputError(f"--jets has to be at least 2 and at least the batch size, {args.batch_size}")
    if not 0 < args.fetch_step <= 1:
        raise InputError("--fetch-step has to be above 0 and at most 1")
    with tempfile.TemporaryDirectory() as folder:
        setting = prepare(args, Path(folder), args.weights)
        results = measure(setting, sample.events(args.files, setting, args.jets), args)
    print_results(results)
    write_output(args, results)
