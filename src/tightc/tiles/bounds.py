"""What no packing can beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.tiles.array import ArrayShape


def passes_lower_bound(filter_sizes: NDArray[np.int64], array: ArrayShape) -> int:
    """Fewest passes of any lossless packing: a filter of n non-zeros needs ceil(n / rows) columns somewhere.

    `filter_sizes`: (filters,) int64, non-zeros of each filter. docs/architecture.md.
    """
    parts = int(np.sum(-(-filter_sizes // array.rows)))
    return folds(parts, array.columns)


def folds(size: int, side: int) -> int:
    """How often an array's side is filled with `size` things: ceil(size / side)."""
    return -(-size // side)


def dense_passes(filters: int, inputs: int, groups: int, array: ArrayShape) -> int:
    """Passes of the layer unpruned: ceil(K / rows) * ceil(N / columns) for each group."""
    return groups * folds(inputs, array.rows) * folds(filters // groups, array.columns)
