"""The tiles of a packed model as arrays in an .npz file, for other tools: numpy alone reads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.files import write_file_atomically
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.names import file_stems
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing


def export_tiles(model: Model, path: Path) -> Path:
    """Writes the tiles of a permuted or packed `model` to `path`; returns it.

    `layers`: (layers,) names of the packed layers; `keys`: (layers,) what their arrays begin with. Of each layer, with
    T tiles of up to R lanes, C columns and F inputs on a lane, and -1 where a tile has fewer:

    `KEY.shape`: filters and inputs over all groups, and groups. `KEY.filters`: (T, C) the filter of each column.
    `KEY.inputs`: (T, R, F) the inputs that each lane carries. `KEY.select`: (T, R, C) which of its lane's inputs a slot
    multiplies, -1 for an empty slot. `KEY.weights`: (T, R, C) the weight in each slot, 0 for an empty one; subwords at
    their place value. Integer weights are less their zero points.

    ModelError where the model has no tiles, OutputError where the file cannot be written.
    """
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    packings = matching_packings(plain, network, decoded)
    if not packings:
        raise ModelError(
            f"{model.origin}: expected a permuted or packed model, got one without tiles",
            "run tightc permute first, or leave --export-tiles out",
        )
    owners = [layer for layer in network.owners if layer.weight in packings]
    keys = file_stems([layer.name for layer in owners])
    arrays: dict[str, NDArray[Any]] = {
        "layers": np.array([layer.name for layer in owners]),
        "keys": np.array(keys),
    }
    for layer, key in zip(owners, keys, strict=True):
        packing = packings[layer.weight]
        matrix = layer_matrix(network, layer, packing.subword_bits)
        arrays |= {f"{key}.{name}": array for name, array in _arrays(packing, matrix).items()}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    write_file_atomically(path, content.getvalue())
    return path


def _arrays(packing: Packing, matrix: LayerMatrix) -> dict[str, NDArray[Any]]:
    """The arrays of one layer by name."""
    tiles = packing.tiles
    lanes, columns, fan_in = (
        max((getattr(tile, name) for tile in tiles), default=0) for name in ("lanes", "columns", "fan_in")
    )
    grid = (len(tiles), lanes, columns)
    filters = np.full((len(tiles), columns), EMPTY, np.int32)
    inputs = np.full((len(tiles), lanes, fan_in), EMPTY, np.int32)
    select = np.full(grid, EMPTY, np.int16)
    for i, tile in enumerate(tiles):
        filters[i, : tile.columns] = tile.filters
        select[i, : tile.lanes, : tile.columns] = tile.select
        lengths = np.diff(tile.lane_starts)
        lane = np.repeat(np.arange(tile.lanes), lengths)
        inputs[i, lane, np.arange(len(tile.inputs)) - tile.lane_starts[lane]] = tile.inputs
    weights = np.zeros(grid, matrix.values.dtype)
    weights[select != EMPTY] = matrix.weights(*packing.slots())
    shape = np.array([matrix.filters, matrix.inputs * matrix.groups, matrix.groups])
    return {"shape": shape, "filters": filters, "inputs": inputs, "select": select, "weights": weights}
