"""The codes of the stream: what is written is read, in as few bits as the page says."""

from __future__ import annotations

import heapq
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tightc.stream.bits import choice_bits, get_choice, get_gamma, put_choice, put_gamma
from tightc.stream.placing import place
from tightc.stream.subsets import get_subset, put_subset
from tightc.stream.tables import (
    LONGEST_CODE,
    best_table,
    code_lengths,
    get_number,
    get_table,
    put_number,
    put_table,
    table_bits,
)

pytestmark = pytest.mark.kernel


def buffer(size: int = 4096) -> np.ndarray:
    return np.zeros(size, np.uint8)


@given(st.lists(st.integers(0, 2**32 - 2), max_size=5))
def test_numbers_of_any_size_come_back(numbers: list[int]) -> None:
    content, position = buffer(), 0
    for number in numbers:
        before, position = position, put_gamma(content, position, number)
        assert position - before == 2 * (number + 1).bit_length() - 1
    position = 0
    for number in numbers:
        found, position = get_gamma(content, position)
        assert found == number


@pytest.mark.parametrize("options", [1, 2, 3, 5, 8, 33])
def test_choices_take_truncated_binary(options: int) -> None:
    codes = []
    for choice in range(options):
        content = buffer(8)
        end = put_choice(content, 0, choice, options)
        assert end == choice_bits(choice, options) in (options.bit_length() - 1, (options - 1).bit_length())
        assert get_choice(content, 0, options) == (choice, end)
        codes.append("".join(map(str, np.unpackbits(content)[:end])))
    assert sum(0.5 ** len(code) for code in codes) == 1
    assert all(not b.startswith(a) for a in codes for b in codes if a is not b)


@pytest.mark.parametrize("things", range(7))
def test_small_subsets_are_numbered(things: int) -> None:
    for count in range(things + 1):
        for number, members in enumerate(combinations(range(things), count)):
            content, expected = buffer(8), buffer(8)
            end = put_subset(content, 0, np.array(members, np.int64), things)
            assert end == put_choice(expected, 0, number, comb(things, count))
            assert content.tolist() == expected.tolist()


@settings(max_examples=100)
@given(st.integers(0, 300), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_subsets_come_back(things: int, density: float, seed: int) -> None:
    members = np.flatnonzero(np.random.default_rng(seed).random(things) < density).astype(np.int64)
    content, found = buffer(), np.empty(len(members), np.int64)
    end = put_subset(content, 0, members, things)
    assert get_subset(content, 0, found, things) == end
    assert found.tolist() == members.tolist()


def test_a_gap_that_leaves_too_few_things_is_named() -> None:
    content = np.full(8, 255, np.uint8)  # one of 40 things: the quotient 1, then 31
    with pytest.raises(ValueError, match="a gap leaves too few things"):
        get_subset(content, 0, np.empty(1, np.int64), 40)


def least_bits(counts: list[int]) -> int:
    """Bits of an optimal code, by merging the two rarest until one is left."""
    heap = [count for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any))
def test_codes_are_optimal_and_complete(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    used = lengths[lengths > 0]
    several = sum(count > 0 for count in counts) > 1
    if several:
        assert (lengths > 0).tolist() == [count > 0 for count in counts]
        assert int((lengths * counts).sum()) == least_bits(counts)
    assert len(counts) == 1 or np.sum(0.5**used) == 1


def test_codes_of_rare_tokens_stay_within_the_longest() -> None:
    lengths = code_lengths(2 ** np.arange(40, dtype=np.int64))
    assert lengths.max() == LONGEST_CODE
    assert np.sum(0.5 ** lengths.astype(float)) == 1


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 2**31 - 2), min_size=1, max_size=60)
    | st.lists(st.integers(0, 300), min_size=1, max_size=60)
    | st.lists(st.integers(2**62, 2**63 - 1), min_size=1, max_size=5)
)
def test_numbers_come_back_by_their_table(numbers: list[int]) -> None:
    given_numbers = np.array(numbers, np.int64)
    table = best_table(given_numbers)
    content = buffer()
    position = start = put_table(content, 0, table)
    assert start == table_bits(table)
    for number in numbers:
        position = put_number(content, position, number, table.coding())
    read, position = get_table(content, 0)
    assert (read.base, read.raw, read.lengths.tolist()) == (table.base, table.raw, table.lengths.tolist())
    assert position == start
    for number in numbers:
        found, position = get_number(content, position, read.decoding())
        assert found == number


def test_inputs_go_to_the_first_lane_with_room_and_ranks_count_the_others() -> None:
    columns = np.array(
        [[0b011], [0b001], [0b100], [0b010]], np.uint64
    )  # uses of four inputs in three columns
    order = np.array([0, 1, 2, 3])
    opened, lanes, _, _ = place(columns, order, 2, order, 0, 3)
    assert (opened, lanes.tolist()) == (2, [0, 1, 0, 1])
    assert place(columns, order, 1, order, 0, 3)[0] == 0  # four inputs do not fit three lanes of fan-in 1
    wanted = np.array([7, 5, 5, 7])  # the last one does not fit there, so only three have ranks
    opened, lanes, ranks, options = place(columns, order, 2, wanted, 3, 3)
    assert (opened, lanes.tolist()) == (3, [0, 1, 1, 2])
    assert ranks.tolist()[:3] == [0, 0, 1]
    assert options.tolist() == [1, 1, 3, 0]
