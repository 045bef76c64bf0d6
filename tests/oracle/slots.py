"""The measures of a packing, counted slot by slot; nothing imported from tightc."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from oracle.dense import dense_blocks
from oracle.packings import EMPTY, block_diagonal


def anneal_cost(slots: list[list[int]], fan_in: int) -> int:
    """Quarters: 4 for each input beyond the fan-in of its lane, 1 for each input carried."""
    cost = 0
    for lane in slots:
        carried = len({item for item in lane if item != EMPTY})
        cost += carried + (4 * (carried - fan_in) if carried > fan_in else 0)
    return cost


def measures(
    tiles: list[dict[str, Any]], matrix: np.ndarray, groups: int, array: tuple[int, int]
) -> dict[str, Any]:
    """The measures that need no assumption about bits."""
    whole = block_diagonal(matrix, groups)
    packed = set()
    for tile in tiles:
        for lane, selected in zip(tile["lanes"], tile["select"], strict=True):
            for f, choice in zip(tile["filters"], selected, strict=True):
                if choice != EMPTY:
                    packed.add((f, lane[choice]))
    nonzeros = {(int(f), int(k)) for f, k in zip(*np.nonzero(whole), strict=True)}
    area = sum(len(tile["lanes"]) * len(tile["filters"]) for tile in tiles)
    dropped = nonzeros - packed
    squares = sum(float(whole[at]) ** 2 for at in nonzeros)
    per_group = matrix.shape[0] // groups
    dense_passes = len(dense_blocks(per_group, matrix.shape[1], groups, array))
    return {
        "weights": matrix.size,
        "nonzeros": len(nonzeros),
        "density": len(nonzeros) / matrix.size,
        "matrix_compression_rate": matrix.size / area if area else None,
        "tightness": len(nonzeros & packed) / area if area else None,
        "passes": len(tiles),
        "dense_passes": dense_passes,
        "pass_compression": dense_passes / len(tiles) if tiles else None,
        "fan_in_max": max((len(lane) for tile in tiles for lane in tile["lanes"]), default=0),
        "lane_inputs": sum(len(lane) for tile in tiles for lane in tile["lanes"]),
        "dropped_weights": len(dropped),
        "dropped_magnitude": sum(float(whole[at]) ** 2 for at in dropped) / squares if squares else 0.0,
    }


def packed_bits(
    tiles: list[dict[str, Any]], width: int, fan_in: int, inputs: int, filters: int, is_dense: bool = False
) -> int:
    """A weight for every slot of the area, and the index; `inputs` and `filters` over all groups."""
    slots = sum(len(row) for tile in tiles for row in tile["select"])
    return slots * width + sum(index_bits(tile, fan_in, inputs, filters, is_dense) for tile in tiles)


def index_bits(tile: dict[str, Any], fan_in: int, inputs: int, filters: int, is_dense: bool = False) -> int:
    """A select for every slot of the area; per lane a length and its inputs; per column its filter.

    Nothing where the numbers say themselves: in the dense arrangement, and in a tile of fan-in 1 whose inputs and
    filters are runs of consecutive numbers.
    """
    carried = [k for lane in tile["lanes"] for k in lane]
    is_block = all(b - a == 1 for ids in (carried, tile["filters"]) for a, b in pairwise(ids))
    if is_dense or (fan_in == 1 and is_block):
        return 0
    bits = sum(len(row) for row in tile["select"]) * _bits_for(fan_in)
    for lane in tile["lanes"]:
        bits += _bits_for(fan_in + 1) + len(lane) * max(1, _bits_for(inputs))
    return bits + len(tile["filters"]) * max(1, _bits_for(filters))


def _bits_for(values: int) -> int:
    """Bits that tell `values` values apart."""
    bits = 0
    while 2**bits < values:
        bits += 1
    return bits


def with_index(
    tiles: list[dict[str, Any]], fan_in: int, inputs: int, filters: int, is_dense: bool = False
) -> list[dict[str, Any]]:
    """The tiles, each with the bits of its index, which are loaded with its weights."""
    return [{**tile, "index_bits": index_bits(tile, fan_in, inputs, filters, is_dense)} for tile in tiles]
