"""Tight: single weights rearranged into full tiles by simulated annealing, lossless.

After the idea of X. Chen et al., "Tight Compression" (DAC 2020; TCAD 42(2), 2023), in our own formulation: an input may
be on several lanes, a filter may be split over several columns, and filters of like size share tiles.
docs/design/search.md.
"""

from __future__ import annotations

from tightc.permutation.methods.tight.search import TightSearch
from tightc.permutation.problem import PackingProblem
from tightc.permutation.search_context import SearchContext, SearchSettings
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(
    matrix: LayerMatrix, problem: PackingProblem, *, settings: SearchSettings, context: SearchContext
) -> Packing:
    """A lossless packing within the fan-in, the best of the search and of what the other methods make of the weights.

    It has the fan-in of `problem`, or that of the other method. A layer that runs best dense stays dense.
    """
    return TightSearch(matrix, problem, settings, context).run()
