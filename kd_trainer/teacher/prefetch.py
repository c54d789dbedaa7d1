"""Teacher and student in parallel: a GPU computes the soft targets of the next batch while the student trains."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch

from kd_trainer.teacher.soft_targets import SoftTargets, SoftTargetSource

Batch = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Any]  # X, y, Z of a loader
A = TypeVar("A")
B = TypeVar("B")


def with_soft_targets(
    batches: Iterable[Batch], teacher: SoftTargetSource, device: torch.device
) -> Iterator[tuple[Batch, SoftTargets]]:
    """Yield each batch of a loader with the teacher's soft targets.

    On a CPU the teacher is evaluated when the batch is needed. On a GPU the next batch is started before the current
    one is yielded, in a separate stream, so its kernels run in parallel to the student's step.
    """
    if device.type != "cuda":
        for batch in batches:
            yield batch, teacher(batch[0], device)
        return
    side = torch.cuda.Stream(device)

    def start(batch: Batch) -> tuple[Batch, SoftTargets, torch.cuda.Event]:
        side.wait_stream(torch.cuda.current_stream(device))  # the loader may have put inputs on the GPU
        with torch.cuda.stream(side):
            return batch, teacher(batch[0], device), side.record_event()

    for batch, targets, done in one_ahead(start, batches):
        student = torch.cuda.current_stream(device)
        student.wait_event(done)
        for tensor in targets:
            if tensor is not None:
                tensor.record_stream(student)  # its memory is not reused before the student has read it
        yield batch, targets


def one_ahead(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield function(item) for each item; the function is called for the next item before the result is yielded."""
    waiting = []
    for item in items:
        waiting.append(function(item))
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting
