"""Lower bounds on every lossless packing, and the passes of a dense layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.tile.array import ArrayShape


def passes_lower_bound(filter_sizes: NDArray[np.int64], array: ArrayShape) -> int:
    """Fewest passes of any lossless packing: a filter of n non-zeros needs ceil(n / rows) columns somewhere.

    `filter_sizes`: (filters,) int64, non-zeros of each filter. docs/design/search.md.
    """
    parts = int(np.sum(-(-filter_sizes // array.rows)))
    return folds(parts, array.columns)


def lane_inputs_lower_bound(users: NDArray[np.int64], array: ArrayShape) -> int:
    """Fewest lane inputs of any lossless packing: an input of u users is on at least ceil(u / columns) lanes.

    `users`: (inputs,) int64, non-zeros of each input. A lane has one slot in each column, so an input on it multiplies
    at most `columns` weights.
    """
    return int(np.sum(-(-users // array.columns)))


def fan_in_lower_bound(users: NDArray[np.int64], array: ArrayShape, passes: int) -> int:
    """Smallest fan-in of any lossless packing in `passes` passes; 0 if there is no weight.

    `users`: (inputs,) int64, non-zeros of each input. Two things must fit on the passes * rows lanes: the inputs of
    `lane_inputs_lower_bound`, and all weights. A lane of fan-in A holds no more weights than its A inputs have users.
    """
    lanes = passes * array.rows
    if not users.any():
        return 0
    by_inputs = folds(lane_inputs_lower_bound(users, array), lanes)
    weights = folds(int(users.sum()), lanes)
    most = np.cumsum(np.sort(np.minimum(users, array.columns))[::-1])
    return max(by_inputs, int(np.searchsorted(most, weights)) + 1)


def area_lower_bound(filter_sizes: NDArray[np.int64], array: ArrayShape, passes: int) -> int:
    """Smallest area of any lossless packing in `passes` passes: a slot for each weight, and more in a single pass.

    `filter_sizes`: (filters,) int64, non-zeros of each filter. In a single tile of h lanes a filter of n weights takes
    ceil(n / h) columns, so the smallest h * columns over all h that fit is exact.
    """
    weights = int(filter_sizes.sum())
    if passes != 1:
        return weights
    lanes = np.arange(1, array.rows + 1)
    columns = np.array([int(np.sum(-(-filter_sizes // height))) for height in lanes])
    areas = (lanes * columns)[columns <= array.columns]
    return int(areas.min(initial=array.rows * array.columns)) if len(areas) else weights


def folds(size: int, side: int) -> int:
    """How often `size` things fill a side of the array: ceil(size / side)."""
    return -(-size // side)


def dense_passes(filters: int, inputs: int, groups: int, array: ArrayShape) -> int:
    """Passes of a layer with all its weights; `filters` counts all groups, `inputs` one.

    ceil(K / rows) * ceil(N / columns) for each group, but the last blocks of several groups share a pass if they fit
    on the diagonal of the array.
    """
    size = filters // groups
    each = folds(inputs, array.rows) * folds(size, array.columns)
    return groups * (each - 1) + folds(groups, groups_per_pass(size, inputs, array))


def groups_per_pass(filters: int, inputs: int, array: ArrayShape) -> int:
    """How many groups of `filters` x `inputs` have their last blocks in one pass, on the diagonal of the array."""
    rows, columns = (inputs - 1) % array.rows + 1, (filters - 1) % array.columns + 1
    return min(array.rows // rows, array.columns // columns)
