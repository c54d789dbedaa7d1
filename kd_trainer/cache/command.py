"""python -m kd_trainer cache: compute the teacher's soft targets once and store them with the student's branches."""

import argparse
import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from weaver.utils.dataset import DataConfig

from kd_trainer import configs
from kd_trainer.cache import blend, fingerprint
from kd_trainer.cache.columns import ARRAYS, DTYPES, Layout
from kd_trainer.cache.compute import Production, check, is_complete
from kd_trainer.cache.origin import CONFIG as CONFIG  # for study/
from kd_trainer.cache.origin import Source, write_beside
from kd_trainer.cache.paths import targets_of
from kd_trainer.cache.ranks import rank_and_size, share
from kd_trainer.cache.reader import Reader
from kd_trainer.cache.writer import ROW_GROUP, encodings, size, turn_in
from kd_trainer.classes import names_of
from kd_trainer.configs import STORED
from kd_trainer.errors import InputError
from kd_trainer.jet_files import inspect_all
from kd_trainer.teacher.ensemble import Ensemble, load_ensemble
from kd_trainer.teacher.frozen import Teacher
from kd_trainer.teacher.precision import PRECISIONS, InBfloat16
from kd_trainer.teacher.spec import ENSEMBLES, AddTeacher, check_complete

STORES = ("inputs", "branches")
LARGER = 1.1  # by default, inputs are stored if they take less than this factor more space than the branches


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse and check the arguments."""
    parser = argparse.ArgumentParser(
        prog="kd_trainer cache",
        description="Run the teacher once over the input files. Write one parquet file for each, with the student's "
        "branches and the teacher's soft targets, and DIR/cached.yaml, the data config that reads them.",
    )
    computed = not any(word.partition("=")[0] == "--blend" for word in argv)  # otherwise blended
    parser.add_argument("files", nargs="+" if computed else "*", metavar="FILE", help="as for weaver's --data-train: "
                        "[GROUP:]PATTERN")  # fmt: skip
    parser.add_argument("--blend", nargs="+", metavar="DIR=WEIGHT", help="instead of files and teachers: average the "
                        "probabilities of caches of the same files, with these weights")  # fmt: skip
    parser.add_argument("--paired", required=computed, metavar="CFG", help="paired.yaml, written by `pair`")
    teacher: Any = dict(action=AddTeacher, dest="teachers", required=computed)
    parser.add_argument("--network", metavar="NET.py", **teacher, help="network file of the teacher; for an ensemble, "
                        "repeat --network, --weights and -o for each member")  # fmt: skip
    parser.add_argument("--weights", metavar="W.pt", **teacher, help="its checkpoint")
    parser.add_argument("-o", "--network-option", metavar=("KEY", "VALUE"), nargs=2, action=AddTeacher, dest="teachers",
                        help="option of its network")  # fmt: skip
    parser.add_argument("--ensemble", default=ENSEMBLES[0], choices=ENSEMBLES, help="how an ensemble is averaged "
                        "(default: %(default)s)")  # fmt: skip
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the cache")
    parser.add_argument("--top", type=int, metavar="K", help="store the K largest logits of a jet and one "
                        "value for the others; for temperatures near 1 (default: store all)")  # fmt: skip
    parser.add_argument("--store", choices=STORES, help="what to store: the student's inputs, as the network takes "
                        "them, or the branches they are computed from (default: inputs, unless larger)")  # fmt: skip
    parser.add_argument("--dtype", choices=DTYPES, help="data type of the soft targets, and of the stored inputs "
                        "where its rounding is small (default: float16)")  # fmt: skip
    parser.add_argument("--precision", choices=PRECISIONS, help="precision of the teacher's matrix products; bfloat16 "
                        "is compared with float32 on the first jets (default: float32)")  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one)")
    parser.add_argument("--rank", type=int, help="rank of this process (default: from torchrun or Slurm)")
    parser.add_argument("--world-size", type=int, help="number of processes that share the files")
    parser.add_argument("--overwrite", action="store_true", help="replace files that have another origin")
    parser.add_argument("--check", action="store_true", help="compute nothing: if all files of the cache exist "
                        "and match, print them as weaver arguments, else fail (data are not read)")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="with --check: read all data and verify the checksums")
    parser.add_argument("--allow-nan", action="store_true", help="also accept jets with NaN in the teacher's inputs "
                        "and replace it by 0 (default: such a file is an error)")  # fmt: skip
    args = parser.parse_args(argv)
    check_complete(args.teachers or [])
    if args.all and not args.check:
        raise InputError("--all is for --check: give both, or neither")
    return args


def main(argv: Sequence[str]) -> int:
    """Write a cache, or check one."""
    args = parse(argv)
    if args.blend:
        return blend.main(args)
    paired = configs.load(args.paired)
    config = DataConfig(print_info=False, **copy.deepcopy(paired))
    configs.teacher_view(config)  # raises InputError if there is none
    if not names_of(config.labels):
        raise InputError("the data config does not name its classes (`names` in `labels`), which a cache needs")
    asked = {key: value for key, value in (("top", args.top), ("dtype", args.dtype)) if value is not None}
    targets = targets_of(args.files, args.output)
    if args.store or not args.check:
        asked["inputs"] = ARRAYS if stores_inputs(args, config, min(targets)) else ""
    layout = Layout(len(names_of(config.labels)), **asked)
    source = Source(args.paired, args.teachers, args.ensemble)
    compared = {"classes": layout.classes, **asked} if args.check else vars(layout)
    origin = fingerprint.of_files(source.made_of(), compared)
    if args.precision or not args.check:
        origin["precision"] = args.precision or PRECISIONS[0]
    if args.check:
        expected = {path: {**origin, "input": fingerprint.of_input(path)} for path in targets}
        return check(targets, expected, read_all=args.all)

    rank, size = rank_and_size(args.rank, args.world_size)
    with turn_in(args.output, alone=size == 1):
        mine = share({path: fingerprint.of_input(path)["size"] for path in targets}, rank, size)
        work = {
            path: targets[path].output
            for path in mine
            if not is_complete(
                targets[path].output, {**origin, "input": fingerprint.of_input(path)}, overwrite=args.overwrite
            )
        }
        print(f"rank {rank} of {size}: {len(mine)} of {len(targets)} files, {len(mine) - len(work)} of them complete")
        if rank == 0:
            write_beside(args.output, paired, layout, source)
        trouble = compute(work, config, args, layout, origin)
        if trouble:
            raise InputError(f"{len(trouble)} of {len(mine)} files have no soft targets: {'; '.join(trouble)}")
        return 0


def stores_inputs(args: argparse.Namespace, config: DataConfig, path: str) -> bool:
    """Whether to store the student's inputs instead of the branches they are computed from.

    Without --store the existing files of the folder decide, or else the size of the inputs of the first jets.
    """
    if args.store:
        return args.store == STORES[0]
    if (args.output / CONFIG).exists() and not args.overwrite:
        return STORED in configs.load(args.output / CONFIG)["preprocess"]
    try:
        tables = [next(Reader(config, dtype).read(path, ROW_GROUP)).table for dtype in (args.dtype or DTYPES[0], None)]
    except (InputError, StopIteration):
        return False  # a later check reports what is wrong with the file
    inputs, branches = (0 if table is None else size(table, **encodings(table)) for table in tables)
    return inputs < LARGER * branches


def load(args: argparse.Namespace, config: DataConfig) -> Teacher | Ensemble | InBfloat16:
    """The teacher or the ensemble, with the requested precision."""
    ensemble = load_ensemble(args.teachers, config, args.ensemble)
    return ensemble if args.precision in (None, PRECISIONS[0]) else InBfloat16(ensemble)


def compute(
    work: Mapping[str, Path], config: DataConfig, args: argparse.Namespace, layout: Layout, origin: dict[str, Any]
) -> list[str]:
    """Check the input files, and write soft targets for all usable ones; returns the errors of the others.

    `work` is {path: output}, `config` the paired one, `layout` and `origin` as in `Production`. The teacher is loaded
    only if there is work.
    """
    reader = Reader(config, layout.dtype if layout.inputs else None)
    looks = dict(zip(work, inspect_all(list(work), reader.branches(), config.treename)))
    trouble = [f"{path} {reason}" for path, (_, reason) in looks.items() if reason]
    rows = {path: count for path, (count, reason) in looks.items() if not reason}
    if not rows:
        return trouble
    teacher = load(args, config)
    print(f"teacher {teacher.description}")
    production = Production(reader, teacher, layout, origin, torch.device(args.device or default_device()),
                            args.allow_nan)  # fmt: skip
    with tqdm(total=sum(rows.values()), unit="jet", smoothing=0.05) as bar:
        jets, nan, more = production.write_all({path: work[path] for path in rows}, rows, bar)
    print(f"{jets} of {sum(rows.values())} jets were selected and written")
    if nan:
        print(f"{nan} of them have NaN in the teacher's inputs: their soft targets are computed with 0 instead")
    return trouble + more


def default_device() -> str:
    """The GPU of this process, if there is one."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0))) % torch.cuda.device_count()}"
