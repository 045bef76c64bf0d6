"""Select the weights to keep: single weights, filters, or segments and tiles of an array."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import floor
from typing import overload

import numpy as np

from tightc.errors import OptionError
from tightc.selection.aligned import (
    ROUNDING,
    best_segments,
    keep_segments,
    ordered_saliency,
    segment_saliency,
    units_within_budget,
)
from tightc.selection.budget import NOUNS
from tightc.selection.channels import ChannelGraph
from tightc.selection.filters import keep_filters
from tightc.selection.multiple_choice import Curve, best_choices
from tightc.selection.options import SelectionOptions
from tightc.selection.sparse_input import keep_nonzeros
from tightc.selection.top_k import AnySaliency, KeptWeights, Mask, Saliency, SaliencyBlocks, choose_largest
from tightc.tile.segment_costs import SegmentCosts


@dataclass(frozen=True)
class Candidates:
    """The weights of one layer and their `saliency`, (filters, inputs) float64, at least 0, without NaN.

    `groups`: convolution groups, one below the other. `costs`: what a budget counts, by the rows of a segment; None for
    the number of weights, or for segments by their area. `channels`: the dependencies of all candidates, in which they
    are numbered in their order; None where they are not known.
    """

    saliency: AnySaliency
    groups: int = 1
    costs: Mapping[int, SegmentCosts] | None = None
    channels: ChannelGraph | None = None

    def times(self, flags: Mask, factor: float) -> Candidates:
        """The same with the saliency of the weights in `flags`, (filters, inputs), multiplied by `factor`."""
        if isinstance(self.saliency, SaliencyBlocks):
            return replace(self, saliency=self.saliency.times(flags, factor))
        return replace(self, saliency=np.where(flags, factor, 1.0) * self.saliency)


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

    `options` say in which units weights are kept. The cost is the number of weights or, with a budget, what the
    `costs` of the layers say. Segments and filters that hold zeros count the weights in them. Every layer keeps at
    least one weight (or segment) and its minimum density. A `fraction` of 1 keeps all. OptionError if the budget cannot
    be met.
    """
    if fraction >= 1:
        return LazyMasks([partial(_everything, layer) for layer in layers])
    if options.granularity == "filter":
        return keep_nonzeros(
            partial(keep_filters, layers, min_density=options.min_density, by_layer=options.scope == "layer"),
            [layer.saliency for layer in layers],
            fraction,
        )
    scopes = [[layer] for layer in layers] if options.scope == "layer" else [list(layers)]
    if options.align is not None:
        return [kept for scope in scopes for kept in _keep_in_segments(scope, options, fraction)]
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


def _keep_in_segments(layers: list[Candidates], options: SelectionOptions, fraction: float) -> list[Mask]:
    if options.budget is not None:
        return _keep_aligned(layers, options, fraction)
    saliencies = [layer.saliency for layer in layers]
    return keep_nonzeros(partial(_keep_aligned, layers, options), saliencies, fraction)


def _keep_aligned(layers: list[Candidates], options: SelectionOptions, fraction: float) -> list[Mask]:
    by_height = [_segmented(layer, options, fraction) for layer in layers]
    dense = float(sum(own[0].costs.dense for own in by_height))
    least = float(sum(min(one.least for one in own) for own in by_height))
    if options.budget is not None and least > fraction * dense * (1 + ROUNDING):
        raise _unreachable(options, dense / least)
    kinds = [own[0] for own in by_height]
    if options.tile_heights:
        chosen = best_choices([[one.curve for one in own] for own in by_height], fraction * dense)
        kinds = [own[choice.curve] for own, choice in zip(by_height, chosen, strict=True)]
    steps = [np.diff(own.costs.of_segments) for own in kinds]
    taken = units_within_budget(
        [own.units for own in kinds], steps, fraction * dense, [own.minimum for own in kinds]
    )
    return [
        keep_segments(np.asarray(layer.saliency), own.rows, best_segments(own.saliency, count))
        for layer, own, count in zip(layers, kinds, taken, strict=True)
    ]


@dataclass(frozen=True)
class _Segmented:
    """A layer in segments of so many `rows`: their `saliency`, (filters, segments) float64, and their `costs`.

    `minimum`: segments that are kept at any cost.
    """

    rows: int
    saliency: Saliency
    costs: SegmentCosts
    minimum: int

    @cached_property
    def units(self) -> Saliency:
        """The saliencies of all segments, falling: (units,) float64."""
        return ordered_saliency(self.saliency)

    @property
    def least(self) -> float:
        """The cost of the minimum."""
        return float(self.costs.of_segments[self.minimum])

    @property
    def curve(self) -> Curve:
        """Cost and saliency of the minimum and of each further segment."""
        return Curve(self.costs.of_segments[self.minimum :], np.cumsum(self.units)[self.minimum - 1 :])


def _segmented(layer: Candidates, options: SelectionOptions, fraction: float) -> list[_Segmented]:
    """The layer in segments of each height that the options permit."""
    assert options.align is not None, "the caller checked"
    found = []
    for rows in options.tile_heights or (options.align.rows,):
        segments = segment_saliency(np.asarray(layer.saliency), rows)
        costs = SegmentCosts.slots(len(layer.saliency), layer.saliency.shape[1], rows)
        if layer.costs is not None:
            costs = layer.costs[rows]
        minimum = max(1, round(options.min_density * fraction * segments.size))
        found.append(_Segmented(rows, segments, costs, minimum))
    return found


def _unreachable(options: SelectionOptions, highest: float) -> OptionError:
    """The error for a budget above the `highest` factor that the minimum of each layer permits."""
    budget = options.budget
    assert budget is not None, "the caller checked"
    unit = "tile" if budget.kind == "speedup" or options.fill_passes else "segment"
    most = floor(100 * highest) / 100
    return OptionError(
        f"--budget: expected {NOUNS[budget.kind]} of at most {most:g}, where each layer keeps one {unit} or its "
        f"minimum density, got {budget}",
        f"give at most {budget.kind}={most}" if most > 1 else "give --sparsity instead, or a smaller array",
    )
