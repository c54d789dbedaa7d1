"""python -m kd_trainer convert: convert public jet files to parquet files that weaver reads in pieces."""

import argparse
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from kd_trainer.datasets import collide2v, collide2v_report, delphes
from kd_trainer.datasets.conversion import SUFFIXES, Format, convert_file, count_rows, format_of
from kd_trainer.datasets.provenance import found_in, is_complete, settings
from kd_trainer.errors import InputError, StopError
from kd_trainer.files import make_directory, remove_leftovers


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = parse_arguments(argv)
    options = options_of(args)
    sources = input_files(args.inputs, SUFFIXES[args.format])
    make_directory(args.output)
    wanted = output_names(args.format, sources, args.train_test_split)
    refuse_moved(args.output, wanted)
    missing = {}
    for name, source in wanted.items():
        target, made = args.output / name, settings(args.format, source)
        made |= options._asdict() if options else {}
        remove_leftovers(target)
        if args.overwrite or not is_complete(target, made):
            missing[target] = (format_of(args.format, source, options), source, made)
    print(f"convert: {len(wanted)} files, {len(wanted) - len(missing)} of them already in {args.output}", flush=True)
    try:
        convert_all(missing)
    except KeyboardInterrupt:
        print("convert: stopped; complete files are kept, and the same command goes on from here")
        return 130
    if options:
        report = collide2v_report.report if args.format == "collide2v" else delphes.report
        print(report(found_in(args.output / name) for name in wanted))
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse and check the arguments."""
    parser = argparse.ArgumentParser(prog="python -m kd_trainer convert", description=__doc__.partition(": ")[2])
    add = parser.add_argument
    kinds = "top, lhcjet, aspen: *.h5; qg: *.npz; jetclass, delphes: *.root; collide2v: *.parquet"
    add("format", choices=SUFFIXES, help=kinds)
    add("inputs", nargs="+", metavar="INPUT", help="files, patterns, or directories of such files")
    add("-o", "--output", required=True, type=Path, metavar="DIR", help="directory of the parquet files")
    add("--train-test-split", type=float, default=0.9, metavar="F",
        help="qg: fraction of the files that are named train_file_<i>, the others are named test_file_<i>; collide2v: "
        "fraction of the files of each process in the folder train, the others are in test "
        "(default: %(default)s)")  # fmt: skip
    two = parser.add_argument_group("collide2v").add_argument
    two("--collection", choices=collide2v.CONES, default="AK4", help="PUPPI jets (default: %(default)s)")
    two("--radius", type=float, metavar="R",
        help="largest Delta R between matched jets of the two views (default: half of the jet radius)")  # fmt: skip
    two("--length-unit", choices=("mm", "cm"), default="mm", help="unit of D0 and DZ (default: %(default)s)")
    two("--gen", action="store_true", help="write generated particles too, and only jets that have them")
    two("--classes", type=Path, metavar="FILE.yaml", help="define classes by process (default: by the jet flavour)")
    events = parser.add_argument_group("delphes").add_argument
    events("--jets", default=delphes.JETS, metavar="BRANCH", help="jet collection (default: %(default)s)")
    events("--eta", choices=delphes.ETAS, default="stored",
           help="pseudorapidity of the particles: as stored, or that of the momentum. Delphes 3.5.0 (and JetClass-II) "
           "stores that of the point where a track reaches the calorimeter (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true", help="replace existing files")
    args = parser.parse_args(argv)
    if not 0 <= args.train_test_split <= 1:
        raise InputError(f"--train-test-split has to be between 0 and 1, not {args.train_test_split}")
    return args


def options_of(args: argparse.Namespace) -> collide2v.Options | delphes.Options | None:
    """Options of the format; InputError if an option does not belong to the format or is out of range."""
    given = {
        "--collection": args.collection != "AK4", "--radius": args.radius is not None, "--gen": args.gen,
        "--length-unit": args.length_unit != "mm", "--classes": args.classes is not None,
    }  # fmt: skip
    of = {"collide2v": given, "delphes": {"--jets": args.jets != delphes.JETS, "--eta": args.eta != "stored"}}
    for form, options in of.items():
        if args.format != form and any(options.values()):
            raise InputError(f"{next(name for name in options if options[name])} is for {form}, not for {args.format}")
    if args.format == "delphes":
        return delphes.Options(args.jets, args.eta)
    if args.format != "collide2v":
        return None
    cone = collide2v.CONES[args.collection]
    radius = cone / 2 if args.radius is None else args.radius
    if not 0 < radius <= cone:
        raise InputError(f"--radius has to be above 0 and at most {cone}, the radius of the jets, not {radius}")
    classes = collide2v.read_classes(args.classes) if args.classes else None
    return collide2v.Options(args.collection, radius, args.length_unit, args.gen, classes)


def input_files(inputs: Iterable[str], suffix: str) -> list[Path]:
    """Files of the arguments, in the natural order of their names; InputError if no file matches an argument."""
    found = set()
    for name in inputs:
        pattern = os.path.join(glob.escape(name), f"*{suffix}") if os.path.isdir(name) else name
        paths = [name] if os.path.isfile(name) else glob.glob(pattern)
        if not paths and os.path.isdir(name):
            paths = glob.glob(os.path.join(glob.escape(name), "*", f"*{suffix}"))
        if not paths:
            raise InputError(f"no file matches {pattern}")
        found |= {Path(path) for path in paths}
    return sorted(found, key=lambda path: (_natural(path.name), str(path)))


def _natural(name: str) -> list[int | str]:
    """Sort key that puts x_10 after x_9."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def output_names(form: str, sources: Sequence[Path], split: float) -> dict[str, Path]:
    """Names of the output files, as the public converters choose them: dict of name to source.

    Raises
    ------
    InputError
        If two inputs would get the same name.
    """
    names: dict[str, Path] = {}
    train = max(1, int(len(sources) * split + 1e-9))
    before: Counter[str] = Counter()  # files of each process
    for i, source in enumerate(sources):
        name = source.stem
        if form == "collide2v":
            process = collide2v.process_of(source)
            name = f"{'test' if _is_test(before[process], 1 - split) else 'train'}/{name}"
            before[process] += 1
        if form == "top" and name in ("train", "val", "test"):
            name = f"{name}_file"
        if form == "qg":
            name = f"train_file_{i}" if i < train else f"test_file_{i - train}"
        other = names.setdefault(f"{name}.parquet", source)
        if other is not source:
            raise InputError(
                f"{other} and {source} would both become {name}.parquet: convert them to different directories"
            )
    return names


def _is_test(i: int, fraction: float) -> bool:
    """Whether file i of a process is a test file: the second one, and later ones as often as the fraction requires."""
    first, last = (int(np.floor((i + j) * fraction + 1 + 1e-9)) for j in (-2, -1))
    return last > first


def refuse_moved(output: Path, wanted: Iterable[str]) -> None:
    """Raise InputError if a file for training was converted for tests before, or the other way round."""
    for name in wanted:
        folder, slash, file = name.rpartition("/")
        other = {"train": "test", "test": "train"}.get(folder)
        if slash and (output / f"{other}/{file}").exists():
            raise InputError(
                f"{output}/{other}/{file} was made from other inputs, and now it belongs to {folder}: "
                "give new files after the old ones, or convert to a new directory"
            )


def convert_all(missing: Mapping[Path, tuple[Format, Path, dict[str, Any]]]) -> None:
    """Convert files, {target: (format, source, settings)}, one after the other, with a progress bar.

    Raises
    ------
    InputError
        At the end if some files could not be read; immediately if the output cannot be written.
    """
    rows, troubles = {}, []
    several = any(form.several for form, _, _ in missing.values())
    for target, (form, source, _) in missing.items():
        try:
            rows[target] = count_rows(form, source)
        except InputError as error:
            troubles.append(str(error))
    jets = skipped = 0
    with tqdm.tqdm(total=sum(rows.values()), desc="convert", unit="jet", disable=None) as progress:
        for target, number in rows.items():
            try:
                made = convert_file(*missing[target], target, progress.update)
                jets, skipped = jets + made, skipped + number - made
            except StopError:
                raise
            except InputError as error:
                troubles.append(str(error))
    if jets:
        without = "" if several else f"; {skipped} rows without particles were left out"
        print(f"convert: wrote {jets} jets{without}")
    if troubles:
        raise InputError(f"{len(troubles)} of {len(missing)} files were not converted: {'; '.join(troubles)}")
