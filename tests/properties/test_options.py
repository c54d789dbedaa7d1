"""Options of any kind and value: those that pass are in range, all others end in a line that names the option."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kd_trainer.arguments import parse_options
from kd_trainer.distill.losses import kd_loss
from kd_trainer.distill.options import Options
from kd_trainer.distill.schedule import Schedule
from kd_trainer.errors import InputError
from kd_trainer.pretrain.options import Options as Contrastive
from kd_trainer.study import entries
from kd_trainer.study.variables import expand

GIVEN = {"student": "n.py", "teacher": "t.py", "teacher_weights": "t.pt"}
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["no", "kl", "²"])
)
VALUES = st.recursive(
    SCALARS,
    lambda x: st.lists(x, max_size=3) | st.tuples(x, x) | st.dictionaries(st.text(max_size=2), x, max_size=2),
    max_leaves=6,
)
TYPED = ("student", "encoder", "pretrained", "kd_cache", "kd_unlabelled")  # paths: looked at where they are opened


def names_of(kind):
    return [field.name for field in dataclasses.fields(kind) if not field.name.startswith(TYPED)]


@pytest.mark.parametrize("kind, given_", [(Options, GIVEN), (Contrastive, {"encoder": "n.py"})])
@given(st.data(), st.lists(VALUES, min_size=1, max_size=3))
def test_in_range_or_a_line(kind, given_, data, values):
    names = data.draw(
        st.lists(st.sampled_from(names_of(kind)), min_size=len(values), max_size=len(values), unique=True)
    )
    try:
        options, network = kind.split({**given_, **dict(zip(names, values)), "width": 3})
    except InputError as error:
        assert "\n" not in str(error) and any(name.split("_")[0] in str(error) for name in names), str(error)
        return
    assert network == {"width": 3} and (options.seed is None or 0 <= options.seed < 2**32)
    for field in dataclasses.fields(kind):
        value = getattr(options, field.name)
        assert not isinstance(value, float) or math.isfinite(value), field.name
        assert field.type not in (int, float) or type(value) in (int, float), field.name
    if kind is Options:
        alphas, temperatures = (Schedule(n, getattr(options, n)) for n in ("kd_alpha", "kd_temperature"))
        assert all(0 <= alphas(epoch) <= 1 and temperatures(epoch) > 0 for epoch in (0, 1, 7, 10**6))
        assert 0 <= options.kd_label_smoothing < 1 and 0 <= options.kd_ema < 1 and options.kd_memory >= 0


@given(st.dictionaries(st.integers(0, 50), st.floats(-5, 5), min_size=1, max_size=5))
def test_a_schedule_goes_through_its_points(points):
    schedule = Schedule("x", sorted(points.items()))
    assert all(schedule(epoch) == value for epoch, value in points.items())
    for epoch in range(-1, 60):
        assert min(points.values()) - 1e-9 <= schedule(epoch) <= max(points.values()) + 1e-9
    first, last = min(points), max(points)
    assert schedule(last + 9) == points[last] and (schedule(first - 1) == points[first])


@given(st.lists(st.tuples(st.text(max_size=4), st.text("([{'\",1a:}])-+*. \n", max_size=8)), max_size=3))
def test_options_of_the_command_line(given_):
    try:
        parse_options(given_)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", entries.READERS)
@given(st.data())
def test_entries_of_a_study(kind, data):
    entry = data.draw(VALUES | st.dictionaries(st.sampled_from([*entries.READERS[kind], "other"]), VALUES, max_size=3))
    try:
        found = entries.read(kind, "here", entry)
    except InputError as error:
        assert "\n" not in str(error) or "\n" in str(entry)
    else:
        assert found.keys() <= entry.keys() and all(type(seed) is int for seed in found.get("seeds", ()))


def test_digits_that_are_no_numbers():
    with pytest.raises(InputError, match="here must be whole numbers"):
        entries.seeds(["²"], "here")


@given(st.text("$a{}*/2 ", max_size=8), st.sampled_from(["5", "²", "", "x", "-1"]))
def test_variables_of_a_study(text, value):
    try:
        found = expand({"x": [text, 1]}, {"a": value})
    except InputError:
        return
    assert found["x"][1] == 1 and ("$" in text or found["x"][0] == text)


@given(st.integers(2, 6), st.integers(0, 99))
def test_losses_are_not_negative_and_vanish_for_equals(classes, seed):
    torch.manual_seed(seed)
    ours, theirs = 5 * torch.randn(2, 7, classes, dtype=torch.float64)
    for temperature in (0.5, 1, 4):
        loss = kd_loss(student_logits=ours, teacher_logits=theirs, temperature=temperature)
        itself = kd_loss(student_logits=ours + 3, teacher_logits=ours, temperature=temperature)
        p, q = ((z / temperature).softmax(dim=1) for z in (theirs, ours))
        assert loss.item() == pytest.approx(temperature**2 * (p * (p / q).log()).sum().item() / 7) and loss >= 0
        assert abs(itself.item()) < 1e-12
