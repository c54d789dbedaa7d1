"""Jets in an order that only the seed decides, and from which a training can go on.

Weaver's loader goes through the sample in passes; with steps per epoch, an epoch begins where the last one ended. Here
every pass and every chunk of a pass (what is read from the files at once) is drawn with random numbers of its own, so
that a place (pass, chunk, jet of the chunk) says what follows. Each worker of a loader keeps its place where the
training can read it.
"""

import copy
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch

from kd_trainer.weaver_hooks.inputs import Jets, Loader, Whole
from kd_trainer.weaver_hooks.seeds import DRAWING

PLACE = "kd_place"  # in the table of a chunk


class Place(NamedTuple):
    """Where a worker is in its jets; chunk and jet of the next one that it gives."""

    number: int = 0  # of the pass
    chunk: int = 0
    jet: int = 0


class Stream(Jets):
    """The jets of one worker, from a place on.

    `key` decides its random numbers: seed and what distinguishes it from others. `shared` are four integers for other
    processes to read: number of jets given, and place of the next.
    """

    def __init__(self, *, key: tuple[int, ...], start: Place, shared: memoryview, **weaver_arguments: Any) -> None:
        self.key, self.shared = key, shared
        self.start: Place | None = start  # until the first jet is given
        self.in_memory = weaver_arguments["_in_memory"]
        self.number = (0 if self.in_memory else start.number) - 1  # of the pass that is being read
        self.turn = 0  # of the jets in memory
        self.executor: Any  # these three are of weaver
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
            self.prefetch = None  # weaver would read a second chunk and never use it
            return
        super()._try_get_next(init)

    def _in_order(self) -> None:
        """Files of a chunk in the order of the shuffled list; weaver has them in that of a set, by chance."""
        order = {file: i for i, file in enumerate(self.filelist)}
        self.load_filelist_and_ranges = [
            tuple(zip(*sorted(zip(files, ranges), key=lambda pair: (order[pair[0]], pair[1]))))
            for files, ranges in self.load_filelist_and_ranges
        ]

    def __next__(self) -> Any:
        if self.start:
            super().__next__()  # reads the chunk
            start, self.start = self.start, None
            self.original = self.indices
            if self.in_memory:
                self._permute(start.number)
            self.cursor = start.jet
        if self.in_memory and self.cursor >= len(self.indices):
            self._permute(self.turn + 1)
        jet = super().__next__()
        shared = self.shared
        shared[1], shared[2] = (self.turn, 0) if self.in_memory else self.table[PLACE]
        shared[3] = self.cursor
        shared[0] += 1
        return jet

    def _permute(self, turn: int) -> None:
        self.turn, self.cursor = turn, 0
        self.indices = np.random.default_rng([*self.key, turn]).permutation(self.original) if turn else self.original


class _Seeded(ThreadPoolExecutor):
    """The thread that reads a stream's chunks, each with random numbers of its own."""

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
    """Weaver's dataset with `Stream`s; what it is comes from `follow`."""

    def __iter__(self) -> Stream:
        info = torch.utils.data.get_worker_info()
        worker = info.id if info else 0
        if self._iters is None:  # an epoch is a pass
            self.kd_passes += 1
            return self._stream(worker, Place(self.kd_passes))
        if worker not in self._iters:
            self._iters[worker] = self._stream(worker, self.kd_starts[worker])
        return self._iters[worker]

    def _stream(self, worker: int, start: Place) -> Stream:
        shared = memoryview(self.kd_shared).cast("B").cast("q")[4 * worker : 4 * worker + 4]
        weaver_arguments = {name: copy.deepcopy(self.__dict__[name]) for name in self._init_args}
        return Stream(key=(*self.kd_key, worker), start=start, shared=shared, **weaver_arguments)


class Follower:
    """A loader of weaver, not begun yet, whose jets come as the seed says.

    `epoch` is the first that is to come, `places` (one a worker) where the workers were at its beginning.
    """

    def __init__(
        self, loader: Loader, key: tuple[int, ...], epoch: int, places: Sequence[Sequence[int]] | None = None
    ) -> None:
        self.loader = loader
        self.workers = max(1, loader.num_workers)
        self.tasks = [0] * self.workers  # batches that each has been asked for
        dataset = loader.dataset
        dataset._init_file_dict = {group: sorted(files) for group, files in dataset._init_file_dict.items()}
        dataset.kd_key = key
        dataset.kd_passes = epoch - 1
        dataset.kd_starts = [Place(*place) for place in places] if places else [Place(epoch)] * self.workers
        dataset.kd_shared = multiprocessing.RawArray("q", 4 * self.workers)
        dataset.__class__ = Reproducible
        loader.generator = torch.Generator().manual_seed(key[0])  # the workers' seed: else drawn from the dropout's

    def places(self) -> list[list[int]] | None:
        """Where each worker will be at the beginning of the next epoch: called once at the end of an epoch.

        Workers go on with the batches that they have been asked for, which the loader then throws away.
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
