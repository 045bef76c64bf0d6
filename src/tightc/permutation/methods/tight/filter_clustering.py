"""Filter clustering: filters change groups until no group reads more inputs than its lanes can carry."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing.kernel import EXCESS_COST
from tightc.permutation.annealing.rng import _draw, _next, _pick
from tightc.permutation.methods.tight.filter_set import FilterSet
from tightc.tile.matrix import Ids

_EFFORT = 60_000_000  # weights that the swaps may count, in all
_SWAPS = 300  # of each filter, at most
_TEMPERATURES = (10.0, 0.5, 20)  # inputs: first, last, steps


@njit(nogil=True, cache=True)
def _count_groups(starts: Ids, inputs: Ids, group_of: Ids, counts: Ids) -> None:
    """Counts the users of each input in each group into `counts`, (groups, inputs) int32; see `_swap_filters`."""
    counts[:, :] = 0
    for i in range(len(group_of)):
        for j in range(starts[i], starts[i + 1]):
            counts[group_of[i], inputs[j]] += 1


@njit(nogil=True, cache=True)
def _add(row: Ids, inputs: Ids) -> int:
    """How many of `inputs` are new to a group once it has them: (inputs,) int32 users of each in `row`."""
    new = 0
    for item in inputs:
        if row[item] == 0:
            new += 1
        row[item] += 1
    return new


@njit(nogil=True, cache=True)
def _remove(row: Ids, inputs: Ids) -> int:
    """How many of `inputs` a group has no more once it has lost them."""
    removed = 0
    for item in inputs:
        row[item] -= 1
        if row[item] == 0:
            removed += 1
    return removed


@njit(nogil=True, cache=True)
def _swap_filters(
    starts: Ids,
    inputs: Ids,
    like: Ids,
    group_of: Ids,
    budgets: NDArray[np.int64],
    swaps: int,
    rng: np.uint64,
) -> None:
    """Swaps filters between groups, in place, by annealing: fewer inputs beyond `budgets`, then fewer inputs.

    `starts`: (filters + 1,) int32, filter f reads `inputs[starts[f] : starts[f + 1]]`. `like`: (filters,) int32; f
    may be swapped with the filters after it, up to before `like[f]`. `group_of`: (filters,) int32. `budgets`:
    (groups,) int64, distinct inputs that a group can carry. `rng`: state of the random numbers, not 0.
    """
    counts = np.zeros((len(budgets), inputs.max() + 1), np.int32)
    _count_groups(starts, inputs, group_of, counts)
    carried = np.zeros(len(budgets), np.int64)
    for group in range(len(budgets)):
        carried[group] = np.count_nonzero(counts[group])
    hot, cold, steps = _TEMPERATURES
    for step in range(steps):
        temperature = hot * (cold / hot) ** (step / (steps - 1))
        for _ in range(swaps // steps):
            rng = _next(rng)
            bits = _draw(rng)
            one = _pick(bits, len(group_of))
            two = one + _pick(bits >> np.uint64(20), like[one] - one)
            a, b = group_of[one], group_of[two]
            if a == b:
                continue
            first, second = inputs[starts[one] : starts[one + 1]], inputs[starts[two] : starts[two + 1]]
            change_a = _add(counts[a], second) - _remove(counts[a], first)
            change_b = _add(counts[b], first) - _remove(counts[b], second)
            rise = change_a + change_b
            for group, change in ((a, change_a), (b, change_b)):
                beyond = carried[group] - budgets[group]
                rise += EXCESS_COST * (max(0, beyond + change) - max(0, beyond))
            chance = (bits >> np.uint64(40)) / 16777216.0
            if rise > 0 and chance >= np.exp(-rise / temperature):
                _add(counts[a], first)
                _remove(counts[a], second)
                _add(counts[b], second)
                _remove(counts[b], first)
                continue
            group_of[one], group_of[two] = b, a
            carried[a] += change_a
            carried[b] += change_b


def group_inputs(filters: FilterSet, group_of: Ids) -> NDArray[np.int64]:
    """Distinct inputs that each group reads: (groups,) int64. `group_of`: (filters,) int32."""
    inputs = filters.inputs
    counts = np.zeros((int(group_of.max(initial=-1)) + 1, int(inputs.max(initial=-1)) + 1), np.int32)
    _count_groups(filters.starts, inputs, group_of, counts)
    distinct: NDArray[np.int64] = np.count_nonzero(counts, axis=1).astype(np.int64)
    return distinct


def cluster_filters(
    filters: FilterSet,
    columns: NDArray[np.int64],
    group_of: Ids,
    budgets: NDArray[np.int64],
    seed: np.uint64,
) -> Ids:
    """`group_of`, (filters,) int32, after swaps between filters that take equally many `columns`.

    `columns`: (filters,) int64, not rising. `budgets`: (groups,) int64, distinct inputs that each group can carry.
    """
    like = np.searchsorted(-columns, -columns, side="right").astype(np.int32)
    swaps = int(min(_SWAPS * len(columns), _EFFORT * len(columns) // (4 * len(filters.inputs))))
    changed = group_of.astype(np.int32)
    _swap_filters(
        filters.starts,
        filters.inputs,
        like=like,
        group_of=changed,
        budgets=budgets,
        swaps=swaps,
        rng=np.uint64(seed | np.uint64(1)),
    )

    def cost(groups: Ids) -> int:
        reads = group_inputs(filters, groups)
        return int(EXCESS_COST * np.maximum(reads - budgets, 0).sum() + reads.sum())

    return changed if cost(changed) < cost(group_of) else group_of
