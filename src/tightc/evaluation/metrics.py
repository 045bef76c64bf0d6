"""Metrics of outputs: area under the curve, scores of samples, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def area_under_curve(scores: Floats, labels: NDArray[Any]) -> float:
    """Area under the ROC curve: the fraction of pairs of a 1 and a 0 in which the 1 has the higher score.

    A tie counts half. `scores`: (samples,) float64; `labels`: (samples,), 0 or 1, both of which occur. From the sum of
    the ranks (Mann and Whitney, 1947).
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of equal scores, the mean of their ranks
    positives = int(np.count_nonzero(labels == 1))
    negatives = len(labels) - positives
    return float((ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def scores_of(output: NDArray[Any], inputs: list[NDArray[Any]]) -> Floats | None:
    """A score for each row: its reconstruction error, its output, or how much class 1 is preferred; None for others.

    The reconstruction error is the mean square of the difference from the input of the same shape. `output`: rows
    first.
    """
    values = output.astype(np.float64)
    for given in inputs:
        if given.shape == output.shape and given.dtype.kind == "f" and output.ndim > 1 and output[0].size > 1:
            difference = values - given.astype(np.float64)
            return np.asarray(np.square(difference).reshape(len(values), -1).mean(axis=1))
    flat = values.reshape(len(values), -1)
    if flat.shape[1] == 1:
        return np.asarray(flat[:, 0])
    return np.asarray(flat[:, 1] - flat[:, 0]) if values.ndim == 2 and flat.shape[1] == 2 else None


def mean_by_sample(scores: Floats, parts: int) -> Floats:
    """The mean score of each sample of `parts` consecutive rows: (samples,) float64."""
    return np.asarray(scores.reshape(-1, parts).mean(axis=1))
