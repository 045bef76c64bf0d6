"""Saliency that compares between layers: what a weight adds to the norm that its layer keeps."""

from __future__ import annotations

import numpy as np

from tightc.selection.top_k import Saliency


def layer_balanced(saliency: Saliency) -> Saliency:
    """The `saliency` of each weight over the sum of all that are at least as large, times the root of the whole sum.

    `saliency`: of one layer, (filters, inputs) float64, at least 0. Without the root this is LAMP (Lee et al.,
    "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021). Its sum over pruned weights is about the
    logarithm of what the layer loses, so a layer that is nearly empty gives up nothing more. The root weighs layers by
    their norm: between LAMP, which knows no norm, and plain magnitude. The order within the layer stays.
    """
    values, counts = np.unique(saliency, return_counts=True)
    at_least = np.cumsum((values * counts)[::-1])[::-1]
    whole = float(at_least[0])
    if whole == 0:
        return saliency
    scores = np.where(values > 0, values / np.maximum(at_least, np.finfo(np.float64).tiny), 0.0)
    balanced: Saliency = np.sqrt(whole) * scores[np.searchsorted(values, saliency)]
    return balanced
