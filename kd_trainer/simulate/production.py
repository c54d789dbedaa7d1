"""Make jet files with several processes: the work is split into parts, the longest parts come first."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from tqdm import tqdm

from kd_trainer.datasets import storage
from kd_trainer.simulate.samples import SAMPLES

PART = 500  # jets; files are made in parts, so that all processes are busy until the end
_shared: dict[str, Any] = {}  # in a worker: the counter of finished jets and the stop sign


class Part(NamedTuple):
    """A piece of work: some of the jets of one file."""

    sample: str
    name: str
    file: int
    part: int
    jets: int
    seed: int
    pileup: float = 0


def make_files(sample: str, wanted: Mapping[Path, dict[str, Any]], workers: int) -> None:
    """Make files in parts, and write each file when its last part is done.

    Parameters
    ----------
    sample : one of `samples.SAMPLES`
    wanted : dict of path -> settings with at least class, file, jets and seed
    workers : number of processes

    Raises
    ------
    KeyboardInterrupt
        after Ctrl-C, once the processes have ended; no partial file is left
    """
    parts = {part: path for path, settings in wanted.items() for part in split(sample, settings)}
    processes = SAMPLES[sample].processes
    order = sorted(parts, key=lambda part: part.jets / processes[part.name].rate, reverse=True)
    context = multiprocessing.get_context("spawn")
    finished, stop = context.Value("q", 0), context.Event()
    arrived: dict[Path, dict[int, pa.Table]] = {path: {} for path in wanted}
    with (
        ProcessPoolExecutor(workers, context, initializer=_share, initargs=(finished, stop)) as pool,
        tqdm(total=sum(part.jets for part in parts), unit="jet", smoothing=0.05) as bar,
    ):
        try:
            running = submit(pool, order)
            while running:
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                bar.update(finished.value - bar.n)
                for future in done:
                    part = running.pop(future)
                    path = parts[part]
                    arrived[path][part.part] = future.result()
                    if len(arrived[path]) == len(split(sample, wanted[path])):
                        tables = arrived.pop(path)
                        storage.write(path, [tables[i] for i in sorted(tables)], wanted[path])
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def split(sample: str, settings: Mapping[str, Any]) -> list[Part]:
    """The parts of a file with the given settings: list of `Part`."""
    name, file, jets, seed = (settings[key] for key in ("class", "file", "jets", "seed"))
    firsts, pileup = range(0, jets, PART), settings.get("pileup", 0)
    return [Part(sample, name, file, i, min(PART, jets - first), seed, pileup) for i, first in enumerate(firsts)]


def submit(pool: ProcessPoolExecutor, parts: Iterable[Part]) -> dict[Future, Part]:
    """Submit parts to the processes: dict of future -> part. The processes start here and ignore Ctrl-C."""
    listening = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return {pool.submit(make_part, part): part for part in parts}
    finally:
        signal.signal(signal.SIGINT, listening)


def make_part(part: Part) -> pa.Table | None:
    """In a worker: make the jets of one part as an Arrow table; None if the run is being stopped."""
    import awkward as ak

    from kd_trainer.simulate.generate import generate, lines, shuffled

    batches: list[ak.Array] = []
    grid, done = SAMPLES[part.sample].draw is not None, 0
    made = (part.name, part.jets, part.seed, part.file, part.part)
    source = lines(*made, part.pileup) if grid else generate(part.sample, *made, part.pileup)
    while not _shared["stop"].is_set():
        jets = next(source, None)
        if jets is None:
            every = ak.concatenate(batches)
            return storage.to_table(shuffled(every, *made) if grid else every)
        batches.append(jets)
        new = min(len(jets), part.jets - done)
        done += new
        with _shared["finished"].get_lock():
            _shared["finished"].value += new
    return None


def _share(finished: Any, stop: Any) -> None:
    """In a new worker: keep the objects shared with the parent, and end when the parent ends."""
    _shared.update(finished=finished, stop=stop)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    """End this process when the parent ends, even if it was killed; else this process would wait for work forever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
    os._exit(1)
