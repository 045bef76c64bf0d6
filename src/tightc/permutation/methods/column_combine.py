"""Column combining: inputs with weights in different filters share a lane; the baseline.

After H. T. Kung, B. McDanel, S. Q. Zhang, "Packing Sparse Convolutional Neural Networks for Efficient Systolic Array
Implementations: Column Combining Under Joint Optimization", ASPLOS 2019 (arXiv 1811.04770). Their columns are inputs
here, their groups of combined columns lanes, their rows filters.
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import OptionError
from tightc.kernel_cache import njit
from tightc.permutation.problem import LossySettings, PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.selection.top_k import choose_largest
from tightc.tile.dense import merged
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import EMPTY, Packing, cut_into_tiles

_NONE = -1
_CHUNK = 64  # lanes filled between two checks for an interrupt
_SLACK = 1e-9  # so that 0.29 x 100 allows 29


def pack(matrix: LayerMatrix, problem: PackingProblem, *, context: SearchContext) -> Packing:
    """Lanes of up to `alpha` whole inputs each, cut into tiles; filters and inputs without a weight are left out.

    An input is on one lane only. Where several inputs of a lane have a weight in the same filter, the largest is kept,
    the first of equals. The others are dropped, `gamma` x filters per lane at most; none for a gamma of 0. Before, all
    but the `kept` largest weights of the layer are. The packing's fan-in is alpha. OptionError if that is above the
    fan-in of the array.
    """
    alpha = problem.lossy.alpha
    if alpha > problem.fan_in:
        raise OptionError(
            f"expected alpha up to {problem.fan_in}, the fan-in of the array, got {alpha}",
            f"lower alpha to {problem.fan_in} or raise the fan-in to {alpha}",
        )
    size = matrix.filters_per_group
    tiles, weights = [], _largest(matrix.dequantized, problem.lossy.kept)
    for group in range(matrix.groups):
        values = weights[group * size : (group + 1) * size]
        filters = np.flatnonzero((values != 0).any(axis=1)).astype(np.int32)
        lanes = combine(values, problem.lossy, context, group / matrix.groups, 1 / matrix.groups)
        slots = _slots(values[filters], lanes)
        slots[slots != EMPTY] += group * matrix.inputs
        tiles += cut_into_tiles(filters + np.int32(group * size), slots, problem.array)
    if matrix.groups > 1:
        tiles = list(merged(tiles, problem.array))
    return Packing(
        method="column-combine",
        array=problem.array,
        fan_in=alpha,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(tiles),
    )


def _largest(values: NDArray[Any], count: int | None) -> NDArray[Any]:
    """`values`, (filters, inputs), with all but the `count` largest set to zero; None for none."""
    if count is None:
        return values
    (kept,) = choose_largest([np.square(values, dtype=np.float64)], count, [0])
    return np.where(kept.mask(), values, values.dtype.type(0))


def combine(
    values: NDArray[Any],
    lossy: LossySettings,
    context: SearchContext,
    done: float = 0.0,
    fraction: float = 1.0,
) -> list[Ids]:
    """The inputs of each lane, ascending: (inputs of the lane,) int32 each; inputs without a weight are on none.

    `values`: (filters, inputs), one group of a layer. For progress, `done` is the fraction of the layer before this
    group, and `fraction` that of the group. CancelledError after an interrupt.
    """
    used = values != 0
    sizes = np.count_nonzero(used, axis=0).astype(np.int32)
    order = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]  # densest first
    words, sizes = _words(used[:, order]), sizes[order]
    drops = int(min(lossy.gamma, lossy.alpha) * len(values) + _SLACK)
    limits = np.array([len(values), lossy.alpha, drops], np.int32)
    count = len(order)
    lane_of = np.full(count, _NONE, np.int32)
    rest = np.append(np.arange(1, count + 1), 0).astype(np.int32)
    lanes = 0
    while rest[count] != count:
        if context.interrupted:
            raise CancelledError
        lanes = _fill_lanes(
            words, sizes, limits=limits, lane_of=lane_of, rest=rest, lane=lanes, end=lanes + _CHUNK
        )
        grouped = np.count_nonzero(lane_of != _NONE)
        context.report(done + fraction * 0.9 * grouped / count, {"lanes": str(lanes)})
    by_lane = order[np.lexsort((order, lane_of))].astype(np.int32)
    return np.split(by_lane, np.cumsum(np.bincount(lane_of, minlength=lanes))[:-1]) if lanes else []


@njit(nogil=True, cache=True)
def _fill_lanes(
    words: NDArray[np.uint64],
    sizes: NDArray[np.int32],
    limits: NDArray[np.int32],
    lane_of: NDArray[np.int32],
    rest: NDArray[np.int32],
    lane: int,
    end: int,
) -> int:
    """Fills lanes from `lane` up to `end` or until no input is left; returns the number of lanes then.

    The densest input left opens a lane; then comes, again and again, the input that covers the most further filters,
    of equals the one that drops fewer weights, then the first.

    `words`: (inputs, words) uint64, a bit for each filter. `sizes`: (inputs,) int32, weights of each input, falling.
    `limits`: (3,) int32, number of filters, inputs and dropped weights of a lane at most. In place: `lane_of`
    (inputs,) int32, and `rest` (inputs + 1,) int32, a ring of the inputs without a lane: the next of each; the last
    entry begins and ends it.
    """
    count = len(words)
    while lane < end and rest[count] != count:
        first = rest[count]
        rest[count] = rest[first]
        lane_of[first] = lane
        union = words[first].copy()
        room, drops = limits[0] - sizes[first], limits[2]
        for _ in range(limits[1] - 1):
            best, best_before, best_gain, best_clash = count, count, -1, 0
            before, item = count, rest[count]
            while item != count:
                size = sizes[item]
                if size < best_gain or (size == best_gain and best_clash == 0):
                    break  # those after it are no larger
                if size - room <= drops:  # else some must clash
                    clash = 0
                    for word in range(words.shape[1]):  # four times as fast here as in a function of its own
                        clash += _count_bits(words[item, word] & union[word])
                        if clash > drops:
                            break
                    gain = size - clash
                    if clash <= drops and (gain > best_gain or (gain == best_gain and clash < best_clash)):
                        best, best_before, best_gain, best_clash = item, before, gain, clash
                before, item = item, rest[item]
            if best == count:
                break
            rest[best_before] = rest[best]
            lane_of[best] = lane
            union |= words[best]
            room, drops = room - best_gain, drops - best_clash
        lane += 1
    return lane


@njit(nogil=True, cache=True)
def _count_bits(word: np.uint64) -> int:
    """How many bits of `word` are set; H. S. Warren, Hacker's Delight, 5-1."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    word += word >> np.uint64(8)
    word += word >> np.uint64(16)
    word += word >> np.uint64(32)
    return int(np.int64(word & np.uint64(0x7F)))  # int() of a uint64 stays one, and its sums are floats


def _words(used: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """(filters, inputs) bool -> (inputs, words) uint64, a bit for each filter."""
    packed = np.packbits(np.ascontiguousarray(used.T), axis=1, bitorder="little")
    padded = np.zeros((packed.shape[0], -(-packed.shape[1] // 8) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


def _slots(values: NDArray[Any], lanes: list[Ids]) -> Ids:
    """The input that each lane multiplies for each filter: (lanes, filters) int32, EMPTY for none."""
    slots = np.full((len(lanes), len(values)), EMPTY, np.int32)
    for slot, inputs in zip(slots, lanes, strict=True):
        weights = np.abs(values[:, inputs])
        slot[:] = np.where((weights != 0).any(axis=1), inputs[weights.argmax(axis=1)], EMPTY)
    return slots
