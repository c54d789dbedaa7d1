"""Faster evaluation of teachers in bfloat16, with a comparison of the soft targets."""

import torch
from tqdm import tqdm

from kd_trainer.errors import StopError
from kd_trainer.teacher.ensemble import Ensemble
from kd_trainer.teacher.soft_targets import Inputs, SoftTargets

PRECISIONS = ("float32", "bfloat16")


class InBfloat16:
    """An ensemble with matrix products in bfloat16; the first jets are evaluated in float32 too and compared."""

    def __init__(self, ensemble: Ensemble) -> None:
        self.ensemble = ensemble
        self.description = f"{ensemble.description}; in bfloat16"
        self.compared = False

    def __call__(self, X: Inputs, device: torch.device | str) -> SoftTargets:
        """Soft targets in fp32, with matrix products in bfloat16; StopError if the GPU does not support bfloat16."""
        if self.compared:
            return self.ensemble(X, device)
        if not has_bfloat16(torch.device(device)):
            raise StopError("this GPU does not support bfloat16: run cache with --precision float32")
        exact = self.ensemble(X, device)
        for teacher in self.ensemble.teachers:
            teacher.bfloat16 = True
        approximate = self.ensemble(X, device)
        self.compared = True
        tqdm.write(comparison(exact.logits, approximate.logits, "bfloat16"))
        return approximate


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device supports bfloat16; on a CPU it may be slow."""
    if device.type != "cuda":
        return True
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def comparison(exact: torch.Tensor, approximate: torch.Tensor, name: str) -> str:
    """A line with the differences between exact and approximate soft targets, from logits (N, K)."""
    p, q = (logits.log_softmax(dim=1) for logits in (exact, approximate))
    difference = (p - q).abs()
    divergence = (p.exp() * (p - q)).sum(dim=1).mean()
    return (
        f"{name} against float32 on {len(p)} jets: log-probabilities differ by at most {difference.max():.2g} and "
        f"{difference.mean():.2g} on average; KL divergence {divergence:.2g}"
    )
