"""python -m kd_trainer simulate: simulate jets like those of public samples, with Pythia 8 and FastJet, in parallel."""

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from kd_trainer.datasets import storage
from kd_trainer.errors import InputError
from kd_trainer.files import make_directory
from kd_trainer.simulate.production import PART, make_files
from kd_trainer.simulate.samples import SAMPLES, pythia_seed, recorded

PILEUP = {name: sample.pileup for name, sample in SAMPLES.items() if sample.pileup}  # by default


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = parse_arguments(argv)
    for package in ("pythia8mc", "fastjet"):
        if importlib.util.find_spec(package) is None:
            where = " with Python 3.11 to 3.13" if sys.version_info >= (3, 14) else ""  # Pythia has no wheel for 3.14
            raise InputError(f"{package} is not installed; pip install 'weaver-kd[demo]'{where}")
    make_directory(args.output)
    wanted = wanted_files(args)
    missing = {path: made for path, made in wanted.items() if args.overwrite or not storage.is_complete(path, made)}
    print(f"simulate: {len(wanted)} files, {len(wanted) - len(missing)} of them already in {args.output}")
    if not missing:
        return 0
    if args.sample in PILEUP and args.pileup:
        from kd_trainer.simulate.minimum_bias import load_pool

        load_pool()  # once, before several processes want it
    try:
        make_files(args.sample, missing, args.workers)
    except KeyboardInterrupt:
        print("simulate: stopped; complete files are kept, the same command goes on from here")
        return 130
    except BrokenProcessPool:
        raise InputError("a process was killed, perhaps because of too little memory; use fewer --workers") from None
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the arguments.

    Raises
    ------
    InputError
        for an unknown class or a number that is out of range
    """
    parser = argparse.ArgumentParser(prog="python -m kd_trainer simulate", description=__doc__.partition(": ")[2])
    add = parser.add_argument
    add("sample", nargs="?", choices=SAMPLES, default="jetclass", help="the sample to imitate (default: jetclass)")
    add("-o", "--output", required=True, metavar="DIR", help="directory for the files <class>_<index>")
    classes = "; ".join(f"{name}: {' '.join(sample.processes)}" for name, sample in SAMPLES.items())
    add("--classes", nargs="+", default=["all"], metavar="CLASS", help=f"all (default), or some of: {classes}")
    add("--jets", type=int, default=1000, metavar="N", help="jets per file (default: %(default)s)")
    add("--jets-of", nargs="+", default=[], metavar="CLASS=N", help="jets per file for single classes")
    add("--files", type=int, default=1, metavar="K", help="files per class (default: %(default)s)")
    add("--start-file", type=int, default=0, metavar="I", help="index of the first file (default: %(default)s)")
    add("--seed", type=int, default=1, metavar="S", help="random seed (default: %(default)s)")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    add("--workers", type=int, default=cores, metavar="W", help="number of processes (default: number of cores)")
    default = ", ".join(f"{number} for {name}" for name, number in PILEUP.items())
    add("--pileup", type=int, metavar="N", help=f"mean number of pile-up collisions (default: {default})")
    add("--format", choices=("parquet", "root"), default="parquet", help="default: %(default)s")
    add("--overwrite", action="store_true", help="replace existing files")
    args = parser.parse_intermixed_args(argv)

    known = list(SAMPLES[args.sample].processes)
    args.classes = known if "all" in args.classes else list(dict.fromkeys(args.classes))
    args.jets_of = dict(_jets_of(text) for text in args.jets_of)
    for name in (*args.classes, *args.jets_of):
        if name not in known:
            raise InputError(f"unknown class '{name}'; valid are: {', '.join(known)}")
    for name in args.jets_of:
        if name not in args.classes:
            raise InputError(f"--jets-of {name} has no effect: {name} is not among --classes")
    positive = {"--jets": args.jets, "--files": args.files, "--workers": args.workers}
    positive |= {f"--jets-of {name}": jets for name, jets in args.jets_of.items()}
    for option, number in positive.items():
        if number < 1:
            raise InputError(f"{option} has to be at least 1, not {number}")
    if args.sample not in PILEUP and args.pileup is not None:
        only = " and ".join(PILEUP)
        raise InputError(f"--pileup has no effect on {args.sample}, which has no pile-up; only {only} have it")
    args.pileup = PILEUP.get(args.sample, 0) if args.pileup is None else args.pileup
    for option, number in {"--start-file": args.start_file, "--seed": args.seed, "--pileup": args.pileup}.items():
        if number < 0:
            raise InputError(f"{option} cannot be negative, but is {number}")
    return args


def _jets_of(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdecimal():
        raise InputError(f"--jets-of takes CLASS=N, for example QCD=8000, not '{text}'")
    return name, int(number)


def wanted_files(args: argparse.Namespace) -> dict[Path, dict[str, Any]]:
    """The files that the arguments ask for: dict of path -> settings that determine its content."""
    wanted = {}
    for name in args.classes:
        jets = args.jets_of.get(name, args.jets)
        for index in range(args.start_file, args.start_file + args.files):
            seeds = [pythia_seed(args.seed, args.sample, name, index, i) for i in range(-(-jets // PART))]
            made = {"class": name, "file": index, "jets": jets, "seed": args.seed, "pythia_seeds": seeds}
            path = storage.file_path(args.output, name, index, args.format, SAMPLES[args.sample].digits)
            wanted[path] = made | recorded(args.sample, name, args.pileup)
    return wanted
