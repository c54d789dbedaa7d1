"""python -m kd_trainer cache: the teacher's soft targets, computed once and kept beside the student's branches."""

import argparse
import copy
import os
from pathlib import Path

import torch
from tqdm import tqdm
from weaver.utils.dataset import DataConfig

from kd_trainer import configs
from kd_trainer.distill import fingerprint
from kd_trainer.distill.layout import DTYPES, Layout
from kd_trainer.distill.produce import is_complete, write_all
from kd_trainer.distill.ranks import rank_and_size, share
from kd_trainer.distill.reading import Reader
from kd_trainer.distill.targets import as_arguments, targets_of
from kd_trainer.distill.teacher import load_teacher
from kd_trainer.errors import InputError
from kd_trainer.evaluate.complexity import parse_options
from kd_trainer.files import inspect_all

CONFIG = "cached.yaml"


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="kd_trainer cache",
        description="Run the teacher once over input files and write, for each of them, a parquet file with the "
        "branches that the student reads and the teacher's soft targets, and DIR/cached.yaml that reads them.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="as for weaver's --data-train: [GROUP:]PATTERN")
    parser.add_argument("--paired", required=True, metavar="CFG", help="paired.yaml, as `pair` has written it")
    parser.add_argument("--network", required=True, metavar="NET.py", help="network file of the teacher")
    parser.add_argument("--weights", required=True, metavar="W.pt", help="its checkpoint")
    parser.add_argument("-o", "--network-option", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"))
    parser.add_argument("--output", required=True, type=Path, metavar="DIR", help="folder of the cache")
    parser.add_argument("--top", type=int, default=0, metavar="K", help="keep the K largest logits of a jet and one "
                        "value for the others; for temperatures near 1 (default: keep all)")  # fmt: skip
    parser.add_argument("--dtype", default="float16", choices=DTYPES, help="of the soft targets (default: float16)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: cuda if there is one)")
    parser.add_argument("--rank", type=int, help="number of this process (default: as torchrun or Slurm say)")
    parser.add_argument("--world-size", type=int, help="number of processes that share the files")
    parser.add_argument("--overwrite", action="store_true", help="replace files that were made from something else")
    parser.add_argument("--check", action="store_true", help="compute nothing: print the files of the cache as "
                        "arguments of weaver if all are there and match, else fail")  # fmt: skip
    return parser.parse_args(argv)


def main(argv):
    """Write a cache, or look at one."""
    args = parse(argv)
    options = parse_options(args.network_option)
    paired = configs.load(args.paired)
    config = DataConfig(print_info=False, **copy.deepcopy(paired))
    teacher_view = configs.teacher_view(config)
    classes = len(config.labels.get("names", config.label_value))
    layout = Layout(classes, args.top, args.dtype)
    made = fingerprint.of_all(
        teacher=fingerprint.of_teacher(args.network, args.weights, options), paired=paired, layout=vars(layout)
    )
    targets = targets_of(args.files, args.output)
    if args.check:
        return check(targets, made)

    rank, size = rank_and_size(args.rank, args.world_size)
    mine = share({path: fingerprint.of_input(path)["size"] for path in targets}, rank, size)
    work = {
        path: targets[path].output
        for path in mine
        if not is_complete(path, targets[path].output, made, overwrite=args.overwrite)
    }
    print(f"rank {rank} of {size}: {len(mine)} of {len(targets)} files, {len(mine) - len(work)} of them complete")
    if rank == 0:
        write_config(paired, layout, args.output)
    trouble = compute(
        work, config, layout=layout, made=made, device=torch.device(args.device or default_device()),
        teacher=lambda: load_teacher(args.network, args.weights, teacher_view, options),
    )  # fmt: skip
    if trouble:
        raise InputError(f"{len(trouble)} of {len(mine)} files have no soft targets: {'; '.join(trouble)}")
    return 0


def compute(work, config, *, teacher, **how):
    """Look at the input files, then write what can be written.

    Parameters
    ----------
    work : dict of path -> output
    config : DataConfig
        The paired one.
    teacher : callable that loads the teacher, when there is something to do
    how : see `produce.write`

    Returns
    -------
    list of str
        What is wrong with the files left out.
    """
    reader = Reader(config)
    looks = dict(zip(work, inspect_all(work, reader.branches(), config.treename)))
    trouble = [f"{path} {reason}" for path, (_, reason) in looks.items() if reason]
    rows = {path: count for path, (count, reason) in looks.items() if not reason}
    if not rows:
        return trouble
    teacher = teacher()
    print(f"teacher {teacher.description}")
    with tqdm(total=sum(rows.values()), unit="jet", smoothing=0.05) as bar:
        usable = {path: work[path] for path in rows}
        jets, more = write_all(usable, rows, bar=bar, reader=reader, teacher=teacher, **how)
    print(f"{jets} of {sum(rows.values())} jets were selected and written")
    return trouble + more


def check(targets, made):
    """Print the files of a cache as arguments of weaver, if they all match."""
    for path, target in targets.items():
        if not is_complete(path, target.output, made):
            raise InputError(f"the cache is not complete: there is no {target.output}")
    print("\n".join(as_arguments(targets)))
    return 0


def write_config(paired, layout, folder):
    """Write the data config that reads the cache."""
    try:
        configs.write(configs.cached(paired, layout.groups()), folder / CONFIG, "reads the soft targets of a cache")
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None


def default_device():
    """The GPU of this process, if there is one."""
    if not torch.cuda.is_available():
        return "cpu"
    return f"cuda:{int(os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', 0))) % torch.cuda.device_count()}"
