"""Dead filters against plain loops and by hand, and what inspect says of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from helpers import models
from helpers.loading import loaded
from tightc.inspection.dead_filters import dead_filters
from tightc.inspection.inspect import inspect
from tightc.inspection.options import InspectOptions
from tightc.report import Report

TWO_LAYERS = "net (float[1, 2, 4, 4] x) => (float[1, 3, 4, 4] y) { [a] h = Conv(x, v) [b] y = Conv(h, w) }"


def report_of(text: str, **weights: np.ndarray) -> Report:
    return inspect(loaded(models.build(text, **weights)), InspectOptions())


def column(shape: tuple[int, int], *values: float) -> np.ndarray:
    """A weight with one value for each filter, all of its inputs alike."""
    return np.repeat(np.float32(values), shape[1]).reshape(*shape, 1, 1)


WEIGHTS = {"v": column((4, 2), 1, 1e-9, 0, -2e-8), "w": column((3, 4), 1e-6, -1e-15, 0)}


def by_hand(rows: list[list[float]]) -> int:
    """The same by loops over Python's floats."""
    largest = max((abs(value) for row in rows for value in row), default=0.0)
    alive = [any(abs(value) > 1e-8 * largest for value in row) for row in rows]
    return alive.count(False)


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.sampled_from([0.0, 1.0, -3.0, 1e-9, -1e-9, 2e-8, 1e-30, 1e30]),
    )
)
def test_against_plain_loops(values: np.ndarray) -> None:
    assert dead_filters(values) == by_hand(values.tolist())


@pytest.mark.parametrize(
    ("rows", "dead"),
    [
        ([[1, 0], [1e-8, -1e-8], [1.01e-8, 0]], 1),  # at the threshold dead, above it not
        ([[0, 0], [0, 0]], 2),
        ([[-5, 0], [0, 4e-8]], 1),  # of the largest magnitude, whatever its sign
        ([[1e-30], [1e-31]], 0),  # of the layer's own scale
        (np.zeros((3, 0)), 3),
        (np.int8([[-128, 0], [0, 1], [0, 0]]), 1),
    ],
)
def test_by_hand(rows: object, dead: int) -> None:
    assert dead_filters(np.asarray(rows)) == dead


def test_inspect_counts_them_by_layer_and_says_the_threshold() -> None:
    """Of `a` the filter of 1e-9 is dead and that of -2e-8 is not; the empty one of each layer counts too."""
    report = report_of(TWO_LAYERS, **WEIGHTS)
    assert [(row["dead_filters"], row["empty_filters"]) for row in report.layers] == [(2, 1), (2, 1)]
    assert report.totals["dead_filters"] == 4
    assert report.notes == ("4 of 7 filters are dead: no weight above 1e-08 of the layer's largest",)


def test_empty_filters_alone_make_no_note() -> None:
    report = report_of(TWO_LAYERS, v=column((4, 2), 1, 1, 0, 1), w=column((3, 4), 1, 1, 1))
    assert (report.totals["dead_filters"], report.notes) == (1, ())


def test_groups_count_each_filter() -> None:
    text = "net (float[1, 2, 4, 4] x) => (float[1, 4, 4, 4] y) { [c] y = Conv<group = 2>(x, w) }"
    report = report_of(text, w=column((4, 1), 1, 1e-10, 1e-10, 2))
    assert report.layers[0]["dead_filters"] == 2
    assert report.notes == ("2 of 4 filters are dead: no weight above 1e-08 of the layer's largest",)


def test_a_shared_weight_counts_once_in_all() -> None:
    text = "net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) { [a] h = Conv(x, w) [b] y = Conv(h, w) }"
    report = report_of(text, w=column((2, 2), 1, 1e-10))
    assert [row["dead_filters"] for row in report.layers] == [1, 1]
    assert report.notes == ("1 of 2 filters are dead: no weight above 1e-08 of the layer's largest",)


def test_integers_count_with_their_scales() -> None:
    """Each filter fills int8 on a scale of its own, and one of these is tiny."""
    text = (
        "net (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) "
        "{ f = DequantizeLinear<axis = 0>(q, s) [c] y = Conv(x, f) }"
    )
    weights = {"q": np.full((2, 2, 1, 1), 127, np.int8), "s": np.float32([1, 1e-10])}
    assert report_of(text, **weights).layers[0]["dead_filters"] == 1
