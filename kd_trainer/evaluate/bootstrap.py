"""Paired bootstrap over the test jets: figures of merit of all models are recomputed on the same resampled jets.

A *statistic* is a function from jet weights (R, N) to replicas (R,) of one figure of merit. The functions made here
sort the jets once; a replica is then a cumulative sum of the weights in this order.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import numpy as np

Statistic = Callable[[np.ndarray], np.ndarray]  # of weights (R, N), gives replicas (R,)
Key = TypeVar("Key", bound=Hashable)

WEIGHTS_AT_ONCE = 20_000_000  # R x N kept in memory, one byte each


def accuracy_statistic(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Statistic:
    """Fraction of jets whose highest score (N, K) is that of their true class (N,); by default with equal weights."""
    weights = np.ones(len(labels)) if weights is None else weights
    correct = weights * (np.argmax(scores, axis=1) == labels)
    return lambda replicas: (replicas @ correct) / (replicas @ weights)


def auc_statistic(auc: float, influence: np.ndarray) -> Statistic:
    """Area under the ROC curve to first order in the weights, from `metrics.auc_influence`."""
    # The influences (N,) add up to 0 in each class, so the weights need no normalisation.
    return lambda weights: auc + weights @ influence


def rejection_statistic(
    signal_jets: np.ndarray, background_jets: np.ndarray, signal: np.ndarray, background: np.ndarray, efficiency: float
) -> Statistic:
    """Background rejection at a signal efficiency; the resampled signal jets determine the threshold.

    Parameters
    ----------
    signal_jets, background_jets : (S,), (B,) positions of these jets in the test sample, ascending.
    signal, background : (S,), (B,) their discriminants.
    efficiency : signal efficiency of the working point.
    """
    # The threshold of a replica is the score of one of the first `reach` signal jets: its rank has a binomial
    # distribution, and `reach` includes six standard deviations. Only background jets above the last of these can pass.
    spread = np.sqrt(efficiency * (1 - efficiency) * len(signal))
    reach = int(np.clip(efficiency * len(signal) + 6 * spread + 1, 1, len(signal)))
    best_signal = np.argsort(-signal, kind="stable")[:reach]
    n_above = len(background) - np.searchsorted(np.sort(background), signal[best_signal], side="left")
    best_background = background_jets[np.argsort(-background, kind="stable")[: n_above[-1]]]
    best_signal = signal_jets[best_signal]

    def statistic(weights: np.ndarray) -> np.ndarray:
        kept = np.cumsum(weights.take(best_signal, axis=1), axis=1, dtype=np.int32)  # (R, reach)
        wanted = efficiency * weights.take(signal_jets, axis=1).sum(axis=1) - 1e-9
        last_kept = np.minimum((kept < wanted[:, None]).sum(axis=1), reach - 1)  # (R,)
        passing = np.cumsum(weights.take(best_background, axis=1), axis=1, dtype=np.int32)  # (R, n_above[-1])
        passed = np.pad(passing, ((0, 0), (1, 0)))[np.arange(len(weights)), n_above[last_kept]]
        total = weights.take(background_jets, axis=1).sum(axis=1)
        # A replica without background jets counts as half a jet, to avoid an infinite rejection.
        return np.maximum(total, 1) / np.maximum(passed, 0.5)

    return statistic


def bootstrap(
    statistics: Mapping[Key, Statistic], n_jets: int, *, replicas: int = 200, seed: int = 1
) -> dict[Key, np.ndarray]:
    """Replicas (R,) of several statistics for N jets with common weights, so that ratios and differences are paired.

    Each jet gets an independent Poisson weight k of mean 1, as if it were drawn k times in a resampled test sample.
    """
    rng = np.random.default_rng(seed)
    at_once = max(1, WEIGHTS_AT_ONCE // n_jets)
    parts: dict[Key, list[np.ndarray]] = {key: [] for key in statistics}
    for start in range(0, replicas, at_once):
        weights = rng.poisson(1.0, (min(at_once, replicas - start), n_jets)).astype(np.uint8)
        for key, statistic in statistics.items():
            parts[key].append(statistic(weights))
    return {key: np.concatenate(values) for key, values in parts.items()}
