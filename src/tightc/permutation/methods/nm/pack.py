"""N:M sparsity: of every M inputs each filter keeps the N largest weights, in the order of inputs that keeps the most.

After J. Pool, C. Yu, "Channel Permutations for N:M Sparsity", NeurIPS 2021, who search that order by trying all orders
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
from tightc.permutation.problem import Task
from tightc.tile.array import ArrayShape
from tightc.tile.dense import merged
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import EMPTY, Packing, Tile, cut_into_tiles

# temperatures, in standard deviations of what a random swap gains: at the first about one swap in a hundred is made, at
# the last one in ten thousand, for uniform, normal, heavy-tailed and pruned weights alike
_START, _END = 0.12, 0.085
_DRAWS = 60  # for each input and move that the schedule has for a weight
_MANY_INPUTS = 64
_FIRST_SWAPS = 10  # draws to a swap at the first temperature, about
_LARGEST_TABLE = 1024  # inputs
_SAMPLE = 64
_BITE = 1 << 33  # comparisons of weights between two looks at whether to stop
_VECTOR = 64  # filters are rounded up to a multiple, so that loops over them leave no remainder
_TELL = 0.1  # seconds between two reports

Tell = Callable[[float, Mapping[str, str]], None]


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """Inputs in annealed order; every M of them are on up to N lanes: the j-th weight that a filter keeps on the j-th.

    All weights but the N largest of a filter and M inputs are dropped. The lanes of M inputs stay in one tile where it
    has room for N. The packing's fan-in is M. OptionError where that is beyond the fan-in of the array.
    """
    pattern = task.lossy.pattern
    if pattern.group > task.fan_in:
        raise OptionError(
            f"pattern {pattern} needs a fan-in of {pattern.group}, that of the array is {task.fan_in}",
            f"raise the fan-in to {pattern.group}",
        )
    size = matrix.filters_per_group
    end = time.monotonic() + task.pace.share(task.weight)

    def ended() -> bool:
        over = task.stop.is_set() or time.monotonic() >= end
        if over:
            task.pace.cut.add(task.layer)
        return over

    tiles: list[Tile] = []
    for group in range(matrix.groups):
        values = matrix.real[group * size : (group + 1) * size]
        seed = np.random.SeedSequence(task.seed.entropy, spawn_key=(*task.seed.spawn_key, group))
        order = find_order(
            values,
            pattern,
            task.schedule,
            seed,
            stopped=ended,
            tell=_telling(task, group, matrix.groups),
        )
        slots = _slots(values, order, pattern)
        filters = np.flatnonzero((slots != EMPTY).any(axis=0)).astype(np.int32)
        slots = np.where(slots == EMPTY, EMPTY, slots + group * matrix.inputs)[:, filters]
        tiles += _tiles(filters + np.int32(group * size), slots.astype(np.int32), pattern, task.array)
    if matrix.groups > 1:
        tiles = list(merged(tiles, task.array))
    return Packing(
        "nm", task.array, pattern.group, matrix.filters, matrix.inputs, matrix.groups, tuple(tiles)
    )


def efficacy(values: NDArray[Any], order: Ids, kept: int, group: int) -> float:
    """What an order of inputs saves of what the order 0, 1, 2, ... loses, against the bound; 1 reaches it, 0 no gain.

    `values`: (filters, inputs); `order`: (inputs,) int32. What is kept is the sum of magnitudes; the bound keeps as
    many of a filter as the pattern does, the largest. As NVIDIA's apex counts it (contrib/sparsity/permutation_tests).
    """
    pattern = Pattern(kept, group)
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
    stopped: Callable[[], bool] = lambda: False,
    tell: Tell = lambda _done, _figures: None,
) -> Ids:
    """An order in which the N largest weights of every M inputs weigh the most, never less than in order 0, 1, 2, ...

    `values`: (filters, inputs), one group of a layer. The order: (inputs,) int32; inputs of a group ascend. The search
    makes 60 x `moves_per_weight` draws for each input, of 64 inputs at most, each of which offers an input 64 others to
    swap with, at `steps` temperatures of its own. It ends early once nothing more can be gained, or once `stopped`.
    """
    inputs = values.shape[1]
    rng = np.random.default_rng(seed)
    groups = _groups_of(values, pattern)
    best = groups.members.copy()
    spread, missing = _spread(groups, inputs, rng), _missing(groups, inputs, pattern)
    draws = schedule.moves_per_weight * _DRAWS * min(inputs, _MANY_INPUTS) // schedule.steps
    bite = max(1, _BITE // (2 * channel_permutation.SEGMENT * groups.weights.shape[1]))
    state = np.uint64(rng.integers(1, 2**63))
    groups = _with_table(groups, inputs, draws // _FIRST_SWAPS, draws)
    for step, temperature in enumerate(np.geomspace(_START, _END, schedule.steps) * spread):
        swaps = int(groups.tally[2])
        for first in range(0, draws, bite):
            if not spread or groups.tally[1] >= missing or stopped():
                return _order_of(best, inputs)
            limits = np.clip(temperature * np.log(1 - rng.random(channel_permutation.LIMITS)), -(2.0**30), -1)
            count = min(bite, draws - first)
            state = channel_permutation._regroup(
                groups, best, limits.astype(np.int32), inputs, count, np.uint64(state)
            )
        tell((step + 1) / schedule.steps, {"efficacy": f"{groups.tally[1] / max(missing, 1):.2%}"})
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
        weights,
        np.zeros_like(weights),
        np.arange(places, dtype=np.int32).reshape(count, pattern.group),
        np.repeat(np.arange(count, dtype=np.int32), pattern.group),
        np.zeros(places, np.int32),
        np.zeros((0, 0), np.int32),
        np.zeros((0, 0), np.int32),
        np.zeros((pattern.kept + 2, width), np.int16),
        np.zeros(3, np.int64),
    )
    channel_permutation._settle_all(groups)
    return groups


def _spread(groups: Groups, inputs: int, rng: np.random.Generator) -> float:
    """Standard deviation of what a random swap gains, 0 where there is nothing to swap."""
    found = []
    for one in rng.integers(inputs, size=_SAMPLE):
        begin = int(rng.integers(-(-inputs // channel_permutation.SEGMENT))) * channel_permutation.SEGMENT
        gains = np.empty(min(channel_permutation.SEGMENT, inputs - begin), np.int32)
        channel_permutation._count_gains(
            groups.weights, groups.thresholds, groups.own, int(one), begin, gains
        )
        found.append(gains[groups.home[begin : begin + len(gains)] != groups.home[one]])
    together = np.concatenate(found)
    return float(together.std()) if len(together) else 0.0


def _missing(groups: Groups, inputs: int, pattern: Pattern) -> int:
    """What could be gained if every filter kept its largest weights, as many as the pattern lets it."""
    blocks = groups.weights.reshape(len(groups.members), pattern.group, -1)
    kept = np.sort(blocks, axis=1)[:, pattern.group - pattern.kept :].sum(dtype=np.int64)
    first = inputs - _kept_of(inputs, pattern)
    return int(np.sort(groups.weights[:inputs], axis=0)[first:].sum(dtype=np.int64) - kept)


def _with_table(groups: Groups, inputs: int, swaps: int, draws: int) -> Groups:
    """`groups` with a table of sums where swaps are so rare, `swaps` in `draws`, that it saves more than its upkeep.

    A swap counts about as many sums anew as there are inputs times M. What the search finds does not depend on it.
    """
    offers = draws * min(inputs, channel_permutation.SEGMENT)
    upkeep = swaps * inputs * groups.members.shape[1]
    if len(groups.sums):
        empty = np.zeros((0, 0), np.int32)
        return groups._replace(sums=empty, turned=empty) if upkeep > 2 * offers else groups
    if inputs > _LARGEST_TABLE or upkeep > offers:
        return groups
    table = np.zeros((inputs, inputs), np.int32)
    tabled = groups._replace(sums=table, turned=table.copy())
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


def _telling(task: Task, group: int, groups: int) -> Tell:
    """Tells the task's listener of the search in one of its groups, now and then."""
    told = time.monotonic()

    def tell(done: float, figures: Mapping[str, str]) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL or done == 1.0:
            told = time.monotonic()
            task.progress(task.layer, 0.99 * (group + done) / groups, figures)

    return tell
