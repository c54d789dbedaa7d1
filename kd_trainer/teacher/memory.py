"""A teacher that is asked once for each jet.

Selection and preprocessing give a jet the same inputs in every epoch, so its soft targets are kept under a hash of
those inputs. Nothing can go stale: other inputs are another jet.
"""

import numpy as np
import torch
import xxhash

from kd_trainer.configs import PREFIX

ENTRY = 250  # bytes that a jet takes in a dict beside its logits: key, array, slot


class RememberingTeacher:
    """Soft targets (N, K) of a batch, from memory for the jets seen before.

    Parameters
    ----------
    teacher : Teacher
    max_bytes : int
        To take for soft targets; jets beyond it are given to the teacher every time.
    """

    def __init__(self, teacher, max_bytes):
        self.teacher = teacher
        self.max_bytes = max_bytes
        self.description = teacher.description
        self.known = {}
        self.fresh = None

    def __call__(self, X, device):
        self._remember()
        groups = [PREFIX + name for name in self.teacher.input_names]
        keys = _hash_jets([X[group].numpy(force=True) for group in groups])
        rows = [self.known.get(key) for key in keys]
        new = [i for i, row in enumerate(rows) if row is None]
        if not new:
            return torch.from_numpy(np.stack(rows)).to(device)
        fresh = self.teacher({group: X[group][new] for group in groups}, device)
        self.fresh = [keys[i] for i in new], fresh
        if len(new) == len(keys):
            return fresh
        old = [i for i, row in enumerate(rows) if row is not None]
        logits = fresh.new_empty(len(keys), fresh.shape[1])
        logits[new] = fresh
        logits[old] = torch.from_numpy(np.stack([rows[i] for i in old])).to(device)
        return logits

    def state_dict(self):
        """What is remembered, as tensors: keys (M, 16) of jets and soft targets (M, K)."""
        self._remember()
        if not self.known:
            return {}
        keys = np.frombuffer(b"".join(self.known), np.uint8).reshape(len(self.known), -1)
        return {"keys": torch.from_numpy(keys.copy()), "rows": torch.from_numpy(np.stack(list(self.known.values())))}

    def load_state_dict(self, state):
        """Remember this."""
        self.known = {}
        if state:
            self.known = dict(zip([key.tobytes() for key in state["keys"].numpy()], state["rows"].numpy()))

    def _remember(self):
        """Keep what the teacher has said of the last batch: on a GPU, to fetch it at once would be to wait for it."""
        if self.fresh is None:
            return
        keys, rows = self.fresh[0], self.fresh[1].numpy(force=True)
        if len(self.known) * (rows[0].nbytes + ENTRY) < self.max_bytes:
            self.known.update(zip(keys, rows))
        self.fresh = None


def _hash_jets(arrays):
    """A 128-bit hash of the inputs of each jet; arrays are (N, C, P)."""
    rows = [np.ascontiguousarray(array).reshape(len(array), -1) for array in arrays]
    return [xxhash.xxh3_128_digest(b"".join(row[i].tobytes() for row in rows)) for i in range(len(rows[0]))]
