"""Tight: single weights rearranged into full tiles by simulated annealing, lossless.

After X. Chen et al., "Tight Compression" (DAC 2020; TCAD 42(2), 2023), in our own formulation (docs/architecture.md):
an input may be carried by several lanes, a filter may be split over several columns, and filters of like size, which
share most inputs for their lanes, share tiles.
"""

from __future__ import annotations

from tightc.permutation.methods.tight.search import Search
from tightc.permutation.problem import Task
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, task: Task) -> Packing:
    """A lossless packing within the fan-in, in `passes_lower_bound` passes wherever the search finds room.

    Where it finds no fewer passes than the ordinary array needs without its empty filters and inputs, that arrangement
    is the result, with its zeros left out and a fan-in of 1.
    """
    tiles, fan_in = Search(matrix, task).run()
    size = matrix.filters, matrix.inputs, matrix.groups
    return Packing("tight", task.array, fan_in, *size, tuple(tiles), matrix.subword_bits)
