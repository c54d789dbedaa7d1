"""Batches of jets: the same as those of torch's collation."""

from types import SimpleNamespace

import awkward as ak
import numpy as np
import pytest
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map
from weaver.utils.dataset import DataConfig, _collate_awkward_array_fn, _SimpleIter

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
    return _SimpleIter.get_data(SimpleNamespace(table=table, _data_config=CONFIG), i)


@pytest.mark.parametrize(
    "observer", [np.arange, lambda n: np.arange(n, dtype="float32"), lambda n: np.arange(n) % 2 == 0,
                 lambda n: ak.Array([[1.0, 2.0 + i] for i in range(n)])]
)  # fmt: skip
@pytest.mark.parametrize("rows", [[[3, 0, 3, 6]], [[5, 1], [0, 2, 2]], [[4], [4], [0, 1]]])
def test_a_batch_is_that_of_torch(observer, rows):
    """Whether its jets were read together or not."""
    tables = [table(7, observer) for _ in rows]
    jets = [(one, i) for one, numbers in zip(tables, rows) for i in numbers]
    default_collate_fn_map[ak.Array] = _collate_awkward_array_fn  # as every dataset of weaver does
    expected = default_collate([weavers(*jet) for jet in jets])
    for ours, theirs in zip(Gather(CONFIG)(list(zip(tables, map(np.array, rows)))), expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert type(values) is type(theirs[name])
            assert values.tolist() == theirs[name].tolist()
            assert isinstance(values, ak.Array) or values.dtype == theirs[name].dtype


def test_changing_a_batch_changes_no_jet():
    jets = table(2, np.arange)
    before = jets["_pf"].copy()
    Gather(CONFIG)([(jets, np.array([0, 1]))])[0]["pf"].zero_()
    np.testing.assert_array_equal(jets["_pf"], before)


class Chunks(_SimpleIter):
    """Weaver's iterator over chunks of jets that need no files."""

    def __init__(self, *chunks):
        self.filelist, self.indices, self.cursor, self._async_load = ["a"], [], 0, False
        self._in_memory, self.chunks = False, iter(chunks)
        self._try_get_next()

    def __iter__(self):
        return self

    def _try_get_next(self, init=False):
        self.prefetch = next(self.chunks, None)


class Batches(Jets, Chunks):
    batch_size = 4


@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_have_the_jets_of_weaver_in_its_order(drop_last):
    """Batches that end within a chunk, at its end, in the next but one; a chunk without jets; an incomplete batch."""
    orders = [np.random.default_rng(size).permutation(size) for size in (6, 2, 0, 1, 5)]
    chunks = [({"number": 100 * i}, order) for i, order in enumerate(orders)]
    found = Batches(*chunks)
    found.drop_last = drop_last
    batches = [[table["number"] + i for table, rows in parts for i in rows] for parts in found]
    every = [table["number"] + i for table, rows in chunks for i in rows]
    assert batches == [every[i : i + 4] for i in range(0, 12 if drop_last else 14, 4)]


@pytest.mark.parametrize("group, name", [("QCD", " of QCD"), ("_", "")])
def test_more_processes_than_files_are_refused(group, name):
    """Weaver itself would fail with `AssertionError` in a process of the loader."""
    loader = SimpleNamespace(num_workers=2, dataset=SimpleNamespace(_init_file_dict={group: ["QCD_000.root"]}))
    line = f"2 processes of the loader cannot share 1 training file{name}: give --num-workers 1"
    with pytest.raises(InputError, match=f"^{line}$"):
        check_files(loader, "training")
