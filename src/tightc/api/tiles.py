"""The tiles of a permuted or packed model as plain numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.api.arguments import python_errors, require_model
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.tile.packing import EMPTY
from tightc.tile.packing import Tile as PackedTile


@dataclass(frozen=True)
class Tile:
    """What the array holds in one pass.

    Filters and inputs are numbered over all groups of the layer. Input `k` of a convolution is
    (channel, dy, dx) in row-major order.

    Parameters
    ----------
    layer : str
        Name of the layer.
    index : int
        Number of the tile within the layer, from 0.
    filters : ndarray of int32, (columns,)
        The filter of each column.
    lane_starts : ndarray of int32, (lanes + 1,)
        Where the list of each lane begins in `inputs`, as in a CSR matrix.
    inputs : ndarray of int32, (lane inputs,)
        The inputs that the lanes carry, lane after lane.
    select : ndarray of int16, (lanes, columns)
        Which of its lane's inputs each slot multiplies, -1 for an empty slot.
    weights : ndarray, (lanes, columns)
        The weight in each slot, 0 for an empty slot: float, or int8 where the layer is quantized. None for a packing of
        subwords, where a slot holds a part of a weight.
    """

    layer: str
    index: int
    filters: NDArray[np.int32]
    lane_starts: NDArray[np.int32]
    inputs: NDArray[np.int32]
    select: NDArray[np.int16]
    weights: NDArray[Any] | None

    def lane_inputs(self, lane: int) -> NDArray[np.int32]:
        """The inputs that a lane carries: (inputs of the lane,) int32."""
        return self.inputs[self.lane_starts[lane] : self.lane_starts[lane + 1]]

    def slot_inputs(self) -> NDArray[np.int32]:
        """The input that each slot multiplies, -1 for an empty slot: (lanes, columns) int32."""
        return _slot_inputs(self.lane_starts, self.inputs, self.select)


@python_errors
def tiles(model: Model) -> list[Tile]:
    """List the tiles of a permuted or packed model, layer by layer.

    Parameters
    ----------
    model : Model
        A model that `permute` or `pack` made; ModelError where it has no tiles.

    Returns
    -------
    list of Tile
        The tiles in the order of the layers, and of the passes within a layer.
    """
    plain = unpack_layers(require_model(model))
    network = read_network(plain)
    packings = matching_packings(plain, network)
    if not packings:
        raise ModelError(
            f"{model.origin}: expected a permuted model, got one without tiles", "permute it first"
        )
    found = []
    for layer in network.owners:
        packing = packings.get(layer.weight)
        matrix = network.matrix(layer)
        for index, tile in enumerate(packing.tiles if packing else ()):
            weights = None
            if packing is not None and packing.subword_bits is None:
                weights = _weights(tile, matrix, layer.groups)
            arrays = (tile.filters, tile.lane_starts, tile.inputs, tile.select)
            found.append(Tile(layer.name, index, *arrays, weights=weights))
    return found


def _slot_inputs(
    lane_starts: NDArray[np.int32], inputs: NDArray[np.int32], select: NDArray[np.int16]
) -> NDArray[np.int32]:
    position = lane_starts[:-1, None] + np.maximum(select, 0)
    return np.where(select == EMPTY, EMPTY, inputs[position]).astype(np.int32)


def _weights(tile: PackedTile, matrix: NDArray[Any], groups: int) -> NDArray[Any]:
    """The weight in each slot: (lanes, columns) of the dtype of `matrix`, (filters, inputs of a group)."""
    filters_per_group, inputs_per_group = len(matrix) // groups, matrix.shape[1]
    first_input = tile.filters // filters_per_group * inputs_per_group
    inputs = _slot_inputs(tile.lane_starts, tile.inputs, tile.select)
    occupied = inputs != EMPTY
    values = matrix[np.broadcast_to(tile.filters, inputs.shape), np.where(occupied, inputs - first_input, 0)]
    return np.where(occupied, values, matrix.dtype.type(0))
