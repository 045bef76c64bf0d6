"""Whole filters, and with a filter the inputs that read its channel: kernels that shrink matrices from both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tightc.selection.aligned import ROUNDING
from tightc.selection.top_k import Kept, Saliency


@dataclass(frozen=True)
class Channels:
    """What a layer's filters and inputs are to the layers around it.

    `source` is the place, among the layers chosen from, of the one whose filters are this layer's input channels; None
    where inputs come from elsewhere or from several. A channel has equally many inputs, one behind the other.
    `removable` says whether a filter may go at all: not one of the network's own outputs, and not one that another
    layer's filter takes along, as in a depthwise layer.
    """

    source: int | None = None
    removable: bool = True


UNKNOWN = Channels()


class Part(Protocol):
    """One layer of those chosen from."""

    @property
    def saliency(self) -> Saliency:
        """What its weights are worth: (filters, inputs) float64, blocks of groups one below the other."""

    @property
    def groups(self) -> int:
        """How many blocks."""

    @property
    def channels(self) -> Channels:
        """What leads to the layers around it."""


def keep_filters(parts: Sequence[Part], share: float, floor: float, *, by_layer: bool) -> list[Kept]:
    """For each layer which weights stay, (filters, inputs) bool: those of as many filters as fit into `share` of all.

    Filters go in one order, the least first, and with each the inputs of the layers that read its channel: their
    weights count as gone, too. A filter is worth the mean of its weights' saliency, over those inputs that its layer
    uses at all, so that inputs that went earlier do not make it worth less. `by_layer` makes the order one of ranks
    within layers, so that all get thinner alike. Of each layer the best filters stay, one at least, and `floor` x
    `share` of all; where these weigh more than `share`, they alone are kept.
    After H. Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3, by squares over the network.
    """
    worths = [_worths(part.saliency) for part in parts]
    scores = [_ranks(worth) if by_layer else worth for worth in worths]
    spared = [
        _best(worth, max(1, round(floor * share * len(worth))) if part.channels.removable else len(worth))
        for worth, part in zip(worths, parts, strict=True)
    ]
    flat = np.where(np.concatenate(spared), np.inf, np.concatenate(scores))
    order = np.argsort(flat, kind="stable")[: int(np.count_nonzero(np.isfinite(flat)))]
    ends = np.cumsum([len(worth) for worth in worths])[:-1]
    budget = share * sum(part.saliency.size for part in parts) * (1 + ROUNDING)

    def without(count: int) -> list[Kept]:
        kept = np.ones(len(flat), bool)
        kept[order[:count]] = False
        return _left(parts, np.split(kept, ends))

    fewest = _first(len(order), lambda count: sum(int(kept.sum()) for kept in without(count)) <= budget)
    return without(fewest)


def _worths(saliency: Saliency) -> NDArray[np.float64]:
    """The mean of each filter's saliency over the inputs that its layer uses: (filters,) float64."""
    used = (saliency != 0).any(axis=0)
    mean: NDArray[np.float64] = saliency[:, used].mean(axis=1) if used.any() else np.zeros(len(saliency))
    return mean


def _ranks(worths: NDArray[np.float64]) -> NDArray[np.float64]:
    """The place of each in its layer's order, from 0 to 1: (filters,) float64."""
    ranks = np.empty(len(worths))
    ranks[np.argsort(worths, kind="stable")] = (np.arange(len(worths)) + 0.5) / len(worths)
    return ranks


def _best(worths: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Marks the `count` worth most, of equal ones the later, as in the order in which they go: (filters,) bool."""
    marked = np.zeros(len(worths), bool)
    marked[np.argsort(worths, kind="stable")[len(worths) - count :]] = True
    return marked


def _left(parts: Sequence[Part], filters: Sequence[NDArray[np.bool_]]) -> list[Kept]:
    """The weights left of each layer, (filters, inputs) bool, once only `filters`, (filters,) bool each, stay.

    Layers come in the order of execution, so that a filter all of whose inputs are gone takes its channel along.
    """
    kept: list[Kept] = []
    alive: list[NDArray[np.bool_]] = []
    for part, own in zip(parts, filters, strict=True):
        rows, inputs = part.saliency.shape
        left = np.repeat(own[:, None], inputs, axis=1)
        if part.channels.source is not None:
            channels = alive[part.channels.source].reshape(part.groups, -1)
            columns = np.repeat(channels, inputs // channels.shape[1], axis=1)
            left = left & np.repeat(columns, rows // part.groups, axis=0)
        kept.append(left)
        alive.append(np.asarray(left.any(axis=1)))
    return kept


def _first(count: int, holds: Callable[[int], bool]) -> int:
    """The smallest number up to `count` for which `holds` says yes, which it keeps saying; `count` where none does."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
