"""How soft targets lie in a file: all logits, or the largest ones and one value for all others.

All are the default even for 188 classes: docs/measurements/cache.md says what the others cost at higher temperatures.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from kd_trainer.configs import PREFIX
from kd_trainer.errors import InputError

LOGITS, TOP_LOGITS, TOP_CLASSES, REST = (PREFIX + name for name in ("logits", "top_logits", "top_classes", "rest"))
DTYPES = ("float16", "float32")
ARRAYS = "arrays"


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns of soft targets.

    Attributes
    ----------
    classes : int
        K
    top : int
        Number of largest logits to store; 0: all. The total probability of the other classes at temperature 1 is stored
        too; it is divided equally among them, at every temperature.
    dtype : str
        Data type of the stored logits, and of the student's inputs where its rounding is small.
    inputs : str
        "arrays" if the files contain the student's inputs, "" if the branches they are computed from.
    """

    classes: int
    top: int = 0
    dtype: str = "float16"
    inputs: str = ""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"soft targets are stored as {' or '.join(DTYPES)}, not {self.dtype}")
        if self.inputs not in ("", ARRAYS):
            raise InputError("the cache stores the student's inputs in an older format: run cache --overwrite")
        if not 0 <= self.top < self.classes:
            raise InputError(f"the {self.top} largest of {self.classes} logits: the number must be below the number of "
                             "classes")  # fmt: skip

    def columns(self, logits: torch.Tensor) -> dict[str, pa.Array]:
        """Arrow columns by name for logits (N, K).

        Raises
        ------
        InputError
            If a logit is not finite, or outside the range of the data type.
        """
        if not torch.isfinite(logits).all():
            raise InputError("the teacher gives logits that are not finite: look for NaN in its inputs")
        if logits.shape[1] != self.classes:
            raise InputError(f"the teacher gives {logits.shape[1]} classes, the data config has {self.classes}")
        logits = logits - logits.amax(dim=1, keepdim=True)  # softmax does not change, and no value overflows
        if not self.top:
            return {LOGITS: _fixed_lists(self._narrow(logits))}
        largest, classes = logits.topk(self.top, dim=1)
        others = logits.scatter(1, classes, float("-inf")).logsumexp(dim=1) - np.log(self.classes - self.top)
        dtype = np.uint8 if self.classes <= 256 else np.int16
        return {
            TOP_LOGITS: _fixed_lists(self._narrow(largest)),
            TOP_CLASSES: _fixed_lists(classes.numpy().astype(dtype)),
            REST: pa.array(self._narrow(others)),
        }

    def groups(self) -> dict[str, Any]:
        """The input groups of a weaver data config for these columns, by name."""
        names = (TOP_LOGITS, TOP_CLASSES, REST) if self.top else (LOGITS,)
        return {name: {"length": None, "vars": [[name, None]]} for name in names}

    def logits(self, X: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (N, K) in fp32 of a batch X with these groups, up to a constant for each jet."""
        if not self.top:
            return X[LOGITS].float()
        rest = X[REST].float().view(-1, 1).expand(-1, self.classes)
        return rest.scatter(1, X[TOP_CLASSES].long(), X[TOP_LOGITS].float())

    def _narrow(self, logits: torch.Tensor) -> np.ndarray:
        limits = np.finfo(self.dtype)
        return logits.numpy().clip(limits.min, limits.max).astype(self.dtype)


def _fixed_lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    values = pa.array(rows.reshape(-1))
    kind = pa.list_(pa.field("item", values.type, nullable=False), rows.shape[1])
    return pa.FixedSizeListArray.from_arrays(values, type=kind)
