"""The measures of a packing against plain counts, and their bits by hand."""

from __future__ import annotations

from dataclasses import asdict, replace
from math import ceil, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import arrays, matrices, packed_layer
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.measures import (
    Measures,
    dropped_weights,
    index_bits,
    kept_matrix,
    largest_fan_in,
    measure,
    packed_bits,
    ratio,
    slot_bits,
)
from tightc.tile.packing import Packing, Tile

METHODS = st.sampled_from(["dense", "structured", "first-fit", "tight"])


def without_last_tile(packing: Packing) -> Packing:
    return replace(packing, tiles=packing.tiles[:-1])


def slots_of(packing: Packing) -> set[tuple[int, int]]:
    """(filter, input) of every slot, by loops over the fields of the tiles."""
    found = set()
    for tile in packing.tiles:
        for lane, row in enumerate(tile.select.tolist()):
            for column, select in enumerate(row):
                if select >= 0:
                    found.add((int(tile.filters[column]), int(tile.inputs[tile.lane_starts[lane] + select])))
    return found


@settings(max_examples=80)
@given(matrices(), arrays(), st.sampled_from([1, 2, 4]), METHODS)
def test_measures_are_plain_counts(matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str) -> None:
    packing = without_last_tile(packed_layer(matrix, method, array, fan_in))
    rows, columns = matrix.values.shape
    held = slots_of(packing)
    lost = [
        (f, k)
        for f in range(rows)
        for k in range(columns)
        if matrix.values[f, k] and (f, f // (rows // matrix.groups) * columns + k) not in held
    ]
    nonzeros = int(sum(value != 0 for value in matrix.values.ravel().tolist()))
    lists = [np.diff(tile.lane_starts).tolist() for tile in packing.tiles]
    found = measure(packing, matrix)
    expected = {
        "weights": rows * columns,
        "nonzeros": nonzeros,
        "subwords": 0,
        "dense_slots": rows * columns,
        "needed_slots": nonzeros,
        "passes": len(packing.tiles),
        "passes_lower_bound": oracle.passes_bound(
            matrix.values != 0, matrix.groups, tuple(array), packing.fan_in
        ),
        "area": sum(len(tile.select) * len(tile.filters) for tile in packing.tiles),
        "fan_in_max": max((length for tile in lists for length in tile), default=0),
        "lane_inputs": sum(length for tile in lists for length in tile),
        "dense_bits": 32 * rows * columns,
        "dropped_weights": len(lost),
        "dropped_squares": float(sum(matrix.values[one] ** 2 for one in lost)),
        "total_squares": float(sum(value * value for value in matrix.values.ravel().tolist())),
    }
    assert {name: value for name, value in asdict(found).items() if name in expected} == expected
    assert sorted(zip(*np.nonzero(dropped_weights(packing, matrix)), strict=True)) == lost
    kept = matrix.values.copy()
    for one in lost:
        kept[one] = 0
    assert kept_matrix(packing, matrix).values.tolist() == kept.tolist()
    lower = asdict(found)
    for name in ("area", "fan_in_max", "lane_inputs"):
        assert lower[f"{name.removesuffix('_max')}_lower_bound"] <= lower[name]


def test_the_pass_bound_is_that_of_the_fan_in_of_the_array() -> None:
    matrix = LayerMatrix(np.eye(8, dtype=np.float32))  # an input for each filter
    packing = packed_layer(matrix, "structured", ArrayShape(2, 4))
    assert (packing.fan_in, len(packing.tiles)) == (1, 8)
    for fan_in, bound in ((None, 4), (1, 4), (2, 2), (9, 2)):
        found = measure(packing, matrix, fan_in)
        assert (found.passes_lower_bound, found.figures()["gap"]) == (bound, 8 - bound)
    assert [largest_fan_in(found) for found in ((), (packing,), (packing, replace(packing, fan_in=3)))] == [
        1,
        1,
        3,
    ]


def test_a_network_is_the_sum_of_its_layers_and_the_largest_fan_in() -> None:
    names = list(asdict(Measures()))
    assert set(asdict(Measures()).values()) == {0}
    one = Measures(**{name: 10 + i for i, name in enumerate(names)})
    other = Measures(**{name: 100 - i for i, name in enumerate(names)})
    largest = {"fan_in_max", "fan_in_lower_bound"}
    expected = {name: 100 - i if name in largest else 110 for i, name in enumerate(names)}
    assert asdict(one + other) == asdict(other + one) == expected
    assert one + Measures() == one


def test_figures_by_hand() -> None:
    found = Measures(
        weights=200,
        nonzeros=50,
        dense_slots=200,
        needed_slots=50,
        passes=4,
        dense_passes=12,
        area=64,
        packed_bits=1000,
        dense_bits=6400,
        dropped_weights=2,
        dropped_squares=3.0,
        total_squares=12.0,
    ).figures()
    ratios = {
        "density": 50 / 200,
        "matrix_compression_rate": 200 / 64,
        "tightness": (50 - 2) / 64,
        "pass_compression": 12 / 4,
        "bit_compression": 6400 / 1000,
        "dropped_magnitude": 3 / 12,
    }
    assert {name: found[name] for name in ratios} == ratios
    assert found["gap"] is None
    assert Measures(passes=4, passes_lower_bound=3).figures()["gap"] == 1
    assert "subwords" not in found
    assert Measures(subwords=3).figures()["subwords"] == 3


def test_figures_of_nothing() -> None:
    found = Measures().figures()
    assert {name for name, value in found.items() if value is None} == {
        "density",
        "matrix_compression_rate",
        "tightness",
        "pass_compression",
        "bit_compression",
    }
    assert found["dropped_magnitude"] == 0.0
    assert (ratio(3, 4), ratio(0, 4), ratio(3, 0)) == (0.75, 0.0, None)


@pytest.mark.parametrize(
    ("width", "subword_bits", "bits"), [(32, None, 32), (8, None, 8), (8, 4, 6), (8, 2, 5)]
)
def test_a_slot_holds_a_weight_or_a_subword_with_sign_and_place(
    width: int, subword_bits: int | None, bits: int
) -> None:
    # a nibble, a sign and one of two places; a crumb, a sign and one of four
    assert slot_bits(width, subword_bits) == bits


def tile(filters: list[int], lanes: list[list[int]], select: list[list[int]]) -> Tile:
    return Tile(
        np.array(filters, np.int32),
        np.cumsum([0, *map(len, lanes)]).astype(np.int32),
        np.array([one for lane in lanes for one in lane], np.int32),
        np.array(select, np.int16),
    )


@pytest.mark.parametrize("fan_in", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("filters", "inputs", "groups"), [(8, 16, 1), (9, 17, 1), (8, 8, 2), (1, 1, 1), (3, 1, 1)]
)
def test_bits_of_the_index_by_hand(fan_in: int, filters: int, inputs: int, groups: int) -> None:
    one = tile([0], [[0, 0], [0]], [[0], [0]])
    packing = Packing("tight", ArrayShape(4, 4), fan_in, filters, inputs, groups, (one, one))
    selects = 2 * 1 * ceil(log2(fan_in))  # two slots
    lengths = 2 * ceil(log2(fan_in + 1))  # of two lists, from none to all
    numbers = 3 * max(1, ceil(log2(inputs * groups)))
    columns = 1 * max(1, ceil(log2(filters)))
    assert index_bits(packing) == 2 * (selects + lengths + numbers + columns)
    assert packed_bits(packing, 7) == 2 * 2 * 7 + index_bits(packing)


@pytest.mark.parametrize(
    ("method", "fan_in", "filters", "lanes", "free"),
    [
        ("structured", 1, [2, 3], [[4], [5]], True),
        ("structured", 1, [2, 4], [[4], [5]], False),
        ("structured", 1, [2, 3], [[4], [6]], False),
        ("structured", 2, [2, 3], [[4], [5]], False),
        ("dense", 1, [2, 4], [[4], [6]], True),
    ],
)
def test_only_blocks_of_a_dense_layer_need_no_index(
    method: str, fan_in: int, filters: list[int], lanes: list[list[int]], free: bool
) -> None:
    one = tile(filters, lanes, [[0, 0], [0, 0]])
    packing = Packing(method, ArrayShape(4, 4), fan_in, 8, 8, 1, (one,))
    assert (index_bits(packing) == 0) is free
