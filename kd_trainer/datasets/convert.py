"""python -m kd_trainer convert: public jet files -> parquet that weaver reads in pieces."""

import argparse
import glob
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tqdm

from kd_trainer.datasets.conversion import FORMATS, convert_file, count_rows
from kd_trainer.datasets.provenance import is_complete, remove_leftovers, settings
from kd_trainer.directories import make_directory
from kd_trainer.errors import InputError, StopError


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = parse_arguments(argv)
    sources = input_files(args.inputs, FORMATS[args.format].suffix)
    make_directory(args.output)
    wanted = output_names(args.format, sources, args.train_test_split)
    missing = {}
    for name, source in wanted.items():
        target, made = args.output / name, settings(args.format, source)
        remove_leftovers(target)
        if args.overwrite or not is_complete(target, made):
            missing[target] = (source, made)
    print(f"convert: {len(wanted)} files, {len(wanted) - len(missing)} of them already in {args.output}", flush=True)
    try:
        convert_all(args.format, missing)
    except KeyboardInterrupt:
        print("convert: stopped; complete files are kept, the same command goes on from here")
        return 130
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments, checked."""
    parser = argparse.ArgumentParser(prog="python -m kd_trainer convert", description=__doc__.partition(": ")[2])
    add = parser.add_argument
    add("format", choices=FORMATS, help="top tagging (*.h5), quark/gluon (*.npz), JetClass (*.root)")
    add("inputs", nargs="+", metavar="INPUT", help="files, patterns, or directories of such files")
    add("-o", "--output", required=True, type=Path, metavar="DIR", help="directory of the parquet files")
    add(
        "--train-test-split",
        type=float,
        default=0.9,
        metavar="F",
        help="qg: fraction of the files that are called train_file_<i>, not test_file_<i> (default: %(default)s)",
    )
    add("--overwrite", action="store_true", help="make files that exist anew")
    args = parser.parse_args(argv)
    if not 0 <= args.train_test_split <= 1:
        raise InputError(f"--train-test-split has to be between 0 and 1, not {args.train_test_split}")
    return args


def input_files(inputs: Iterable[str], suffix: str) -> list[Path]:
    """Files that the arguments name, in the natural order of their names: list of Path.

    Raises
    ------
    InputError
        If an argument names no file.
    """
    found = set()
    for name in inputs:
        pattern = os.path.join(glob.escape(name), f"*{suffix}") if os.path.isdir(name) else name
        paths = [name] if os.path.isfile(name) else glob.glob(pattern)
        if not paths:
            raise InputError(f"no file matches {pattern}")
        found |= {Path(path) for path in paths}
    return sorted(found, key=lambda path: (_natural(path.name), str(path)))


def _natural(name: str) -> list[int | str]:
    """Sorts x_10 after x_9."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))]


def output_names(form: str, sources: Sequence[Path], split: float) -> dict[str, Path]:
    """The names that the public converters give: dict of name to source.

    Raises
    ------
    InputError
        If two inputs would get the same name.
    """
    names: dict[str, Path] = {}
    train = max(1, int(len(sources) * split + 1e-9))
    for i, source in enumerate(sources):
        name = source.stem
        if form == "top" and name in ("train", "val", "test"):
            name = f"{name}_file"
        if form == "qg":
            name = f"train_file_{i}" if i < train else f"test_file_{i - train}"
        other = names.setdefault(f"{name}.parquet", source)
        if other is not source:
            raise InputError(f"{other} and {source} would both become {name}.parquet: convert them to two directories")
    return names


def convert_all(form: str, missing: Mapping[Path, tuple[Path, dict[str, Any]]]) -> None:
    """Convert files one after the other, with a progress bar.

    Parameters
    ----------
    form : key of FORMATS
    missing : dict of target to (source, settings)

    Raises
    ------
    InputError
        At the end, if some files could not be read; at once, if nothing can be written.
    """
    rows, troubles = {}, []
    for target, (source, _) in missing.items():
        try:
            rows[target] = count_rows(form, source)
        except InputError as error:
            troubles.append(str(error))
    jets = skipped = 0
    with tqdm.tqdm(total=sum(rows.values()), desc="convert", unit="jet", disable=None) as progress:
        for target, number in rows.items():
            try:
                made = convert_file(form, *missing[target], target, progress.update)
                jets, skipped = jets + made, skipped + number - made
            except StopError:
                raise
            except InputError as error:
                troubles.append(str(error))
    if jets:
        print(f"convert: wrote {jets} jets; {skipped} rows without particles were left out")
    if troubles:
        raise InputError(f"{len(troubles)} of {len(missing)} files were not converted: {'; '.join(troubles)}")
