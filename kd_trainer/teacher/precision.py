"""A faster way to evaluate a teacher, in bfloat16, with what that does to its soft targets."""

import torch
from tqdm import tqdm

from kd_trainer.errors import StopError
from kd_trainer.teacher.soft_targets import SoftTargets

PRECISIONS = ("float32", "bfloat16")


class InBfloat16:
    """An ensemble with matrix products in bfloat16; the first jets are evaluated in float32, too, and compared.

    Parameters
    ----------
    ensemble : ensemble.Ensemble
    """

    def __init__(self, ensemble):
        self.ensemble = ensemble
        self.description = f"{ensemble.description}; in bfloat16"
        self.compared = False

    def __call__(self, X, device) -> SoftTargets:
        """Soft targets in fp32 for a batch X, computed in this way, on `device`.

        Raises
        ------
        StopError
            If the GPU has no bfloat16.
        """
        if self.compared:
            return self.ensemble(X, device)
        if not has_bfloat16(torch.device(device)):
            raise StopError("this GPU has no bfloat16: run cache with --precision float32")
        exact = self.ensemble(X, device)
        for teacher in self.ensemble.teachers:
            teacher.bfloat16 = True
        approximate = self.ensemble(X, device)
        self.compared = True
        tqdm.write(comparison(exact.logits, approximate.logits, "bfloat16"))
        return approximate


def has_bfloat16(device):
    """Whether a device computes in bfloat16 itself; a CPU may do so slowly."""
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def comparison(exact, approximate, name):
    """A line that says how far logits (N, K) are from the plain ones, and what that is in a soft target."""
    p, q = (logits.log_softmax(dim=1) for logits in (exact, approximate))
    difference = (p - q).abs()
    divergence = (p.exp() * (p - q)).sum(dim=1).mean()
    return (
        f"{name} against float32 on {len(p)} jets: log-probabilities differ by {difference.max():.2g} at most and "
        f"{difference.mean():.2g} on average; KL divergence {divergence:.2g}"
    )
