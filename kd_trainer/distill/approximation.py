"""Faster ways to evaluate a teacher, in bfloat16 and compiled, with what that does to its soft targets."""

import torch
from tqdm import tqdm

from kd_trainer.errors import InputError
from kd_trainer.files import one_line

PRECISIONS = ("float32", "bfloat16")


def name_of(precision, compiled):
    """What the metadata and the log say: 'float32', 'bfloat16, compiled', ..."""
    return f"{precision or PRECISIONS[0]}{', compiled' if compiled else ''}"


class Approximation:
    """An ensemble that is evaluated in another way; the first jets are evaluated plainly, too, and compared.

    Parameters
    ----------
    ensemble : ensemble.Ensemble
    name : str
        See `name_of`.
    """

    def __init__(self, ensemble, name):
        self.ensemble = ensemble
        self.name = name
        self.description = f"{ensemble.description}; in {name}"
        self.compared = False

    def __call__(self, X, device):
        """Logits (N, K) in fp32 for a batch X, computed in this way, on `device`.

        Raises
        ------
        InputError
            If the GPU has no bfloat16, or torch cannot compile the teacher.
        """
        if self.compared:
            return self._evaluate(X, device)
        if "bfloat16" in self.name and torch.device(device).type == "cuda" and not torch.cuda.is_bf16_supported():
            raise InputError("this GPU has no bfloat16: run cache with --precision float32")
        exact = self.ensemble(X, device)
        for teacher in self.ensemble.teachers:
            teacher.bfloat16 = "bfloat16" in self.name
            teacher.compiled = "compiled" in self.name
        approximate = self._evaluate(X, device)
        self.compared = True
        tqdm.write(comparison(exact, approximate, self.name))
        return approximate

    def _evaluate(self, X, device):
        if "compiled" not in self.name:
            return self.ensemble(X, device)
        try:
            return self.ensemble(X, device)
        except Exception as error:  # of the compiler, or of a network that it does not understand
            reason = one_line(error)
            raise InputError(f"torch cannot compile the teacher ({reason}): run cache without --compile") from None


def comparison(exact, approximate, name):
    """A line that says how far logits (N, K) are from the plain ones, and what that is in a soft target."""
    p, q = (logits.log_softmax(dim=1) for logits in (exact, approximate))
    difference = (p - q).abs()
    divergence = (p.exp() * (p - q)).sum(dim=1).mean()
    return (
        f"{name} against float32 on {len(p)} jets: log-probabilities differ by {difference.max():.2g} at most and "
        f"{difference.mean():.2g} on average; KL divergence {divergence:.2g}"
    )
