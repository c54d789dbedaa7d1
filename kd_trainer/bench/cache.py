"""python -m kd_trainer bench cache: the speed of the commands `cache` and `weaver --predict` for soft targets."""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from scipy.special import log_softmax

from kd_trainer.arguments import check_at_least, write_output
from kd_trainer.bench import sample
from kd_trainer.bench.setting import Setting, add_arguments, add_jets, prepare
from kd_trainer.cache.compute import JETS as CHUNK
from kd_trainer.errors import InputError, one_line
from kd_trainer.jet_files import files_of
from kd_trainer.machine import described, machine, resident
from kd_trainer.timing import alternate, ratio, spread, text

FEWEST = 8  # jets of a run that measures the start-up only
WARM_UP = 5  # batches that weaver's ParT does not trim


def cache_command(setting: Setting, path: str, folder: Path) -> tuple[list[Any], Path]:
    """(command, file that it writes): `python -m kd_trainer cache` of one file."""
    words = ["-m", "kd_trainer", "cache", "--paired", setting.config("paired"), *setting.of_teacher(),
             "--dtype", "float32", "--output", folder, f"bench:{path}"]  # fmt: skip
    return words, folder / "bench" / f"{Path(path).stem}.parquet"


def predict_command(setting: Setting, path: str, folder: Path, batch_size: int) -> tuple[list[Any], Path]:
    """(command, file that it writes): `weaver --predict` with the same teacher."""
    options = [word for key, value in setting.teacher_options.items() for word in ("-o", key, repr(value))]
    output = folder / f"{Path(path).stem}.pred.parquet"
    gpus = "0" if torch.cuda.is_available() else ""
    words = ["-m", "weaver.train", "--predict", "--data-test", path, "-c", setting.config("teacher"),
             "-n", setting.teacher, *options, "-m", setting.weights, "--predict-output", output,
             "--batch-size", batch_size, "--gpus", gpus]  # fmt: skip
    return words, output


def run(words: Sequence[Any], output: Path) -> int | None:
    """Run python with these arguments; returns its peak memory in bytes (None if the system does not tell it).

    Raises
    ------
    InputError
        If it fails or does not write the output file.
    """
    output.unlink(missing_ok=True)
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, *map(str, words)], stdout=log, stderr=log)
        peak = None
        while process.poll() is None:
            peak = resident("VmHWM", process.pid) or peak
            time.sleep(0.02)
        if process.returncode or not output.exists():
            log.seek(0)
            last = (log.read().strip().splitlines() or ["nothing was printed"])[-1]
            raise InputError(f"{words[1]} failed ({one_line(last)})")
    return peak


def largest_difference(cached: Path, predicted: Path) -> dict[str, float]:
    """Largest difference of the log-probabilities of the same jets in a cache file and in a prediction of weaver."""
    ours = log_softmax(ak.to_numpy(ak.from_parquet(cached).teacher_logits).astype(float), axis=1)
    found = ak.from_parquet(predicted)
    theirs = np.log(np.maximum(np.asarray(found["scores"], dtype=float), np.finfo("float32").tiny))
    if ours.shape != theirs.shape:
        raise InputError(f"the cache has {ours.shape[0]} jets, but weaver predicted {theirs.shape[0]}")
    return {"logits": float(np.abs(ours - theirs).max()), "spread_of_logits": float(ours.std(axis=0).mean())}


def measure(setting: Setting, events: ak.Array, args: argparse.Namespace) -> dict[str, Any]:
    """Jets per second of both commands, and their ratio: dict."""
    warm = min(WARM_UP * args.batch_size, args.jets - 1)
    numbers = {"start-up": min(FEWEST, warm - 1), "warm-up": warm, "all": args.jets}
    commands, outputs = {}, {}
    for part, number in numbers.items():
        path = sample.write(setting.folder / f"{part}.parquet", events[:number])
        for side, (words, output) in {
            "cache": cache_command(setting, path, setting.folder / "cache"),
            "weaver": predict_command(setting, path, setting.folder, args.batch_size),
        }.items():
            commands[side, part] = lambda words=words, output=output: run(words, output)
            outputs[side, part] = output
    seconds = alternate(commands, args.repetitions)
    sides = {side: {part: seconds[side, part] for part in numbers} for side in ("cache", "weaver")}
    rates = {side: rates_of(times, numbers) for side, times in sides.items()}
    return {
        "jets": numbers,
        "start_up_seconds": {side: spread(times["start-up"]) for side, times in sides.items()},
        "jets_per_s": {side: {name: spread(found) for name, found in rates[side].items()} for side in sides},
        "ratios": {name: ratio(rates["weaver"][name], rates["cache"][name]) for name in rates["cache"]},
        "largest_difference": largest_difference(outputs["cache", "all"], outputs["weaver", "all"]),
    }


def rates_of(times: Mapping[str, Sequence[float]], numbers: Mapping[str, int]) -> dict[str, list[float]]:
    """Jets per second in each repetition: of the whole command, of its first batches, and of the batches after them.

    They come from seconds and numbers of jets of the parts start-up, warm-up and all.

    Raises
    ------
    InputError
        If there are too few jets: the start-up time varies by more than their time.
    """

    def between(first: str, last: str) -> list[float]:
        seconds = [b - a for a, b in zip(times[first], times[last])]
        if min(seconds) <= 0:
            raise InputError(f"{numbers[last]} jets take no longer than {numbers[first]}: give more --jets")
        return [(numbers[last] - numbers[first]) / s for s in seconds]

    return {
        "whole command": [numbers["all"] / t for t in times["all"]],
        "first batches": between("start-up", "warm-up"),
        "after them": between("warm-up", "all"),
    }


def peaks(setting: Setting, args: argparse.Namespace) -> dict[int, int | None]:
    """Peak memory of the command `cache` for files of several lengths: {chunks: bytes}."""
    found = {}
    for chunks in args.chunks:
        events = sample.events(args.files, setting, chunks * CHUNK)
        path = sample.write(setting.folder / f"{chunks}.{args.format}", events)
        found[chunks] = run(*cache_command(setting, path, setting.folder / "memory"))
    return found


def print_results(results: Mapping[str, Any]) -> None:
    """Print the results."""
    print(described(results["machine"]))
    if "ratios" in results:
        print(f"jets: {', '.join(f'{name} {number}' for name, number in results['jets'].items())}")
        for side, value in results["start_up_seconds"].items():
            print(f"{side}: {text(value)} s for start-up")
        for name, value in results["ratios"].items():
            cache, weaver = (text(results["jets_per_s"][side][name], 4) for side in ("cache", "weaver"))
            print(f"{name}: cache {cache} jets/s, weaver {weaver} jets/s, ratio {text(value)}")
        difference = results["largest_difference"]
        print(f"largest difference of the logits {difference['logits']:.2g}, "
              f"their spread {difference['spread_of_logits']:.2g}")  # fmt: skip
    for chunks, peak in results["peak_memory"].items():
        print(f"{chunks} chunks of {CHUNK} jets: peak memory {'unknown' if peak is None else f'{peak / 1e6:.0f} MB'}")


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench cache",
        description="Measure `python -m kd_trainer cache` and `weaver --predict` with the same teacher on the same "
        "file, alternately: for a few jets (start-up), for the first batches (warm-up of weaver's ParT) and for all.",
    )
    add_jets(parser, 2560)
    add_arguments(parser, teacher="ParT")
    add = parser.add_argument
    add("--batch-size", type=int, default=128, metavar="B", help="of weaver (default: %(default)s, as in weaver)")
    add("--repetitions", type=int, default=3, metavar="R", help="runs of each command, can be 0 (default: %(default)s)")
    add("--chunks", type=int, nargs="+", default=[], metavar="C",
        help=f"also measure the peak memory of cache for files of C chunks of {CHUNK} jets")  # fmt: skip
    add("--format", choices=("parquet", "root"), default="parquet",
        help="format of the files for --chunks (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    args.files = files_of(args.files)
    check_at_least(1, args, "batch_size", *["chunks"] * bool(args.chunks))
    if args.jets < 4 or args.repetitions < 0:
        raise InputError("--jets has to be at least 4, --repetitions at least 0")
    if not args.repetitions and not args.chunks:
        raise InputError("there is nothing to measure: give --repetitions or --chunks")
    with tempfile.TemporaryDirectory() as folder:
        setting = prepare(args, Path(folder), args.weights)
        teacher = {"network": setting.teacher, "options": setting.teacher_options, "config": args.teacher_config}
        results = {"machine": machine(), "teacher": teacher, "jets_from": args.files or "random"}
        if args.repetitions:
            results |= measure(setting, sample.events(args.files, setting, args.jets), args)
        results |= {"peak_memory": peaks(setting, args)}
    print_results(results)
    write_output(args, results)
