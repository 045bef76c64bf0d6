"""Intervals of 95 % for a share of right answers and for the area under the ROC curve."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # quantile of the normal distribution at 0.975
Interval = tuple[float, float]


def wilson(right: float, count: int) -> Interval:
    """Ends of the interval for a share of `right` among `count`, from 0 to 1.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    share, z2 = right / count, Z * Z / count
    center = share + z2 / 2
    half = Z * sqrt(share * (1 - share) / count + z2 / (4 * count))
    return (center - half) / (1 + z2), (center + half) / (1 + z2)


def auc(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The share of pairs in which the sample of label 1 has the higher score; ties count half. Both are (samples,)."""
    return float(_wins(scores, labels).mean())


def auc_interval(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> Interval:
    """Ends of the interval for `auc`, within 0 and 1.

    DeLong, DeLong and Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves", Biometrics 44,
    1988: the variances of the samples' mean wins, of each label by itself.
    """
    wins = _wins(scores, labels)
    by_sample = (wins.mean(axis=1), wins.mean(axis=0))
    error = sqrt(sum(float(means.var(ddof=1)) / len(means) for means in by_sample))
    area = float(wins.mean())
    return max(0.0, area - Z * error), min(1.0, area + Z * error)


def _wins(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(samples of label 1, samples of label 0): 1 where the first has the higher score, 0.5 where both are equal."""
    ones, zeros = scores[labels == 1][:, None], scores[labels == 0]
    return (ones > zeros) + (ones == zeros) / 2
