import math

import pytest
import torch

from kd_trainer.distill import relations
from kd_trainer.distill.losses import EMBED_LOSSES

LINE = torch.tensor([[0.0], [1.0], [3.0]])  # distances 1, 2, 3; mean 2
TRIANGLE = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])  # distances 3, 4, 5; mean 4


@pytest.fixture
def embeddings():
    torch.manual_seed(2)
    return torch.randn(7, 5), torch.randn(7, 9)


def orthogonal(width):
    return torch.linalg.qr(torch.randn(width, width, dtype=torch.float64))[0].float()


def test_distances_in_closed_form():
    pairs = [(1 / 2, 3 / 4), (3 / 2, 4 / 4), (2 / 2, 5 / 4)]  # of jets 0 1, 0 2, 1 2
    expected = sum((a - b) ** 2 / 2 for a, b in pairs) / 3
    assert relations.distance_loss(LINE, TRIANGLE).item() == pytest.approx(expected)


def test_angles_in_closed_form():
    line = [-1, 1, 1]  # cosines at jets 1, 0, 2
    triangle = [3 / 5, 0, 4 / 5]
    huber = [d * d / 2 if d <= 1 else d - 0.5 for d in (abs(a - b) for a, b in zip(line, triangle))]
    assert relations.angle_loss(LINE, TRIANGLE).item() == pytest.approx(sum(huber) / 3)
    both = relations.distance_loss(LINE, TRIANGLE) + 2 * relations.angle_loss(LINE, TRIANGLE)
    assert EMBED_LOSSES["rkd"](LINE, TRIANGLE).item() == pytest.approx(both.item())


def test_angles_of_some_jets_of_the_whole_batch(embeddings, monkeypatch):
    student, teacher = embeddings
    all_angles = relations.angle_loss(student, teacher)
    monkeypatch.setattr(relations, "ANGLED", 4)
    some = relations.angle_loss(student, teacher)
    rows = [i * len(student) // 4 for i in range(4)]  # those with labels come first in a batch: not these alone
    assert torch.equal(some, relations.angle_loss(student[rows], teacher[rows])) and some != all_angles


def test_similarity_in_closed_form():
    a = torch.tensor([[1.0, 0.0], [1.0, 1.0]])  # Gram matrix 1 1, 1 2
    b = torch.tensor([[2.0], [0.0]])  # 4 0, 0 0: the second row has no direction
    first = (1 / math.sqrt(2) - 1) ** 2 + 1 / 2
    assert EMBED_LOSSES["similarity"](a, b).item() == pytest.approx((first + 1) / 2)


@pytest.mark.parametrize("name", relations.RELATIONAL)
def test_what_the_losses_do_not_feel(embeddings, name):
    student, teacher = embeddings
    loss = EMBED_LOSSES[name]
    value = loss(student, teacher)
    assert value > 0.01 and loss(student, student) == 0
    turned = 3 * student @ orthogonal(5)
    torch.testing.assert_close(loss(turned, teacher), value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss(student, teacher @ orthogonal(9) / 7), value, rtol=1e-4, atol=1e-6)
    padded = torch.nn.functional.pad(student, (0, 4))  # another width
    torch.testing.assert_close(loss(padded, student), torch.tensor(0.0), rtol=0, atol=1e-6)
    order = torch.randperm(7)
    torch.testing.assert_close(loss(student[order], teacher[order]), value)
    moved = loss(student + 5, teacher)
    assert torch.allclose(moved, value, rtol=1e-3) == (name == "rkd")


@pytest.mark.parametrize("name", relations.RELATIONAL)
@pytest.mark.parametrize("jets", [1, 2, 5])
def test_gradients_of_equal_zero_and_few_jets_are_finite(name, jets):
    torch.manual_seed(1)
    teacher = torch.randn(jets, 3)
    for student in (torch.zeros(jets, 2), torch.ones(jets, 2), torch.randn(jets, 2)):
        student.requires_grad_()
        loss = EMBED_LOSSES[name](student, teacher)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(student.grad).all() and student.grad.abs().max() < 10


@pytest.mark.parametrize("name", relations.RELATIONAL)
def test_gradients_are_those_of_differences(embeddings, name):
    student, teacher = (x.double() for x in embeddings)
    assert torch.autograd.gradcheck(lambda x: EMBED_LOSSES[name](x, teacher), student.requires_grad_())
