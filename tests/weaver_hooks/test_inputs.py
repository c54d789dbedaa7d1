"""Batches of jets: the same as those of torch's collation."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from kd_trainer.errors import InputError
from kd_trainer.weaver_hooks import check_files, collate


def jets(number, observer=lambda i: np.float32(i)):
    rng = np.random.default_rng(0)
    shapes = {"pf_features": (3, 5), "teacher_logits": 4}
    return [
        (
            {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()},
            {"_label_": np.int64(i)},
            {"jet_pt": observer(i)},
        )
        for i in range(number)
    ]


@pytest.mark.parametrize("observer", [np.float32, np.int16, np.bool_, float, lambda i: np.full((2, i + 1), i)[:, :1]])
def test_a_batch_is_that_of_torch(observer):
    batch = jets(7, observer)
    for ours, theirs in zip(collate(batch), default_collate(batch), strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in ours.items():
            assert values.dtype == theirs[name].dtype and torch.equal(values, theirs[name])


def test_changing_a_batch_changes_no_jet():
    batch = jets(2)
    before = batch[0][0]["pf_features"].copy()
    collate(batch)[0]["pf_features"].zero_()
    np.testing.assert_array_equal(batch[0][0]["pf_features"], before)


@pytest.mark.parametrize("group, name", [("QCD", " of QCD"), ("_", "")])
def test_more_processes_than_files_are_refused(group, name):
    """Weaver would end with `AssertionError` in a process of the loader."""
    loader = SimpleNamespace(num_workers=2, dataset=SimpleNamespace(_init_file_dict={group: ["QCD_000.root"]}))
    line = f"2 processes of the loader cannot share 1 training file{name}: give --num-workers 1"
    with pytest.raises(InputError, match=f"^{line}$"):
        check_files(loader, "training")
