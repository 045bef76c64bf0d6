"""Simulate on a network with layers whose sizes onnxruntime rounds in another way than ONNX does."""

from __future__ import annotations

import pytest

from helpers import sized
from helpers.loading import loaded
from helpers.verifying import permuted, verified
from tightc.config.input_sizes import InputSizeOptions
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

VECTORS = {"first": 10 * 10, "second": 5 * 5, "third": 2 * 2}


@pytest.mark.parametrize("batch", [None, 1, 3])
def test_as_many_vectors_as_onnxruntime_has_pixels(batch: int | None) -> None:
    options = SimulateOptions(array=ArrayShape(8, 8), batch=batch)
    rows = simulate(loaded(sized.scaled()), options).layers
    assert {row["name"]: row["vectors"] for row in rows} == {
        name: pixels * (batch or 1) for name, pixels in VECTORS.items()
    }


def test_feature_maps_are_as_large_as_those_of_onnxruntime() -> None:
    model = loaded(sized.scaled())
    elements = count_macs(model, read_network(model), InputSizeOptions()).elements
    assert elements == {"a": (300, 600), "c": (6 * 49, 8 * 25), "e": (8 * 4, 4 * 4)}


def test_the_engine_agrees_with_onnxruntime() -> None:
    verified(loaded(sized.scaled()), 3, array=ArrayShape(8, 8))
    verified(permuted(loaded(sized.scaled())), 3)
