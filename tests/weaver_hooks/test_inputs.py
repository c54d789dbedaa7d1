"""Batches of jets: the same as those of torch's collation."""

from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map
from weaver.utils.dataset import DataConfig, _collate_awkward_array_fn

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import Gather, check_files
from kd_trainer.weaver_hooks.inputs import Jets

CONFIG = DataConfig(
    print_info=False, inputs={"pf": {"length": 5, "vars": ["a"]}, "teacher_logits": {"length": None, "vars": ["b"]}},
    labels={"type": "simple", "value": ["x", "y"]}, observers=["jet_pt"],
)  # fmt: skip


def table(jets, observer):
    """Jets that were read together, as weaver keeps them."""
    rng = np.random.default_rng(jets)
    shapes = {"_pf": (3, 5), "_teacher_logits": (4,)}
    inputs = {name: rng.normal(size=(jets, *shape)).astype("float32") for name, shape in shapes.items()}
    return {**inputs, "_label_": np.arange(jets), "jet_pt": observer(jets)}


def weavers(table, i):
    """A jet as weaver gives it."""
    iterator = Jets.__new__(Jets)
    iterator.table, iterator._data_config = table, CONFIG
    assert iterator.get_data(i) == (table, i)
    return super(Jets, iterator).get_data(i)


@pytest.mark.parametrize(
    "observer", [np.arange, lambda n: np.arange(n, dtype="float32"), lambda n: np.arange(n) % 2 == 0,
                 lambda n: ak.Array([[1.0, 2.0 + i] for i in range(n)])]
)  # fmt: skip
@pytest.mark.parametrize("rows", [[[3, 0, 3, 6]], [[5, 1], [0, 2, 2]], [[4], [4], [0, 1]]])
def test_a_batch_is_that_of_torch(observer, rows):
    """Whether its jets were read together or not."""
    jets = [(one, i) for one, numbers in zip([table(7, observer) for _ in rows], rows) for i in numbers]
    default_collate_fn_map[ak.Array] = _collate_awkward_array_fn  # as every dataset of weaver does
    expected = default_collate([weavers(*jet) for jet in jets])
    for ours, theirs in zip(Gather(CONFIG)(jets), expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert type(values) is type(theirs[name])
            assert values.tolist() == theirs[name].tolist()
            assert isinstance(values, ak.Array) or values.dtype == theirs[name].dtype


def test_changing_a_batch_changes_no_jet():
    jets = table(2, np.arange)
    before = jets["_pf"].copy()
    Gather(CONFIG)([(jets, 0), (jets, 1)])[0]["pf"].zero_()
    np.testing.assert_array_equal(jets["_pf"], before)


@pytest.mark.parametrize("group, name", [("QCD", " of QCD"), ("_", "")])
def test_more_processes_than_files_are_refused(group, name):
    """Weaver itself would fail with `AssertionError` in a process of the loader."""
    loader = SimpleNamespace(num_workers=2, dataset=SimpleNamespace(_init_file_dict={group: ["QCD_000.root"]}))
    line = f"2 processes of the loader cannot share 1 training file{name}: give --num-workers 1"
    with pytest.raises(InputError, match=f"^{line}$"):
        check_files(loader, "training")
