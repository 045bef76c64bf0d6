"""N:M channel permutation: swaps inputs between groups of M so that the N weights kept of each group are the largest.

Of a place in a group, a filter keeps max(t, w): w is the weight of the input in that place, and t, the threshold of the
place, is the N-th largest of the group's other weights. (The N - 1 largest of those are kept anyway.) So a swap of
inputs a and b of two groups gains

    sum over filters of max(t_a, w_b) + max(t_b, w_a) - max(t_a, w_a) - max(t_b, w_b)

Weights are integers. So sums are exact, the running gain equals a recount, and neither depends on the machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tightc.kernel_cache import njit
from tightc.permutation.annealing.rng import _draw, _next
from tightc.tile.matrix import Ids

SEGMENT = 64  # inputs that one draw offers to swap with
LIMITS = 4096 + SEGMENT
SUM_BITS = 28  # of a sum over filters: four of them make a gain
_NEVER = -(2**31)


class Groups(NamedTuple):
    """Inputs in groups of M; inputs of zeros pad the last group and stay there.

    `weights`: (places, filters) int16, magnitudes of each input, with sums below 2**SUM_BITS. `thresholds`: the same
    shape, of the place of each input. `members`: (groups, M) int32, inputs; `group_of`: (places,) int32, the group of
    each. `own`: (places,) int32, sum of max(t, w) of each input in its place. `sums`: (inputs, inputs) int32, at (x, y)
    the sum for the threshold of x and the weights of y; `transposed`: its transpose. Both are empty while sums are
    computed when needed. `ranked`: (N + 2, filters) int16, scratch space. `tally`: (3,) int64, gain of the kept
    weights, the largest gain so far, and swaps made.
    """

    weights: NDArray[np.int16]
    thresholds: NDArray[np.int16]
    members: Ids
    group_of: Ids
    own: Ids
    sums: Ids
    transposed: Ids
    ranked: NDArray[np.int16]
    tally: NDArray[np.int64]


@njit(nogil=True, cache=True)
def _update_group(groups: Groups, group: int) -> None:
    """Finds `thresholds` and `own` of the inputs of one group."""
    weights, thresholds, own, members = groups.weights, groups.thresholds, groups.own, groups.members[group]
    if len(members) == 4 and len(groups.ranked) == 4:
        _update_two_of_four(weights, thresholds, own, members)
    else:
        _update_any(weights, thresholds, own, members, groups.ranked)


@njit(nogil=True, cache=True)
def _update_any(
    weights: NDArray[np.int16],
    thresholds: NDArray[np.int16],
    own: Ids,
    members: Ids,
    ranked: NDArray[np.int16],
) -> None:
    """`_update_group` for any pattern; `members`: (M,) int32, the rest as in Groups."""
    filters = weights.shape[1]
    kept = len(ranked) - 2
    ranked[:, :] = 0  # the kept + 1 largest so far, and one on its way down
    for item in members:
        for f in range(filters):
            ranked[kept + 1, f] = weights[item, f]
        for rank in range(kept + 1):
            for f in range(filters):
                larger = max(ranked[rank, f], ranked[kept + 1, f])
                ranked[kept + 1, f] = min(ranked[rank, f], ranked[kept + 1, f])
                ranked[rank, f] = larger
    for item in members:
        total = np.int32(0)
        for f in range(filters):
            last = ranked[kept - 1, f]
            thresholds[item, f] = ranked[kept, f] if weights[item, f] >= last else last
            total = np.int32(total + max(weights[item, f], last))
        own[item] = total


@njit(nogil=True, cache=True)
def _update_two_of_four(
    weights: NDArray[np.int16], thresholds: NDArray[np.int16], own: Ids, members: Ids
) -> None:
    """As `_update_any`, in a fifth of the time: the four weights of a filter stay in registers."""
    a, b, c, d = members[0], members[1], members[2], members[3]
    own_a = own_b = own_c = own_d = np.int32(0)
    for f in range(weights.shape[1]):
        w, x, y, z = weights[a, f], weights[b, f], weights[c, f], weights[d, f]
        loser, other = min(max(w, x), max(y, z)), max(min(w, x), min(y, z))
        second, third = max(loser, other), min(loser, other)
        thresholds[a, f] = third if w >= second else second
        thresholds[b, f] = third if x >= second else second
        thresholds[c, f] = third if y >= second else second
        thresholds[d, f] = third if z >= second else second
        own_a = np.int32(own_a + max(w, second))
        own_b = np.int32(own_b + max(x, second))
        own_c = np.int32(own_c + max(y, second))
        own_d = np.int32(own_d + max(z, second))
    own[a], own[b], own[c], own[d] = own_a, own_b, own_c, own_d


@njit(nogil=True, cache=True)
def _update_all(groups: Groups) -> None:
    """`_update_group` for every group."""
    for group in range(len(groups.members)):
        _update_group(groups, group)


@njit(nogil=True, cache=True)
def _tabulate(
    weights: NDArray[np.int16], thresholds: NDArray[np.int16], sums: Ids, transposed: Ids, item: int
) -> None:
    """Counts the sums of the threshold of `item` with all inputs; arrays as in Groups."""
    for other in range(len(sums)):
        total = np.int32(0)
        for f in range(weights.shape[1]):
            total = np.int32(total + max(thresholds[item, f], weights[other, f]))
        sums[item, other] = total
    for other in range(len(sums)):
        transposed[other, item] = sums[item, other]


@njit(nogil=True, cache=True)
def _tabulate_all(groups: Groups) -> None:
    """`_tabulate` for every input."""
    for item in range(len(groups.sums)):
        _tabulate(groups.weights, groups.thresholds, groups.sums, groups.transposed, item)


@njit(nogil=True, cache=True)
def _swap(groups: Groups, one: int, two: int) -> None:
    """Swaps two inputs of different groups."""
    members, group_of, sums, transposed = groups.members, groups.group_of, groups.sums, groups.transposed
    here, there = members[group_of[one]], members[group_of[two]]
    i = j = 0
    while here[i] != one:
        i += 1
    while there[j] != two:
        j += 1
    here[i], there[j] = two, one
    group_of[one], group_of[two] = group_of[two], group_of[one]
    _update_group(groups, group_of[one])
    _update_group(groups, group_of[two])
    if len(sums):
        for other in range(len(sums)):  # each took the other's place, and the threshold is the place's
            sums[one, other], sums[two, other] = sums[two, other], sums[one, other]
        for other in range(len(sums)):
            transposed[other, one], transposed[other, two] = transposed[other, two], transposed[other, one]
        for group in (group_of[one], group_of[two]):
            for item in members[group]:
                if item not in (one, two) and item < len(sums):
                    _tabulate(groups.weights, groups.thresholds, sums, transposed, item)


@njit(nogil=True, cache=True)
def _count_gains(
    weights: NDArray[np.int16], thresholds: NDArray[np.int16], own: Ids, one: int, begin: int, gains: Ids
) -> None:
    """What a swap of `one` with each input from `begin` on gains: fills `gains`, (inputs offered,) int32."""
    for i in range(len(gains)):
        other = begin + i
        total = np.int32(0)
        for f in range(weights.shape[1]):
            total = np.int32(total + np.int32(max(thresholds[one, f], weights[other, f])))
            total = np.int32(total + np.int32(max(thresholds[other, f], weights[one, f])))
        gains[i] = total - own[one] - own[other]


@njit(nogil=True, cache=True)
def _look_up_gains(sums: Ids, transposed: Ids, own: Ids, one: int, begin: int, gains: Ids) -> None:
    """As `_count_gains`, from the table."""
    end = begin + len(gains)
    there, back, others = sums[one, begin:end], transposed[one, begin:end], own[begin:end]
    for i in range(len(there)):
        gains[i] = np.int32(np.int32(there[i] + back[i]) - np.int32(own[one] + others[i]))


@njit(nogil=True, cache=True)
def _first_above(gains: Ids, limits: Ids, offset: int) -> int:
    """The first of `gains` that is not 0 and above its limit, those from `offset` on; -1 if there is none."""
    above = 0
    here = limits[offset : offset + len(gains)]
    for i in range(len(here)):
        if (gains[i] > here[i]) & (gains[i] != 0):
            above += 1
    if above == 0:
        return -1
    first = 0
    while gains[first] <= here[first] or gains[first] == 0:
        first += 1
    return first


@njit(nogil=True, cache=True)
def _swap_channels(
    groups: Groups, best: Ids, limits: Ids, inputs: int, draws: int, rng: np.uint64
) -> np.uint64:
    """Anneals the groups in place at one temperature; returns the next rng state.

    A draw takes one of `inputs` and offers it a segment of them, one after the other. A swap is made if its gain is
    above the next of `limits`, (LIMITS,) int32: temperature x ln(random number), so that losses have the chance of
    Metropolis. Swaps of gain 0 are not made: most swaps in a pruned layer are such, and they lead nowhere.
    `best`: (groups, M) int32, receives the members with the largest gain. `rng`: state of the random numbers, not 0.
    """
    # passing on a tuple of arrays would cost more than most draws do
    weights, thresholds, own = groups.weights, groups.thresholds, groups.own
    sums, transposed, members, group_of, tally = (
        groups.sums,
        groups.transposed,
        groups.members,
        groups.group_of,
        groups.tally,
    )
    room = np.empty(SEGMENT, np.int32)
    segments = -(-inputs // SEGMENT)
    unsaved = False
    for _ in range(draws):
        rng = _next(rng)
        bits = _draw(rng)
        one = int((np.int64(bits >> np.uint64(32)) * inputs) >> 32)
        begin = int(((np.int64(bits >> np.uint64(12)) & 0xFFFFF) * segments) >> 20) * SEGMENT
        end = min(begin + SEGMENT, inputs)
        offset = int(np.int64(bits & np.uint64(0xFFF)))
        while begin < end:
            gains = room[: end - begin]
            if len(sums):
                _look_up_gains(sums, transposed, own=own, one=one, begin=begin, gains=gains)
            else:
                _count_gains(weights, thresholds, own=own, one=one, begin=begin, gains=gains)
            for i in range(members.shape[1]):
                item = members[group_of[one], i]
                if begin <= item < end:
                    gains[item - begin] = _NEVER
            first = _first_above(gains, limits, offset)
            if first < 0:
                break
            if gains[first] < 0 and unsaved:
                best[:, :] = members
                unsaved = False
            tally[0] += gains[first]
            tally[2] += 1
            _swap(groups, one, begin + first)
            if tally[0] > tally[1]:
                tally[1] = tally[0]
                unsaved = True
            begin += first + 1
            offset += first + 1
    if unsaved:
        best[:, :] = members
    return rng
