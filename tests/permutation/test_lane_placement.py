"""Lanes placed for the banks: never slower, the same slots, and near the best of all orders."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers import models
from helpers.accelerators import gemm_of, layers, packed
from helpers.banks import banks_and_reaches, lanes_of, network
from helpers.loading import loaded
from helpers.methods import METHODS
from helpers.small_accelerator import HARDWARE, SMALL, hardware
from tightc.cost_model.bank_layout import chosen_banks, interleaved_banks
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.permutation import lane_placement
from tightc.permutation.lane_placement import place_lanes
from tightc.permutation.permute import permute
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


@pytest.mark.parametrize("looks", [0, 1, 5, 40])
def test_once_ended_the_order_so_far_is_kept(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never worse than before, at most one look at the clock later, and the whole result where nothing ends it."""
    monkeypatch.setattr(lane_placement, "_PAIRS", 8)
    rng, own = np.random.default_rng(1), network(16, 4, 8)
    lanes = [sorted(rng.choice(40, 4, replace=False).tolist()) for _ in range(8)]
    packing, seen = packing_of(lanes), []

    def ended() -> bool:
        seen.append(len(seen))
        return len(seen) > looks

    def cycles(found: Packing) -> int:
        return oracle.best_step(lanes_of(found)[0], 16, 4, 8)[0]

    found, whole = place_lanes(packing, own, 100, ended), place_lanes(packing, own, 100)
    assert len(seen) <= looks + 2  # one for each layout
    assert cycles(whole) <= cycles(found) <= cycles(packing)
    assert cycles(whole) < cycles(packing)
    if looks == 0:
        assert found.tiles[0] is packing.tiles[0]


def test_without_an_end_the_looks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, own = np.random.default_rng(2), network(16, 4, 8)
    packing = packing_of([sorted(rng.choice(40, 4, replace=False).tolist()) for _ in range(8)])
    found = []
    for pairs in (1, 8, 10**6):
        monkeypatch.setattr(lane_placement, "_PAIRS", pairs)
        found.append(lanes_of(place_lanes(packing, own, 100)))
    assert found[0] == found[1] == found[2]


def test_a_time_limit_is_told_where_it_ended_the_placing() -> None:
    buffer = {**HARDWARE["activation_buffer"], "size": "4 KiB", "bandwidth": "64 words/cycle"}
    banked = hardware(activation_buffer={**buffer, "banks": 8, "lane_reach": 2})
    text = "net (float[1, 40] x) => (float[1, 30] y) { [one] y = MatMul(x, w) }"
    model = loaded(models.build(text, w=models.sparse(40, 30, density=0.3)))
    options = SMALL.model_copy(update={"hardware": banked, "method": "first-fit", "time_limit": 1e-9})
    report = permute(model, options)[1]
    assert "the time limit ended the search in one before all moves were tried" in report.notes
