"""Every fault of a packing has its sentence, and what is just within the limits has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing, Tile
from tightc.tile.validity import packing_error

# two lanes: the first carries inputs 0 and 1, the second input 2
MATRIX = LayerMatrix(np.array([[1, 0, 1], [0, 1, 1]], np.float32))
TILE = Tile(
    np.array([0, 1], np.int32),
    np.array([0, 2, 3], np.int32),
    np.array([0, 1, 2], np.int32),
    np.array([[0, 1], [0, 0]], np.int16),
)
PACKING = Packing("tight", ArrayShape(2, 2), 2, 2, 3, 1, (TILE,))


def tile_with(**changes: object) -> Packing:
    return replace(PACKING, tiles=(replace(TILE, **changes),))


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def test_a_packing_that_just_fits_has_no_fault() -> None:
    assert packing_error(PACKING, MATRIX) == ""


@pytest.mark.parametrize(
    ("array", "fan_in", "fault"),
    [
        (ArrayShape(1, 2), 2, "tile 0 takes 2x2, beyond the 1x2 array"),
        (ArrayShape(2, 1), 2, "tile 0 takes 2x2, beyond the 2x1 array"),
        (ArrayShape(2, 2), 1, "tile 0 has a lane of 2 inputs, beyond the fan-in 1"),
    ],
)
def test_limits_of_the_array(array: ArrayShape, fan_in: int, fault: str) -> None:
    assert packing_error(replace(PACKING, array=array, fan_in=fan_in), MATRIX) == fault


@pytest.mark.parametrize(("field", "value"), [("filters", 3), ("inputs", 4), ("groups", 2)])
def test_another_layer(field: str, value: int) -> None:
    fault = packing_error(replace(PACKING, **{field: value}), MATRIX)
    assert fault.startswith("it was made for a ")


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": ids(0, 1, 1)},
        {"lane_starts": ids(0, 3)},
        {"lane_starts": ids(0, 1, 2, 3)},
        {"lane_starts": ids(1, 2, 3)},
        {"lane_starts": ids(0, 2, 2)},
        {"lane_starts": ids(0, 2, 4)},
        {"lane_starts": ids(0, 4, 3)},  # begins and ends well, but a lane has less than no input
    ],
    ids=lambda changes: " ".join(f"{name} {value.tolist()}" for name, value in changes.items()),
)
def test_lists_that_do_not_match_the_slots(changes: dict[str, np.ndarray]) -> None:
    assert packing_error(tile_with(**changes), MATRIX) == "tile 0 has lists that do not match its 2x2 slots"


@pytest.mark.parametrize("select", [[[0, 2], [0, 0]], [[0, 1], [1, 0]], [[-2, 1], [0, 0]]])
def test_a_select_that_its_lane_does_not_have(select: list[list[int]]) -> None:
    found = packing_error(tile_with(select=np.array(select, np.int16)), MATRIX)
    assert found == "tile 0 selects an input that its lane does not carry"


@pytest.mark.parametrize(
    "changes",
    [
        {"filters": ids(0, 2)},
        {"filters": ids(-1, 1)},
        {"inputs": ids(0, 1, 3)},
        {"inputs": ids(-1, 1, 2)},
        {"filters": ids(2, 3), "inputs": ids(3, 4, 5)},  # those of a second group
    ],
    ids=lambda changes: " ".join(f"{name} {value.tolist()}" for name, value in changes.items()),
)
def test_a_slot_outside_of_the_layer(changes: dict[str, np.ndarray]) -> None:
    assert packing_error(tile_with(**changes), MATRIX) == "a slot holds a weight that the layer does not have"


def test_weights_with_no_slot_and_with_two() -> None:
    empty = tile_with(select=np.array([[0, -1], [0, -1]], np.int16))
    assert packing_error(empty, MATRIX) == "2 non-zero weights have no slot"
    twice = replace(PACKING, tiles=(TILE, TILE))
    assert packing_error(twice, MATRIX) == "a weight sits in two slots"
