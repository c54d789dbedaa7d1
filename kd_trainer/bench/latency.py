"""python -m kd_trainer bench latency: the time of exported models for a batch of jets, in several inference engines."""

import argparse
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kd_trainer.bench.latency_plot import draw, qualities
from kd_trainer.bench.network import random_jets
from kd_trainer.deploy import engines
from kd_trainer.deploy.engines import Side
from kd_trainer.deploy.inputs import Inputs
from kd_trainer.deploy.model_dir import MODEL, Exported, read
from kd_trainer.deploy.reading import read_inputs
from kd_trainer.deploy.session import fixed_batch, open_session
from kd_trainer.errors import InputError
from kd_trainer.files import write_json
from kd_trainer.jet_files import files_of
from kd_trainer.machine import machine
from kd_trainer.timing import alternate, ratio

MOST_CALLS, FEWEST_CALLS = 2000, 5
CALLS_OF_P99 = 100  # with fewer calls, the 99th percentile would be the largest value


def models_of(arguments: Iterable[str]) -> dict[str, Path]:
    """{name: path of the model file} of the arguments [NAME=]MODEL.onnx."""
    models = {}
    for argument in arguments:
        name, equals, given = argument.partition("=")
        path = Path(given if equals else argument)
        name = name if equals else path.parent.resolve().name
        if path.is_dir():
            path = path / MODEL
        if name in models:
            raise InputError(f"two models have the name {name}: give different names, NAME={path}")
        models[name] = path
    return models


def inputs_of(exported: Exported, files: Sequence[str], jets: int) -> Inputs:
    """Inputs of a number of jets for one model: from files (repeated if there are too few), else random ones."""
    shapes = {name: (1, *shape[1:]) for name, shape in exported.config.input_shapes.items()}
    if not files:
        return {name: x.numpy() for name, x in random_jets(shapes, jets).items()}
    events, prepared = read_inputs(files, exported.config, jets)
    index = np.arange(jets) % len(events)
    return {name: np.ascontiguousarray(x[index]) for name, x in prepared.inputs.items()}


def cell(sides: Mapping[Any, Side], inputs: Mapping[Any, Inputs], batch: int, seconds: float) -> dict[Any, list[float]]:
    """Seconds of calls with one batch size; all sides are called alternately.

    Parameters
    ----------
    inputs : {key: inputs (N, C, P) of at least `batch` jets}
    seconds : approximate time to spend.
    """
    batches = {key: {name: x[:batch] for name, x in inputs[key].items()} for key in sides}
    calls = {key: (lambda key=key: sides[key](batches[key])) for key in sides}
    first = alternate(calls, 1, progress=False)
    together = sum(times[0] for times in first.values())
    return alternate(calls, int(np.clip(seconds / max(together, 1e-9), FEWEST_CALLS, MOST_CALLS)), progress=False)


def summary(times: Sequence[float], batch: int) -> dict[str, Any]:
    """Median and 99th percentile in milliseconds, and jets per second."""
    p50, p99 = np.percentile(times, (50, 99))
    return {"calls": len(times), "p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99, "jets_per_s": batch / p50}


def check_batches(models: Mapping[str, Path], batches: Sequence[int]) -> None:
    """Raise InputError if a model of fixed batch size would get another number of jets."""
    for path in models.values():
        size = fixed_batch(open_session(path))
        if size and set(batches) != {size}:
            raise InputError(f"{path} takes {size} jets at a time: give --batches {size}")


def measure(
    models: Mapping[str, Path],
    files: Sequence[str],
    *,
    engines_wanted: Collection[str],
    precisions: Collection[str],
    batches: Sequence[int],
    threads: Sequence[int],
    seconds: float,
    too_long: float,
) -> dict[str, Any]:
    """All numbers: dict with machine, rows, and ratios of each row to the first of its batch size and threads."""
    exported = {name: read(path.parent) for name, path in models.items()}
    if engines.is_installed("onnxruntime"):
        check_batches(models, batches)
    inputs = {name: inputs_of(exported[name], files, max(batches)) for name in models}
    rows = []
    with tqdm(total=len(threads) * len(batches), unit="cell") as progress:
        for number in threads:
            sides = {
                (name, *key): run
                for name, path in models.items()
                for key, run in engines.sides(exported[name], path, engines_wanted, precisions, number).items()
            }
            if not sides:
                wanted = f"{', '.join(engines_wanted)} with {', '.join(precisions)}"
                raise InputError(f"there is nothing to measure: {wanted}")
            for batch in sorted(batches):
                times = cell(sides, {key: inputs[key[0]] for key in sides}, batch, seconds)
                for key, found in times.items():
                    reference = next(iter(times.values()))
                    row = dict(zip(("model", "engine", "precision"), key)) | {"threads": number, "batch": batch}
                    rows.append(row | summary(found, batch) | {"speed_to_first": ratio(found, reference)})
                larger = min((b for b in batches if b > batch), default=batch) / batch
                sides = {key: run for key, run in sides.items() if np.median(times[key]) * larger <= too_long}
                progress.update()
    return {"machine": machine(), "jets": [str(path) for path in files] or "random", "rows": rows}


def print_results(results: Mapping[str, Any]) -> None:
    """Print a table with one row per measurement."""
    from tabulate import tabulate

    header = ["threads", "batch", "model", "engine", "precision", "p50 (ms)", "p99 (ms)", "jets/s", "speed / first"]
    rows = [
        [row["threads"], row["batch"], row["model"], row["engine"], row["precision"], f"{row['p50_ms']:.3g}",
         f"{row['p99_ms']:.3g}" if row["calls"] >= CALLS_OF_P99 else "-", f"{row['jets_per_s']:.3g}",
         f"{row['speed_to_first']['median']:.3g}"]
        for row in results["rows"]
    ]  # fmt: skip
    print(f"{results['machine']['processor']}, {results['machine']['cores']} cores")
    print(tabulate(rows, header, disable_numparse=True))


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON and the plot."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench latency",
        description="Measure the time of exported models for a batch of jets, alternately in one run. If there is an "
        "INT8 variant beside a model (kd_trainer quantise), it is measured too. The engine torch needs the deploy.json "
        "of kd_trainer deploy.",
    )
    add = parser.add_argument
    add("models", nargs="+", metavar="[NAME=]MODEL.onnx", help="from kd_trainer deploy; the first one is the reference")
    add("--files", nargs="+", default=[], metavar="FILE", help="files of jets (default: random jets)")
    add("--engines", nargs="+", choices=engines.ENGINES, help="default: all that are installed")
    add("--precisions", nargs="+", choices=engines.PRECISIONS, default=engines.PRECISIONS, help="default: all")
    add("--batches", nargs="+", type=int, default=[1, 16, 256, 4096], metavar="B", help="default: 1 16 256 4096")
    add("--threads", nargs="+", type=int, metavar="T", help="default: 1 and all cores")
    add("--seconds", type=float, default=5.0, metavar="S", help="time for each batch size (default: %(default)g)")
    add("--too-long", type=float, default=10.0, metavar="S",
        help="skip batches that would take longer, estimated from smaller ones (default: %(default)g s)")  # fmt: skip
    add("--report", type=Path, metavar="report.json", help="from kd_trainer report, with the same NAMEs, for the plot")
    add("-o", "--output", type=Path, metavar="DIR", help="write latency.json; with --report also latency.png, .pdf")
    args = parser.parse_args(argv)
    threads = args.threads or sorted({1, machine()["cores"]})
    if min(*args.batches, *threads) < 1 or args.seconds <= 0 or args.too_long <= 0:
        raise InputError("--batches, --threads, --seconds and --too-long have to be positive")
    for engine in args.engines or ():
        if not engines.is_installed(engine):
            raise InputError(f"{engine} is not installed; pip install 'weaver-kd[{engines.EXTRAS[engine]}]'")
    models = models_of(args.models)
    quality = qualities(args.report, models) if args.report else None
    wanted = args.engines or [engine for engine in engines.ENGINES if engines.is_installed(engine)]
    results = measure(models, files_of(args.files), engines_wanted=wanted, precisions=args.precisions,
                      batches=args.batches, threads=threads, seconds=args.seconds, too_long=args.too_long)  # fmt: skip
    print_results(results)
    if args.output:
        write_json(args.output / "latency.json", {**results, "quality": quality})
        written = draw(results["rows"], quality, args.output) if quality else []
        print(args.output / "latency.json", *written, sep="\n")
