"""Relief: groups that read more inputs than their lanes can carry get fewer filters, and columns of large ones."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.tile.matrix import Ids

_DENSER = 3  # times the weights of a group's own filters that a filter has whose columns join the group
_KEPT = 0.5  # of its columns, what such a filter keeps where it belongs


@dataclass(frozen=True)
class Readers:
    """Filters and what they read: `starts` (filters + 1,) int32, `inputs` int32 as in `_regroup`, and `columns`:
    (filters,) int64, how many columns each takes."""

    starts: Ids
    inputs: Ids
    columns: NDArray[np.int64]

    def read(self, filter_: int) -> Ids:
        """The inputs of one filter."""
        return self.inputs[self.starts[filter_] : self.starts[filter_ + 1]]


def relieve(
    readers: Readers, members: list[int], donors: list[int], width: int, room: float
) -> list[list[tuple[int, int]]]:
    """Groups of (filter, columns), the `members` spread so that none reads more than its lanes can carry.

    A group is `width` columns wide and as tall as its tallest filter; a tile of it carries `room` inputs. Columns that
    its own filters leave go to `donors`, filters with so many weights that they can do with the inputs that the group
    reads anyway; `readers.columns` is what they had, and what the groups give them has to be taken from that.
    """
    groups = _cut_groups(readers, members, width, room)
    left = [(-int(readers.columns[donor]), donor) for donor in donors]
    heapq.heapify(left)
    sizes = np.diff(readers.starts)
    result = []
    for group in groups:
        tall = int(readers.columns[group].max())
        entries = [(member, int(readers.columns[member])) for member in group]
        used = []
        while left and len(entries) < width:
            have, donor = heapq.heappop(left)
            keeps = _KEPT * readers.columns[donor]
            if -have - tall < keeps or sizes[donor] < _DENSER * sizes[group].mean():
                continue
            entries.append((donor, tall))
            used.append((have + tall, donor))
        for entry in used:
            heapq.heappush(left, entry)
        result.append(entries)
    return result


def _cut_groups(readers: Readers, members: list[int], width: int, room: float) -> list[list[int]]:
    """`members` in order, cut where a group would be too wide or read too much."""
    groups: list[list[int]] = []
    seen = np.zeros(int(readers.inputs.max()) + 1, bool)
    group: list[int] = []
    for member in members:
        read = readers.read(member)
        total = int(np.count_nonzero(seen)) + int(np.count_nonzero(~seen[read]))
        tall = int(readers.columns[[*group, member]].max())
        if group and (len(group) == width or total > room * tall):
            groups.append(group)
            group = []
            seen[:] = False
        group.append(member)
        seen[read] = True
    return [*groups, group] if group else groups
