"""Whole filters: structured without the weights on which no output depends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.packings import PackingCase, arrays, matrices
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix

CHANNELS, DEAD = 12, (1, 4, 5, 7, 8, 11)


def depthwise(bias: float) -> Model:
    """A 1x1 layer with six empty filters of that bias, a 3x3 depthwise layer, and a 1x1 layer."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(CHANNELS, 3, 1, 1)).astype(np.float32)
    u[list(DEAD)] = 0
    proto = models.build(
        f"""net (float[1, 3, 6, 6] x) => (float[1, 4, 6, 6] y) {{
            a = Conv(x, u, p)
            ar = Relu(a)
            b = Conv<group = {CHANNELS}, pads = [1, 1, 1, 1]>(ar, v, q)
            br = Relu(b)
            y = Conv(br, w)
        }}""",
        u=u,
        p=np.full(CHANNELS, bias, np.float32),
        v=rng.normal(size=(CHANNELS, 1, 3, 3)).astype(np.float32),
        q=np.full(CHANNELS, -0.01, np.float32),
        w=rng.normal(size=(4, CHANNELS, 1, 1)).astype(np.float32),
    )
    return loaded(proto)


def options(method: str) -> PermuteOptions:
    return PermuteOptions(array=ArrayShape(9, 4), method=method, fan_in=8, jobs=1)


def test_the_depthwise_filters_of_dead_channels_take_no_pass() -> None:
    """On 9x4 each depthwise filter has a pass of its own: twelve, of which six stay."""
    model = depthwise(-1.0)
    passes = {}
    for method in ("structured", "whole-filters"):
        permuted, report = permute(model, options(method))
        passes[method] = [row["passes"] for row in report.layers]
        assert report.totals["dropped_weights"] == 0
    assert passes == {"structured": [2, 12, 2], "whole-filters": [2, 6, 1]}
    idle = len(DEAD) * 9 + len(DEAD) * 4
    assert report.notes == (f"{idle} weights on which no output depends were set to zero",)
    before, after = (read_network(one).weights for one in (model, permuted))
    assert sum(np.count_nonzero(before[name]) - np.count_nonzero(after[name]) for name in before) == idle
    assert not after["v"][list(DEAD)].any() and not after["w"][:, list(DEAD)].any()


def test_no_output_changes() -> None:
    permuted, _ = permute(depthwise(-1.0), options("whole-filters"))
    found = tightc.verify(depthwise(-1.0), permuted).totals
    assert (found["outputs_differing"], found["output_error"]) == (0, 0.0)
    assert tightc.simulate(permuted, verify=True).totals["passes"] == 9


def test_a_channel_that_is_not_zero_keeps_all() -> None:
    model = depthwise(0.5)
    permuted, report = permute(model, options("whole-filters"))
    before, after = (read_network(one).weights for one in (model, permuted))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert report.notes == ()


def test_other_methods_pack_every_weight() -> None:
    _, report = permute(depthwise(-1.0), options("first-fit"))
    nonzeros = sum(np.count_nonzero(one) for one in read_network(depthwise(-1.0)).weights.values())
    assert report.totals["nonzeros"] == nonzeros and report.notes == ()


@settings(max_examples=40)
@given(matrices(), arrays())
def test_a_layer_alone_is_packed_as_by_structured(matrix: LayerMatrix, array: ArrayShape) -> None:
    case = PackingCase(array)
    own, structured = (case.pack(matrix, method) for method in ("whole-filters", "structured"))
    assert own.method == "whole-filters" and len(own.tiles) == len(structured.tiles)
    for mine, other in zip(own.tiles, structured.tiles, strict=True):
        assert np.array_equal(mine.select, other.select) and np.array_equal(mine.inputs, other.inputs)


@pytest.mark.parametrize("method", ["whole-filters", "structured"])
def test_compare_has_a_row_of_it(method: str) -> None:
    (row,) = tightc.compare(depthwise(-1.0), method=method, array="9x4").layers
    assert row["dropped_weights"] == 0
    assert row["passes"] == {"whole-filters": 9, "structured": 16}[method]
