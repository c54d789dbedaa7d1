"""python -m kd_trainer cache --blend: combine several caches of the same jets by the weighted mean of probabilities.

At temperature 1, sum_k w_k KL(p_k || q) = KL(sum_k w_k p_k || q) + a constant. So one cache can replace several
teachers, and each teacher may have its own inputs.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from weaver.utils.dataset import DataConfig

from kd_trainer import configs
from kd_trainer.cache import fingerprint
from kd_trainer.cache.columns import ARRAYS, LOGITS, Layout
from kd_trainer.cache.compute import check, is_complete
from kd_trainer.cache.origin import BLEND, Blend, Member, Source, read_source, student_side, write_beside
from kd_trainer.cache.paths import Target
from kd_trainer.cache.ranks import rank_and_size, share
from kd_trainer.cache.writer import ROW_GROUP, Writer, turn_in, whole_file
from kd_trainer.classes import names_of
from kd_trainer.digests import canonical, differences
from kd_trainer.errors import InputError
from kd_trainer.files import reading
from kd_trainer.teacher.ensemble import mixture
from kd_trainer.teacher.spec import ENSEMBLES

JETS = 4 * ROW_GROUP  # jets that are blended at once


def main(args: argparse.Namespace) -> int:
    """Write a blend, or check one."""
    check_arguments(args)
    weights = weights_of(args.blend)
    for folder in weights:
        if folder.resolve() == args.output.resolve():
            raise InputError(f"{folder} is a member of the blend: give another --output")
    stored = {folder: fingerprints_of(folder) for folder in weights}
    check_same_files(stored)
    members = [
        Member(str(folder.absolute()), weights[folder], read_source(folder), common(folder, files))
        for folder, files in stored.items()
    ]
    check_same_student([member.source for member in members])
    blend = Blend(str(args.output / BLEND), members)
    inputs = {one.fingerprint["layout"].get("inputs", ""): one.folder for one in members}
    if len(inputs) > 1:
        raise InputError(f"{inputs[ARRAYS]} stores the student's inputs, but {inputs['']} stores branches: run cache "
                         "again with the same --store")  # fmt: skip
    layout = Layout(len(names_of(blend.options()["labels"])), dtype=args.dtype or "float16", inputs=next(iter(inputs)))
    origin = fingerprint.of_files(blend.made_of(), {"classes": layout.classes} if args.check else vars(layout))
    if args.check and args.dtype:
        origin["layout"]["dtype"] = args.dtype
    files = next(iter(stored.values()))
    expected = {name: {**origin, "input": one["input"]} for name, one in files.items()}
    targets = targets_of(list(files), args.output)
    if args.check:
        return check(targets, expected, read_all=args.all)

    rank, size = rank_and_size(args.rank, args.world_size)
    with turn_in(args.output, alone=size == 1):
        mine = share({name: one["input"]["size"] for name, one in files.items()}, rank, size)
        work = [name for name in mine
                if not is_complete(targets[name].output, expected[name], overwrite=args.overwrite)]  # fmt: skip
        print(f"rank {rank} of {size}: {len(mine)} of {len(files)} files, {len(mine) - len(work)} of them complete")
        if rank == 0:
            write_beside(args.output, blend.options(), layout, blend)
        for name in tqdm(work, unit="file"):
            paths = [folder / name for folder in weights]
            write(paths, list(weights.values()), targets[name].output, layout, expected[name])
        return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Raise InputError for arguments that are only for the computation of soft targets."""
    ensemble = args.ensemble != ENSEMBLES[0]
    given = {"files": args.files, "--paired": args.paired, "--network, --weights or -o": args.teachers,
             "--ensemble": ensemble, "--top": args.top is not None, "--precision": args.precision,
             "--store": args.store,
             "--device": args.device, "--allow-nan": args.allow_nan}  # fmt: skip
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise InputError(f"--blend combines existing caches: leave out {', '.join(wrong)}")


def weights_of(words: Sequence[str]) -> dict[Path, float]:
    """{folder: weight} from `DIR=WEIGHT`, normalised to the sum 1.

    Raises
    ------
    InputError
        If a weight is not a number above 0, if a folder is named twice, or if there are fewer than two folders.
    """
    found: dict[Path, float] = {}
    for word in words:
        folder, equals, text = word.rpartition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not equals or not folder or not 0 < weight < math.inf:
            raise InputError(f"--blend {word}: give DIR=WEIGHT, with a number above 0 as weight")
        if Path(folder).resolve() in [other.resolve() for other in found]:
            raise InputError(f"--blend names {folder} twice")
        found[Path(folder)] = weight
    if len(found) < 2:
        raise InputError("--blend needs at least two caches, each as DIR=WEIGHT")
    total = math.fsum(found.values())
    return {folder: weight / total for folder, weight in found.items()}


def fingerprints_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Fingerprints of the files of a cache, by file name relative to the folder."""
    paths = sorted(folder.glob("*/*.parquet"))
    if not paths:
        raise InputError(f"there is no cache in {folder}")
    return {str(path.relative_to(folder)): fingerprint.read(path) for path in paths}


def common(folder: Path, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The common part of the fingerprints of a cache, which is everything but the input file.

    Raises
    ------
    InputError
        If they differ in anything else, or if the files do not store all logits.
    """
    parts = {name: {key: value for key, value in one.items() if key != "input"} for name, one in files.items()}
    first, of_first = next(iter(parts.items()))
    for name, part in parts.items():
        texts = fingerprint.serious(of_first, part)
        if texts:
            raise InputError(f"{folder / first} and {name} have different origins: {'; '.join(texts)}")
    if of_first.get("layout", {}).get("top"):
        raise InputError(f"{folder} stores only the largest logits: run cache without --top for a blend")
    return of_first


def check_same_files(stored: dict[Path, dict[str, dict[str, Any]]]) -> None:
    """Raise InputError unless the files of all caches have the same names and the same input files."""
    (first, files), *others = stored.items()
    for folder, theirs in others:
        for here, there, lacking in ((first, folder, files.keys() - theirs), (folder, first, theirs.keys() - files)):
            if lacking:
                raise InputError(f"{there} lacks {len(lacking)} of the files in {here}, for example {min(lacking)}: "
                                 "a blend needs caches of the same files")  # fmt: skip
        for name, one in files.items():
            texts = differences(one["input"], theirs[name]["input"]).values()
            if texts:
                raise InputError(f"{name} in {first} and in {folder} have different input files: "
                                 f"{'; '.join(texts)}")  # fmt: skip
    fingerprint.check_inputs(files.values())


def check_same_student(sources: Sequence[Source]) -> None:
    """Raise InputError unless the student's data config is the same for all."""
    first, *others = (DataConfig(print_info=False, **configs.cached(student_side(one), {})).options for one in sources)
    for source, other in zip(sources[1:], others):
        for key in first:
            if canonical(first[key]) != canonical(other[key]):
                raise InputError(f"`{key}` of the student's data config in {source.paired} differs from "
                                 f"{sources[0].paired}: a blend needs the same student in all caches")  # fmt: skip


def targets_of(names: Sequence[str], folder: Path) -> dict[str, Target]:
    """The blended file for each `SUBFOLDER/FILE`; several subfolders become groups of weaver's `--data-train`."""
    several = len({Path(name).parent for name in names}) > 1
    return {name: Target(str(Path(name).parent) if several else "", folder / name) for name in names}


def write(
    paths: Sequence[Path], weights: Sequence[float], output: Path, layout: Layout, origin: dict[str, Any]
) -> None:
    """Write one file of a blend, with its complete fingerprint, from the file of each member and the weights of sum 1.

    Raises
    ------
    InputError
        If a file cannot be read, or if the files do not contain the same jets with the same values in the same order.
    """
    rows = [pq.read_metadata(path).num_rows for path in paths]
    if len(set(rows)) > 1:
        raise InputError(f"{paths[0]} has {rows[0]} jets, but the files of the other caches have {rows[1:]}: "
                         "run cache again")  # fmt: skip
    with whole_file(output) as file, Writer(file, origin) as writer:
        for batches in zip(*map(_batches, paths), strict=True):
            for path, batch in zip(paths[1:], batches[1:]):
                if not same_jets(batches[0], batch):
                    raise InputError(f"{paths[0]} and {path} do not hold the same jets in the same order")
            logits = mixture([_logits(batch) for batch in batches], weights)
            table = pa.Table.from_batches([batches[0].drop_columns([LOGITS])])
            for name, column in layout.columns(logits).items():
                table = table.append_column(pa.field(name, column.type, nullable=False), column)
            writer.write(table)


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with reading(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        yield from file.iter_batches(JETS)


def _logits(batch: pa.RecordBatch) -> torch.Tensor:
    values = batch.column(LOGITS).flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(values.astype("float64")).view(len(batch), -1)


def same_jets(one: pa.RecordBatch, other: pa.RecordBatch) -> bool:
    """Whether all columns except the soft targets are equal."""
    one, other = (batch.drop_columns([LOGITS]) for batch in (one, other))
    return one.schema.names == other.schema.names and all(map(_same, one.columns, other.columns))


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two columns are equal, where NaN equals NaN."""
    if one.equals(other):
        return True
    if one.type != other.type or not pc.is_null(one).equals(pc.is_null(other)):
        return False
    if pa.types.is_nested(one.type):
        return pc.list_value_length(one).equals(pc.list_value_length(other)) and _same(one.flatten(), other.flatten())
    if not pa.types.is_floating(one.type):
        return False
    a, b = (column.to_numpy(zero_copy_only=False) for column in (one, other))
    return np.array_equal(a, b, equal_nan=True)
