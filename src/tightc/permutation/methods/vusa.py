"""Windows that share multipliers: a few lanes take as many adjacent inputs as no filter has more weights of; lossless.

Our reading of the abstract of S. A. Helal et al., "VUSA: Virtually Upscaled Systolic Array Architecture to Exploit
Unstructured Sparsity in AI Acceleration", MOCAST 2025 (arXiv 2506.01166). The columns there, which share the
multipliers of a row, are inputs here. What is taken, and what is left out: docs/design/baselines.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.methods.filter_blocks import Placement, Used, blocks_of, pack_blocks
from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem, *, context: SearchContext) -> Packing:
    """Windows of adjacent inputs on a few lanes each, which hold all weights of a window.

    With A lanes and a fan-in of F a window has up to A + F - 1 inputs, since lane j of it carries the j-th input and
    the F - 1 after it. A is the power of two up to the rows, or the rows, that gives a group of the layer the fewest
    passes, then the fewest lanes; of equals the smallest.
    """
    placements = partial(_best_placements, array=problem.array, fan_in=problem.fan_in)
    return pack_blocks("vusa", matrix, problem, placements, context)


def _best_placements(used: Used, array: ArrayShape, fan_in: int) -> list[Placement]:
    """The placements with the number of lanes for a window that gives the fewest passes."""
    numbers = [2**power for power in range(array.rows.bit_length()) if 2**power < array.rows]
    tried = [list(_placements(used, lanes, fan_in, array.columns)) for lanes in (*numbers, array.rows)]
    return min(tried, key=lambda placed: _passes_and_lanes(placed, array.rows))


def _passes_and_lanes(placed: list[Placement], rows: int) -> tuple[int, int]:
    lanes = [len(np.unique(one.lane)) for one in placed]
    return sum(-(-count // rows) for count in lanes), sum(lanes)


def _placements(used: Used, lanes: int, fan_in: int, columns: int) -> Iterator[Placement]:
    """A placement for each block of filters; inputs and filters without a weight are left out."""
    for filters in blocks_of(np.flatnonzero(used.any(axis=1)), columns):
        block = used[filters]
        own = np.flatnonzero(block.any(axis=0))
        block = np.ascontiguousarray(block[:, own])
        column, place = np.nonzero(block)
        windows = longest_windows(block, lanes, lanes + fan_in - 1)
        lane = _lanes_of(column, place, windows, np.array([lanes, fan_in]))
        yield Placement(filters, column, lane, own[place])


@njit(nogil=True, cache=True)
def longest_windows(used: NDArray[np.bool_], lanes: int, longest: int) -> NDArray[np.int64]:
    """The first input of the window of each input, (inputs,) int64; each window is as long as it may be.

    `used`: (filters, inputs) bool. A window has up to `longest` inputs, and up to `lanes` weights of any filter. Since
    each part of a window is one, no other windows are fewer.
    """
    filters, inputs = used.shape
    firsts = np.zeros(inputs, np.int64)
    held = np.zeros(filters, np.int64)
    first = 0
    for place in range(inputs):
        fits = place - first < longest
        for filter_ in range(filters):
            if used[filter_, place] and held[filter_] == lanes:
                fits = False
        if not fits:
            first = place
            held[:] = 0
        for filter_ in range(filters):
            held[filter_] += used[filter_, place]
        firsts[place] = first
    return firsts


@njit(nogil=True, cache=True)
def _lanes_of(
    column: NDArray[np.int64], place: NDArray[np.int64], firsts: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The lane of each weight: (weights,) int64, the first one free that carries its input.

    `column`, `place`: (weights,) int64, filter and input of each, sorted so. `firsts`: (inputs,) int64, the first input
    of the window of each. `sizes`: (2,), the lanes of a window, and the fan-in.
    """
    found = np.empty(len(place), np.int64)
    windows = np.zeros(len(firsts), np.int64)
    for one in range(1, len(firsts)):
        windows[one] = windows[one - 1] + (firsts[one] != firsts[one - 1])
    for weight in range(len(place)):
        first = firsts[place[weight]]
        lane = max(0, place[weight] - first - sizes[1] + 1)
        before = weight - 1
        if before >= 0 and column[before] == column[weight] and firsts[place[before]] == first:
            lane = max(lane, found[before] - windows[place[before]] * sizes[0] + 1)
        found[weight] = windows[place[weight]] * sizes[0] + lane
    return found
