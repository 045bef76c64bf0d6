"""The search for lane inputs: what it finds is a placing by the rule of the reader, and its costs are bits."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.stream.bits import choice_bits
from tightc.stream.costs import tile_costs
from tightc.stream.lane_search import BIT, NOTHING, Costs, LaneInputs, Limits, search_lanes
from tightc.stream.readable import Readable
from tightc.stream.subsets import put_subset
from tightc.stream.tables import LONGEST_CODE, Table, put_number

pytestmark = pytest.mark.kernel
WORD = 64


def words(masks: list[int], count: int) -> np.ndarray:
    return np.array([[own >> WORD * word & 2**WORD - 1 for word in range(count)] for own in masks], np.uint64)


def masks_of(found: LaneInputs) -> list[int]:
    return [sum(int(own) << WORD * at for at, own in enumerate(row)) for row in found.columns]


def plain_costs(inputs: int, columns: int, most: int) -> Costs:
    """A bit for each lane input, and nothing else."""
    return Costs(
        np.full((1, columns + 1), BIT), np.zeros(inputs, np.int64), np.zeros(most - inputs + 1, np.int64)
    )


def bits_of_ranks(found: LaneInputs, limits: Limits) -> list[int]:
    """The bits of the ranks of the first 0, 1, .. inputs, where the others are on the first lane with room.

    Written from docs/stream.md, "A tile", step 4; empty where no number of ranks gives these lanes.
    """
    masks = masks_of(found)
    first = [own & -own for own in masks]
    order = sorted(range(len(masks)), key=lambda at: (-masks[at].bit_count(), found.names[at], first[at]))
    open_: list[int] = []
    taken: dict[int, int] = {}
    carried: dict[int, int] = {}
    bits, least = [0], 0
    for step, item in enumerate(order):
        lane = int(found.lanes[item])
        room = [own for own in open_ if carried[own] < limits.fan_in and not taken[own] & masks[item]]
        first_choice = room[0] if room else None
        if lane != first_choice and (lane in open_ or room):
            least = step + 1
        rank = room.index(lane) if lane in open_ else len(room)
        bits.append(bits[-1] + choice_bits(rank, len(room) + (len(open_) < limits.rows)))
        if lane not in open_:
            open_.append(lane)
        taken[lane] = taken.get(lane, 0) | masks[item]
        carried[lane] = carried.get(lane, 0) + 1
    return bits[least:]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_found_holds_all_slots_within_the_limits_and_costs_what_it_says(data: st.DataObject) -> None:
    columns = data.draw(st.sampled_from([3, 6, 70]))
    masks = data.draw(st.lists(st.integers(1, 2**columns - 1), min_size=1, max_size=8))
    lanes = data.draw(st.integers(1, 4))
    fan_in = data.draw(st.integers(1, 4))
    limits = Limits(
        fan_in, lanes, lanes + data.draw(st.integers(0, 1)), len(masks) + data.draw(st.integers(0, 6))
    )
    cost, found = search_lanes(
        words(masks, -(-columns // WORD)), limits, plain_costs(len(masks), columns, limits.inputs)
    )
    if cost == NOTHING:
        return
    assert len(found.names) <= limits.inputs
    parts = masks_of(found)
    for name, mask in enumerate(masks):
        own = [part for part, of in zip(parts, found.names, strict=True) if of == name]
        assert sum(own) == mask  # each slot is in one of them
        assert np.bitwise_or.reduce(np.array(own, object)) == mask
    for lane in range(lanes):
        own = [part for part, on in zip(parts, found.lanes, strict=True) if on == lane]
        assert len(own) <= fan_in
        assert sum(own) == (np.bitwise_or.reduce(np.array(own, object)) if own else 0)
    assert 0 <= found.lanes.min() <= found.lanes.max() < lanes
    assert cost - BIT * len(parts) in [BIT * own for own in bits_of_ranks(found, limits)]


def test_an_input_is_split_only_where_it_has_room_nowhere() -> None:
    crossing = words([0b0111, 0b1011, 0b1100], 1)  # by first fit, the last one has room on no lane of two
    cost, found = search_lanes(crossing, Limits(2, 2, 2, 4), plain_costs(3, 4, 4))
    assert (cost, found.names.tolist()) == (4 * BIT, [0, 1, 2, 2])
    cost, found = search_lanes(crossing, Limits(2, 3, 3, 4), plain_costs(3, 4, 4))
    assert (cost, found.lanes.tolist()) == (3 * BIT, [0, 1, 2])


def test_nothing_is_found_where_slots_or_inputs_are_too_many() -> None:
    crossing = words([0b0111, 0b1011, 0b1100], 1)
    for limits in (Limits(2, 2, 2, 3), Limits(1, 2, 2, 6), Limits(3, 1, 1, 6)):
        assert search_lanes(crossing, limits, plain_costs(3, 4, limits.inputs))[0] == NOTHING


@pytest.mark.parametrize("things", [1, 2, 7, 11])
def test_costs_are_the_mean_bits_of_what_is_written(things: int) -> None:
    table = Table(2, 0, np.array([1, 2, 0, 2]))
    costs = tile_costs(table, Readable.of(np.arange(things), things, 9), np.arange(5), 3)
    for chosen in range(1, things + 1):
        subsets = [np.array(own, np.int64) for own in combinations(range(things), chosen)]
        bits = [put_subset(np.zeros(64, np.uint8), 0, own, things) for own in subsets]
        known = chosen in (2, 3, 5)
        number = put_number(np.zeros(64, np.uint8), 0, chosen, table.coding()) if known else LONGEST_CODE
        assert costs.uses[0, chosen] == BIT * number + int(BIT * Fraction(sum(bits), len(bits)))
    for again, gamma in enumerate([1, 3, 3, 5]):
        subsets = [np.array(own, np.int64) for own in combinations(range(5 + again - 1), again)]
        bits = [put_subset(np.zeros(64, np.uint8), 0, own, 5 + again - 1) for own in subsets]
        assert costs.repeats[again] == BIT * gamma + int(BIT * Fraction(sum(bits), len(bits)))
