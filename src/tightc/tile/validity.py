"""Checks a packing: a slot for each weight or subword, no lane beyond the fan-in, no tile beyond the array."""

from __future__ import annotations

import numpy as np

from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import EMPTY, Packing


def packing_error(packing: Packing, matrix: LayerMatrix) -> str:
    """The first fault of `packing` as a lossless packing of `matrix`, in words; empty if there is none."""
    if (packing.filters, packing.inputs, packing.groups) != (matrix.filters, matrix.inputs, matrix.groups):
        return f"it was made for a {packing.filters}x{packing.inputs} layer of {packing.groups} groups"
    for number, tile in enumerate(packing.tiles):
        if tile.lanes > packing.array.rows or tile.columns > packing.array.columns:
            return f"tile {number} takes {tile.lanes}x{tile.columns}, beyond the {packing.array} array"
        if (
            len(tile.filters) != tile.columns
            or len(tile.lane_starts) != tile.lanes + 1
            or tile.lane_starts[0] != 0
            or tile.lane_starts[-1] != len(tile.inputs)
            or (np.diff(tile.lane_starts) < 0).any()
        ):
            return f"tile {number} has lists that do not match its {tile.lanes}x{tile.columns} slots"
        if tile.fan_in > packing.fan_in:
            return f"tile {number} has a lane of {tile.fan_in} inputs, beyond the fan-in {packing.fan_in}"
        lists = np.diff(tile.lane_starts)
        if (tile.select < EMPTY).any() or (tile.select.max(axis=1, initial=EMPTY) >= lists).any():
            return f"tile {number} selects an input that its lane does not carry"
    filters, inputs = packing.slots()
    local = inputs - matrix.first_input(filters)
    if ((filters < 0) | (filters >= matrix.filters)).any() or ((local < 0) | (local >= matrix.inputs)).any():
        return "a slot holds a weight that the layer does not have"
    places, uses = matrix.places(filters, inputs)
    if (uses > packing.slots_per_weight).any():  # subwords that training made zero leave their slots empty
        return (
            "a weight sits in two slots" if matrix.subword_bits is None else "a weight sits in too many slots"
        )
    needed = matrix.slots().reshape(-1)
    missing = int(needed.sum(dtype=np.int64)) - int(np.minimum(needed[places], uses).sum())
    what = "weights" if matrix.subword_bits is None else "subwords"
    return f"{missing} non-zero {what} have no slot" if missing else ""
