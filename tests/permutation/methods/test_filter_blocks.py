"""What row-wise N:M, series of N:M terms, displacement and shared windows have in common: no weight is lost."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.packings import PackingCase, arrays, check, matrices, packed_layer
from tightc.permutation.methods.filter_blocks import GroupedInputs
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

METHODS = ("row-nm", "series-nm", "displace", "vusa")
FAN_INS = st.sampled_from([1, 2, 3, 4, 8, 32])


def rows_of(packing: Packing) -> list[tuple[list[int], list[list[int]]]]:
    """The filters of each tile, and the inputs of its lanes."""
    return [
        (
            tile.filters.tolist(),
            [lane.tolist() for lane in np.split(tile.inputs, tile.lane_starts[1:-1])],
        )
        for tile in packing.tiles
    ]


@settings(max_examples=120)
@given(st.sampled_from(METHODS), matrices(), arrays(), FAN_INS)
def test_every_weight_has_one_slot_and_no_zero_has_any(
    method: str, matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    case = PackingCase(array, fan_in)
    packing = case.pack(matrix, method)
    check(packing, matrix, case)
    assert (packing.method, packing.fan_in) == (method, fan_in)


@settings(max_examples=60)
@given(st.sampled_from(("row-nm", "series-nm")), matrices(), arrays(), FAN_INS)
def test_a_lane_of_nm_carries_inputs_of_one_group(
    method: str, matrix: LayerMatrix, array: ArrayShape, fan_in: int
) -> None:
    for _, lanes in rows_of(packed_layer(matrix, method, array, fan_in)):
        for lane in lanes:
            groups = {(k // matrix.inputs, k % matrix.inputs // fan_in) for k in lane}
            assert len(groups) == 1


@settings(max_examples=60)
@given(matrices(), FAN_INS)
def test_weights_are_numbered_within_their_filter_and_group(matrix: LayerMatrix, size: int) -> None:
    used = matrix.values != 0
    found = GroupedInputs.of(used, size)
    listed = zip(found.column, found.inputs, found.group, found.rank, strict=True)
    expected = []
    for f, row in enumerate(used):
        seen: dict[int, int] = {}
        for k in np.flatnonzero(row):
            group = int(k) // size
            expected.append((f, int(k), group, seen.get(group, 0)))
            seen[group] = seen.get(group, 0) + 1
        assert found.counts[f].tolist() == [seen.get(g, 0) for g in range(-(-used.shape[1] // size))]
    assert [tuple(map(int, one)) for one in listed] == expected


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_without_weights_has_no_tile(method: str) -> None:
    assert packed_layer(LayerMatrix(np.zeros((3, 7), np.float32)), method).tiles == ()


@pytest.mark.parametrize("method", METHODS)
def test_groups_share_a_tile(method: str) -> None:
    """Of 3x3 depthwise filters with three weights each, one tile of 32x32 holds ten."""
    values = np.zeros((10, 9), np.float32)
    values[:, [0, 4, 8]] = 1
    assert len(packed_layer(LayerMatrix(values, groups=10), method, ArrayShape(32, 32), 8).tiles) == 1


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupt_ends_a_method_of_blocks(method: str) -> None:
    case = PackingCase()
    case.context.time.deadline.interrupt()
    with pytest.raises(CancelledError):
        case.pack(LayerMatrix(np.ones((2, 2), np.float32)), method)
