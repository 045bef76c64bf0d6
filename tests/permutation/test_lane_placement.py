"""Lanes placed for the banks: never slower, the same slots, and near the best of all orders."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.accelerators import METHODS, gemm_of, layers, packed
from helpers.banks import banks_and_reaches, lanes_of, network
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.permutation.lane_placement import place_lanes
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing, Tile


def packing_of(lanes: list[list[int]]) -> Packing:
    """One tile of two columns with these lanes; each column multiplies another of a lane's inputs."""
    starts = np.append(0, np.cumsum([len(carried) for carried in lanes])).astype(np.int32)
    inputs = np.array([i for carried in lanes for i in carried], np.int32)
    select = np.array([[0, len(carried) - 1] for carried in lanes], np.int16)
    tile = Tile(np.arange(2, dtype=np.int32), starts, inputs, select)
    return Packing("tight", ArrayShape(len(lanes), 2), max(map(len, lanes)), 2, 100, 1, (tile,))


def cycles_of(packing: Packing, banks: int, reach: int, rows: int, layout: list[int]) -> list[int]:
    """Cycles of a step of each tile."""
    return [oracle.best_step(lanes, banks, reach, rows, layout)[0] for lanes in lanes_of(packing)]


@settings(max_examples=150)
@given(layers(12), st.sampled_from(METHODS), st.integers(1, 6), st.integers(1, 4), st.data())
def test_no_packing_takes_longer_and_every_slot_stays(
    matrix: LayerMatrix, method: str, rows: int, fan_in: int, data: st.DataObject
) -> None:
    banks, reach = data.draw(banks_and_reaches(rows))
    positions = data.draw(st.sampled_from([n for n in range(1, matrix.inputs + 1) if matrix.inputs % n == 0]))
    packing, gemm = packed(matrix, method, ArrayShape(rows, 3), fan_in), gemm_of(matrix, 1, positions)
    found = place_lanes(packing, network(banks, reach, rows), positions)
    layouts = [
        layout.tolist()
        for layout in (
            interleaved_banks(gemm, banks),
            chosen_banks(LaneInputs.of_packing(packing), gemm, banks),
        )
    ]
    costs = [[cycles_of(one, banks, reach, rows, layout) for layout in layouts] for one in (packing, found)]
    assert min(map(sum, costs[1])) <= min(map(sum, costs[0]))
    assert any(
        all(
            new < old or kept is tile
            for new, old, kept, tile in zip(*pair, found.tiles, packing.tiles, strict=True)
        )
        for pair in zip(costs[1], costs[0], strict=True)
    )
    for old, new in zip(packing.tiles, found.tiles, strict=True):
        rows_of = [
            sorted(zip(tile["lanes"], tile["select"], strict=True))
            for tile in oracle.plain(replace(packing, tiles=(old, new)))
        ]
        assert rows_of[0] == rows_of[1]
        assert new.filters.tolist() == old.filters.tolist()
    if reach == banks:
        assert found is packing


@pytest.mark.parametrize(
    ("rows", "banks", "reach", "carried"),
    [(4, 4, 1, 2), (4, 4, 2, 3), (4, 8, 2, 3), (5, 5, 1, 3), (4, 2, 1, 2)],
)
def test_small_tiles_are_within_a_twentieth_of_the_best_of_all_orders(
    rows: int, banks: int, reach: int, carried: int
) -> None:
    rng, own = np.random.default_rng(0), network(banks, reach, rows)
    before = after = best = 0
    for _ in range(30):
        lanes = [sorted(rng.choice(24, carried, replace=False).tolist()) for _ in range(rows)]
        cycles = [oracle.best_step(list(order), banks, reach, rows)[0] for order in permutations(lanes)]
        placed = lanes_of(place_lanes(packing_of(lanes), own, 100))[0]  # of one channel
        found = oracle.best_step(placed, banks, reach, rows)[0]
        assert min(cycles) <= found <= cycles[0]
        before, after, best = before + cycles[0], after + found, best + min(cycles)
    assert best < before
    assert after <= 1.05 * best


def test_lanes_by_hand() -> None:
    # each lane sees its own bank first: in this order, the three words come in three rotations
    placed = place_lanes(packing_of([[2], [1], [0]]), network(3, 1, 3), 100)
    assert lanes_of(placed)[0] in ([[0], [1], [2]], [[1], [2], [0]], [[2], [0], [1]])
    kept = packing_of([[0], [1], [2]])
    assert place_lanes(kept, network(3, 1, 3), 100).tiles[0] is kept.tiles[0]
