"""A packing as a few small arrays, and back: what is recorded in a model and what the packed form consumes.

T tiles, L and C the largest numbers of lanes and columns used by one tile of the layer:

`occupied`     (T, L, ceil(C / 8)) uint8, a bit for each slot that holds a weight, lowest bit first
`select`       which of its lane's inputs each such slot multiplies, slots in order of tile, lane, column: where the
               fan-in needs no more than 1, 2 or 4 bits joined to bytes, lowest first, else (weights,)
`lane_starts`  (T, L) where each lane's list begins in `inputs`
`inputs`       (lane inputs,) the lists, one after the other
`filters`      (T, C rounded up to a multiple of 8) the filter of each column, 0 beyond the columns used

Integers take the smallest of uint8, uint16 and int32 that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.tiles.packing import EMPTY, Packing, Tile

Arrays = dict[str, NDArray[Any]]
_BYTE = 8
ARRAY_NAMES = ("occupied", "select", "lane_starts", "inputs", "filters")


def to_arrays(packing: Packing) -> Arrays:
    """The tiles of `packing` as the arrays above."""
    tiles = packing.tiles
    lanes = max((tile.lanes for tile in tiles), default=0)
    columns = max((tile.columns for tile in tiles), default=0)
    occupied = np.zeros((len(tiles), lanes, columns), bool)
    starts = np.zeros((len(tiles), lanes), np.int64)
    filters = np.zeros((len(tiles), -(-columns // 8) * 8), np.int64)
    offset = 0
    for i, tile in enumerate(tiles):
        occupied[i, : tile.lanes, : tile.columns] = tile.select != EMPTY
        starts[i] = offset + len(tile.inputs)
        starts[i, : tile.lanes] = offset + tile.lane_starts[:-1]
        filters[i, : tile.columns] = tile.filters
        offset += len(tile.inputs)
    return {
        "occupied": np.packbits(occupied, axis=2, bitorder="little"),
        "select": _in_bits(
            _joined([tile.select[tile.select != EMPTY] for tile in tiles]), select_width(packing.fan_in)
        ),
        "lane_starts": _smallest(starts),
        "inputs": _smallest(_joined([tile.inputs for tile in tiles])),
        "filters": _smallest(filters),
    }


def from_arrays(arrays: Mapping[str, NDArray[Any]], fan_in: int) -> tuple[Tile, ...]:
    """The tiles that `to_arrays` stored; ValueError or IndexError where the arrays contradict each other."""
    occupied = np.unpackbits(arrays["occupied"], axis=2, bitorder="little").astype(bool)
    starts = arrays["lane_starts"].astype(np.int32)
    ends = np.append(starts.ravel()[1:], len(arrays["inputs"])).astype(np.int32)
    chosen, width, slots_used = arrays["select"], select_width(fan_in), np.count_nonzero(occupied)
    if len(chosen) < slots_used and width < _BYTE:  # else each has a byte of its own
        chosen = from_bytes(chosen, width)
    if not 0 <= len(chosen) - slots_used < max(1, _BYTE // width):
        raise ValueError("as many selects as occupied slots are needed")
    first_select = np.cumsum([0, *(np.count_nonzero(slots) for slots in occupied)])
    tiles = []
    for i, slots in enumerate(occupied):
        lanes, columns = int(slots.any(axis=1).sum()), int(slots.any(axis=0).sum())
        select = np.full((lanes, columns), EMPTY, np.int16)
        select[slots[:lanes, :columns]] = chosen[first_select[i] : first_select[i + 1]]
        last = ends[i * starts.shape[1] + lanes - 1]
        lane_starts = np.append(starts[i, :lanes], last) - starts[i, 0]
        tiles.append(
            Tile(
                arrays["filters"][i, :columns].astype(np.int32),
                lane_starts.astype(np.int32),
                arrays["inputs"][starts[i, 0] : last].astype(np.int32),
                select,
            )
        )
    return tuple(tiles)


def select_width(fan_in: int) -> int:
    """Bits of a select as it is stored, 1, 2, 4, 8, 16 or 32."""
    return next(width for width in (1, 2, 4, 8, 16, 32) if fan_in <= 2**width)


def _in_bits(numbers: NDArray[np.int64], width: int) -> NDArray[Any]:
    return to_bytes(numbers, width) if width < _BYTE else _smallest(numbers)


def to_bytes(numbers: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """Numbers of `width` bits (1, 2, 4) as bytes, the first ones lowest: (ceil(numbers * width / 8),) uint8."""
    each = 8 // width
    padded = np.zeros(-(-len(numbers) // each) * each, np.uint8)
    padded[: len(numbers)] = numbers
    joined: NDArray[np.uint8] = (padded.reshape(-1, each) << np.arange(0, 8, width, dtype=np.uint8)).sum(
        axis=1, dtype=np.uint8
    )
    return joined


def from_bytes(joined: NDArray[np.uint8], width: int) -> NDArray[np.int64]:
    """The numbers that `to_bytes` joined, and perhaps some zeros more: (bytes * 8 / width,) int64."""
    apart = joined[:, None].astype(np.int64) >> np.arange(0, 8, width)
    numbers: NDArray[np.int64] = (apart & (2**width - 1)).ravel()
    return numbers


def _joined(parts: list[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)


def _smallest(values: NDArray[np.int64]) -> NDArray[Any]:
    largest = values.max(initial=0)
    return values.astype(next(t for t in (np.uint8, np.uint16, np.int32) if largest <= np.iinfo(t).max))
