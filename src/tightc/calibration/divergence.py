"""Divergence of the outputs of two networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def kl_divergence(dense: Floats, pruned: Floats) -> float:
    """Mean KL divergence of the class probabilities, in nats.

    `dense`, `pruned`: logits of the two networks, (images, classes) float64.
    """
    left, right = _log_probabilities(dense), _log_probabilities(pruned)
    return float(np.mean(np.sum(np.exp(left) * (left - right), axis=1)))


def _log_probabilities(logits: Floats) -> Floats:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return log_probabilities


def relative_square_error(dense: Floats, pruned: Floats) -> float:
    """The sum of the squared differences of two arrays, relative to that of the squares of the first."""
    scale = float(np.square(dense).sum())
    error = float(np.square(dense - pruned).sum())
    return error / scale if scale else error
