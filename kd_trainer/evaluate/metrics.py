"""Figures of merit of a jet tagger, from scores (N, K) and true classes (N,): pure functions of numpy arrays."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import betaincinv

# A rejection with fewer background jets left is flagged, and means and curves exclude it.
FEW_JETS = 5


class Rejection(NamedTuple):
    """Background rejection at one working point; `value` and `uncertainty` are None when no background jet is left."""

    value: float | None
    uncertainty: float | None
    lower_limit: float  # at 95 % confidence level
    passed: int  # background jets left
    total: int  # background jets in the sample


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Fraction of jets whose highest score (N, K) is that of their true class (N,)."""
    return float(np.mean(np.argmax(scores, axis=1) == labels))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve; for more than two classes the mean over all pairs of them, see `auc_influence`."""
    return auc_influence(labels, scores)[0]


def discriminant(scores: np.ndarray, signal: int, background: Sequence[int]) -> np.ndarray:
    """The discriminant p_S / (p_S + p_B), from 0 (background-like) to 1 (signal-like).

    Parameters
    ----------
    scores : (N, K) probabilities.
    signal : column of the signal class.
    background : columns of the background classes, whose probabilities are added.

    Returns
    -------
    (N,) in double precision, which distinguishes scores that single precision rounds to 1; 0 if both vanish.
    """
    p_signal = scores[:, signal].astype(float)
    total = p_signal + scores[:, background].astype(float).sum(axis=1)
    return np.divide(p_signal, total, out=np.zeros_like(total), where=total > 0)


def background_passing(
    signal: np.ndarray, background: np.ndarray, efficiency: float | Sequence[float] | np.ndarray
) -> np.ndarray:
    """Number of background jets left if at least a fraction `efficiency` of the signal jets is kept (the ROC curve).

    Parameters
    ----------
    signal, background : (S,), (B,) discriminants. Jets exactly at the threshold are kept.
    efficiency : number or array, in (0, 1].
    """
    signal = np.sort(signal)
    kept = np.ceil(np.asarray(efficiency) * len(signal) - 1e-9).astype(int)  # 1e-9: 0.7 * 10 is slightly above 7
    threshold = signal[len(signal) - np.maximum(kept, 1)]
    return len(background) - np.searchsorted(np.sort(background), threshold, side="left")


def rejection_limit(passed: int, total: int, level: float = 0.95) -> float:
    """Lower limit on 1 / (false-positive rate), from the one-sided Clopper-Pearson limit on the rate."""
    return 1.0 / betaincinv(passed + 1, total - passed, level) if passed < total else 1.0


def rejection(signal: np.ndarray, background: np.ndarray, efficiency: float) -> Rejection:
    """Background rejection 1 / (false-positive rate) at the true-positive rate `efficiency`.

    The uncertainty is binomial in the number of background jets left. The uncertainty of the threshold, from the signal
    jets, is much smaller and neglected. See `background_passing` for the parameters.

    Returns
    -------
    Rejection
    """
    passed, total = int(background_passing(signal, background, efficiency)), len(background)
    limit = float(rejection_limit(passed, total))
    if passed == 0:
        return Rejection(None, None, limit, passed, total)
    value = total / passed
    return Rejection(value, float(value * np.sqrt((1 - passed / total) / passed)), limit, passed, total)


def geometric_mean(values: Sequence[Any] | np.ndarray, axis: int = 0) -> np.ndarray:
    """Geometric mean of positive numbers along an axis: large and small rejections have the same weight."""
    return np.exp(np.mean(np.log(values), axis=axis))


def _fraction_below(values: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Fraction of the sorted `reference` below each of `values`; equal values count half."""
    below = np.searchsorted(reference, values, side="left")
    return (below + np.searchsorted(reference, values, side="right")) / (2 * len(reference))


def auc_influence(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Area under the ROC curve, and the influence of each test jet.

    For more than two classes it is the mean over all pairs of present classes, each in both directions (macro,
    one-vs-one: Hand and Till 2001, eq. 7). The influences are the centred placement values of DeLong et al. 1988. The
    sum of their squares is the variance of the area. For two taggers on the same jets, the sum of the squared
    differences of their influences is the variance of the difference.

    Parameters
    ----------
    labels : (N,) true classes.
    scores : (N, K) probabilities.

    Returns
    -------
    auc : float
    influence : (N,), sums to 0 in each class.
    """
    jets = {c: np.flatnonzero(labels == c) for c in np.unique(labels)}
    influence, areas = np.zeros(len(labels)), []
    for a in jets:
        order = {c: index[np.argsort(scores[index, a])] for c, index in jets.items()}  # jets of c, by the score of a
        for b in jets:
            if a == b:
                continue
            of_a, of_b = scores[order[a], a], scores[order[b], a]
            won = _fraction_below(of_a, of_b)  # for a jet of a: fraction of the jets of b that it beats
            lost = 1 - _fraction_below(of_b, of_a)  # for a jet of b: fraction of the jets of a that beat it
            areas.append(won.mean())
            influence[order[a]] += (won - areas[-1]) / len(won)
            influence[order[b]] += (lost - areas[-1]) / len(lost)
    return float(np.mean(areas)), influence / len(areas)
