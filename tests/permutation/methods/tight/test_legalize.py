"""Legalization: what stays on tiles and what leaves them are all weights, and no lane carries more than it may."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import annealing_blocks
from helpers.annealing_blocks import blocks, lanes_of
from tightc.permutation.annealing.anneal import Annealed
from tightc.permutation.annealing.block import Block
from tightc.permutation.methods.tight.legalize import gather, legalize

FAN_INS = st.sampled_from([1, 2, 3, 9])


def as_it_starts(block: Block) -> Annealed:
    carried = np.array([len(lane) for lane in lanes_of(block, block.lanes)], np.int32)
    return Annealed(block.lanes, block.columns, carried)


def pairs(filters: np.ndarray, inputs: np.ndarray) -> Counter[tuple[int, int]]:
    return Counter(zip(filters.tolist(), inputs.tolist(), strict=True))


@settings(max_examples=200)
@given(blocks(), FAN_INS)
def test_tiles_and_leaving_weights_are_all_weights(block: Block, fan_in: int) -> None:
    tiles, leaving = legalize(block, as_it_starts(block), fan_in)
    held = [pairs(*tile.slots()) for tile in tiles]
    removed = pairs(block.filters[leaving], block.inputs[leaving])
    assert sum(held, removed) == pairs(block.filters, block.inputs)
    assert all(tile.fan_in <= fan_in for tile in tiles)
    assert all((tile.select >= 0).any(axis=axis).all() for tile in tiles for axis in (0, 1))  # none is empty


@settings(max_examples=200)
@given(blocks(), FAN_INS)
def test_a_lane_keeps_the_inputs_that_most_of_its_slots_multiply(block: Block, fan_in: int) -> None:
    _, leaving = legalize(block, as_it_starts(block), fan_in)
    for lane in range(int(block.heights.sum())):
        here = block.lanes == lane
        uses = Counter(block.inputs[here].tolist())
        removed = set(block.inputs[here & leaving].tolist())
        kept = set(block.inputs[here & ~leaving].tolist())
        assert not removed & kept
        assert len(kept) == min(fan_in, len(uses))
        assert min((uses[item] for item in kept), default=0) >= max(
            (uses[item] for item in removed), default=0
        )


@settings(max_examples=100)
@given(blocks())
def test_what_stays_lies_where_it_was(block: Block) -> None:
    tiles, leaving = legalize(block, as_it_starts(block), 2)
    where: dict[tuple[int, int], int] = {}  # tile of each weight, those without one left out
    numbers = np.repeat(np.arange(len(block.heights)), block.heights)
    for f, k, lane, removed in zip(block.filters, block.inputs, block.lanes, leaving, strict=True):
        if not removed:
            where[int(f), int(k)] = int(numbers[lane])
    used = sorted(set(where.values()))
    assert len(tiles) == len(used)
    for number, tile in zip(used, tiles, strict=True):
        assert set(pairs(*tile.slots())) == {pair for pair, at in where.items() if at == number}


def test_weights_that_leave_several_blocks_come_sorted() -> None:
    two = [annealing_blocks.block([3], [[4, 7]], seed=seed) for seed in (1, 2)]
    removed = [np.random.default_rng(seed).random(block.weights) < 0.7 for seed, block in enumerate(two)]
    filters, inputs = gather(two, removed)
    expected = [
        (int(f), int(k))
        for block, leaving in zip(two, removed, strict=True)
        for f, k, left in zip(block.filters, block.inputs, leaving, strict=True)
        if left
    ]
    assert list(zip(filters.tolist(), inputs.tolist(), strict=True)) == sorted(expected)
    assert filters.dtype == inputs.dtype == np.int32
