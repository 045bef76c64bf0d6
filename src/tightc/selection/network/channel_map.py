"""Channel maps: the number of the channel that each element of a value belongs to; kernels.

A map has as many axes as its value, each of length 1 where all elements along it belong to the same channels. The map
of a convolution's output is (1, filters, 1, 1). None stands for a map that cannot be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from tightc.selection.channels import ChannelNumbers

LARGEST = 1 << 24  # elements of a map

ChannelMap = ChannelNumbers
Shape = tuple[int, ...]


def with_rank(channels: ChannelMap, rank: int) -> ChannelMap:
    """The map with leading axes up to `rank`, as broadcasting adds them."""
    return channels.reshape((1,) * (rank - channels.ndim) + channels.shape)


def broadcast(maps: Sequence[ChannelMap]) -> list[ChannelMap] | None:
    """The maps in their common shape."""
    rank = max(channels.ndim for channels in maps)
    maps = [with_rank(channels, rank) for channels in maps]
    shape = tuple(max(sides) for sides in zip(*(channels.shape for channels in maps), strict=True))
    if prod(shape) > LARGEST or any(
        side not in (1, wanted)
        for channels in maps
        for side, wanted in zip(channels.shape, shape, strict=True)
    ):
        return None
    return [np.broadcast_to(channels, shape) for channels in maps]


def reshaped(channels: ChannelMap, before: Shape, after: Shape) -> ChannelMap | None:
    """The map of a value of shape `before` that is reshaped to `after`.

    Axes are split into the smallest blocks of equal size in both shapes; only the blocks that channels lie along are
    filled in, so that a flattened image takes no more than the inputs of the layer that reads it.
    """
    if prod(before) != prod(after) or 0 in before:
        return None
    filled: list[int] = []
    result: list[int] = []
    first = 0
    for end, sides in _blocks(before, after):
        varies = any(side > 1 for side in channels.shape[first:end])
        filled += before[first:end] if varies else [1] * (end - first)
        result += sides if varies else [1] * len(sides)
        first = end
    if prod(filled) > LARGEST:
        return None
    return np.broadcast_to(channels, filled).reshape(result)


def _blocks(before: Shape, after: Shape) -> list[tuple[int, Shape]]:
    """For each block of axes with equal size: the end of its axes in `before`, and its sides in `after`."""
    blocks: list[tuple[int, Shape]] = []
    end = begun = taken = 0
    while end < len(before) or taken < len(after):
        sizes = [1, 1]
        if end < len(before):
            sizes[0], end = before[end], end + 1
        if taken < len(after):
            sizes[1], taken = after[taken], taken + 1
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                sizes[0], end = sizes[0] * before[end], end + 1
            else:
                sizes[1], taken = sizes[1] * after[taken], taken + 1
        blocks.append((end, after[begun:taken]))
        begun = taken
    return blocks


def concatenated(maps: Sequence[ChannelMap], sides: Sequence[int], axis: int) -> ChannelMap | None:
    """The map of values concatenated along `axis`, where they are as long as `sides` say."""
    others = broadcast([np.take(channels, [0], axis=axis) for channels in maps])
    if others is None or len({channels.ndim for channels in maps}) > 1:
        return None
    if len({int(one) for channels in maps for one in channels.ravel()[:1]}) == 1 and all(
        channels.size == 1 for channels in maps
    ):
        return maps[0]
    whole = list(others[0].shape)
    whole[axis] = sum(sides)
    if prod(whole) > LARGEST:
        return None
    parts = []
    for channels, side in zip(maps, sides, strict=True):
        shape = [*whole[:axis], side, *whole[axis + 1 :]]
        if channels.shape[axis] not in (1, side):
            return None
        parts.append(np.broadcast_to(channels, shape))
    return np.concatenate(parts, axis=axis)


def distinct_members(members: ChannelNumbers) -> ChannelNumbers:
    """`members`, (channels, members), each row without repetitions but those that fill it up."""
    if (members == members[:, :1]).all():
        return members[:, :1]
    ordered = np.sort(members, axis=1)
    is_new = np.ones(ordered.shape, bool)
    is_new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    places = np.argsort(~is_new, axis=1, kind="stable")[:, : int(is_new.sum(axis=1).max())]
    found: ChannelNumbers = np.take_along_axis(np.where(is_new, ordered, ordered[:, :1]), places, axis=1)
    return found
