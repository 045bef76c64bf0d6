"""Prune and regrow: exchange a filter's least salient weights for zeros with large gradients; a kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.selection.top_k import Mask, Saliency


def regrown(saliency: Saliency, kept: Mask, gradients: Saliency, fraction: float) -> Mask:
    """Exchange a `fraction` of each filter's kept weights, the least salient, for zeros with the largest gradients.

    All arrays are (filters, inputs): `saliency` and `gradients` (magnitudes) float64, `kept` bool. A zero with gradient
    0 does not come back. The number of weights of each filter stays, and with it its full segments. After Liu et al.
    2021, "Sparse Training via Boosting Pruning Plasticity with Neuroregeneration", section 4 (there per layer).
    """
    grown = np.where(kept, 0.0, gradients)
    counts = np.minimum((fraction * kept.sum(axis=1)).astype(np.int64), np.count_nonzero(grown, axis=1))
    going = _smallest(np.where(kept, saliency, np.inf), counts)
    coming = _smallest(-grown, counts)
    found: Mask = (kept & ~going) | coming
    return found


def _smallest(values: Saliency, counts: NDArray[np.int64]) -> Mask:
    """Mark the `counts` smallest in each row; ties go to the first."""
    order = np.argsort(values, axis=1, kind="stable")
    marked = np.zeros(values.shape, bool)
    np.put_along_axis(marked, order, np.arange(values.shape[1]) < counts[:, None], axis=1)
    return marked
