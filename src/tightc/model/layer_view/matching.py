"""Layers of two networks matched with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network

Pair = tuple[Layer | None, Layer | None]


def match_layers(a: Network, b: Network) -> list[Pair]:
    """Every layer of `a` with that of `b` for it, in the order of `a`; then those that only `b` has.

    They are matched by the name of the weight, first where the name of the layer is the same too: several layers may
    share a weight. The rest is matched by the name of the layer, as `tightc pack --strip` renames weights.
    """
    matched: dict[int, int] = {}
    for key in _keys():
        free: dict[Any, list[int]] = {}
        for index, layer in enumerate(b.layers):
            if index not in matched.values():
                free.setdefault(key(b, layer), []).append(index)
        for index, layer in enumerate(a.layers):
            if index not in matched and free.get(key(a, layer)):
                matched[index] = free[key(a, layer)].pop(0)
    pairs: list[Pair] = [
        (layer, b.layers[matched[index]] if index in matched else None)
        for index, layer in enumerate(a.layers)
    ]
    only_b = set(range(len(b.layers))) - set(matched.values())
    return pairs + [(None, b.layers[index]) for index in sorted(only_b)]


def _keys() -> Iterator[Callable[[Network, Layer], Any]]:
    """What two layers have in common, the surest first."""
    yield lambda network, layer: (layer.weight, layer.name)
    yield lambda network, layer: (layer.weight, network.shapes[layer.weight])
    yield lambda network, layer: layer.name
    yield lambda network, layer: layer.weight
