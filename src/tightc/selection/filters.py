"""Filter pruning: kernels that remove filters, and with each the inputs of later layers that read its channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tightc.selection.aligned import ROUNDING
from tightc.selection.top_k import Mask, Saliency


@dataclass(frozen=True)
class Channels:
    """How a layer's filters and inputs depend on other layers.

    `source`: index, among the candidate layers, of the layer that computes this one's input channels; None if inputs
    come from elsewhere or from several layers. Each channel has equally many inputs, in adjacent columns.
    `removable`: whether a filter may be removed. Filters of the network's outputs may not, nor those of a depthwise
    layer, which follow the filters of their source.
    """

    source: int | None = None
    removable: bool = True


UNKNOWN = Channels()


class FilterCandidates(Protocol):
    """One candidate layer."""

    @property
    def saliency(self) -> Saliency:
        """Of its weights: (filters, inputs) float64, one convolution group below the other."""

    @property
    def groups(self) -> int:
        """Number of convolution groups."""

    @property
    def channels(self) -> Channels:
        """Dependencies on other layers."""


def keep_filters(
    layers: Sequence[FilterCandidates], fraction: float, min_density: float, *, by_layer: bool
) -> list[Mask]:
    """Which weights of each layer to keep, (filters, inputs) bool, so that a `fraction` of all weights is left.

    Filters are removed in the order of their saliency, each with the inputs that read its channel. A filter's saliency
    is the mean over the inputs that its layer uses, so that inputs removed earlier do not lower it. With `by_layer` the
    order is that of ranks within layers, so that all layers get thinner alike. Each layer keeps at least one filter and
    `min_density` x `fraction` of its filters, even if these exceed the `fraction` of all weights.
    After H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3, by squares over the network.
    """
    saliencies = [_filter_saliency(layer.saliency) for layer in layers]
    scores = [_ranks(saliency) if by_layer else saliency for saliency in saliencies]
    protected = [
        _last_removed(
            saliency,
            max(1, round(min_density * fraction * len(saliency)))
            if layer.channels.removable
            else len(saliency),
        )
        for saliency, layer in zip(saliencies, layers, strict=True)
    ]
    flat = np.where(np.concatenate(protected), np.inf, np.concatenate(scores))
    order = np.argsort(flat, kind="stable")[: int(np.count_nonzero(np.isfinite(flat)))]
    ends = np.cumsum([len(saliency) for saliency in saliencies])[:-1]
    budget = fraction * sum(layer.saliency.size for layer in layers) * (1 + ROUNDING)

    def without(count: int) -> list[Mask]:
        kept = np.ones(len(flat), bool)
        kept[order[:count]] = False
        return _kept_weights(layers, np.split(kept, ends))

    fewest = _first_true(len(order), lambda count: sum(int(kept.sum()) for kept in without(count)) <= budget)
    return without(fewest)


def _filter_saliency(saliency: Saliency) -> NDArray[np.float64]:
    """Mean saliency of each filter over the inputs that the layer uses: (filters,) float64."""
    used = (saliency != 0).any(axis=0)
    mean: NDArray[np.float64] = saliency[:, used].mean(axis=1) if used.any() else np.zeros(len(saliency))
    return mean


def _ranks(saliency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each filter within its layer, scaled to 0 to 1: (filters,) float64."""
    ranks = np.empty(len(saliency))
    ranks[np.argsort(saliency, kind="stable")] = (np.arange(len(saliency)) + 0.5) / len(saliency)
    return ranks


def _last_removed(saliency: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Mark the `count` most salient filters; ties go to the later, as in the order of removal: (filters,) bool."""
    marked = np.zeros(len(saliency), bool)
    marked[np.argsort(saliency, kind="stable")[len(saliency) - count :]] = True
    return marked


def _kept_weights(layers: Sequence[FilterCandidates], filters: Sequence[NDArray[np.bool_]]) -> list[Mask]:
    """The weights that stay, (filters, inputs) bool per layer, if only `filters`, (filters,) bool per layer, stay.

    Layers come in execution order, so that a filter without inputs removes its channel, too.
    """
    kept: list[Mask] = []
    alive: list[NDArray[np.bool_]] = []
    for layer, own in zip(layers, filters, strict=True):
        rows, inputs = layer.saliency.shape
        mask = np.repeat(own[:, None], inputs, axis=1)
        if layer.channels.source is not None:
            channels = alive[layer.channels.source].reshape(layer.groups, -1)
            columns = np.repeat(channels, inputs // channels.shape[1], axis=1)
            mask = mask & np.repeat(columns, rows // layer.groups, axis=0)
        kept.append(mask)
        alive.append(np.asarray(mask.any(axis=1)))
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
