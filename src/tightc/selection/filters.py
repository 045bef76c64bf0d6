"""Filter pruning: kernels that remove filters, and with each the inputs of later layers that read its channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tightc.selection.aligned import ROUNDING
from tightc.selection.channels import ChannelGraph, Read, Write, depends_on, separate_layers
from tightc.selection.ties import Numbers, even_order, spread_ranks
from tightc.selection.top_k import AnySaliency, Mask, Saliency

# of the filters that would be left if all layers became thinner alike, which is the root of the weights left
_LEAST_FRACTION = 0.25
_TWO_OF = 8  # a layer of so many filters keeps two


class FilterCandidates(Protocol):
    """One candidate layer."""

    @property
    def saliency(self) -> AnySaliency:
        """Of its weights: (filters, inputs) float64, one convolution group below the other."""

    @property
    def groups(self) -> int:
        """Number of convolution groups."""

    @property
    def channels(self) -> ChannelGraph | None:
        """Dependencies of all candidates, the same for each of them; None where they are not known."""


def keep_filters(
    layers: Sequence[FilterCandidates], fraction: float, min_density: float, *, by_layer: bool
) -> list[Mask]:
    """Which weights of each layer to keep, (filters, inputs) bool, so that a `fraction` of all weights is left.

    Filters are removed in the order of their saliency, each with the inputs that read its channel. A filter's saliency
    is the mean over the inputs that its layer uses, so that inputs removed earlier do not lower it. With `by_layer` the
    order is that of ranks within layers, so that all layers get thinner alike. Each layer keeps `min_density` x
    `fraction` of its filters, and of filters and inputs a quarter of what is left if all layers become thinner alike,
    even if these exceed the `fraction` of all weights. Each convolution group keeps a filter.
    After H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3, by squares over the network.
    """
    graph = layers[0].channels or separate_layers([(*layer.saliency.shape, layer.groups) for layer in layers])
    rows = [len(layer.saliency) // filters for layer, filters in zip(layers, graph.filters(), strict=True)]
    joined = [
        _Filters(_joined(np.asarray(layer.saliency), each), layer.groups)
        for layer, each in zip(layers, rows, strict=True)
    ]
    saliencies = [_filter_saliency(layer.saliency) for layer in joined]
    ranks = [spread_ranks(len(saliency)) for saliency in saliencies]
    places = [_places(saliency, rank) for saliency, rank in zip(saliencies, ranks, strict=True)]
    scores = [place / len(place) for place in places] if by_layer else saliencies
    ends = np.cumsum([len(saliency) for saliency in saliencies])[:-1]
    order = even_order(scores, ranks)
    share = _LEAST_FRACTION * sqrt(fraction)
    protected = [
        _protected(place, layer.groups, min_density * fraction, share)
        for place, layer in zip(places, joined, strict=True)
    ]
    removable = np.concatenate(graph.removable) & ~np.concatenate(protected)
    removable &= ~_feeding_filters(graph, order, removable, ends, share)
    order = order[removable[order]]
    budget = fraction * sum(layer.saliency.size for layer in joined) * (1 + ROUNDING)

    def removed(count: int) -> list[NDArray[np.bool_]]:
        return np.split(_with(np.zeros(len(removable), bool), order[:count]), ends)

    fewest = _first_true(len(order), lambda count: _kept_count(joined, graph, removed(count)) <= budget)
    masks = _kept_weights(joined, graph, removed(fewest))
    return [_divided(kept, each) for kept, each in zip(masks, rows, strict=True)]


@dataclass(frozen=True)
class _Filters:
    """A layer with one row for each filter: its saliency, (filters, inputs x rows of a filter), and its groups."""

    saliency: Saliency
    groups: int


def _joined(saliency: Saliency, rows: int) -> Saliency:
    """`saliency`, (filters x `rows`, inputs), with a row for each filter: (filters, inputs x `rows`)."""
    inputs = saliency.shape[1]
    return saliency.reshape(-1, rows, inputs).swapaxes(1, 2).reshape(-1, inputs * rows)


def _divided(kept: Mask, rows: int) -> Mask:
    """The inverse of `_joined`."""
    filters, inputs = len(kept), kept.shape[1] // rows
    return kept.reshape(filters, inputs, rows).swapaxes(1, 2).reshape(filters * rows, inputs)


def _filter_saliency(saliency: Saliency) -> NDArray[np.float64]:
    """Mean saliency of each filter over the inputs that the layer uses: (filters,) float64."""
    used = (saliency != 0).any(axis=0)
    mean: NDArray[np.float64] = saliency[:, used].mean(axis=1) if used.any() else np.zeros(len(saliency))
    return mean


def _places(saliency: NDArray[np.float64], ranks: Numbers) -> NDArray[np.float64]:
    """The place of each filter in the order of removal within its layer, 0.5, 1.5, ...: (filters,) float64."""
    places = np.empty(len(saliency))
    places[np.lexsort((ranks, saliency))] = np.arange(len(saliency)) + 0.5
    return places


def _protected(places: NDArray[np.float64], groups: int, density: float, share: float) -> NDArray[np.bool_]:
    """Mark the filters that a layer keeps at least, the last to be removed: (filters,) bool."""
    filters = len(places)
    least = max(1 if filters < _TWO_OF else 2, round(density * filters), ceil(share * filters - ROUNDING))
    protected = places > filters - least
    if 1 < groups < filters:
        of_group = places.reshape(groups, -1)
        protected |= (of_group == of_group.max(axis=1, keepdims=True)).ravel()
    return protected


def _feeding_filters(
    graph: ChannelGraph, order: Numbers, removable: NDArray[np.bool_], ends: Numbers, share: float
) -> NDArray[np.bool_]:
    """Mark the `removable` filters that stay so that every layer has one and reads a `share` of its channels.

    A layer may read a part of another's channels, all of which would otherwise be removed. Of the filters that it
    reads, those stay that `order` removes last. (all filters,) bool.
    """
    kept = np.zeros(len(removable), bool)
    written = {step.layer: step for step in graph.steps if isinstance(step, Write)}

    def live(protected: NDArray[np.bool_]) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.bool_]]]:
        return graph.live(np.split(removable & ~protected, ends))

    def fed(layer: int, least: int, protected: NDArray[np.bool_]) -> bool:
        filters, channels = live(protected)
        return bool(filters[layer].any()) and int(channels[layer].sum()) >= least

    filters, channels = live(kept)
    for step in graph.steps:
        if not isinstance(step, Read):
            continue
        layer, least = step.layer, ceil(share * step.channels.size - ROUNDING)
        if not filters[layer].any() or channels[layer].sum() < least:
            wanted = np.concatenate([step.channels.ravel(), written[layer].numbers])
            feeding = _filters_among(graph, depends_on(graph, wanted, channels))
            last_first = order[(feeding & removable & ~kept)[order]][::-1]
            before = kept
            fewest = _first_true(
                len(last_first),
                lambda count: fed(layer, least, _with(before, last_first[:count])),  # noqa: B023
            )
            kept = _with(before, last_first[:fewest])
            filters, channels = live(kept)
    return kept


def _with(marked: NDArray[np.bool_], places: Numbers) -> NDArray[np.bool_]:
    """A copy of `marked` with true at the `places`."""
    copy = marked.copy()
    copy[places] = True
    return copy


def _filters_among(graph: ChannelGraph, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The filters, over all layers, that compute one of the `marked` channels: (all filters,) bool."""
    writes = sorted((step for step in graph.steps if isinstance(step, Write)), key=lambda step: step.layer)
    return np.concatenate([marked[step.first : step.first + step.filters] for step in writes])


def _kept_count(layers: Sequence[_Filters], graph: ChannelGraph, removed: Sequence[NDArray[np.bool_]]) -> int:
    """The number of weights that stay without the `removed` filters, (filters,) bool per layer."""
    total = 0
    for layer, filters, channels in zip(layers, *graph.live(removed), strict=True):
        groups, each = channels.shape
        rows = filters.reshape(groups, -1).sum(axis=1)
        total += int(rows @ channels.sum(axis=1)) * (layer.saliency.shape[1] // each)
    return total


def _kept_weights(
    layers: Sequence[_Filters], graph: ChannelGraph, removed: Sequence[NDArray[np.bool_]]
) -> list[Mask]:
    """The weights that stay, (filters, inputs) bool per layer, without the `removed` filters, (filters,) bool."""
    kept: list[Mask] = []
    for layer, filters, channels in zip(layers, *graph.live(removed), strict=True):
        rows, inputs = layer.saliency.shape
        columns = np.repeat(channels, inputs // channels.shape[1], axis=1)
        kept.append(filters[:, None] & np.repeat(columns, rows // layer.groups, axis=0))
    return kept


def _first_true(count: int, holds: Callable[[int], bool]) -> int:
    """The smallest number up to `count` for which the monotonic `holds` is true; `count` if there is none."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
