"""Jets into batches: one copy for each input group, where torch's collation makes a tensor of each jet first."""

import numpy as np
import torch
from torch.utils.data import default_collate


def collate(jets):
    """A batch of weaver's loader, equal to that of `default_collate`.

    Parameters
    ----------
    jets : list of (X, y, Z)
        Dicts of the arrays of one jet, or of anything that `default_collate` takes.

    Returns
    -------
    list of three dicts of name -> (N, ...) tensor
    """
    return [{name: _together([jet[name] for jet in part]) for name in part[0]} for part in zip(*jets)]


def _together(values):
    first = values[0]
    if isinstance(first, np.ndarray | np.number) and first.dtype.kind in "biuf":
        return torch.from_numpy(np.stack(values))
    return default_collate(values)
