"""Little area: layers pruned in whole parts of the array's rows leave none of it empty, whatever their filters read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import PackingCase, check
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix


@st.composite
def aligned(draw: st.DrawFn) -> tuple[LayerMatrix, ArrayShape, int]:
    """A layer whose filters keep whole parts of the array's rows of whatever inputs, the array and a fan-in."""
    rows, columns = draw(st.tuples(st.integers(1, 6), st.integers(1, 12)))
    parts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=24))
    inputs = rows * max(*parts, 1) + draw(st.integers(0, 60))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = np.zeros((len(parts), inputs), np.float32)
    for row, count in zip(values, parts, strict=True):
        row[rng.choice(inputs, rows * count, replace=False)] = 1
    return LayerMatrix(values), ArrayShape(rows, columns), draw(st.integers(1, 6))


def drawn_layer(filters: int, inputs: int, rows: int, most: int, seed: int) -> LayerMatrix:
    """Filters that keep up to `most` parts of so many rows each."""
    rng = np.random.default_rng(seed)
    values = np.zeros((filters, inputs), np.float32)
    for row in values:
        row[rng.choice(inputs, rows * int(rng.integers(0, most + 1)), replace=False)] = 1
    return LayerMatrix(values)


@settings(max_examples=150)
@given(aligned(), st.integers(0, 99))
def test_aligned_layers_waste_no_area_whatever_their_filters_read(
    layer: tuple[LayerMatrix, ArrayShape, int], seed: int
) -> None:
    matrix, array, fan_in = layer
    case = PackingCase(array, fan_in, seed, objective="area")
    packing = case.pack(matrix)
    check(packing, matrix, case)
    assert sum(tile.area for tile in packing.tiles) == np.count_nonzero(matrix.values)


@pytest.mark.parametrize(
    ("layer", "array", "fan_in"),
    [
        (drawn_layer(35, 1477, 2, 3, 749102), (2, 3), 3),  # a fan-in that is as wide as the array
        (drawn_layer(60, 2000, 4, 4, 1), (4, 8), 2),
    ],
)
def test_layers_of_many_passes_waste_none_either(
    layer: LayerMatrix, array: tuple[int, int], fan_in: int
) -> None:
    case = PackingCase(ArrayShape(*array), fan_in, objective="area")
    packing = case.pack(layer)
    assert len(packing.tiles) > 16
    check(packing, layer, case)
    assert sum(tile.area for tile in packing.tiles) == np.count_nonzero(layer.values)
