"""A prefetching teacher and one with a memory: both give the outputs of the teacher."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from kd_trainer.teacher.memory import ENTRY, RememberingTeacher
from kd_trainer.teacher.prefetch import one_ahead, with_soft_targets
from kd_trainer.teacher.soft_targets import SoftTargets

BATCHES = [({"teacher_x": torch.full((2, 1, 1), float(i))}, {"y": i}, {}) for i in range(4)]


def test_one_ahead():
    log = []
    for result in one_ahead(lambda item: log.append(f"start {item}") or item, [1, 2, 3]):
        log.append(f"use {result}")
    assert log == ["start 1", "start 2", "use 1", "start 3", "use 2", "use 3"]
    assert list(one_ahead(str, [])) == [] and list(one_ahead(str, [1])) == ["1"]


class Teacher:
    """A teacher that doubles its input and records the calls."""

    input_names, description = ["x"], "a teacher"

    def __init__(self):
        self.asked = []

    def __call__(self, X, device):
        self.asked.append(X["teacher_x"].flatten().tolist())
        return SoftTargets(2 * X["teacher_x"][:, :, 0], -X["teacher_x"][:, :, 0])


def test_on_a_cpu_the_teacher_is_asked_when_a_batch_is_due():
    teacher = Teacher()
    for number, (batch, targets) in enumerate(with_soft_targets(BATCHES, teacher, torch.device("cpu"))):
        assert len(teacher.asked) == number + 1
        assert batch is BATCHES[number] and targets.logits.tolist() == [[2 * number]] * 2


@pytest.fixture
def cuda(monkeypatch):
    """A stand-in for torch.cuda that records the calls."""
    log = []

    class Stream:
        def __init__(self, name):
            self.name = name

        def wait_stream(self, other):
            log.append(f"{self.name} waits for {other.name}")

        def wait_event(self, event):
            log.append(f"{self.name} waits for {event}")

        def record_event(self):
            done = sum("asked" in line for line in log)
            return f"targets {done - 1}"

    current = [Stream("main")]

    @contextmanager
    def stream(other):
        current.append(other)
        yield
        current.pop()

    for name, fake in {"Stream": lambda device: Stream("side"), "stream": stream,
                       "current_stream": lambda device: current[-1]}.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)

    def teacher(X, device):
        number = int(X["teacher_x"][0])
        log.append(f"asked for {number} on {current[-1].name}")
        return SoftTargets(SimpleNamespace(record_stream=lambda stream: log.append(f"{number} is {stream.name}'s")))

    return log, teacher


def test_on_a_gpu_the_teacher_is_one_batch_ahead_on_its_own_stream(cuda):
    """No GPU runs this: it is the order of calls that is tested."""
    log, teacher = cuda
    for batch, _ in with_soft_targets(BATCHES[:3], teacher, SimpleNamespace(type="cuda")):
        log.append(f"student {batch[1]['y']}")
    asked = [["side waits for main", f"asked for {i} on side"] for i in range(3)]
    used = [[f"main waits for targets {i}", f"{i} is main's", f"student {i}"] for i in range(3)]
    assert log == [*asked[0], *asked[1], *used[0], *asked[2], *used[1], *used[2]]


def test_memory_asks_for_each_jet_once_and_keeps_the_order():
    teacher = Teacher()
    memory = RememberingTeacher(teacher, 1e6)
    for values in ([1, 2, 3], [4, 3, 5, 1], [5, 4, 3, 2, 1]):
        X = {"teacher_x": torch.tensor(values, dtype=torch.float32).view(-1, 1, 1), "x": None}
        logits, embedding = memory(X, "cpu")
        assert logits.tolist() == [[2 * value] for value in values] == (-2 * embedding).tolist()
    assert teacher.asked == [[1, 2, 3], [4, 5]]


def test_memory_has_an_end():
    teacher = Teacher()
    memory = RememberingTeacher(teacher, 2 * (8 + ENTRY))  # two rows of eight bytes
    for values in ([1], [2], [3], [3], [1, 2]):
        memory({"teacher_x": torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)}, "cpu")
    assert teacher.asked == [[1], [2], [3], [3]]


def test_memory_is_kept_and_taken_up_again():
    memory = RememberingTeacher(Teacher(), 1e6)
    assert memory.state_dict() == {}
    X = {"teacher_x": torch.tensor([1.0, 2.0]).view(-1, 1, 1)}
    expected = memory(X, "cpu")
    teacher = Teacher()
    again = RememberingTeacher(teacher, 1e6)
    again.load_state_dict(memory.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(again(X, "cpu"), expected)) and not teacher.asked
    again.load_state_dict({})
    again(X, "cpu")
    assert teacher.asked == [[1, 2]]
