"""The filters of a layer and the inputs that each reads, in compressed sparse row (CSR) form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.methods.tight.tile_heights import Sizes
from tightc.tile.matrix import Ids


@dataclass(frozen=True)
class FilterSet:
    """Filters that have weights: `ids`, (filters,) int32, their numbers in the layer; `sizes`, (filters,) int64, the
    number of weights of each.

    `starts`: (filters + 1,) int32; filter number i reads `inputs[starts[i] : starts[i + 1]]`, int32.
    """

    ids: Ids
    sizes: Sizes
    starts: Ids
    inputs: Ids

    @classmethod
    def of(cls, filters: Ids, inputs: Ids) -> FilterSet:
        """The largest filters first, from `filters` and `inputs` of all weights: (weights,) int32, sorted by filter."""
        used, starts, sizes = np.unique(filters, return_index=True, return_counts=True)
        ends = np.append(starts, len(filters)).astype(np.int32)
        return cls(used.astype(np.int32), sizes, ends, inputs).ordered(np.argsort(-sizes, kind="stable"))

    def ordered(self, order: NDArray[np.int64]) -> FilterSet:
        """The same filters in another order: (filters,) int64."""
        starts = np.append(0, np.cumsum(self.sizes[order])).astype(np.int32)
        moved = np.repeat(self.starts[:-1][order] - starts[:-1], self.sizes[order]) + np.arange(starts[-1])
        return FilterSet(self.ids[order], self.sizes[order], starts, self.inputs[moved])

    def part(self, first: int, last: int) -> FilterSet:
        """The filters from number `first` to before `last`."""
        begin, end = self.starts[first], self.starts[last]
        starts = self.starts[first : last + 1] - begin
        return FilterSet(self.ids[first:last], self.sizes[first:last], starts, self.inputs[begin:end])

    def read(self, number: int) -> Ids:
        """The inputs of one filter."""
        return self.inputs[self.starts[number] : self.starts[number + 1]]
