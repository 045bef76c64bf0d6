"""Which inputs the columns of a tile can read: those of the groups of their filters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tightc.stream.subsets import Numbers


@dataclass(frozen=True)
class Readable:
    """The `groups` of a tile's filters, rising, and of each the `first` of its columns and their number, `size`.

    All arrays are (groups of the tile,) int64. The inputs of these groups are numbered from 0, so that others take no
    bits.
    """

    groups: Numbers
    first: Numbers
    size: Numbers
    inputs_per_group: int

    @classmethod
    def of(cls, filters: Numbers, filters_per_group: int, inputs_per_group: int) -> Readable:
        """For `filters`, (columns,) int64, rising."""
        groups, first, size = np.unique(filters // filters_per_group, return_index=True, return_counts=True)
        return cls(groups, first.astype(np.int64), size.astype(np.int64), inputs_per_group)

    @property
    def inputs(self) -> int:
        """How many inputs are numbered."""
        return len(self.groups) * self.inputs_per_group

    def numbers(self, inputs: Numbers) -> Numbers:
        """The number of each of `inputs`, same shape."""
        return self.group(inputs) * self.inputs_per_group + inputs % self.inputs_per_group

    def names(self, numbers: Numbers) -> Numbers:
        """The input of each of `numbers`: the inverse of `numbers`."""
        group = self.groups[numbers // self.inputs_per_group]
        return group * self.inputs_per_group + numbers % self.inputs_per_group

    def group(self, inputs: Numbers) -> Numbers:
        """The place of the group of each of `inputs` among `groups`."""
        return np.searchsorted(self.groups, inputs // self.inputs_per_group)
