"""Random small layers and accelerators for Hypothesis, and their counterparts in the oracle."""

from __future__ import annotations

import math
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
from hypothesis import strategies as st

import oracle
from helpers.packings import matrices, packed_layer
from tightc.accelerator.accelerator import Accelerator, BufferPort
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.passes import Dataflow, Passes
from tightc.model.layer_view.layer import Layer
from tightc.permutation.pattern import Pattern
from tightc.permutation.problem import LossySettings
from tightc.simulation.workload import LayerWorkload
from tightc.tile.array import ArrayShape
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing

DATAFLOWS = ("ws", "os", "is")
WORDS = st.sampled_from([math.inf, 0.3, 0.5, 1, 1.5, 2, 3, 4.7, 7, 11, 64])


@st.composite
def accelerators(draw: st.DrawFn, largest: int = 5, arrays: int = 3) -> Accelerator:
    """Accelerators with buffers that stall and that do not; no DRAM."""
    side = st.integers(1, largest)
    return Accelerator(
        ArrayShape(draw(side), draw(side)),
        arrays=draw(st.integers(1, arrays)),
        prefetch=draw(st.booleans()),
        replicate_tiles=draw(st.booleans()),
        operand_bytes=draw(st.sampled_from([1, 4])),
        activations=BufferPort(words_per_cycle=draw(WORDS)),
        weights=BufferPort(words_per_cycle=draw(WORDS)),
        sums=BufferPort(words_per_cycle=draw(WORDS)),
    )


@st.composite
def accelerators_with_modes(draw: st.DrawFn, dataflow: Dataflow = "ws") -> Accelerator:
    """Accelerators with shared lane registers, overlapped draining and a bypass; os has nothing to overlap."""
    accelerator = draw(accelerators())
    overlaps = dataflow != "os" and draw(st.booleans())
    return replace(
        accelerator,
        prefetch=accelerator.prefetch or overlaps,
        columns_per_lane_register=draw(st.integers(1, 6)),
        overlap_drain=overlaps,
        accumulator_bypass=draw(st.booleans()),
    )


BUFFERS = st.builds(
    BufferPort,
    size=st.sampled_from([None, 30, 200, 800]),
    usable=st.sampled_from([8, 30, 100, 400, inf]),
    words_per_cycle=st.sampled_from([0.5, 1, 3, 8, inf]),
    double_buffered=st.booleans(),
)


@st.composite
def constrained_accelerators(draw: st.DrawFn, arrays: int = 4) -> Accelerator:
    """Accelerators on which some buffer or DRAM limits."""
    return replace(
        draw(accelerators(arrays=arrays)),
        activations=draw(BUFFERS),
        weights=draw(BUFFERS),
        sums=draw(BUFFERS),
        dram_bytes_per_cycle=draw(st.sampled_from([None, 0.5, 3, 100])),
        keeps_feature_maps=draw(st.booleans()),
    )


FEATURE_MAPS = st.builds(FeatureMaps, st.integers(1, 500), st.integers(1, 500), st.booleans(), st.booleans())


def machine(accelerator: Accelerator, dataflow: Dataflow, overlaps: bool = False) -> oracle.Machine:
    """The oracle's counterpart of `accelerator`; `overlaps`: as in GemmWorkload."""
    from_left, stays = accelerator.activations.words_per_cycle, accelerator.weights.words_per_cycle
    if dataflow == "is":
        from_left, stays = stays, from_left
    words = [
        None if math.isinf(rate) else rate for rate in (from_left, stays, accelerator.sums.words_per_cycle)
    ]
    return oracle.Machine(
        tuple(accelerator.array),
        *words,
        accelerator.arrays,
        accelerator.prefetch,
        accelerator.operand_bytes,
        accelerator.replicate_tiles,
        accelerator.columns_per_lane_register,
        accelerator.overlap_drain,
        accelerator.accumulator_bypass,
        overlaps,
    )


def layers(largest: int = 7) -> st.SearchStrategy[LayerMatrix]:
    """Random layers with int32 weights, so that any sum is exact."""
    return matrices(largest).map(lambda matrix: LayerMatrix(matrix.values.astype(np.int32), matrix.groups))


def gemm_of(
    matrix: LayerMatrix, vectors: int, positions: int = 1, feature_maps: FeatureMaps | None = None
) -> GemmWorkload:
    """The GEMM of the layer."""
    return GemmWorkload(
        matrix.filters_per_group,
        matrix.inputs,
        matrix.groups,
        vectors,
        positions,
        feature_maps or FeatureMaps(),
    )


def vectors_for(matrix: LayerMatrix, count: int, seed: int = 0) -> np.ndarray:
    """Activations (count, inputs of all groups), no two alike and none zero."""
    size = count * matrix.inputs * matrix.groups
    values = np.random.default_rng(seed).permutation(np.arange(1, size + 1)) * 7 - 3
    return values.astype(np.int32).reshape(count, -1)


def packed(matrix: LayerMatrix, method: str, array: ArrayShape, fan_in: int) -> Packing:
    """A packing of any method."""
    if method == "nm":
        fan_in = max(2, fan_in)
    lossy = LossySettings(alpha=fan_in, gamma=0.2, pattern=Pattern(max(1, fan_in // 2), max(2, fan_in)))
    return packed_layer(matrix, method, array, fan_in, lossy=lossy)


def kept(packing: Packing, matrix: LayerMatrix) -> np.ndarray:
    """The weights that have a slot, block diagonal (filters, inputs of all groups)."""
    whole = oracle.block_diagonal(matrix.values, matrix.groups)
    has_slot = np.zeros(whole.shape, bool)
    has_slot[packing.slots()] = True
    return np.where(has_slot, whole, 0)


def tiles_of(packing: Packing) -> list[dict[str, Any]]:
    """The tiles as plain lists with the bits of their index; those of a dense layer with their groups instead."""
    if packing.method == "dense":
        return oracle.with_groups(oracle.plain(packing), packing.filters // packing.groups, packing.inputs)
    inputs = packing.inputs * packing.groups
    return oracle.with_index(oracle.plain(packing), packing.fan_in, inputs, packing.filters)


def tile_passes(packing: Packing, gemm: GemmWorkload) -> Passes:
    """The passes that a layer with that packing runs."""
    layer = Layer("mm", "MatMul", "w", packing.filters, packing.inputs, packing.groups, True, 0, "x", "y")
    return LayerWorkload(layer, {}, gemm, np.zeros(0, np.int64), 0, packing).passes(
        "ws", Accelerator(packing.array)
    )


def levels_of(packing: Packing) -> int:
    """2:1 multiplexer levels that select one of fan-in inputs."""
    levels = 0
    while 2**levels < packing.fan_in:
        levels += 1
    return levels
