"""Faster ways to evaluate a teacher, in bfloat16 and compiled, with what that does to its soft targets."""

import torch
from tqdm import tqdm

from kd_trainer.errors import HopelessError
from kd_trainer.jet_files import one_line

PRECISIONS = ("float32", "bfloat16")


def name_of(precision, compiled):
    """What the log says: 'float32', 'bfloat16, compiled', ..."""
    return f"{precision or PRECISIONS[0]}{', compiled' if compiled else ''}"


class Approximation:
    """An ensemble that is evaluated in another way; the first jets are evaluated plainly, too, and compared.

    Parameters
    ----------
    ensemble : ensemble.Ensemble
    precision : str or None
    compiled : bool
    """

    def __init__(self, ensemble, precision, compiled):
        self.ensemble = ensemble
        self.bfloat16 = precision == "bfloat16"
        self.compiled = compiled
        self.name = name_of(precision, compiled)
        self.description = f"{ensemble.description}; in {self.name}"
        self.compared = False

    def __call__(self, X, device):
        """Logits (N, K) in fp32 for a batch X, computed in this way, on `device`.

        Raises
        ------
        HopelessError
            If the GPU has no bfloat16, or torch cannot compile the teacher.
        """
        if self.compared:
            return self.ensemble(X, device)
        if self.bfloat16 and not has_bfloat16(torch.device(device)):
            raise HopelessError("this GPU has no bfloat16: run cache with --precision float32")
        exact = self.ensemble(X, device)
        for teacher in self.ensemble.teachers:
            teacher.bfloat16, teacher.compiled = self.bfloat16, self.compiled
        try:
            approximate = self.ensemble(X, device)
        except Exception as error:  # of the compiler, or of a network that it does not understand
            if not self.compiled:
                raise
            reason = one_line(error)
            raise HopelessError(f"torch cannot compile the teacher ({reason}): run cache without --compile") from None
        self.compared = True
        tqdm.write(comparison(exact, approximate, self.name))
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
