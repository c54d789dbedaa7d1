"""Calibration of a tagger: whether a class with a score of 0.8 is correct for 80 % of the jets."""

import numpy as np

from kd_trainer.evaluate.bootstrap import Statistic

BINS = 15  # number of bins of the confidence, as in arXiv 1706.04599


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Weights (N,) of jets that give all present classes equal weight, as in training; their sum is 1."""
    classes, index, jets = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (len(classes) * jets[index])


def ece_statistic(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, bins: int = BINS) -> Statistic:
    """Expected calibration error, as a function from bootstrap weights (R, N) to replicas (R,).

    Weighted mean of |fraction of correct jets - mean score| over bins of the largest score; the weight of a bin is that
    of its jets (Guo et al., arXiv 1706.04599, eq. 3).

    Parameters
    ----------
    labels : (N,) true classes.
    scores : (N, K) probabilities.
    weights : (N,) weights of the jets.
    bins : number of bins of equal width from 0 to 1.
    """
    confidence = scores.max(axis=1).astype(float)
    excess = weights * (confidence - (np.argmax(scores, axis=1) == labels))  # (N,)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    by_bin = np.zeros((len(labels), bins))
    by_bin[np.arange(len(labels)), bin_of] = excess
    return lambda replicas: np.abs(replicas @ by_bin).sum(axis=1) / (replicas @ weights)
