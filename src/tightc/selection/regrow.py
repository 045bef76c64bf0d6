"""Exchange a filter's least weights for zeros that the loss pulls at: a kernel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.selection.top_k import Kept, Saliency


def regrown(saliency: Saliency, kept: Kept, pull: Saliency, share: float) -> Kept:
    """`kept` with a `share` of each filter's weights, those worth least, exchanged for the zeros with the most pull.

    All are (filters, inputs): `saliency` and `pull` float64, `pull` 0 for what may not come back. Every filter keeps as
    many weights as it had, so its parts stay whole. Prune and regrow by gradient: Liu et al. 2021, "Sparse Training via
    Boosting Pruning Plasticity with Neuroregeneration", section 4 (there over layers, here in each filter).
    """
    drawn = np.where(kept, 0.0, pull)
    counts = np.minimum((share * kept.sum(axis=1)).astype(np.int64), np.count_nonzero(drawn, axis=1))
    going = _first(np.where(kept, saliency, np.inf), counts)
    coming = _first(-drawn, counts)
    found: Kept = (kept & ~going) | coming
    return found


def _first(values: Saliency, counts: NDArray[np.int64]) -> Kept:
    """Marks in each row the `counts` smallest; of equal ones the first."""
    order = np.argsort(values, axis=1, kind="stable")
    marked = np.zeros(values.shape, bool)
    np.put_along_axis(marked, order, np.arange(values.shape[1]) < counts[:, None], axis=1)
    return marked
