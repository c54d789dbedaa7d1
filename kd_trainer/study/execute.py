"""Jobs side by side, each in a process of its own."""

import multiprocessing
import os
import shutil
import time
from multiprocessing.connection import wait

from kd_trainer.errors import InputError
from kd_trainer.jet_files import one_line
from kd_trainer.study.jobs import FAILED, write_record
from kd_trainer.study.worker import PRELOAD, work

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # weaver walks through sets of file groups: their order is part of the seed
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
LOG = "output.log"


def perform(jobs, *, parallel, bar):
    """Do jobs that do not depend on each other; one that fails does not stop the others.

    Parameters
    ----------
    jobs : list of jobs.Job
    parallel : int
        How many at a time, each with one thread unless OMP_NUM_THREADS says otherwise.
    bar : tqdm
        Moved on by one for each job.

    Returns
    -------
    list of str
        What went wrong.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    todo, running, trouble = list(jobs)[::-1], {}, []
    try:
        while todo or running:
            while todo and len(running) < parallel:
                job = todo.pop()
                try:
                    process = _start(context, job)
                except InputError as error:
                    trouble.append(f"{job.name}: {error}")
                    bar.update()
                else:
                    running[process.sentinel] = (process, job, time.monotonic())
            for sentinel in wait(list(running)):
                process, job, start = running.pop(sentinel)
                process.join()
                trouble += _finish(process, job, time.monotonic() - start)
                bar.update()
    finally:
        for process, _, _ in running.values():
            process.terminate()
    return trouble


def _start(context, job):
    program, arguments = job.command()
    if program == "weaver":  # what an interrupted training has left; a cache goes on file by file
        shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILED).unlink(missing_ok=True)
    process = context.Process(target=work, args=(program, [str(a) for a in arguments], job.folder / LOG))
    process.start()
    return process


def _finish(process, job, seconds):
    """Record a job that ended well; [what went wrong] with one that did not."""
    if process.exitcode:
        (job.folder / FAILED).touch()
        return [f"{job.name} failed: {last_line(job.folder / LOG)} (see {job.folder / LOG})"]
    try:
        write_record(job, seconds)
    except InputError as error:
        return [str(error)]
    for path in {*job.folder.glob("net_epoch-*.pt"), *job.folder.glob("net_*_optimizer.pt")}:
        path.unlink()
    return []


def last_line(path):
    """The last line of the output of a job, in which weaver-kd says what is wrong."""
    lines = path.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n") if path.is_file() else []
    said = [line for line in lines if line.strip()]
    return one_line(said[-1]) if said else "it said nothing"
