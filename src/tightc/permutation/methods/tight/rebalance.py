"""Rebalancing: groups that read more inputs than their lanes can carry get fewer filters, and columns of large ones."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.permutation.methods.tight.filter_set import FilterSet

_DENSER = 3  # weights of a donor, at least, times the mean of the group's own filters
_KEPT = 0.5  # fraction of its columns that a donor keeps in its own group, at least


class Cell(NamedTuple):
    """A filter, by its number, and how many columns of a group it takes."""

    filter: int
    columns: int


def rebalance(
    filters: FilterSet,
    columns: NDArray[np.int64],
    members: list[int],
    donors: list[int],
    *,
    width: int,
    room: float,
) -> list[list[Cell]]:
    """Groups into which the `members` are spread so that none reads more inputs than its lanes can carry.

    `columns`: (filters,) int64, columns that each filter takes. A group is `width` columns wide and as tall as its
    tallest filter; a tile of it carries `room` inputs. Columns that its own filters leave go to `donors`: filters with
    so many weights that the inputs which the group reads anyway are enough for some of their columns. The caller has to
    subtract these from the donors' own `columns`.
    """
    groups = _cut_groups(filters, columns, members, width=width, room=room)
    left = [(-int(columns[donor]), donor) for donor in donors]
    heapq.heapify(left)
    sizes = np.diff(filters.starts)
    result = []
    for group in groups:
        tall = int(columns[group].max())
        entries = [Cell(member, int(columns[member])) for member in group]
        used = []
        while left and len(entries) < width:
            have, donor = heapq.heappop(left)
            keeps = _KEPT * columns[donor]
            if -have - tall < keeps or sizes[donor] < _DENSER * sizes[group].mean():
                continue
            entries.append(Cell(donor, tall))
            used.append((have + tall, donor))
        for entry in used:
            heapq.heappush(left, entry)
        result.append(entries)
    return result


def _cut_groups(
    filters: FilterSet, columns: NDArray[np.int64], members: list[int], *, width: int, room: float
) -> list[list[int]]:
    """`members` in order, cut where a group would be too wide or read too many inputs."""
    groups: list[list[int]] = []
    seen = np.zeros(int(filters.inputs.max()) + 1, bool)
    group: list[int] = []
    for member in members:
        read = filters.read(member)
        total = int(np.count_nonzero(seen)) + int(np.count_nonzero(~seen[read]))
        tall = int(columns[[*group, member]].max())
        if group and (len(group) == width or total > room * tall):
            groups.append(group)
            group = []
            seen[:] = False
        group.append(member)
        seen[read] = True
    return [*groups, group] if group else groups
