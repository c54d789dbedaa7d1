"""Reproducible order of jets, in which a training can be resumed.

Weaver's loader reads the sample in passes. With a fixed number of steps per epoch, an epoch starts where the previous
one ended. Here each pass, and each chunk of a pass (the jets that are read at once), has its own random numbers, so a
place (pass, chunk, jet of the chunk) determines all following jets. Each worker stores its place in shared memory,
where the training can read it.
"""

import copy
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from kd_trainer.weaver_hooks.inputs import Jets, Loader, Part, Whole
from kd_trainer.weaver_hooks.seeds import DRAWING

PLACE = "kd_place"  # column in the table of a chunk


class Place(NamedTuple):
    """The place of a worker in its stream: chunk and jet are those of the next jet."""

    number: int = 0  # number of the pass
    chunk: int = 0
    jet: int = 0


class Stream(Jets):
    """The jets of one worker, starting at a place.

    `key` determines the random numbers: the seed and numbers that distinguish streams. `shared` are four integers in
    shared memory: the number of jets given, and the place of the next jet.
    """

    def __init__(self, *, key: tuple[int, ...], start: Place, shared: memoryview, **weaver_arguments: Any) -> None:
        self.key, self.shared = key, shared
        self.start: Place | None = start  # None after the first jet
        self.in_memory = weaver_arguments["_in_memory"]
        self.number = (0 if self.in_memory else start.number) - 1  # number of the current pass
        self.turn = 0  # number of the current pass over jets in memory
        self.executor: Any  # these three attributes are weaver's
        self.indices: np.ndarray
        self.load_filelist_and_ranges: list[Any]
        super().__init__(**weaver_arguments)

    def restart(self) -> None:
        self.number += 1
        if not isinstance(self.executor, _Seeded):
            self.executor = _Seeded(self)
        with DRAWING:
            np.random.seed([*self.key, self.number])
            super().restart()

    def _try_get_next(self, init: bool = False) -> None:
        if init:
            self._in_order()
            if self.start and self.number == self.start.number and not self.in_memory:
                self.ipos = self.start.chunk
        if self.in_memory and len(self.indices):
            self.prefetch = None  # weaver would read a second chunk without using it
            return
        super()._try_get_next(init)

    def _in_order(self) -> None:
        """Sort the files of a chunk as in the shuffled list; weaver has them in the arbitrary order of a set."""
        order = {file: i for i, file in enumerate(self.filelist)}
        self.load_filelist_and_ranges = [
            tuple(zip(*sorted(zip(files, ranges), key=lambda pair: (order[pair[0]], pair[1]))))
            for files, ranges in self.load_filelist_and_ranges
        ]

    def advance(self) -> None:
        if self.start:
            super().advance()  # reads the chunk
            start, self.start = self.start, None
            self.original = self.indices
            if self.in_memory:
                self._permute(start.number)
            self.cursor = start.jet
        if self.in_memory and self.cursor >= len(self.indices):
            self._permute(self.turn + 1)
        super().advance()

    def __next__(self) -> list[Part]:
        parts = super().__next__()
        shared = self.shared
        shared[1], shared[2] = (self.turn, 0) if self.in_memory else self.table[PLACE]
        shared[3] = self.cursor
        shared[0] += sum(len(rows) for _, rows in parts)
        return parts

    def _permute(self, turn: int) -> None:
        self.turn, self.cursor = turn, 0
        self.indices = np.random.default_rng([*self.key, turn]).permutation(self.original) if turn else self.original


class _Seeded(ThreadPoolExecutor):
    """The thread that reads the chunks of a stream, each with its own random numbers."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(max_workers=1)
        self.stream = stream

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        key, place = self.stream.key, (self.stream.number, self.stream.ipos)

        def load() -> tuple[dict[str, Any], np.ndarray]:
            with DRAWING:
                np.random.seed([*key, *place])
                table, indices = fn(*args, **kwargs)
            return {**table, PLACE: place}, indices

        return super().submit(load)


class Reproducible(Whole):
    """Weaver's dataset with a `Stream` for each worker, set up by `Follower`."""

    def __iter__(self) -> Stream:
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        if self._iters is None:  # each epoch is a pass
            self.kd_passes += 1
            return self._stream(worker, Place(self.kd_passes))
        if worker not in self._iters:
            self._iters[worker] = self._stream(worker, self.kd_starts[worker])
        return self._iters[worker]

    def _stream(self, worker: int, start: Place) -> Stream:
        shared = memoryview(self.kd_shared).cast("B").cast("q")[4 * worker : 4 * worker + 4]
        weaver_arguments = {name: copy.deepcopy(self.__dict__[name]) for name in self._init_args}
        stream = Stream(key=(*self.kd_key, worker), start=start, shared=shared, **weaver_arguments)
        stream.batch_size, stream.drop_last = self.kd_batches
        return stream


class Follower:
    """Makes a weaver loader that gathers batches, not started yet, reproducible: its seed determines the order of jets.

    `epoch` is the first epoch, `places` the place of each worker at its start.
    """

    def __init__(
        self, loader: Loader, key: tuple[int, ...], epoch: int, places: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.loader = loader
        self.workers = max(1, loader.num_workers)
        self.tasks = [0] * self.workers  # number of batches requested from each worker
        dataset = loader.dataset
        dataset._init_file_dict = {group: sorted(files) for group, files in dataset._init_file_dict.items()}
        dataset.kd_key = key
        dataset.kd_passes = epoch - 1
        dataset.kd_starts = [Place(*place) for place in places] if places else [Place(epoch)] * self.workers
        dataset.kd_shared = multiprocessing.RawArray("q", 4 * self.workers)
        dataset.__class__ = Reproducible
        loader.generator = torch.Generator().manual_seed(key[0])  # the workers' seed

    def places(self) -> list[list[int]] | None:
        """The place of each worker at the start of the next epoch; called once at the end of an epoch.

        Workers finish the batches that are already requested, and the loader discards these.
        """
        if self.loader.dataset._iters is None:
            return None
        shared = np.frombuffer(self.loader.dataset.kd_shared, np.int64).reshape(-1, 4)
        iterator = self.loader._iterator
        if iterator is not None:
            for task in range(iterator._send_idx):
                self.tasks[task % self.workers] += 1
            for worker, tasks in enumerate(self.tasks):
                while shared[worker, 0] < tasks * self.loader.batch_size and iterator._workers[worker].is_alive():
                    time.sleep(0.01)
        return shared[:, 1:].tolist()
