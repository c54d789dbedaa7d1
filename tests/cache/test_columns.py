import awkward as ak
import pyarrow as pa
import pytest
import torch

from kd_trainer.cache.columns import Layout
from kd_trainer.configs import cached
from kd_trainer.errors import InputError


def read_back(layout, logits):
    """As weaver's loader hands the columns over."""
    jets = ak.from_arrow(pa.table(layout.columns(logits)))
    assert list(layout.groups()) == jets.fields
    X = {name: torch.tensor(ak.to_numpy(ak.values_astype(jets[name], "float32"))) for name in jets.fields}
    return layout.logits(X)


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return 4 * torch.randn(50, 188) + 100


def test_all_logits_are_kept_but_for_a_constant(logits):
    exact = read_back(Layout(188, dtype="float32"), logits)
    assert torch.equal(exact, logits - logits.amax(dim=1, keepdim=True))
    rounded = read_back(Layout(188), logits)
    torch.testing.assert_close(rounded.softmax(dim=1), logits.softmax(dim=1), rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("top", [1, 5, 187])
def test_the_largest_logits_and_the_mass_of_the_others(logits, top):
    p, q = logits.softmax(dim=1), read_back(Layout(188, top, "float32"), logits).softmax(dim=1)
    values, classes = p.topk(top)
    torch.testing.assert_close(q.gather(1, classes), values, rtol=1e-4, atol=1e-6)
    others = q.scatter(1, classes, float("nan"))
    for row in others:
        row = row[~row.isnan()]
        assert len(row) == 188 - top
        torch.testing.assert_close(row, row.mean().expand_as(row))


def test_two_hundred_and_more_classes(logits):
    logits = torch.cat([logits, logits + 1], dim=1)
    assert read_back(Layout(376, 3), logits).argmax(dim=1).tolist() == logits.argmax(dim=1).tolist()


def test_hopeless_classes_do_not_become_infinite():
    logits = torch.tensor([[0.0, -1e6, -3e38], [1e6, 0, 0]])
    assert torch.isfinite(read_back(Layout(3), logits)).all()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Layout(10, 10), "the 10 largest of 10 logits"),
        (lambda: Layout(10, -1), "the -1 largest of 10 logits"),
        (lambda: Layout(10, 0, "int8"), "stored as float16 or float32, not int8"),
        (lambda: Layout(3).columns(torch.tensor([[0, 1, float("nan")]])), "not finite"),
        (lambda: Layout(3).columns(torch.zeros(2, 4)), "the teacher gives 4 classes, the data config has 3"),
    ],
)
def test_what_cannot_be_stored(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_cached_config_is_the_students_with_the_groups():
    paired = {
        "treename": "tree",
        "selection": "jet_pt > 0",
        "new_variables": {"a": "b", "teacher_a": "c"},
        "preprocess": {"method": "manual", "params": {"a": {"length": 2}, "teacher_a": {"length": 3}}},
        "inputs": {"pf": {"length": 2, "vars": [["a", None]]}, "teacher_pf": {"length": 3, "vars": [["teacher_a"]]}},
        "labels": {"type": "simple", "value": ["x", "y"]},
    }
    config = cached(paired, Layout(2).groups())
    assert config["new_variables"] == {"a": "b"} and config["selection"] == "jet_pt > 0" and "treename" not in config
    assert list(config["inputs"]) == ["pf", "teacher_logits"]
    assert list(config["preprocess"]["params"]) == ["a", "teacher_logits"]
    assert config["preprocess"]["params"]["teacher_logits"]["center"] is None
    assert "teacher_a" in paired["new_variables"]
