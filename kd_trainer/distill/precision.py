"""A teacher in bfloat16, where the processor has it, with what that does to its soft targets."""

import torch
from tqdm import tqdm

from kd_trainer.errors import InputError

NAMES = ("float32", "bfloat16")


class Rounded:
    """An ensemble whose matrix products are in bfloat16; the first jets are evaluated in fp32, too, and compared.

    Parameters
    ----------
    ensemble : ensemble.Ensemble
    """

    def __init__(self, ensemble):
        self.ensemble = ensemble
        self.description = f"{ensemble.description}; in bfloat16"
        self.compared = False

    def __call__(self, X, device):
        """Logits (N, K) in fp32 for a batch X, computed in bfloat16, on `device`.

        Raises
        ------
        InputError
            If the GPU has no bfloat16.
        """
        if self.compared:
            return self._in(True, X, device)
        if torch.device(device).type == "cuda" and not torch.cuda.is_bf16_supported():
            raise InputError("this GPU has no bfloat16: run cache with --precision float32")
        exact, rounded = (self._in(flag, X, device) for flag in (False, True))
        self.compared = True
        tqdm.write(comparison(exact, rounded))
        return rounded

    def _in(self, bfloat16, X, device):
        for teacher in self.ensemble.teachers:
            teacher.bfloat16 = bfloat16
        return self.ensemble(X, device)


def comparison(exact, rounded):
    """A line that says how far logits (N, K) are from those in fp32, and what that is in a soft target."""
    p, q = (logits.log_softmax(dim=1) for logits in (exact, rounded))
    difference = (p - q).abs()
    divergence = (p.exp() * (p - q)).sum(dim=1).mean()
    return (
        f"bfloat16 against float32 on {len(p)} jets: log-probabilities differ by {difference.max():.2g} at most and "
        f"{difference.mean():.2g} on average; KL divergence {divergence:.2g}"
    )
