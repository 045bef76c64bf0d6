"""The memory image: read back by the package, and by a reader written from the page that shares no code with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.packings import arrays, matrices, packed_layer
from helpers.stream_reader import DamagedError, ReadLayer, read_stream
from tightc.errors import StreamError
from tightc.stream.contents import slot_contents, slot_weights
from tightc.stream.image import read_image, write_image
from tightc.stream.lane_search import NOTHING
from tightc.stream.layer import in_stored_order, stored_layer, tile_of_stored
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing
from tightc.tile.validity import packing_error

METHODS = ("dense", "structured", "first-fit", "tight")
SMALL = LayerMatrix((np.arange(48).reshape(6, 8) % 5 - 2).astype(np.int8))


def image_of(*layers: tuple[LayerMatrix, Packing]) -> tuple[bytes, list[Packing]]:
    """(the image, the packings in the order of the image)."""
    stored = [stored_layer(packing) for _, packing in layers]
    ordered = [in_stored_order(packing, own) for (_, packing), own in zip(layers, stored, strict=True)]
    contents = [
        slot_contents(own, packing, matrix)
        for own, packing, (matrix, _) in zip(stored, ordered, layers, strict=True)
    ]
    return write_image(list(zip(stored, contents, strict=True))), ordered


def require_same(read: ReadLayer, packing: Packing, matrix: LayerMatrix) -> None:
    assert read.sizes == (packing.filters, packing.inputs, packing.groups)
    assert read.array == (*packing.array, packing.fan_in)
    assert len(read.tiles) == len(packing.tiles)
    first = 0
    weights = matrix.weights(*packing.slots())
    for found, tile in zip(read.tiles, packing.tiles, strict=True):
        assert found.filters == tile.filters.tolist()
        lists = np.split(tile.inputs, tile.lane_starts[1:-1]) if tile.lanes else []
        assert found.lanes == [own.tolist() for own in lists]
        assert found.select.tolist() == tile.select.tolist()
        occupied = tile.select != EMPTY
        own = weights[first : first + np.count_nonzero(occupied)]
        first += len(own)
        assert [pattern(*slot, read) for slot in found.weights[occupied]] == patterns(own)


def pattern(magnitude: int, negative: int, read: ReadLayer) -> int:
    return magnitude | negative << read.width - 1 if read.floating else magnitude * (1 - 2 * negative)


def patterns(weights: np.ndarray) -> list[int]:
    whole = np.issubdtype(weights.dtype, np.integer)
    return [int(own) for own in (weights if whole else weights.view(f"u{weights.dtype.itemsize}"))]


@settings(max_examples=150)
@given(
    matrices(),
    arrays(),
    st.sampled_from([1, 2, 3, 16]),
    st.sampled_from(METHODS),
    st.sampled_from([np.int8, np.float16, np.float32, np.float64]),
)
@example(LayerMatrix(np.zeros((3, 4), np.float32)), ArrayShape(2, 2), 1, "tight", np.int8)
@example(LayerMatrix(np.ones((70, 3), np.float32)), ArrayShape(3, 70), 2, "tight", np.int8)
def test_each_layer_is_read_back_to_the_bit(
    drawn: LayerMatrix, array: ArrayShape, fan_in: int, method: str, dtype: type
) -> None:
    matrix = replace(drawn, values=drawn.values.astype(dtype))
    image, (packing,) = image_of((matrix, packed_layer(matrix, method, array, fan_in)))
    (read,) = read_stream(image)
    require_same(read, packing, matrix)
    ((layer, contents),) = read_image(image, "x")
    for stored, tile in zip(layer.tiles, packing.tiles, strict=True):
        for name, values in vars(tile_of_stored(stored)).items():
            assert np.array_equal(values, getattr(tile, name)), name
    assert slot_weights(layer, contents, dtype).tobytes() == matrix.weights(*packing.slots()).tobytes()


@settings(max_examples=100)
@given(matrices(), arrays(), st.sampled_from([1, 2, 3, 16]), st.sampled_from(METHODS))
def test_the_stored_order_keeps_the_packing_lossless_and_no_larger(
    matrix: LayerMatrix, array: ArrayShape, fan_in: int, method: str
) -> None:
    packing = packed_layer(matrix, method, array, fan_in)
    ordered = in_stored_order(packing, stored_layer(packing))
    assert packing_error(ordered, matrix) == ""
    assert len(ordered.tiles) == len(packing.tiles)
    for before, after in zip(packing.tiles, ordered.tiles, strict=True):
        assert sorted(zip(*before.slots(), strict=True)) == sorted(zip(*after.slots(), strict=True))
        assert after.lanes <= before.lanes
        assert after.columns <= before.columns
        assert len(after.inputs) <= len(before.inputs)
    again = in_stored_order(ordered, stored_layer(ordered))
    for first, second in zip(ordered.tiles, again.tiles, strict=True):
        for name, values in vars(first).items():
            assert np.array_equal(values, getattr(second, name)), name


@pytest.mark.parametrize("seed", range(3))
def test_full_tiles_carry_fewer_inputs_twice_and_take_fewer_bits(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 9, (32, 64)) * (rng.random((32, 64)) < 0.4)
    matrix = LayerMatrix(values.astype(np.int8))
    packing = packed_layer(matrix, "tight", ArrayShape(16, 16), 8)
    image, (ordered,) = image_of((matrix, packing))
    assert packing_error(ordered, matrix) == ""
    monkeypatch.setattr("tightc.stream.layer.search_lanes", lambda *_: (NOTHING, None))
    longer, (before,) = image_of((matrix, packing))
    assert len(image) < len(longer)
    inputs = [sum(len(tile.inputs) for tile in own.tiles) for own in (ordered, before)]
    assert inputs[0] < inputs[1]
    assert sum(tile.area for tile in ordered.tiles) <= sum(tile.area for tile in before.tiles)


def test_layers_on_other_arrays_name_their_own() -> None:
    layers = [
        (SMALL, packed_layer(SMALL, "tight", ArrayShape(4, 4), 3)),
        (SMALL, packed_layer(SMALL, "tight", ArrayShape(2, 40), 2)),
    ]
    image, packings = image_of(*layers)
    for read, packing in zip(read_stream(image), packings, strict=True):
        require_same(read, packing, SMALL)


@settings(max_examples=300)
@given(st.data())
def test_a_flipped_bit_or_a_missing_byte_is_named(data: st.DataObject) -> None:
    packing = packed_layer(SMALL, "tight", ArrayShape(4, 4), 3)
    image, _ = image_of((SMALL, packing), (SMALL, packing))
    damaged = bytearray(image)
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(image) - 1)) :]
    else:
        bit = data.draw(st.integers(0, 8 * len(image) - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StreamError, match=r"x: .*; write it again by tightc pack --stream"):
        read_image(bytes(damaged), "x")
    with pytest.raises(DamagedError):
        read_stream(bytes(damaged))
