"""What the slots of a layer hold, in the order in which it is stored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tightc.stream.layer import StoredLayer, StoredTile
from tightc.stream.subsets import Numbers
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


class Contents(NamedTuple):
    """What the slots of a layer hold, in the order in which they are stored.

    `width`: bits of a weight. `floating`: whether it is a floating-point pattern. `magnitudes` and `signs`, (slots,)
    int64 and uint8: the absolute value, or the pattern without its sign bit; 1 for a negative weight.
    """

    width: int
    floating: bool
    magnitudes: Numbers
    signs: NDArray[np.uint8]


def slot_contents(layer: StoredLayer, packing: Packing, matrix: LayerMatrix) -> Contents:
    """What `packing`, which has the tiles of `layer`, holds of the weights of `matrix`."""
    values = matrix.weights(*packing.slots())
    if np.issubdtype(values.dtype, np.integer):
        width, floating, whole = matrix.bits, False, values.astype(np.int64)
        magnitudes, signs = np.abs(whole), whole < 0
    else:
        width, floating = 8 * values.dtype.itemsize, True
        patterns = values.view(f"u{values.dtype.itemsize}").astype(np.uint64)
        magnitudes = (patterns & np.uint64(2 ** (width - 1) - 1)).astype(np.int64)
        signs = (patterns >> np.uint64(width - 1)).astype(bool)
    order = _stored_place(layer)
    stored = np.empty(len(order), np.int64), np.empty(len(order), np.uint8)
    stored[0][order], stored[1][order] = magnitudes, signs
    return Contents(width, floating, *stored)


def slot_weights(layer: StoredLayer, contents: Contents, dtype: DTypeLike) -> NDArray[Any]:
    """The weights in the slots of `layer`, in the order of Packing.slots(): (slots,) of `dtype`.

    For floating-point patterns `dtype` has as many bits as the weights.
    """
    order = _stored_place(layer)
    magnitudes, signs = contents.magnitudes[order], contents.signs[order]
    if not contents.floating:
        return np.where(signs, -magnitudes, magnitudes).astype(dtype)
    patterns = magnitudes.astype(np.uint64) | signs.astype(np.uint64) << np.uint64(contents.width - 1)
    weights: NDArray[Any] = patterns.astype(f"u{contents.width // 8}").view(dtype)
    return weights


def _stored_place(layer: StoredLayer) -> Numbers:
    """The place, in stored order, of each slot by tile, lane and column: (slots,) int64."""
    first, places = 0, [np.zeros(0, np.int64)]
    for tile in layer.tiles:
        places.append(first + _by_lane(tile))
        first += len(tile.columns)
    return np.concatenate(places)


def _by_lane(tile: StoredTile) -> Numbers:
    """The slots of `tile` by lane, then column."""
    owner = np.repeat(np.arange(len(tile.inputs)), tile.counts)
    return np.lexsort((tile.columns, tile.lanes[owner])).astype(np.int64)
