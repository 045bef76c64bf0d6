"""The tiles of a layer as words in the memories of the accelerator. Kernels: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing
from tightc.tile.subwords import subwords_of

_USED, _FIRST, _LAST = 1 << 31, 1 << 30, 1 << 29


@dataclass(frozen=True)
class WindowGeometry:
    """Where the inputs of a layer lie in the feature map that it reads.

    `channels`, `height`, `width`: of the map. `kernel`, `dilations`: of the window, (y, x).
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True)
class TileImage:
    """Words of all tiles of a layer, on an array of R rows and C columns whose lanes carry F inputs.

    `slots`: (tiles, R, C) uint8, weights or {place, sign, magnitude} of subwords. `selects`: (tiles, R, C) uint16,
    {used, number}. `lanes`: (tiles, R, F) uint64, {used, x, y, offset}, 1 + 15 + 16 + 32 bits. `columns`: (tiles, C)
    uint32, {used, first, last, filter}, 1 + 1 + 1 + 29 bits.
    """

    slots: NDArray[np.uint8]
    selects: NDArray[np.uint16]
    lanes: NDArray[np.uint64]
    columns: NDArray[np.uint32]


def tile_image(
    packing: Packing,
    matrix: LayerMatrix,
    fan_in: int,
    geometry: WindowGeometry,
    arrivals: NDArray[np.int64],
) -> TileImage:
    """The words of `packing` with the weights of `matrix`, int8, on lanes of `fan_in` inputs.

    `arrivals`: (tiles, columns), when the first sum of each column leaves the array, in cycles from any start.
    A tile that is smaller than the array takes its lowest rows and its first columns.
    """
    rows, columns = packing.array
    shape = (len(packing.tiles), rows, columns)
    slots, selects = np.zeros(shape, np.uint8), np.zeros(shape, np.uint16)
    lanes = np.zeros((len(packing.tiles), rows, fan_in), np.uint64)
    codes = _slot_codes(packing, matrix)
    used = 1 << (fan_in - 1).bit_length()
    begin = 0
    for number, tile in enumerate(packing.tiles):
        occupied = tile.select != EMPTY
        end = begin + int(np.count_nonzero(occupied))
        top = rows - tile.lanes
        slots[number, top:, : tile.columns][occupied] = codes[begin:end]
        selects[number, top:, : tile.columns] = np.where(occupied, used + tile.select, 0)
        begin = end
        counts = np.diff(tile.lane_starts)
        lane = np.repeat(np.arange(tile.lanes), counts)
        place = np.arange(len(tile.inputs)) - tile.lane_starts[lane]
        lanes[number, top + lane, place] = input_words(tile.inputs.astype(np.int64), geometry)
    return TileImage(slots, selects, lanes, _column_words(packing, arrivals))


def input_words(inputs: NDArray[np.int64], geometry: WindowGeometry) -> NDArray[np.uint64]:
    """The word of each of `inputs`, numbered over all groups: where in the window it lies; same shape."""
    positions = geometry.kernel[0] * geometry.kernel[1]
    channel, position = np.divmod(inputs, positions)
    y, x = np.divmod(position, geometry.kernel[1])
    y, x = y * geometry.dilations[0], x * geometry.dilations[1]
    offset = (channel * geometry.height + y) * geometry.width + x
    words = np.full(inputs.shape, 1 << 63, np.uint64)
    for value, place in ((x, 48), (y, 32), (offset, 0)):
        words |= value.astype(np.uint64) << np.uint64(place)
    return words


def _slot_codes(packing: Packing, matrix: LayerMatrix) -> NDArray[np.uint8]:
    """The code of every slot that is not empty, tile by tile and lane by lane."""
    filters, inputs = packing.slots()
    if packing.subword_bits is None:
        return matrix.weights(filters, inputs).astype(np.int8).view(np.uint8)
    bits = packing.subword_bits
    with_subwords = LayerMatrix(matrix.values, matrix.groups, subword_bits=bits)
    subwords, places = with_subwords.subwords(filters, inputs)
    assert places.max(initial=0) < subwords_of(bits)
    code = places << (bits + 1) | (subwords < 0).astype(np.int64) << bits | np.abs(subwords.astype(np.int64))
    return code.astype(np.uint8)


def _column_words(packing: Packing, arrivals: NDArray[np.int64]) -> NDArray[np.uint32]:
    """(tiles, columns): the filter of each column, and whether it is the first or last of the filter's parts.

    Parts are in the order in which they leave the array. On a wide array a tile's first columns may leave before the
    last columns of the tile before. Of two that leave in one cycle, the accumulators take the left one first.
    """
    words = np.zeros(arrivals.shape, np.uint32)
    tile = np.repeat(np.arange(len(packing.tiles)), [one.columns for one in packing.tiles])
    column = np.concatenate([np.empty(0, np.int64), *(np.arange(one.columns) for one in packing.tiles)])
    column = column.astype(np.int64)
    filters = np.concatenate([np.empty(0, np.int64), *(one.filters for one in packing.tiles)]).astype(
        np.int64
    )
    order = np.lexsort((column, arrivals[tile, column], filters))
    new = np.ones(len(order), bool)
    new[1:] = np.diff(filters[order]) != 0
    first, last = np.zeros(len(order), bool), np.zeros(len(order), bool)
    first[order[new]] = True
    last[order[np.append(new[1:], True)[: len(order)]]] = True
    words[tile, column] = _USED + first * _FIRST + last * _LAST + filters
    return words
