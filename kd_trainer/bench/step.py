"""python -m kd_trainer bench step: time of a training step on labels, with cached soft targets and with the teacher."""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import awkward as ak
import torch

from kd_trainer.arguments import check_at_least, write_output
from kd_trainer.bench import sample
from kd_trainer.bench.setting import (
    Setting,
    Weaver,
    add_arguments,
    add_jets,
    default_device,
    loading,
    prepare,
    quiet,
)
from kd_trainer.jet_files import files_of
from kd_trainer.machine import described, machine
from kd_trainer.timing import alternate, ratio, spread, text


def teacher_alone(setting: Setting, arguments: Sequence[Any], steps: int) -> Callable[[], None]:
    """A function that gives the teacher the batches of a training, which are read in advance."""
    with quiet():
        batches = [X for X, _, _ in islice(Weaver(arguments).loader, steps)]
    teacher, device = setting.load_teacher(), default_device()

    def run() -> None:
        for X in batches:
            teacher(X, device)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return run


def measure(setting: Setting, events: ak.Array, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds per step of every side, and ratios: dict. The teacher sees the first `live_steps` batches of the jets."""
    jets = sample.write(setting.folder / "jets.parquet", events)
    few = sample.write(setting.folder / "few.parquet", events[: args.live_steps * args.batch_size])
    cache = setting.folder / "cache"
    cached = setting.cached(cache, *setting.make_cache(cache, jets))
    seconds, ratios = {}, {}
    for name, in_memory in {"in memory": True, "streamed": False}.items():
        how = loading(args.batch_size, steps=args.steps, in_memory=in_memory)
        sides = {"plain": [*setting.plain(jets), *how], "cached": [*cached, *how]}
        found = alternate({side: Weaver(words).trained() for side, words in sides.items()}, args.repetitions)
        seconds[name] = {side: [s / args.steps for s in times] for side, times in found.items()}
        ratios[f"{name}: cached / plain"] = ratio(seconds[name]["plain"], seconds[name]["cached"])
    how = loading(args.batch_size, steps=args.live_steps, in_memory=True)  # an epoch contains each of these jets once
    found = alternate(
        {
            "plain": Weaver([*setting.plain(few), *how]).trained(),
            "teacher": teacher_alone(setting, [*setting.live(few), *how], args.live_steps),
            "live": Weaver([*setting.live(few), *how]).trained(),
            "remembered": Weaver([*setting.live(few, memory=500), *how]).trained(),  # all jets, after the warm-up
        },
        args.live_repetitions,
    )
    seconds["live"] = {side: [s / args.live_steps for s in times] for side, times in found.items()}
    separate = [a + b for a, b in zip(seconds["live"]["teacher"], seconds["live"]["plain"])]
    ratios["live / (teacher + plain)"] = ratio(separate, seconds["live"]["live"])
    for side in ("live", "remembered"):
        ratios[f"{side} / plain"] = ratio(seconds["live"]["plain"], seconds["live"][side])
    return {
        "machine": machine(),
        "student": {"network": setting.network, "options": setting.options, "config": args.student_config},
        "teacher": {"network": setting.teacher, "options": setting.teacher_options, "config": args.teacher_config},
        "jets": {"from": args.files or "random", "number": args.jets},
        "batch_size": args.batch_size,
        "steps": {"an epoch": args.steps, "an epoch with the teacher": args.live_steps},
        "seconds_per_step": {
            name: {side: spread(times) for side, times in sides.items()} for name, sides in seconds.items()
        },
        "ratios": ratios,
    }


def print_results(results: Mapping[str, Any]) -> None:
    """Print milliseconds per step, then the ratios."""
    print(f"{described(results['machine'])}; "
          f"batches of {results['batch_size']} jets")  # fmt: skip
    for name, sides in results["seconds_per_step"].items():
        for side, value in sides.items():
            print(f"{name}: {side:<10} {text({key: 1e3 * x for key, x in value.items()}, 4)} ms per step")
    for name, value in results["ratios"].items():
        print(f"{name} = {text(value, 4)}")


def main(argv: Sequence[str]) -> None:
    """Measure, print, write JSON if asked to."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer bench step",
        description="Measure weaver's own training of one student on labels, with cached soft targets and with the "
        "teacher, alternately: milliseconds per step, and ratios.",
    )
    add_jets(parser, 8192)
    add_arguments(parser, teacher="ParT")
    add = parser.add_argument
    add("--batch-size", type=int, default=512, metavar="B", help="default: %(default)s")
    add("--steps", type=int, default=64, metavar="S", help="steps per epoch without the teacher (default: %(default)s)")
    add("--live-steps", type=int, default=4, metavar="S", help="steps per epoch with it (default: %(default)s)")
    add("--repetitions", type=int, default=10, metavar="R", help="epochs of each side (default: %(default)s)")
    add("--live-repetitions", type=int, default=5, metavar="R", help="epochs with the teacher (default: %(default)s)")
    args = parser.parse_args(argv)
    args.files = files_of(args.files)
    check_at_least(1, args, "jets", "batch_size", "steps", "live_steps", "repetitions", "live_repetitions")
    args.jets = max(args.jets, args.live_steps * args.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        setting = prepare(args, Path(folder), args.weights)
        events = sample.events(args.files, setting, args.jets)
        results = measure(setting, events, args)
    print_results(results)
    write_output(args, results)
