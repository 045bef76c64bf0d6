"""The slots that are streamed: weights, selects, lanes and sums of a tile, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from synthesis import vectors
from synthesis.vectors import ROWS, Slot
from tightc.tile.array import ArrayShape
from tightc.tile.packing import EMPTY, Packing, Tile

# three lanes, two columns: filter 1 and filter 0; the middle lane carries two inputs
TILE = Tile(
    filters=np.array([1, 0], np.int32),
    lane_starts=np.array([0, 1, 3, 4], np.int32),
    inputs=np.array([4, 0, 2, 5], np.int32),
    select=np.array([[0, EMPTY], [1, 0], [EMPTY, 0]], np.int16),
)
MATRIX = np.array([[3, 0, 0, 0, 0, -7], [0, 0, 11, 0, -5, 0]])
PACKING = Packing("tight", ArrayShape(ROWS, ROWS), 2, 2, 6, 1, (TILE,))


def test_a_tile_takes_the_lowest_rows() -> None:
    weights, selects, inputs = vectors._random_tile(PACKING, MATRIX, 2, np.random.default_rng(0))
    assert weights.shape == (ROWS, 2)
    assert weights[-3:].tolist() == [[-5, 0], [11, 3], [0, -7]]
    assert selects[-3:].tolist() == [[0, -1], [1, 0], [-1, 0]]
    assert inputs[-3:].tolist() == [[4, -1], [0, 2], [5, -1]]
    assert not weights[:-3].any()
    assert (selects[:-3] == -1).all()
    assert (inputs[:-3] == -1).all()


class Entry:
    """What is read of a layer's workload."""

    packing = PACKING
    layer = None


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> list[Slot]:
    class Matrix:
        values = MATRIX

    class Network:
        network = None

    monkeypatch.setattr(vectors, "layer_matrix", lambda network, layer: Matrix)
    stream = np.random.default_rng(1).integers(-128, 128, (100, 6))
    return vectors._slots_of_layer(Entry(), Network(), stream, 2, np.random.default_rng(2))  # type: ignore[arg-type]


def test_a_slot_sees_its_lane_and_the_sum_of_the_rows_above(slots: list[Slot]) -> None:
    assert [slot.kind for slot in slots] == ["used"] * 8 + ["idle"] * 4
    stream = np.random.default_rng(1).integers(-128, 128, (100, 6))
    for slot in slots[:8]:
        weight = int(slot.weights[-1])
        assert weight in (3, -7, 11, -5)
        filter_, input_ = next(zip(*np.nonzero(weight == MATRIX), strict=True))
        above = {(0, 5): [(3, 0)], (1, 2): [(-5, 4)]}.get((int(filter_), int(input_)), [])
        first = next(
            i for i in range(100 - len(slot.sums) + 1) if (stream[i : i + 64, input_] == _picked(slot)).all()
        )
        expected = [sum(w * int(stream[first + t, k]) for w, k in above) for t in range(len(slot.sums))]
        assert slot.sums.tolist() == expected


def test_an_idle_slot_has_no_weight(slots: list[Slot]) -> None:
    for slot in slots[8:]:
        assert slot.weights[-1] == 0


def test_what_moves_through_a_slot_while_loading_is_its_column(slots: list[Slot]) -> None:
    for slot in slots:
        assert len(slot.weights) == len(slot.selects) == ROWS
        assert sorted(slot.weights[slot.weights != 0].tolist()) in ([-7, 3], [-5, 11])


def _picked(slot: Slot) -> np.ndarray:
    return slot.lane[:, slot.selects[-1]]


def test_the_share_of_zeros_is_that_of_multiplied_bytes() -> None:
    lane = np.array([[0, 1], [0, 0], [0, 5], [0, 6]])
    used = Slot("used", np.ones(4, int), np.array([0, 0, 0, 1]), lane, np.zeros(4, int))
    idle = Slot("idle", np.zeros(4, int), np.full(4, -1), lane, np.zeros(4, int))
    assert vectors.zero_share([used, idle]) == 0.25
