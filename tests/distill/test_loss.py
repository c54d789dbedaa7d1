import pytest
import torch

from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.losses import agreement, kd_loss
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(6, 3)


def test_loss_is_the_weighted_sum(batch):
    logits, labels, targets = batch
    loss_func = DistillationLoss(alpha=0.3, temperature=2.0)
    loss_func.soft_targets = SoftTargets(targets)
    soft = kd_loss(student_logits=logits, teacher_logits=targets, temperature=2.0)
    expected = 0.7 * torch.nn.functional.cross_entropy(logits, labels) + 0.3 * soft
    torch.testing.assert_close(loss_func(logits, labels), expected)
    assert loss_func.means() == pytest.approx(
        {
            "task_loss": torch.nn.functional.cross_entropy(logits, labels).item(),
            "kd_loss": soft.item(),
            "agreement": agreement(logits, targets).item(),
        }
    )


def test_alpha_zero_has_exactly_the_gradient_of_cross_entropy(batch):
    logits, labels, targets = batch
    gradients = []
    loss_func = DistillationLoss(alpha=0.0, temperature=3.0)
    loss_func.soft_targets = SoftTargets(targets)
    for criterion in (loss_func, torch.nn.CrossEntropyLoss()):
        x = logits.clone().requires_grad_()
        criterion(x, labels).backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_evaluation_is_plain_cross_entropy_without_soft_targets(batch):
    logits, labels, _ = batch
    loss_func = DistillationLoss(alpha=0.9, temperature=3.0).eval()
    assert torch.equal(loss_func(logits, labels), torch.nn.functional.cross_entropy(logits, labels))


def test_soft_targets_serve_one_batch_only(batch):
    logits, labels, targets = batch
    loss_func = DistillationLoss(alpha=0.5, temperature=3.0)
    loss_func.soft_targets = SoftTargets(targets)
    loss_func(logits, labels)
    with pytest.raises(InputError, match="has no soft targets"):
        loss_func(logits, labels)


def test_teacher_with_other_classes_is_refused(batch):
    logits, labels, _ = batch
    loss_func = DistillationLoss(alpha=0.5, temperature=3.0)
    loss_func.soft_targets = SoftTargets(torch.zeros(6, 5))
    with pytest.raises(InputError, match="teacher gives 5 classes for 6 jets, the student 3 for 6"):
        loss_func(logits, labels)


def test_nan_names_epoch_and_batch(batch):
    logits, labels, targets = batch
    loss_func = DistillationLoss(alpha=0.5, temperature=3.0)
    loss_func.start_epoch(4)
    loss_func.soft_targets = SoftTargets(targets)
    loss_func(logits, labels)
    loss_func.soft_targets = SoftTargets(targets)
    with pytest.raises(InputError, match="epoch 4, batch 1"):
        loss_func(logits * float("nan"), labels)


def test_another_task_loss_takes_the_place_of_cross_entropy(batch):
    logits, labels, _ = batch
    loss_func = DistillationLoss(alpha=0.0, temperature=1.0, task_loss=torch.nn.MultiMarginLoss(), needs_teacher=False)
    assert torch.equal(loss_func(logits, labels), torch.nn.MultiMarginLoss()(logits, labels))


def test_half_precision_logits_are_compared_in_fp32(batch):
    logits, labels, targets = batch
    loss_func = DistillationLoss(alpha=0.5, temperature=3.0)
    loss_func.soft_targets = SoftTargets(targets.bfloat16())
    assert loss_func(logits.bfloat16(), labels).dtype == torch.float32
