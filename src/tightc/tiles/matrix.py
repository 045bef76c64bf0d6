"""A layer's weights as one matrix, grouped layers included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


@dataclass(frozen=True)
class LayerMatrix:
    """`values`: (filters, inputs of a group), real numbers, or int8; `groups` blocks lie one below the other.

    Filters and inputs are numbered over all groups: filter f belongs to group f // (filters / groups), and input k of
    that group is number group * inputs + k. So a grouped layer is a block-diagonal matrix, stored without its zeros.
    `scale`: (filters,) or (1,) float64, what whole numbers are multiplied by to be what they stand for.
    """

    values: NDArray[Any]
    groups: int = 1
    scale: NDArray[np.float64] | None = None

    @property
    def real(self) -> NDArray[Any]:
        """What the values stand for: (filters, inputs of a group)."""
        return self.values if self.scale is None else self.values * self.scale[:, None]

    @property
    def filters(self) -> int:
        """Number of rows, over all groups."""
        return int(self.values.shape[0])

    @property
    def inputs(self) -> int:
        """Number of columns of one group."""
        return int(self.values.shape[1])

    @property
    def filters_per_group(self) -> int:
        """Number of rows of one group."""
        return self.filters // self.groups

    def first_input(self, filters: Ids) -> Ids:
        """Number of the first input that each of `filters` can read, same shape, int32."""
        return (filters // self.filters_per_group * self.inputs).astype(np.int32)

    def nonzeros(self) -> tuple[Ids, Ids]:
        """Filter and input number of every non-zero, sorted by filter, then input: two (nonzeros,) int32."""
        rows, columns = np.nonzero(self.values)
        filters = rows.astype(np.int32)
        return filters, (columns + self.first_input(filters)).astype(np.int32)

    def weights(self, filters: Ids, inputs: Ids) -> NDArray[Any]:
        """The weight of each (filter, input) pair, same shape, dtype of `values`."""
        weights: NDArray[Any] = self.values[filters, inputs - self.first_input(filters)]
        return weights

    def filter_sizes(self) -> NDArray[np.int64]:
        """Non-zeros of each filter: (filters,) int64."""
        sizes: NDArray[np.int64] = np.count_nonzero(self.values, axis=1).astype(np.int64)
        return sizes
