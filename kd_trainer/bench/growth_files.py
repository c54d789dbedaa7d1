"""python -m kd_trainer bench growth files: time of each step before a training, by the number of files.

The files look like a dataset of many millions of jets and take little space: three parquet files, one for each part of
JetClass-II, repeat a few random jets, and all others are hard links to them. The files of the cache are small, too.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm
from weaver.utils.dataset import SimpleIterDataset

from kd_trainer.arguments import check_at_least, write_output
from kd_trainer.bench import sample
from kd_trainer.bench.setting import ROOT, Setting, Weaver, add_arguments, prepare, quiet
from kd_trainer.cache import command as cache
from kd_trainer.cache import fingerprint
from kd_trainer.cache.cached_teacher import CachedTeacher
from kd_trainer.cache.compute import Production
from kd_trainer.cache.paths import targets_of
from kd_trainer.datasets import check, found, storage
from kd_trainer.machine import described, machine
from kd_trainer.timing import spread
from kd_trainer.weaver_hooks import look_at
from kd_trainer.weaver_hooks.labels import check_classes
from kd_trainer.weaver_hooks.sampling import weigh_present_classes
from kd_trainer.weaver_hooks.whole import write_configs_whole

CONFIGS = ROOT / "data" / "JetClassII"
VALUES = (100, 401, 1340)
PARTS = {"Res2P": (0, 15, 200), "Res34P": (15, 161, 860), "QCD": (161, 188, 280)}  # labels from, to; training files
FOR_VALIDATION = 4  # so many training files for one of validation
PROCESSES = 4  # of the loader; each needs a file of every part
DIFFERENT = 32  # jets in a file that differ
LOWEST_PT = 201.0  # GeV; the data configs select jets above 200 GeV
AT_ONCE = 10_000  # jets that are written at once
CACHED = 200  # jets in a file of the cache
WEIGHED = 5_000  # jets in a file for make_weight, which weaver holds in memory all together
QUANTITIES = {
    "files": "`files` (FILES=found)",
    "check": "`check`",
    "cache": "`cache`, to the first jet",
    "share": "the same as one of 1,000 processes",
    "again": "`cache` again, all complete",
    "cache --check": "`cache --check`",
    "fingerprints": "fingerprints, before a training",
    "hooks": "our hooks, before a training: both lists of files, classes",
    "weaver": "weaver alone, to its first batch, no processes",
    "batch": "weaver with our hooks, to its first batch, no processes",
    "workers": "weaver with our hooks, to its first batch, four processes",
    "make_weight": f"make_weight, {WEIGHED:,} jets in each file",
}


class Files(NamedTuple):
    """A sample."""

    setting: Setting
    training: list[str]  # arguments of weaver, with groups
    validation: list[str]  # without groups
    weighed: list[str]  # paths of as many files as for training, with `WEIGHED` jets each
    folder: Path  # holds the files, the complete cache of the training files in `cache`, and new files


def write_part(path: Path, labels: Sequence[int], jets: int) -> None:
    """Write a parquet file of random jets in the layout of JetClass-II; it repeats `DIFFERENT` jets."""
    events = sample.random_events(DIFFERENT)
    events["jet_pt"] = np.maximum(events.jet_pt, LOWEST_PT)
    with contextlib.ExitStack() as stack:
        writer = None
        for start in range(0, jets, AT_ONCE):
            number = min(AT_ONCE, jets - start)
            some = events[np.arange(number) % DIFFERENT]
            some["jet_label"] = np.resize(np.array(labels, "int32"), number)
            table = storage.to_table(some)
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd"))
            writer.write_table(table)


def make_files(setting: Setting, folder: Path, number: int, jets: int) -> Files:
    """About `number` training files with `jets` jets each, in the shares of JetClass-II, and their cache."""
    made = Files(setting, [], [], [], folder)
    for part, (first, end, files) in PARTS.items():
        share = max(PROCESSES, round(files * number / VALUES[-1]))
        one, few = folder / f"{part}.parquet", folder / f"few_{part}.parquet"
        write_part(one, range(first, end), jets)
        write_part(few, range(first, end), min(jets, WEIGHED))
        made.training.extend(f"{part}:{path}" for path in links(one, folder / "train", share))
        made.validation.extend(links(one, folder / "val", max(PROCESSES, share // FOR_VALIDATION)))
        made.weighed.extend(links(few, folder / "weighed", share))
    fill_cache(made)
    return made


def links(one: Path, folder: Path, number: int) -> list[str]:
    """Paths of `number` new hard links to a file, named as in JetClass-II."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{one.stem}_{i:04}.parquet" for i in range(number)]
    for path in paths:
        path.hardlink_to(one)
    return [str(path) for path in paths]


def fill_cache(files: Files) -> None:
    """Write small files to the cache, with the fingerprints that `cache` would give them."""
    small, folder = files.folder / "small.parquet", files.folder / "cache"
    write_part(small, range(188), CACHED)
    (made,) = files.setting.make_cache(folder, small)
    table, origin = pq.read_table(made), fingerprint.read(made)
    Path(made).unlink()
    for path, target in targets_of(files.training, folder).items():
        text = json.dumps({**origin, "input": fingerprint.of_input(path)})
        target.output.parent.mkdir(exist_ok=True)
        pq.write_table(table.replace_schema_metadata({fingerprint.KEY: text}), target.output, compression="lz4")


def side_of(name: str, files: Files) -> Callable[[], object]:
    """The function that is measured for a quantity."""
    setting, training = files.setting, files.training
    known, new = files.folder / "cache", files.folder / "new"

    def cached(folder: Path, *more: Any) -> None:
        of_teacher = ["--paired", setting.config("paired"), *setting.of_teacher()]
        cache.main([str(word) for word in (*of_teacher, "--output", folder, *more, *training)])

    def loaded(workers: int) -> Weaver:
        how = ["--data-val", *files.validation, "--fetch-step", 1, "--data-split-num", 200, "--num-workers", workers]
        return Weaver([*setting.plain(*training), *how])  # as in train_scripts/datasets/JetClassII.sh

    def hooked(workers: int) -> Weaver:
        weaver = loaded(workers)
        look_at(weaver.loader, "training")
        look_at(weaver.val_loader, "validation")
        check_classes(weaver.loader, allowed=False)
        return weaver

    return {
        "files": lambda: found.main(training),
        "check": lambda: check.main(["--data-config", str(setting.config("paired")), *training, *files.validation]),
        "cache": lambda: cached(new),
        "share": lambda: cached(new, "--rank", 0, "--world-size", 1000),
        "again": lambda: cached(known),
        "cache --check": lambda: cached(known, "--check"),
        "fingerprints": lambda: CachedTeacher(known).verify(
            [str(target.output) for target in targets_of(training, known).values()]
        ),
        "hooks": lambda: hooked(0),
        "weaver": lambda: first_batch(loaded(0)),
        "batch": lambda: first_batch(hooked(0)),
        "workers": lambda: first_batch(hooked(PROCESSES)),
        "make_weight": lambda: make_weight(files),
    }[name]


def first_batch(weaver: Weaver) -> tuple[Any, Any]:
    """The first batch of a loader, and the iterator, which keeps the processes of the loader alive."""
    batches = iter(weaver.loader)
    return next(batches), batches


def make_weight(files: Files) -> None:
    """The sampling weights of a training, computed by weaver as in `train_kd.sh make_weight`."""
    write_configs_whole()
    weigh_present_classes()
    config = files.folder / "weights.yaml"
    shutil.copyfile(CONFIGS / "JetClassII_l1.yaml", config)
    SimpleIterDataset({"_": files.weighed}, str(config), remake_weights=True)


def run_once(name: str, few: Files, files: Files) -> dict[str, float]:
    """Seconds of a quantity after a warm-up with few files: of the processor, and those that passed."""
    multiprocessing.set_start_method("fork", force=True)  # for the loader, as in the `weaver` command
    setattr(Production, "write_all", _no_jets)  # noqa: B010  in a process of its own
    with quiet():
        side_of(name, few)()
        before, start = _processor_time(), time.perf_counter()
        result = side_of(name, files)()
        passed = time.perf_counter() - start
        del result  # ends the processes of the loader
        return {"processor": _processor_time() - before, "passed": passed}


def _no_jets(*_: Any) -> tuple[int, int, list[str]]:
    """Instead of `Production.write_all`: the end of the measurement."""
    return 0, 0, []


def _processor_time() -> float:
    """Processor time of this process and of those that it started and that have ended, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Seconds of each quantity for each number of files, alternately: dict."""
    setting = prepare(args, folder)
    samples = {}
    for number in (0, *args.values):
        (folder / str(number)).mkdir()
        samples[number] = make_files(setting, folder / str(number), number, args.jets if number else CACHED)
    turns = [(name, value) for _ in range(args.repetitions) for name in args.quantities for value in args.values]
    found: dict[str, Any] = {name: {value: [] for value in args.values} for name in args.quantities}
    load = [os.getloadavg()[0]]
    context = multiprocessing.get_context("forkserver")  # its processes do not import modules again
    context.set_forkserver_preload([__name__])
    for name, value in tqdm(turns):
        with ProcessPoolExecutor(1, context) as pool:
            found[name][value].append(pool.submit(run_once, name, samples[0], samples[value]).result())
    seconds: dict[str, Any] = {name: {} for name in args.quantities}
    for name, value in itertools.product(args.quantities, args.values):
        runs = found[name][value]
        seconds[name][value] = {kind: spread([one[kind] for one in runs]) for kind in runs[0]}
    return {
        "machine": machine(),
        "axis": "files",
        "load": [*load, os.getloadavg()[0]],
        "jets": args.jets,
        "files": {value: len(samples[value].training) + len(samples[value].validation) for value in args.values},
        "seconds": seconds,
    }


def print_results(results: Mapping[str, Any]) -> None:
    """Print a table with one row per quantity and one column per number of files."""
    from tabulate import tabulate

    print(f"{described(results['machine'])}; load {' to '.join(f'{load:.1f}' for load in results['load'])}; "
          f"{results['jets']} jets in a file; seconds of the processor (seconds that passed)")  # fmt: skip
    rows = [[QUANTITIES[name], *map(_both, row.values())] for name, row in results["seconds"].items()]
    print(tabulate(rows, ["training files", *results["files"]], disable_numparse=True))


def _both(seconds: Mapping[str, Mapping[str, float]]) -> str:
    return f"{seconds['processor']['median']:.2f} ({seconds['passed']['median']:.2f})"


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench growth files",
        description="Measure the time of each step before a training for several numbers of files, alternately. The "
        "files take little space: they repeat random jets in the layout of JetClass-II, and are hard links.",
    )
    parser.add_argument("axis", choices=["files"])
    add_arguments(parser, teacher="PFN")
    parser.set_defaults(student_config=CONFIGS / "JetClassII_l1.yaml", teacher_config=CONFIGS / "JetClassII_full.yaml")
    add = parser.add_argument
    add("--values", type=int, nargs="+", default=list(VALUES), metavar="V",
        help=f"training files (default: {' '.join(map(str, VALUES))}); a quarter as many for validation")  # fmt: skip
    add("--jets", type=int, default=100_000, metavar="N", help="in each file (default: %(default)s)")
    add("--quantities", nargs="+", choices=QUANTITIES, default=list(QUANTITIES), metavar="Q",
        help=f"some of {', '.join(map(repr, QUANTITIES))} (default: all)")  # fmt: skip
    add("--repetitions", type=int, default=1, metavar="R", help="measurements of each (default: %(default)s)")
    args = parser.parse_args(argv)
    check_at_least(1, args, "values", "repetitions")
    check_at_least(1000, args, "jets")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(args, Path(folder))
    print_results(results)
    write_output(args, results)
