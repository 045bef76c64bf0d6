"""What the page draws of a layer: the non-zeros of its matrix, and its tiles, as compressed arrays."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.tile.packing import EMPTY, Packing, Tile

MOST_SLOTS = 1_300_000  # of all tiles on a page, about 2.6 MB
_WIDEST, _HIGHEST = 1152, 576  # cells of a matrix; of a larger one, a cell is a block of weights
_CHUNK = 2**22  # weights that are looked at together
_DTYPES = (np.uint8, np.uint16, np.uint32)


def layer_data(network: Network, layer: Layer, packing: Packing | None, most_slots: int) -> dict[str, Any]:
    """The picture of `layer` for the page: shape, matrix and, if it has a `packing`, tiles with `most_slots` slots."""
    weights = network.shapes[layer.weight]
    kernel = list(weights[2:]) if layer.op == "Conv" and len(weights) == 4 else None
    return {
        "filters": layer.filters,
        "inputs": layer.inputs,
        "groups": layer.groups,
        "kernel": kernel,
        "matrix": matrix_cells(network.matrix(layer)),
        "tiles": tiles_data(packing, most_slots) if packing else None,
    }


def matrix_cells(matrix: NDArray[Any]) -> dict[str, Any]:
    """The non-zeros of a (filters, inputs) `matrix`, counted in cells of a few filters by a few inputs."""
    filters, inputs = matrix.shape
    high, wide = -(-filters // _HIGHEST), -(-inputs // _WIDEST)
    columns = np.arange(0, inputs, wide)
    rows = max(1, _CHUNK // max(1, inputs * high)) * high
    counted = []
    for first in range(0, filters, rows):
        block = matrix[first : first + rows] != 0
        across = np.add.reduceat(block, columns, axis=1, dtype=np.uint32)
        counted.append(np.add.reduceat(across, np.arange(0, len(block), high), axis=0))
    cells = np.concatenate(counted)
    return {
        "width": cells.shape[1],
        "height": cells.shape[0],
        "filtersOfCell": high,
        "inputsOfCell": wide,
        "counts": encode(cells),
    }


def tiles_data(packing: Packing, most_slots: int) -> dict[str, Any]:
    """The first tiles of `packing` that together occupy at most `most_slots` slots, and how many there are in all.

    Arrays of all tiles, one after the other: lanes and columns of each tile; filters of the columns; number of inputs
    of each lane; these inputs; and of each slot, row by row, 1 + which of them it multiplies, 0 where it is empty.
    """
    tiles = _first_tiles(packing.tiles, most_slots)
    return {
        "rows": packing.array.rows,
        "columns": packing.array.columns,
        "count": len(packing.tiles),
        "lanesOf": encode([tile.lanes for tile in tiles]),
        "columnsOf": encode([tile.columns for tile in tiles]),
        "filters": encode(_joined([tile.filters for tile in tiles])),
        "carried": encode(_joined([np.diff(tile.lane_starts) for tile in tiles])),
        "inputs": encode(_joined([tile.inputs for tile in tiles])),
        "select": encode(_joined([(tile.select.ravel() - EMPTY) for tile in tiles])),
        "subwords": packing.slots_per_weight,
    }


def encode(values: NDArray[Any] | Sequence[int]) -> Mapping[str, Any]:
    """Integers from 0 as the smallest unsigned type, little-endian, compressed by zlib, in base64."""
    array = np.asarray(values, dtype=np.int64).ravel()
    largest = int(array.max(initial=0))
    kind = next(kind for kind in _DTYPES if largest <= np.iinfo(kind).max)
    content = array.astype(np.dtype(kind).newbyteorder("<")).tobytes()
    return {"bytes": np.dtype(kind).itemsize, "zlib": base64.b64encode(zlib.compress(content, 9)).decode()}


def _first_tiles(tiles: Sequence[Tile], most_slots: int) -> Sequence[Tile]:
    ends = np.cumsum([tile.area for tile in tiles])
    return tiles[: max(1, int(np.searchsorted(ends, most_slots, side="right")))]


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
