"""Layers matched by the names of their weights, of their nodes, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.loading import loaded
from helpers.models import build
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.matching import match_layers

Named = list[tuple[str, str]]


def chain(layers: Named, width: int = 4) -> str:
    lines = [
        f"[{layer}] v{index + 1} = MatMul(v{index}, {weight})" for index, (layer, weight) in enumerate(layers)
    ]
    return f"net (float[B, {width}] v0) => (float[B, {width}] v{len(layers)}) {{ {' '.join(lines)} }}"


def matched(a: Named, b: Named) -> list[tuple[int | None, int | None]]:
    """The places in `a` and `b` of each pair."""
    networks = []
    for layers in (a, b):
        weights = {weight: np.ones((4, 4), np.float32) for _, weight in layers}
        networks.append(read_network(loaded(build(chain(layers), **weights))))
    places = [{layer.output: index for index, layer in enumerate(own.layers)} for own in networks]
    return [
        (one and places[0][one.output], two and places[1][two.output]) if one and two
        else (places[0][one.output] if one else None, places[1][two.output] if two else None)
        for one, two in match_layers(*networks)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        ([("c1", "u"), ("c2", "v")], [("c1", "u"), ("c2", "v")], [(0, 0), (1, 1)]),
        ([("c1", "u"), ("c2", "v")], [("n0", "v"), ("n1", "u")], [(0, 1), (1, 0)]),
        ([("c1", "u"), ("c2", "v")], [("c1", "a"), ("c2", "b")], [(0, 0), (1, 1)]),
        ([("c1", "u"), ("c2", "v")], [("c2", "u"), ("c1", "v")], [(0, 0), (1, 1)]),
        ([("c1", "u"), ("c2", "v")], [("c1", "u")], [(0, 0), (1, None)]),
        ([("c2", "v")], [("c1", "u"), ("c2", "v")], [(0, 1), (None, 0)]),
        ([("c1", "u")], [("d1", "x")], [(0, None), (None, 0)]),
        ([("c1", "u"), ("c2", "u")], [("d1", "u"), ("d2", "u")], [(0, 0), (1, 1)]),
        ([("c1", "u"), ("c2", "u")], [("c2", "u")], [(0, None), (1, 0)]),
    ],
    ids=[
        "same",
        "reordered",
        "weights renamed",
        "nodes swapped",
        "removed",
        "added",
        "other",
        "shared",
        "one of two",
    ],
)
def test_pairs(a: Named, b: Named, pairs: list[tuple[int | None, int | None]]) -> None:
    assert matched(a, b) == pairs
