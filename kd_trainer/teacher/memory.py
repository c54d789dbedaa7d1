"""A teacher that is evaluated only once for each jet.

Selection and preprocessing give a jet the same inputs in every epoch, so its soft targets are stored under a hash of
these inputs. The stored values are always valid, because a jet with other inputs has another hash.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
import xxhash

from kd_trainer.configs import PREFIX
from kd_trainer.teacher.ensemble import Ensemble
from kd_trainer.teacher.soft_targets import Inputs, SoftTargets

ENTRY = 250  # bytes for each jet in the dict in addition to its soft targets: key, arrays, slot


class RememberingTeacher:
    """Soft targets of a batch; those of jets seen before come from memory, as far as `max_bytes` are enough."""

    def __init__(self, teacher: Ensemble, max_bytes: float) -> None:
        self.teacher = teacher
        self.max_bytes = max_bytes
        self.description = teacher.description
        self.known: dict[bytes, Sequence[np.ndarray]] = {}  # by jet: rows of the tensors of its soft targets
        self.fresh: tuple[list[bytes], SoftTargets] | None = None

    def __call__(self, X: Inputs, device: torch.device | str) -> SoftTargets:
        self._remember()
        groups = [PREFIX + name for name in self.teacher.input_names]
        keys = _hash_jets([X[group].numpy(force=True) for group in groups])
        rows = [self.known.get(key) for key in keys]
        new = [i for i, row in enumerate(rows) if row is None]
        known = [row for row in rows if row is not None]
        if not new:
            return SoftTargets(*(torch.from_numpy(part).to(device) for part in _stacked(known)))
        fresh = self.teacher({group: X[group][new] for group in groups}, device)
        self.fresh = [keys[i] for i in new], fresh
        if len(new) == len(keys):
            return fresh
        old = [i for i, row in enumerate(rows) if row is not None]
        return SoftTargets(*(
            _merged(len(keys), new, part, old, torch.from_numpy(remembered).to(device))
            for part, remembered in zip(_parts(fresh), _stacked(known))
        ))  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The stored soft targets as tensors: keys (M, 16) of M jets, and the parts (M, ...) of their soft targets."""
        self._remember()
        if not self.known:
            return {}
        keys = np.frombuffer(b"".join(self.known), np.uint8).reshape(len(self.known), -1).copy()
        parts = [torch.from_numpy(part) for part in _stacked(self.known.values())]
        return {"keys": torch.from_numpy(keys), "parts": parts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore stored soft targets."""
        keys = [key.tobytes() for key in state["keys"].numpy()] if state else []
        self.known = dict(zip(keys, zip(*(part.numpy() for part in state["parts"])))) if state else {}

    def _remember(self) -> None:
        """Store the soft targets of the last batch, one batch later: on a GPU an immediate copy would have to wait."""
        if self.fresh is None:
            return
        keys, parts = self.fresh[0], [part.numpy(force=True) for part in _parts(self.fresh[1])]
        if len(self.known) * (sum(part[0].nbytes for part in parts) + ENTRY) < self.max_bytes:
            self.known.update(zip(keys, zip(*parts)))
        self.fresh = None


def _parts(targets: SoftTargets) -> list[torch.Tensor]:
    """The tensors in soft targets."""
    return [part for part in targets if part is not None]


def _stacked(rows: Iterable[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Arrays (N, ...) of the rows of N jets."""
    return [np.stack(part) for part in zip(*rows)]


def _merged(
    size: int, new: Sequence[int], fresh: torch.Tensor, old: Sequence[int], known: torch.Tensor
) -> torch.Tensor:
    """(size, ...) of the rows at the places `new` and of those at the places `old`."""
    merged = fresh.new_empty(size, *fresh.shape[1:])
    merged[new] = fresh
    merged[old] = known
    return merged


def _hash_jets(arrays: Iterable[np.ndarray]) -> list[bytes]:
    """128-bit hashes of the inputs of each jet; arrays are (N, C, P)."""
    rows = [np.ascontiguousarray(array).reshape(len(array), -1) for array in arrays]
    return [xxhash.xxh3_128_digest(b"".join(row[i].tobytes() for row in rows)) for i in range(len(rows[0]))]
