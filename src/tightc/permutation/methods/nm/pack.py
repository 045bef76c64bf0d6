"""N:M sparsity: of every M inputs each filter keeps the N largest weights, in the input order that keeps the most.

After J. Pool, C. Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021, who search the order by trying all orders
of a few groups at a time; here it is annealed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import OptionError
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.methods.nm import channel_permutation
from tightc.permutation.methods.nm.channel_permutation import Groups
from tightc.permutation.pattern import Pattern
from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext, SearchSettings
from tightc.tile.array import ArrayShape
from tightc.tile.dense import merged
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, cut_into_tiles

# temperatures, in standard deviations of the gain of a random swap. At the first about one swap in a hundred is made,
# at the last one in ten thousand, for uniform, normal, heavy-tailed and pruned weights alike
_START, _END = 0.12, 0.085
_DRAWS = 60  # per input, times the moves per weight of the schedule
_MANY_INPUTS = 64
_FIRST_SWAPS = 10  # draws per swap at the first temperature, about
_LARGEST_TABLE = 1024  # inputs
_SAMPLE = 64
_CHUNK = 1 << 33  # comparisons of weights between two checks of the deadline
_VECTOR = 64  # the number of filters is padded to a multiple, so that vectorized loops have no remainder
_REPORT_INTERVAL = 0.1  # seconds

OrderProgress = Callable[[float, Mapping[str, str]], None]


def pack(
    matrix: LayerMatrix, problem: PackingProblem, *, settings: SearchSettings, context: SearchContext
) -> Packing:
    """Inputs in annealed order; every M of them are on up to N lanes: the j-th weight that a filter keeps on the j-th.

    All weights but the N largest of a filter and M inputs are dropped. The lanes of M inputs are in one tile if it has
    room for N. The packing's fan-in is M. OptionError if that is above the fan-in of the array.
    """
    pattern = problem.lossy.pattern
    if pattern.group > problem.fan_in:
        raise OptionError(
            f"expected a fan-in of {pattern.group} or more for pattern {pattern}, got {problem.fan_in}",
            f"raise the fan-in to {pattern.group}",
        )
    size = matrix.filters_per_group
    deadline = context.time.start()
    tiles: list[Tile] = []
    for group in range(matrix.groups):
        values = matrix.dequantized[group * size : (group + 1) * size]
        parent = settings.seed
        seed = np.random.SeedSequence(parent.entropy, spawn_key=(*parent.spawn_key, group))
        order = find_order(
            values,
            pattern,
            settings.schedule,
            seed,
            ended=lambda: context.ended(deadline),
            progress=_group_progress(context, group, matrix.groups),
        )
        slots = _slots(values, order, pattern)
        filters = np.flatnonzero((slots != EMPTY).any(axis=0)).astype(np.int32)
        slots = np.where(slots == EMPTY, EMPTY, slots + group * matrix.inputs)[:, filters]
        tiles += _tiles(filters + np.int32(group * size), slots.astype(np.int32), pattern, problem.array)
    if matrix.groups > 1:
        tiles = list(merged(tiles, problem.array))
    return Packing(
        method="nm",
        array=problem.array,
        fan_in=pattern.group,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(tiles),
    )


def efficacy(values: NDArray[Any], order: Ids, pattern: Pattern) -> float:
    """The gain of an order of inputs over the order 0, 1, 2, ..., as a fraction of the largest possible gain.

    `values`: (filters, inputs); `order`: (inputs,) int32. Counted is the sum of the kept magnitudes; the largest
    possible sum keeps as many weights of a filter as the pattern does, but any. As NVIDIA's apex counts it
    (contrib/sparsity/permutation_tests).
    """
    magnitudes = np.abs(values.astype(np.float64))
    inputs = magnitudes.shape[1]
    before = _kept_magnitude(magnitudes, pattern)
    bound = np.sort(magnitudes, axis=1)[:, inputs - _kept_of(inputs, pattern) :].sum()
    return (
        float((_kept_magnitude(magnitudes[:, order], pattern) - before) / (bound - before))
        if bound > before
        else 0.0
    )


def find_order(
    values: NDArray[Any],
    pattern: Pattern,
    schedule: TemperatureSchedule,
    seed: np.random.SeedSequence,
    ended: Callable[[], bool] = lambda: False,
    progress: OrderProgress = lambda _done, _figures: None,
) -> Ids:
    """The order of inputs in which the N largest weights of every M inputs have the largest sum of magnitudes.

    `values`: (filters, inputs), one group of a layer. The order: (inputs,) int32, at least as good as 0, 1, 2, ...;
    inputs of a group ascend. The search makes 60 x `moves_per_weight` draws for each input, of at most 64 inputs; each
    offers an input 64 others to swap with. The temperatures are its own, as many as `steps`. It ends early when there
    is nothing more to gain, or when `ended` is true.
    """
    inputs = values.shape[1]
    rng = np.random.default_rng(seed)
    groups = _groups_of(values, pattern)
    best = groups.members.copy()
    spread, missing = _spread(groups, inputs, rng), _missing(groups, inputs, pattern)
    draws = schedule.moves_per_weight * _DRAWS * min(inputs, _MANY_INPUTS) // schedule.steps
    chunk = max(1, _CHUNK // (2 * channel_permutation.SEGMENT * groups.weights.shape[1]))
    state = np.uint64(rng.integers(1, 2**63))
    groups = _with_table(groups, inputs, draws // _FIRST_SWAPS, draws)
    for step, temperature in enumerate(np.geomspace(_START, _END, schedule.steps) * spread):
        swaps = int(groups.tally[2])
        for first in range(0, draws, chunk):
            if not spread or groups.tally[1] >= missing or ended():
                return _order_of(best, inputs)
            limits = np.clip(temperature * np.log(1 - rng.random(channel_permutation.LIMITS)), -(2.0**30), -1)
            count = min(chunk, draws - first)
            state = channel_permutation._swap_channels(
                groups, best, limits.astype(np.int32), inputs=inputs, draws=count, rng=np.uint64(state)
            )
        progress((step + 1) / schedule.steps, {"efficacy": f"{groups.tally[1] / max(missing, 1):.2%}"})
        groups = _with_table(groups, inputs, int(groups.tally[2]) - swaps, draws)
    return _order_of(best, inputs)


def _groups_of(values: NDArray[Any], pattern: Pattern) -> Groups:
    """The inputs of `values`, (filters, inputs), in their own order."""
    filters, inputs = values.shape
    count = -(-inputs // pattern.group)
    places, width = count * pattern.group, -(-filters // _VECTOR) * _VECTOR
    magnitudes = np.abs(values.T.astype(np.float64))
    top = min(2**15, 2**channel_permutation.SUM_BITS // width) - 1
    weights = np.zeros((places, width), np.int16)
    weights[:inputs, :filters] = np.round(magnitudes * (top / (magnitudes.max() or 1.0)))
    groups = Groups(
        weights=weights,
        thresholds=np.zeros_like(weights),
        members=np.arange(places, dtype=np.int32).reshape(count, pattern.group),
        group_of=np.repeat(np.arange(count, dtype=np.int32), pattern.group),
        own=np.zeros(places, np.int32),
        sums=np.zeros((0, 0), np.int32),
        transposed=np.zeros((0, 0), np.int32),
        ranked=np.zeros((pattern.kept + 2, width), np.int16),
        tally=np.zeros(3, np.int64),
    )
    channel_permutation._update_all(groups)
    return groups


def _spread(groups: Groups, inputs: int, rng: np.random.Generator) -> float:
    """Standard deviation of the gain of a random swap, 0 if there is nothing to swap."""
    found = []
    for one in rng.integers(inputs, size=_SAMPLE):
        begin = int(rng.integers(-(-inputs // channel_permutation.SEGMENT))) * channel_permutation.SEGMENT
        gains = np.empty(min(channel_permutation.SEGMENT, inputs - begin), np.int32)
        channel_permutation._count_gains(
            groups.weights, groups.thresholds, own=groups.own, one=int(one), begin=begin, gains=gains
        )
        found.append(gains[groups.group_of[begin : begin + len(gains)] != groups.group_of[one]])
    together = np.concatenate(found)
    return float(together.std()) if len(together) else 0.0


def _missing(groups: Groups, inputs: int, pattern: Pattern) -> int:
    """The gain if every filter kept its largest weights, as many as the pattern allows."""
    blocks = groups.weights.reshape(len(groups.members), pattern.group, -1)
    kept = np.sort(blocks, axis=1)[:, pattern.group - pattern.kept :].sum(dtype=np.int64)
    first = inputs - _kept_of(inputs, pattern)
    return int(np.sort(groups.weights[:inputs], axis=0)[first:].sum(dtype=np.int64) - kept)


def _with_table(groups: Groups, inputs: int, swaps: int, draws: int) -> Groups:
    """`groups` with a table of sums if swaps are so rare, `swaps` in `draws`, that the table saves time.

    A swap recomputes about inputs x M sums. The result of the search does not depend on the table.
    """
    offers = draws * min(inputs, channel_permutation.SEGMENT)
    upkeep = swaps * inputs * groups.members.shape[1]
    if len(groups.sums):
        empty = np.zeros((0, 0), np.int32)
        return groups._replace(sums=empty, transposed=empty) if upkeep > 2 * offers else groups
    if inputs > _LARGEST_TABLE or upkeep > offers:
        return groups
    table = np.zeros((inputs, inputs), np.int32)
    tabled = groups._replace(sums=table, transposed=table.copy())
    channel_permutation._tabulate_all(tabled)
    return tabled


def _order_of(members: Ids, inputs: int) -> Ids:
    """The inputs group by group, without those that fill up the last one."""
    order: Ids = np.sort(members, axis=1).ravel()[:inputs]
    return order


def _kept_of(inputs: int, pattern: Pattern) -> int:
    """How many weights of a filter of `inputs` a pattern keeps."""
    return inputs // pattern.group * pattern.kept + min(inputs % pattern.group, pattern.kept)


def _in_groups(values: NDArray[Any], pattern: Pattern) -> NDArray[Any]:
    """(filters, inputs) -> (filters, groups, M), the last group filled up with zeros."""
    filters, inputs = values.shape
    filled = np.pad(values, ((0, 0), (0, -inputs % pattern.group)))
    return filled.reshape(filters, -1, pattern.group)


def _kept_magnitude(magnitudes: NDArray[np.float64], pattern: Pattern) -> float:
    blocks = np.sort(_in_groups(magnitudes, pattern), axis=2)
    return float(blocks[:, :, pattern.group - pattern.kept :].sum())


def _slots(values: NDArray[Any], order: Ids, pattern: Pattern) -> Ids:
    """The input that each lane multiplies for each filter: (groups x N, filters) int32, EMPTY for none.

    Of equal weights the first in `order` are kept. The weights that a filter keeps of a group take its first lanes.
    """
    blocks = _in_groups(np.abs(values[:, order]), pattern)
    largest = np.argsort(-blocks, axis=2, kind="stable")[:, :, : pattern.kept]
    kept = np.zeros(blocks.shape, bool)
    np.put_along_axis(kept, largest, True, axis=2)
    kept &= blocks > 0
    filters, groups, places = np.nonzero(kept)
    lanes = groups * pattern.kept + np.cumsum(kept, axis=2)[filters, groups, places] - 1
    slots = np.full((blocks.shape[1] * pattern.kept, len(values)), EMPTY, np.int32)
    slots[lanes, filters] = order[groups * pattern.group + places]
    return slots


def _tiles(filters: Ids, slots: Ids, pattern: Pattern, array: ArrayShape) -> list[Tile]:
    """Tiles in which the lanes of a group lie together; lanes without a weight are left out."""
    used = (slots != EMPTY).any(axis=1)
    filled, firsts = 0, []
    for group, lanes in enumerate(used.reshape(-1, pattern.kept).sum(axis=1).tolist()):
        if filled + lanes > array.rows:
            firsts.append(group * pattern.kept)
            filled = 0
        filled += lanes
    parts = zip(np.split(slots, firsts), np.split(used, firsts), strict=True)
    return [tile for part, lanes in parts for tile in cut_into_tiles(filters, part[lanes], array)]


def _group_progress(context: SearchContext, group: int, groups: int) -> OrderProgress:
    """Reports the search in one group of the layer, at most every tenth of a second."""
    reported = time.monotonic()

    def progress(done: float, figures: Mapping[str, str]) -> None:
        nonlocal reported
        if time.monotonic() - reported >= _REPORT_INTERVAL or done == 1.0:
            reported = time.monotonic()
            context.report(0.99 * (group + done) / groups, figures)

    return progress
