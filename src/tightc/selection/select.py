"""Keep what is worth most: one by one, or in the parts and tiles of an array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np

from tightc.errors import OptionError
from tightc.selection.aligned import (
    ROUNDING,
    best_segments,
    keep_segments,
    segment_saliency,
    spend,
    unit_saliency,
)
from tightc.selection.filters import UNKNOWN, Channels, keep_filters
from tightc.selection.options import SelectionOptions
from tightc.selection.top_k import Kept, Saliency, largest_with_floors
from tightc.tile.array import ArrayShape
from tightc.tile.bounds import dense_passes


@dataclass(frozen=True)
class Candidates:
    """What a layer's weights are worth: `saliency`, (filters, inputs) float64, at least 0, without NaN.

    Where weights have several `digits`, these are inputs side by side.
    `groups` blocks lie one below the other; `vectors` stream through each pass, a number for each layer that has these
    weights, since each loads them anew; `channels` lead to the layers around it.
    """

    saliency: Saliency
    groups: int = 1
    vectors: tuple[int, ...] = (1,)
    channels: Channels = UNKNOWN
    digits: int = 1


def select(layers: Sequence[Candidates], options: SelectionOptions, share: float) -> list[Kept]:
    """For each layer which weights stay, (filters, inputs) bool, so that `share` of the cost is left.

    The cost is weights, or with a budget area or cycles as in docs/architecture.md. Every layer keeps one weight (or
    part) at least, and its floor. A `share` of 1 keeps all.
    """
    if share >= 1:
        return [np.ones(layer.saliency.shape, bool) for layer in layers]
    if options.granularity == "filter":
        return keep_filters(layers, share, options.floor, by_layer=options.scope == "layer")
    scopes = [[layer] for layer in layers] if options.scope == "layer" else [list(layers)]
    choose = _single if options.align is None else _aligned
    return [kept for scope in scopes for kept in choose(scope, options, share)]


def _single(layers: list[Candidates], options: SelectionOptions, share: float) -> list[Kept]:
    sizes = [layer.saliency.size for layer in layers]
    least = options.floor * share
    floors = [max(1, round(least * size)) for size in sizes]
    flat = np.concatenate([layer.saliency.ravel() for layer in layers])
    count = sum(sizes) - round((1 - share) * sum(sizes))
    kept = largest_with_floors(flat, count, sizes, floors)
    parts = np.split(kept, np.cumsum(sizes)[:-1])
    return [part.reshape(layer.saliency.shape) for part, layer in zip(parts, layers, strict=True)]


def _aligned(layers: list[Candidates], options: SelectionOptions, share: float) -> list[Kept]:
    array = options.align
    assert array is not None, "the caller looked"
    by_cycles = options.budget is not None and options.budget.kind == "speedup"
    size = array.columns if by_cycles else 1
    worths = [segment_saliency(layer.saliency, array.rows) for layer in layers]
    units = [unit_saliency(worth, size) for worth in worths]
    if by_cycles:
        costs = [float(sum(map(array.pass_cycles, layer.vectors))) for layer in layers]
        dense = float(sum(_dense_cycles(layer, array) for layer in layers))
    else:
        costs = [float(min(array.rows, layer.saliency.shape[1])) for layer in layers]
        dense = float(sum(layer.saliency.size for layer in layers))
    floors = [max(1, round(options.floor * share * len(unit))) for unit in units]
    least = float(np.dot(floors, costs))
    if options.budget is not None and least > share * dense * (1 + ROUNDING):
        most = floor(100 * dense / least) / 100
        raise OptionError(
            f"--budget {options.budget}: with one {'tile' if by_cycles else 'part'} for each layer, or its floor, "
            f"{options.budget.kind} is {dense / least:.2f}",
            f"give at most {options.budget.kind}={most}"
            if most > 1
            else "give --sparsity instead, or a smaller array",
        )
    taken = spend(units, costs, share * dense, floors)
    return [
        keep_segments(layer.saliency, array.rows, best_segments(worth, count * size))
        for layer, worth, count in zip(layers, worths, taken, strict=True)
    ]


def _dense_cycles(layer: Candidates, array: ArrayShape) -> int:
    """Of the layer with all its weights, whole ones on an array of the same multipliers."""
    filters, inputs = layer.saliency.shape
    words = array.of_words(layer.digits)
    passes = dense_passes(filters, inputs // layer.digits, layer.groups, words)
    return passes * sum(map(words.pass_cycles, layer.vectors))
