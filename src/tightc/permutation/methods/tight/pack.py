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
    """A lossless packing within the fan-in, in `passes_lower_bound` passes if the search finds one.

    If it finds no fewer passes than an ordinary array needs without empty filters and inputs, the result is that
    packing, of fan-in 1, without its zeros.
    """
    found = TightSearch(matrix, problem, settings, context).run()
    return Packing(
        method="tight",
        array=problem.array,
        fan_in=found.fan_in,
        filters=matrix.filters,
        inputs=matrix.inputs,
        groups=matrix.groups,
        tiles=tuple(found.tiles),
        subword_bits=matrix.subword_bits,
    )
