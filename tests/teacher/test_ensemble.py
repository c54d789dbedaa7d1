import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from kd_trainer.teacher.ensemble import Ensemble, combined, grouped
from kd_trainer.teacher.soft_targets import SoftTargets

GROUPS = [[3, 0], [1], [2, 4, 5]]  # class 6 is ignored


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return [20 * torch.randn(40, 7, generator=generator) + 5 * i for i in range(3)]


def test_grouped_probabilities_are_sums(logits):
    p = softmax(logits[0].numpy().astype(np.float64), axis=1)
    sums = np.stack([p[:, columns].sum(axis=1) for columns in GROUPS], axis=1)
    ours = grouped(logits[0], GROUPS)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.exp(), sums / sums.sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(ours.exp().sum(dim=1), 1, rtol=1e-6)


def test_groups_of_which_no_probability_is_left_in_fp32():
    logits = torch.tensor([[0.0, -300.0, -301.0, -900.0], [1e4, 0.0, 1e4, -1e4]])
    ours = grouped(logits, [[0], [1, 2], [3]])
    rows = logits.numpy().astype(np.float64)
    expected = np.stack([logsumexp(rows[:, columns], axis=1) for columns in ([0], [1, 2], [3])], axis=1)
    np.testing.assert_allclose(ours, expected - logsumexp(rows, axis=1, keepdims=True), rtol=1e-6, atol=1e-30)


def test_mean_of_probabilities_and_of_logits(logits):
    probabilities = combined(logits, "probabilities")
    torch.testing.assert_close(probabilities.exp(), torch.stack([z.softmax(dim=1) for z in logits]).mean(dim=0))
    mean = torch.stack(logits).mean(dim=0)
    torch.testing.assert_close(combined(logits, "logits"), mean - mean.mean(dim=1, keepdim=True))
    for what in ("probabilities", "logits"):
        same = combined([logits[0]] * 3, what).softmax(dim=1)
        torch.testing.assert_close(same, logits[0].softmax(dim=1))


class Fixed:
    """A teacher with the same output for every jet."""

    def __init__(self, output, classes):
        self.output, self.classes, self.input_names, self.description = output, classes, ["x"], "a teacher"

    def __call__(self, X, device):
        return SoftTargets(*(part.expand(len(X["teacher_x"]), -1) for part in self.output))


def test_each_teacher_is_grouped_before_they_are_averaged(logits):
    rows = [z[:1] for z in logits]
    X = {"teacher_x": torch.zeros(3, 1), "x": None}
    for what in ("probabilities", "logits"):
        ensemble = Ensemble([Fixed([row], 7) for row in rows], what, GROUPS)
        expected = combined([grouped(row, GROUPS) for row in rows], what)
        torch.testing.assert_close(ensemble(X, "cpu").logits, expected.expand(3, -1))
        assert f"; mean of their {what}; 6 of 7 classes in 3 groups" in ensemble.description


def test_one_teacher_is_itself_and_its_embedding_is_in_no_group(logits):
    X = {"teacher_x": torch.zeros(2, 1)}
    alone = Ensemble([Fixed([logits[0][:1]], 7)], "logits", None)(X, "cpu")
    assert torch.equal(alone.logits, logits[0][:1].expand(2, -1)) and alone.embedding is None
    with_embedding = Fixed([logits[0][:1], torch.arange(4.0)[None]], 7)
    output = Ensemble([with_embedding], "logits", GROUPS)(X, "cpu")
    torch.testing.assert_close(output.logits, grouped(logits[0][:1], GROUPS).expand(2, -1))
    assert output.embedding.tolist() == [[0, 1, 2, 3]] * 2
