"""python -m kd_trainer study: many trainings from one YAML, resumed arm by arm, and the tables they end in."""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm

from kd_trainer.cache.ranks import rank_and_size
from kd_trainer.errors import InputError
from kd_trainer.study import plan as plans

POLL = 5.0  # seconds


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="kd_trainer study",
        description="Train the arms of a study that are not trained yet: teachers, their soft targets, students. "
        "With --report, compare them; with --document, write the tables of a Markdown file from stored results.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="STUDY.yaml; RESULTS.json for --document")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR",
                        help="folder of the study; the Markdown file for --document")  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="say what is done and what is not, and do nothing")
    what.add_argument("--report", action="store_true", help="write results.json, results.md and figures to DIR")
    what.add_argument("--document", action="store_true", help="write tables and figures anew from stored results")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N",
                        help="trainings at a time, of one thread each (default: the cores)")  # fmt: skip
    parser.add_argument("--gpus", default=None, help="as for weaver (default: 0 if there is one, else the CPU)")
    parser.add_argument("--rank", type=int, help="number of this machine (default: as torchrun or Slurm say)")
    parser.add_argument("--world-size", type=int, help="number of machines that share the arms, and DIR")
    parser.add_argument("--patience", type=float, default=600, metavar="MINUTES",
                        help="how long to wait for what other machines train (default: %(default)s)")  # fmt: skip
    parser.add_argument("--redo-stale", action="store_true", help="train arms anew that were made from something else")
    parser.add_argument("--replicas", type=int, default=200, help="of the bootstrap over test jets (default: 200)")
    args = parser.parse_args(argv)
    if args.jobs < 1:
        raise InputError(f"--jobs is {args.jobs}: at least one training at a time")
    if args.replicas < 2:
        raise InputError("--replicas: at least 2 are needed for an uncertainty")
    if not args.document and len(args.files) > 1:
        raise InputError("one study at a time: give one STUDY.yaml")
    return args


def main(argv):
    """Train, report or write the document."""
    args = parse(argv)
    if args.document:
        from kd_trainer.study.document import write_document

        return write_document(args.files, args.output)
    plan = plans.read(args.files[0])
    from kd_trainer.study.jobs import Workshop  # imports torch, which a wrong YAML need not wait for

    stages = Workshop(plan, args.output, _gpus(args.gpus)).stages()
    if args.list:
        return show(stages)
    if args.report:
        from kd_trainer.study.report import write_report

        return write_report(plan, stages, args.output, name=args.files[0].stem, replicas=args.replicas)
    rank, size = rank_and_size(args.rank, args.world_size)
    with alone(args.output, rank, size):
        return train(stages, rank, size, args)


@contextlib.contextmanager
def alone(folder, rank, size):
    """Keep other processes with the same share of a study out of its folder; the system ends this with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".rank{rank}of{size}", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"another process is at work on {folder}") from None
        yield


def _gpus(wanted):
    import torch

    return wanted if wanted is not None else "0" if torch.cuda.is_available() else ""


def show(stages):
    """Print a line a job."""
    from kd_trainer.study.jobs import is_done

    for stage, jobs in stages.items():
        done = {job.name: is_done(job) for job in jobs}
        print(f"{stage}: {sum(done.values())} of {len(jobs)} done")
        print("".join(f"  {'done' if ended else '    '}  {name}\n" for name, ended in done.items()), end="")
    return 0


def train(stages, rank, size, args):
    """Do this machine's share of each stage, and wait for the others before the next."""
    from kd_trainer.study.execute import perform
    from kd_trainer.study.jobs import FAILED, read_record

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as for Ctrl-C: the trainings end too
    jobs = [job for stage in stages.values() for job in stage]
    refuse_stale(jobs, args.redo_stale)
    for stage in stages.values():
        for job in stage[rank::size]:
            (job.folder / FAILED).unlink(missing_ok=True)
    trouble = []
    with tqdm(total=len(jobs), unit="arm", desc="study") as bar:
        for stage in stages.values():
            open_jobs = [job for job in stage if not is_finished(job, args.redo_stale)]
            bar.update(len(stage) - len(open_jobs))
            mine = [job for i, job in enumerate(stage) if i % size == rank and job in open_jobs]
            ready = [job for job in mine if all(map(read_record, job.needs))]
            trouble += [f"{job.name} waits for what has failed" for job in mine if job not in ready]
            trouble += perform(ready, parallel=args.jobs, bar=bar)
            if size > 1:
                wait_for_others([job for job in open_jobs if job not in mine], args.patience)
    if trouble:
        raise InputError(f"{len(trouble)} of {len(jobs)} arms are not trained: {'; '.join(trouble)}")
    print(f"{len(jobs)} arms are trained; the report: add --report")
    return 0


def refuse_stale(jobs, redo):
    """Raise InputError when finished jobs were made from something else, unless they are to be redone."""
    from kd_trainer.study.jobs import is_done

    stale = []
    for job in jobs:
        try:
            is_done(job)
        except InputError as error:
            stale.append(str(error))
    if stale and not redo:
        raise InputError(
            f"{stale[0]}{f' (and {len(stale) - 1} other arms)' if stale[1:] else ''}; give another folder, "
            "or --redo-stale to train them anew"
        )


def is_finished(job, redo):
    """Whether there is nothing left to do; a stale job, which is to be redone, is not."""
    from kd_trainer.study.jobs import is_done

    try:
        return is_done(job)
    except InputError:
        if not redo:
            raise
        return False


def wait_for_others(jobs, minutes):
    """Wait until other machines have finished jobs, well or not."""
    from kd_trainer.study.jobs import FAILED, read_record

    end = time.monotonic() + 60 * minutes
    while missing := [job.name for job in jobs if not read_record(job) and not (job.folder / FAILED).exists()]:
        if time.monotonic() > end:
            raise InputError(
                f"{len(missing)} arms of other machines are not there after {minutes:g} minutes, {missing[0]} among "
                "them: start the same command again when they are"
            )
        time.sleep(POLL)
