"""First fit: lossless whatever it is given, and its kernel against plain loops."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from helpers.packings import PackingCase, arrays, matrices, packed_layer
from tightc.permutation.methods import first_fit
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix


@settings(max_examples=200)
@given(matrices(), arrays(), st.integers(1, 6))
def test_every_weight_has_one_slot_within_the_fan_in(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    packing = packed_layer(matrix, "first-fit", array, fan_in)
    tiles = oracle.plain(packing)
    nonzero = matrix.values != 0
    faults = oracle.packing_faults(tiles, matrix.values, matrix.groups, tuple(array), fan_in, nonzero)
    assert faults == []
    assert packing.fan_in == fan_in
    assert len(tiles) == first_fit.passes(*matrix.nonzeros(), array, fan_in)


@settings(max_examples=60)
@given(matrices(), arrays())
def test_without_a_limit_on_inputs_it_takes_the_fewest_passes(matrix: LayerMatrix, array: ArrayShape) -> None:
    packing = packed_layer(matrix, "first-fit", array, fan_in=1000)
    assert len(packing.tiles) == oracle.lower_bound(matrix.values, tuple(array))


def random_columns(seed: int, columns: int = 5, inputs: int = 7) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    drawn = [
        sorted(rng.choice(inputs, rng.integers(1, inputs), replace=False).tolist()) for _ in range(columns)
    ]
    numbers = {k: number for number, k in enumerate(sorted({k for column in drawn for k in column}))}
    return [[numbers[k] for k in column] for column in drawn]


@pytest.mark.kernel
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("rows", "fan_in"), [(1, 1), (4, 1), (4, 2), (6, 3), (9, 50)])
def test_the_kernel_chooses_the_lanes_that_plain_loops_do(seed: int, rows: int, fan_in: int) -> None:
    columns = random_columns(seed)
    items = np.array([k for column in columns for k in column], np.int64)
    starts = np.cumsum([0, *map(len, columns)])
    lanes = first_fit._first_fit(items, starts, rows, fan_in)
    expected = [lane for chosen in oracle.first_fit(columns, rows, fan_in) for lane in chosen]
    assert lanes.tolist() == expected


@pytest.mark.kernel
def test_what_does_not_fit_goes_on_to_later_tiles() -> None:
    values = np.eye(4, dtype=np.float32)[
        ::-1
    ].copy()  # four filters with an input each, all in the first lane
    packing = packed_layer(LayerMatrix(values), "first-fit", ArrayShape(1, 4), fan_in=3)
    assert [tile.columns for tile in packing.tiles] == [3, 1]


def test_an_interrupt_ends_it() -> None:
    case = PackingCase()
    case.context.time.deadline.interrupt()
    with pytest.raises(CancelledError):
        case.pack(LayerMatrix(np.ones((2, 2), np.float32)), "first-fit")
