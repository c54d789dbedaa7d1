import math

import pytest
import torch
import torch.nn.functional as F

from kd_trainer.distill import losses
from kd_trainer.distill.loss import DistillationLoss
from kd_trainer.distill.losses import NOT_FOR_TWO, agreement, check_classes, kd_loss, soft_target_loss
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.teacher.soft_targets import SoftTargets

SOFT = [name for name in losses.LOSSES if name != "none"]


@pytest.fixture
def batch():
    """Student, teacher (8, 5) and labels."""
    torch.manual_seed(0)
    student, teacher = (2 * torch.randn(8, 5, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.arange(8) % 5


def value(name, batch, temperature=2.0, **options):
    student, teacher, labels = batch
    loss = soft_target_loss(name, options)
    return loss(student_logits=student, teacher_logits=teacher, labels=labels, temperature=temperature)


def test_kd_loss_closed_form_for_two_classes():
    # logits (0, 0) against (T ln 3, 0) at temperature T: KL((3/4, 1/4) || (1/2, 1/2)) = ln 2 - H(3/4, 1/4)
    temperature = 2.0
    student = torch.zeros(5, 2)
    teacher = torch.tensor([[temperature * math.log(3.0), 0.0]]).expand(5, 2)
    divergence = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    loss = kd_loss(student_logits=student, teacher_logits=teacher, temperature=temperature)
    assert loss.item() == pytest.approx(temperature**2 * divergence, rel=1e-6)


def test_kd_loss_is_not_symmetric(batch):
    student, teacher, labels = batch
    assert abs(value("kl", batch) - value("kl", (teacher, student, labels))) > 1e-3


def test_kd_gradient_at_high_temperature_is_the_difference_of_centred_logits():
    # arXiv 1503.02531, eq. 4: T^2 dKL/dz -> (z - v) / K per jet for zero-mean logits
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 4, dtype=torch.float64)
    student, teacher = student - student.mean(), teacher - teacher.mean()
    student.requires_grad_()
    kd_loss(student_logits=student, teacher_logits=teacher, temperature=1e4).backward()
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 4, rtol=1e-3, atol=1e-6)


def test_agreement():
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[2.0, 1.0], [3.0, 1.0], [1.0, 0.5], [0.0, 0.5]])
    assert agreement(a, b).item() == 0.5


def test_decoupled_loss_closed_form():
    # teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3), target 0, T = 1
    teacher = torch.tensor([[0.5, 0.25, 0.25]]).log()
    student = torch.zeros(1, 3)
    of_target = 0.5 * math.log(0.5 / (1 / 3)) + 0.5 * math.log(0.5 / (2 / 3))
    batch = student, teacher, torch.tensor([0])
    assert value("dkd", batch, 1.0, target=3.0, non_target=5.0).item() == pytest.approx(3 * of_target, rel=1e-5)
    # target 2: the others are (2/3, 1/3) for the teacher, (1/2, 1/2) for the student
    of_target = 0.25 * math.log(0.25 / (1 / 3)) + 0.75 * math.log(0.75 / (2 / 3))
    of_others = 2 / 3 * math.log(2 / 3 / 0.5) + 1 / 3 * math.log(1 / 3 / 0.5)
    batch = student, teacher, torch.tensor([2])
    expected = 3 * of_target + 5 * of_others
    assert value("dkd", batch, 1.0, target=3.0, non_target=5.0).item() == pytest.approx(expected, rel=1e-5)
    assert value("dkd", batch, 1.0).item() == pytest.approx(of_target + 8 * of_others, rel=1e-5)


def test_decoupled_parts_add_up_to_kd(batch):
    # arXiv 2203.08679, eq. 6: KL = TCKD + (1 - p_t) NCKD, jet by jet
    temperature = 2.0
    for row in zip(*(x.split(1) for x in batch)):
        p_target = (row[1] / temperature).softmax(dim=1)[0, row[2]].item()
        both = value("dkd", row, temperature, target=1.0, non_target=1 - p_target)
        torch.testing.assert_close(both, value("kl", row, temperature))


def test_standardised_loss_does_not_feel_the_size_of_logits(batch):
    student, teacher, labels = batch
    assert value("standardised", (5 * teacher + 3, teacher, labels)).item() == pytest.approx(0, abs=1e-7)
    z = [(x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True) for x in (student, teacher)]
    torch.testing.assert_close(value("standardised", batch, 2.5), value("kl", (*z, labels), 2.5), rtol=1e-6, atol=0)


def test_correlation_loss_is_pearsons(batch):
    student, teacher, _ = batch
    p, q = (student / 2).softmax(1), (teacher / 2).softmax(1)
    over_classes = torch.stack([torch.corrcoef(torch.stack(rows))[0, 1] for rows in zip(p, q)]).mean()
    over_jets = torch.stack([torch.corrcoef(torch.stack(rows))[0, 1] for rows in zip(p.T, q.T)]).mean()
    expected = 4 * (3 * (1 - over_classes) + 5 * (1 - over_jets))
    torch.testing.assert_close(value("dist", batch, 2.0, inter=3.0, intra=5.0), expected)


def test_mse_is_the_limit_of_kl(batch):
    torch.testing.assert_close(value("mse", batch), value("kl", batch, 1e5), rtol=1e-4, atol=0)
    two = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]), torch.tensor([0])
    assert value("mse", two).item() == pytest.approx(2.0)  # centred (1/2, -1/2) and (-3/2, 3/2)


@pytest.mark.parametrize("name", SOFT)
def test_every_loss_is_zero_for_the_teacher_itself_and_a_mean_and_knows_no_constants(name, batch):
    student, teacher, labels = batch
    assert value(name, (teacher + 3.0, teacher, labels)).item() == pytest.approx(0, abs=1e-6)
    assert value(name, batch).item() > 1e-3
    constants = torch.randn(8, 1, dtype=torch.float64)
    cached = (student + constants, teacher - teacher.amax(dim=1, keepdim=True), labels)
    torch.testing.assert_close(value(name, cached), value(name, batch))
    twice = tuple(torch.cat([x, x]) for x in batch)
    torch.testing.assert_close(value(name, twice), value(name, batch))


@pytest.mark.parametrize("name", SOFT)
@pytest.mark.parametrize("logits", [torch.zeros(4, 5), 1e4 * torch.eye(5)[:4], 1e-6 * torch.ones(1, 5)])
def test_every_gradient_is_finite(name, logits):
    student = logits.clone().requires_grad_()
    labels = torch.arange(len(logits))
    loss = value(name, (student, -logits, labels), 1.0) + value(name, (student, torch.zeros_like(logits), labels), 1.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


def test_none_learns_nothing_of_the_soft_targets(batch):
    assert value("none", batch).item() == 0


@pytest.mark.parametrize("name", NOT_FOR_TWO)
def test_losses_that_mean_nothing_for_two_classes(name):
    with pytest.raises(InputError, match=f"kd_loss '{name}' is not for two classes: .*; use 'kl' or 'mse'"):
        check_classes(name, 2)
    check_classes(name, 3)
    check_classes("mse", 2)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("huber", {}, f"kd_loss is 'huber': valid are {', '.join(losses.LOSSES)}"),
        ("dkd", {"beta": 8.0}, "the loss dkd has no option 'beta': valid are target, non_target"),
        ("kl", {"target": 8.0}, "the loss kl has no option 'target': it has no options"),
        ("dist", {"intra": -1}, "intra is -1: it must be a number, 0 or above"),
        ("dist", {"intra": "1"}, "intra is '1': it must be a number"),
        ("dkd", {"target": math.nan}, "kd_loss_options: target is nan: it must be a number, 0 or above"),
        ("dkd", {"target": math.inf}, "kd_loss_options: target is inf: it must be a number, 0 or above"),
    ],
)
def test_unknown_losses_and_options(name, options, message):
    with pytest.raises(InputError, match=message):
        soft_target_loss(name, options)


def test_embedding_losses():
    a, b = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])
    assert losses.EMBED_LOSSES["cosine"](a, b).item() == pytest.approx((1 - 24 / 25 + 1) / 2)
    assert losses.EMBED_LOSSES["smooth_l1"](a, b).item() == pytest.approx((0.5 + 0.5 + 0.5 + 1.5) / 4)


def test_schedule_is_linear_between_its_points_and_constant_outside():
    schedule = Schedule("kd_alpha", [(2, 0.9), (4, 0.5), (5, 0.1)])
    assert [schedule(epoch) for epoch in range(8)] == pytest.approx([0.9, 0.9, 0.9, 0.7, 0.5, 0.1, 0.1, 0.1])
    assert str(schedule) == "0.9 in epoch 2, 0.5 in epoch 4, 0.1 in epoch 5"
    constant = Schedule("kd_alpha", 0.3)
    assert constant(0) == constant(100) == 0.3 and str(constant) == "0.3"


@pytest.mark.parametrize(
    "value, message",
    [
        ("0.5", "must be a number, or a schedule like"),
        ([], "must be a number, or a schedule"),
        ([0.9, 0.5], "must be a number, or a schedule"),
        ([(0, "x")], "must be a number, or a schedule"),
        (float("nan"), "must be a number, or a schedule"),
        ([(0, 0.9), (0, 0.5)], "its epochs must increase"),
        ([(-1, 0.9)], "its epochs must increase, from 0 or later"),
    ],
)
def test_bad_schedules(value, message):
    with pytest.raises(InputError, match=message):
        Schedule("kd_alpha", value)


def test_loss_follows_its_schedules(batch):
    student, teacher, labels = batch
    loss_func = DistillationLoss(alpha=[(0, 1.0), (2, 0.0)], temperature=[(0, 4), (2, 2)], kd_loss="mse")
    for epoch, (alpha, temperature) in enumerate([(1.0, 4), (0.5, 3), (0.0, 2)]):
        loss_func.start_epoch(epoch)
        loss_func.soft_targets = SoftTargets(teacher)
        expected = (1 - alpha) * F.cross_entropy(student, labels) + alpha * value("mse", batch)
        assert loss_func(student, labels).item() == pytest.approx(expected.item(), rel=1e-5)
        assert (loss_func.alpha, loss_func.temperature) == (alpha, temperature)


def test_label_smoothing_is_for_training_and_for_cross_entropy(batch):
    student, _, labels = batch
    loss_func = DistillationLoss(alpha=0.0, temperature=1.0, label_smoothing=0.1, needs_teacher=False)
    assert loss_func(student.float(), labels) == F.cross_entropy(student.float(), labels, label_smoothing=0.1)
    assert loss_func.eval()(student, labels) == F.cross_entropy(student, labels)
    for own in (torch.nn.MultiMarginLoss(), torch.nn.CrossEntropyLoss(weight=torch.ones(5))):
        with pytest.raises(InputError, match="the student's network file has its own loss"):
            DistillationLoss(alpha=0.0, temperature=1.0, task_loss=own, label_smoothing=0.1)
