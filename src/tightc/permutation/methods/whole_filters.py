"""Whole filters: structured, also without weights on which no output depends, such as dead filters' depthwise groups.

`permute` sets such weights to zero before it packs; no output changes. Where they come from: docs/design/baselines.md.
"""

from __future__ import annotations

from dataclasses import replace

from tightc.permutation.methods import structured
from tightc.permutation.problem import PackingProblem
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing


def pack(matrix: LayerMatrix, problem: PackingProblem) -> Packing:
    """The packing of structured, under the name of this method."""
    return replace(structured.pack(matrix, problem), method="whole-filters")
