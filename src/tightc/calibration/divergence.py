"""How far apart two answers are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def divergence(dense: Reals, pruned: Reals) -> float:
    """Mean Kullback-Leibler divergence, in nats, of the classes' chances: (images, classes) float64 logits each."""
    left, right = _log_chances(dense), _log_chances(pruned)
    return float(np.mean(np.sum(np.exp(left) * (left - right), axis=1)))


def _log_chances(logits: Reals) -> Reals:
    shifted = logits - logits.max(axis=1, keepdims=True)
    chances: Reals = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return chances
