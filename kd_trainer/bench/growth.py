"""python -m kd_trainer bench growth: how times grow with particles per jet, jets or classes; `growth_files`: files."""

import argparse
import copy
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kd_trainer.arguments import check_at_least, write_output
from kd_trainer.bench import growth_files, sample
from kd_trainer.bench.setting import ROOT, Setting, Weaver, add_arguments, default_device, loading, prepare
from kd_trainer.cache.compute import JETS as CHUNK
from kd_trainer.cache.reader import Reader
from kd_trainer.errors import InputError
from kd_trainer.machine import described, machine
from kd_trainer.timing import alternate, spread, text

QUANTITIES = {
    "teacher": "forward pass of the teacher",
    "cache": "the command cache, with reading and writing",
    "plain": "training of the student on labels, jets in memory",
    "cached": "the same with cached soft targets",
    "loader": "weaver's loader with the student's inputs",
    "loader, teacher": "weaver's loader with the student's and the teacher's inputs",
}


class Axis(NamedTuple):
    """An axis: the values that are measured, and the default jets and networks."""

    values: tuple
    jets: int
    teacher: str
    student_tier: str


AXES = {
    "particles": Axis((16, 32, 64, 128), 256, "ParT", "kin"),  # the tier has to accept all of them
    "jets": Axis((1_000, 10_000, 100_000), 0, "PFN", "l1"),
    "classes": Axis((2, 10, 47, 188), 4096, "PFN", "l1"),
}


def with_particles(options: Mapping[str, Any], particles: int) -> dict[str, Any]:
    """Options of a data config whose jets have another number of particles."""
    options = dict(copy.deepcopy(options))
    for spec in options["inputs"].values():
        if spec["length"]:
            spec["length"] = particles
    return options


def with_classes(options: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Options of a data config whose labels are `jet_label` modulo the number of classes."""
    labels = {"type": "custom", "value": {"truth": f"jet_label % {classes}"}}
    return {**options, "labels": labels | {"names": [f"class_{i}" for i in range(classes)]}, "observers": []}


def sides_of(
    args: argparse.Namespace, value: int, folder: Path
) -> tuple[dict[str, Callable[[], object]], dict[str, int]]:
    """A function for each requested quantity, and the number of jets that it processes, for a value of the axis."""
    jets = value if args.axis == "jets" else args.jets
    change = {
        "particles": lambda options: with_particles(options, value),
        "classes": lambda options: with_classes(options, value),
        "jets": lambda options: options,
    }[args.axis]
    folder.mkdir()
    setting = prepare(args, folder, change=change)
    particles = value if args.axis == "particles" else None
    files = sample.write_two(folder, "parquet", sample.random_events(jets, particles))
    batch = min(args.batch_size, jets)
    steps = jets // batch
    whole, streamed = loading(batch, steps=steps, in_memory=True), loading(batch, fetch_step=args.fetch_step)
    makers = {
        "teacher": lambda: teacher_of(setting, files[0], jets),
        "cache": lambda: lambda: cached_files(setting, folder, files),
        "plain": lambda: Weaver([*setting.plain(*files), *whole]).trained(),
        "cached": lambda: Weaver([*setting.cached(*cached_files(setting, folder, files)), *whole]).trained(),
        "loader": lambda: Weaver([*setting.plain(*files), *streamed]).read,
        "loader, teacher": lambda: Weaver([*setting.live(*files), *streamed]).read,
    }
    amounts = {name: jets if name in ("teacher", "cache") else steps * batch for name in args.quantities}
    return {name: makers[name]() for name in args.quantities}, amounts


def teacher_of(setting: Setting, path: str, jets: int) -> Callable[[], None]:
    """A function that gives the teacher the first jets of a file; they are repeated if there are fewer."""
    teacher, device = setting.load_teacher(), default_device()
    X = next(Reader(setting.data_config("paired")).read(path, CHUNK)).X
    index = torch.arange(min(CHUNK, jets)) % len(next(iter(X.values())))
    X = {name: x[index] for name, x in X.items()}

    def ask() -> None:
        for start in range(0, jets, CHUNK):
            teacher({name: x[: jets - start] for name, x in X.items()}, device)

    return ask


def cached_files(setting: Setting, folder: Path, files: Sequence[str]) -> tuple[Any, ...]:
    """Make a new cache of files; returns its folder and its files."""
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    return cache, *setting.make_cache(cache, *files)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Microseconds per jet of each quantity for each value: dict."""
    sides: dict[tuple[int, str], Callable[[], object]] = {}
    amounts: dict[tuple[int, str], int] = {}
    for value in args.values:
        functions, numbers = sides_of(args, value, folder / str(value))
        sides |= {(value, name): function for name, function in functions.items()}
        amounts |= {(value, name): number for name, number in numbers.items()}
    seconds = alternate(sides, args.repetitions)
    found: dict[str, dict[int, Any]] = {name: {} for name in args.quantities}
    for (value, name), times in seconds.items():
        found[name][value] = spread([1e6 * s / amounts[value, name] for s in times])
    return {
        "machine": machine(),
        "axis": args.axis,
        "jets": args.values if args.axis == "jets" else args.jets,
        "batch_size": args.batch_size,
        "student": {"network": args.student, "config": args.student_config},
        "teacher": {"network": args.teacher, "options": dict(args.teacher_option), "config": args.teacher_config},
        "microseconds_per_jet": found,
    }


def print_results(results: Mapping[str, Any]) -> None:
    """Print a table with one row per quantity and one column per value."""
    from tabulate import tabulate

    print(f"{described(results['machine'])}; "
          f"microseconds per jet, by {results['axis']}")  # fmt: skip
    rows = [[QUANTITIES[name], *map(text, found.values())] for name, found in results["microseconds_per_jet"].items()]
    values = next(iter(results["microseconds_per_jet"].values()))
    print(tabulate(rows, ["", *values], disable_numparse=True))


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    if argv[:1] == ["files"]:
        growth_files.main(argv)
        return
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench growth",
        description="Measure the time per jet of teacher, cache, training and loader for several numbers of particles "
        "(the same in all jets), jets or classes, alternately. The jets are random. `growth files` measures the "
        "steps before a training by the number of files; it has a --help of its own.",
    )
    parser.add_argument("axis", choices=AXES)
    add_arguments(parser)
    add = parser.add_argument
    add("--values", type=int, nargs="+", metavar="V", help="values on the axis (default: "
        + "; ".join(f"{name} {' '.join(map(str, axis.values))}" for name, axis in AXES.items()) + ")")  # fmt: skip
    add("--jets", type=int, metavar="N", help="default: "
        + "; ".join(f"{axis.jets} for {name}" for name, axis in AXES.items() if axis.jets))  # fmt: skip
    add("--quantities", nargs="+", choices=QUANTITIES, default=list(QUANTITIES), metavar="Q",
        help=f"some of {', '.join(map(repr, QUANTITIES))} (default: all)")  # fmt: skip
    add("--batch-size", type=int, default=512, metavar="B", help="batch size of the student (default: %(default)s)")
    add("--fetch-step", type=float, default=0.1, metavar="F", help="fraction of a file per read (default: %(default)s)")
    add("--repetitions", type=int, default=3, metavar="R", help="measurements of each (default: %(default)s)")
    args = parser.parse_args(argv)
    axis = AXES[args.axis]
    args.values = args.values or list(axis.values)
    args.jets = args.jets or axis.jets
    args.teacher = args.teacher or ROOT / "networks" / f"{axis.teacher}.py"
    args.student_config = args.student_config or ROOT / "data" / "JetClass" / f"JetClass_{axis.student_tier}.yaml"
    check_at_least(1, args, "values", "batch_size", "repetitions")
    if min(args.values if args.axis == "jets" else [args.jets]) < 2:
        raise InputError("there have to be at least 2 jets")
    with tempfile.TemporaryDirectory() as folder:
        results = measure(args, Path(folder))
    print_results(results)
    write_output(args, results)
