"""Select the weights to keep: single weights, filters, or segments and tiles of an array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import floor
from typing import overload

import numpy as np
from numpy.typing import NDArray

from tightc.errors import OptionError
from tightc.selection.aligned import (
    ROUNDING,
    best_segments,
    keep_segments,
    ordered_saliency,
    segment_saliency,
    units_within_budget,
)
from tightc.selection.channels import ChannelGraph
from tightc.selection.filters import keep_filters
from tightc.selection.options import SelectionOptions
from tightc.selection.top_k import AnySaliency, KeptWeights, Mask, SaliencyBlocks, choose_largest

_NOUNS = {
    "compression": "a compression",
    "speedup": "a speedup",
    "energy": "an energy gain",
    "bits": "a bit compression",
}


@dataclass(frozen=True)
class LayerCosts:
    """What a layer costs with 0, 1, ... segments, (segments + 1,) float64, which never falls; and `dense`."""

    of_segments: NDArray[np.float64]
    dense: float

    def filled(self, cycles: NDArray[np.float64]) -> LayerCosts:
        """The costs if every number of segments counts as the largest that takes no more `cycles`, (segments + 1,)."""
        largest = np.searchsorted(cycles, cycles, side="right") - 1
        return LayerCosts(self.of_segments[largest], self.dense)


@dataclass(frozen=True)
class Candidates:
    """The weights of one layer and their `saliency`, (filters, inputs) float64, at least 0, without NaN.

    `groups`: convolution groups, one below the other. `costs`: what a budget counts; None for the number of weights, or
    for segments by their area. `channels`: the dependencies of all candidates, in which they are numbered in their
    order; None where they are not known.
    """

    saliency: AnySaliency
    groups: int = 1
    costs: LayerCosts | None = None
    channels: ChannelGraph | None = None


class LazyMasks(Sequence[Mask]):
    """Masks that are made at each access, so that one layer is in memory at a time."""

    def __init__(self, makers: Sequence[Callable[[], Mask]]) -> None:
        self._makers = makers

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mask]: ...
    def __getitem__(self, index: int | slice) -> Mask | Sequence[Mask]:
        """The mask of a layer, or those of several."""
        return LazyMasks(self._makers[index]) if isinstance(index, slice) else self._makers[index]()

    def __len__(self) -> int:
        return len(self._makers)


def select(layers: Sequence[Candidates], options: SelectionOptions, fraction: float) -> Sequence[Mask]:
    """Which weights of each of `layers` to keep, (filters, inputs) bool, so that a `fraction` of the cost is left.

    `options` say in which units weights are kept. The cost is the number of weights or, with `align`, what the
    `costs` of the layers say. Every layer keeps at least one weight (or segment) and its minimum density. A
    `fraction` of 1 keeps all. OptionError if the budget cannot be met.
    """
    if fraction >= 1:
        return LazyMasks([partial(_everything, layer) for layer in layers])
    if options.granularity == "filter":
        return keep_filters(layers, fraction, options.min_density, by_layer=options.scope == "layer")
    scopes = [[layer] for layer in layers] if options.scope == "layer" else [list(layers)]
    if options.align is not None:
        return [kept for scope in scopes for kept in _keep_aligned(scope, options, fraction)]
    chosen = [kept for scope in scopes for kept in _keep_weights(scope, options, fraction)]
    if any(isinstance(layer.saliency, SaliencyBlocks) for layer in layers):
        return LazyMasks([kept.mask for kept in chosen])
    return [kept.mask() for kept in chosen]


def _everything(layer: Candidates) -> Mask:
    return np.ones(layer.saliency.shape, bool)


def _keep_weights(layers: list[Candidates], options: SelectionOptions, fraction: float) -> list[KeptWeights]:
    sizes = [layer.saliency.size for layer in layers]
    density = options.min_density * fraction
    minimums = [max(1, round(density * size)) for size in sizes]
    count = sum(sizes) - round((1 - fraction) * sum(sizes))
    return choose_largest([layer.saliency for layer in layers], count, minimums)


def _keep_aligned(layers: list[Candidates], options: SelectionOptions, fraction: float) -> list[Mask]:
    array = options.align
    assert array is not None, "the caller checked"
    segments = [segment_saliency(np.asarray(layer.saliency), array.rows) for layer in layers]
    units = [ordered_saliency(saliency) for saliency in segments]
    costs = [
        layer.costs or slots_of(len(layer.saliency), layer.saliency.shape[1], array.rows) for layer in layers
    ]
    dense = float(sum(own.dense for own in costs))
    minimums = [max(1, round(options.min_density * fraction * len(unit))) for unit in units]
    least = float(sum(own.of_segments[minimum] for own, minimum in zip(costs, minimums, strict=True)))
    if options.budget is not None and least > fraction * dense * (1 + ROUNDING):
        raise _unreachable(options, dense / least)
    steps = [np.diff(own.of_segments) for own in costs]
    taken = units_within_budget(units, steps, fraction * dense, minimums)
    return [
        keep_segments(np.asarray(layer.saliency), array.rows, best_segments(saliency, count))
        for layer, saliency, count in zip(layers, segments, taken, strict=True)
    ]


def slots_of(filters: int, inputs: int, rows: int) -> LayerCosts:
    """Slots of full tiles: `rows` for each segment, or the layer's inputs where these are fewer."""
    segments = filters * -(-inputs // rows)
    return LayerCosts(min(rows, inputs) * np.arange(segments + 1, dtype=np.float64), float(filters * inputs))


def _unreachable(options: SelectionOptions, highest: float) -> OptionError:
    """The error for a budget above the `highest` factor that the minimum of each layer permits."""
    budget = options.budget
    assert budget is not None, "the caller checked"
    unit = "tile" if budget.kind == "speedup" or options.fill_passes else "segment"
    most = floor(100 * highest) / 100
    return OptionError(
        f"--budget: expected {_NOUNS[budget.kind]} of at most {most:g}, where each layer keeps one {unit} or its "
        f"minimum density, got {budget}",
        f"give at most {budget.kind}={most}" if most > 1 else "give --sparsity instead, or a smaller array",
    )
