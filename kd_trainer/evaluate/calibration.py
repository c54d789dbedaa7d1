"""Calibration of a tagger: whether jets with a score of 0.8 are right in 80 of 100 cases."""

import numpy as np

from kd_trainer.evaluate.bootstrap import Statistic

BINS = 15  # of the confidence, as in arXiv 1706.04599


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Weights (N,) of jets with which all classes present count alike, as in training; they add up to 1."""
    classes, index, jets = np.unique(labels, return_inverse=True, return_counts=True)
    return 1 / (len(classes) * jets[index])


def ece_statistic(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray, bins: int = BINS) -> Statistic:
    """Expected calibration error, as a function from bootstrap weights (R, N) to replicas (R,).

    Mean over bins of the largest score of |fraction that is right - mean score|, each bin with the weight of its jets
    (Guo et al., arXiv 1706.04599, eq. 3).

    Parameters
    ----------
    labels : (N,) true classes.
    scores : (N, K) probabilities.
    weights : (N,) of the jets.
    bins : number of bins of equal width from 0 to 1.
    """
    confidence = scores.max(axis=1).astype(float)
    excess = weights * (confidence - (np.argmax(scores, axis=1) == labels))  # (N,)
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    by_bin = np.zeros((len(labels), bins))
    by_bin[np.arange(len(labels)), bin_of] = excess
    return lambda replicas: np.abs(replicas @ by_bin).sum(axis=1) / (replicas @ weights)
