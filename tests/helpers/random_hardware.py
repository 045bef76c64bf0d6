"""Random hardware files, flags, energy tables and networks for Hypothesis."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from helpers import models
from helpers.banks import banks_and_reaches
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.accelerator.hardware import Hardware

FAN_INS = (1, 2, 3, 4, 8)
SWITCHES = ("prefetch_weights", "replicate_tiles", "accumulator_bypass")
BANDWIDTHS = ("0.5 words/cycle", "3 words/cycle", "64 words/cycle")


@st.composite
def hardware_files(draw: st.DrawFn, fan_in: int = 4, largest: int = 6) -> Hardware:
    """Hardware with lanes of `fan_in` inputs; its buffers hold one tile at least, and may hold hardly more."""
    rows, columns = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    operands = draw(st.sampled_from(["int8", "fp32"]))
    size = {"int8": 1, "fp32": 4}[operands]
    least = {
        "activation_buffer": rows * fan_in * size,
        "weight_buffer": rows * columns * size,
        "partial_sum_buffer": 4 * columns,
    }
    buffers = {name: draw(_buffers(needed)) for name, needed in least.items()}
    if draw(st.booleans()):
        banks, reach = draw(banks_and_reaches(rows))
        buffers["activation_buffer"] |= {"banks": banks, "lane_reach": reach}
    prefetches = draw(st.booleans())
    return Hardware(
        name="random",
        array=f"{rows}x{columns}",
        arrays=draw(st.integers(1, 3)),
        fan_in=fan_in,
        operands=operands,
        clock="100 MHz",
        prefetch_weights=prefetches,
        overlap_drain=prefetches and draw(st.booleans()),
        replicate_tiles=draw(st.booleans()),
        accumulator_bypass=draw(st.booleans()),
        columns_per_lane_register=draw(st.integers(1, 4)),
        dram={
            "bandwidth": draw(st.sampled_from(["50 MB/s", "400 MB/s", "100 GB/s"])),
            "keep_feature_maps": draw(st.booleans()),
        },
        **buffers,
    )


@st.composite
def _buffers(draw: st.DrawFn, needed: int) -> dict[str, Any]:
    doubled = draw(st.booleans())
    size = needed * (1 + doubled) * draw(st.sampled_from([1, 2, 7, 100, 10_000]))
    return {"size": f"{size} B", "bandwidth": draw(st.sampled_from(BANDWIDTHS)), "double_buffered": doubled}


@st.composite
def flags(draw: st.DrawFn) -> dict[str, Any]:
    """Some of the flags that replace values of a hardware file, and a batch."""
    given = {name: draw(st.booleans()) for name in SWITCHES if draw(st.booleans())}
    if draw(st.booleans()):
        given["columns_per_lane_register"] = draw(st.integers(1, 5))
    if draw(st.booleans()):
        given["arrays"] = draw(st.integers(1, 4))
    if draw(st.booleans()):
        given["batch"] = draw(st.integers(1, 3))
    if given.get("prefetch_weights") is False:
        given["overlap_drain"] = False
    return given


@st.composite
def energy_tables(draw: st.DrawFn) -> EnergyTable:
    """The shipped table with other energies; some events cost nothing."""
    table = default_table().model_dump(mode="json")
    for entry in table.values():
        if isinstance(entry, dict):
            entry.pop("up_to", None)
            unit = "pJ/byte" if "/" in entry["energy"] else "pJ"
            entry["energy"] = f"{draw(st.sampled_from([0, 0.03, 0.2, 1.5, 40]))} {unit}"
    return EnergyTable(**{**table, "name": "random"})


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    """Two convolutions, the first ordinary, grouped or depthwise, then a product; zeros scattered or in blocks."""
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    channels = groups * draw(st.integers(1, 2))
    filters = groups * draw(st.integers(1, 4))
    kernel, side, stride = draw(st.sampled_from([1, 3])), draw(st.integers(3, 6)), draw(st.integers(1, 2))
    behind, outputs = draw(st.integers(1, 7)), draw(st.integers(1, 6))
    seed, density = draw(st.integers(0, 999)), draw(st.sampled_from([0.05, 0.2, 0.5, 1.0]))
    weights = {
        "u": models.sparse(filters, channels // groups, kernel, kernel, density=density, seed=seed),
        "v": models.sparse(behind, filters, 1, 1, density=density, seed=seed + 1),
        "w": models.sparse(behind, outputs, density=density, seed=seed + 2),
    }
    if draw(st.booleans()):
        for weight in weights.values():
            weight[weight.shape[0] // 2 :] *= np.float32(0)
        weights = {name: weight + np.float32(0) for name, weight in weights.items()}
    return models.build(
        f"""net (float[B, {channels}, {side}, {side}] x) => (float[B, {outputs}] y) {{
            [first] a = Conv<group = {groups}, strides = [{stride}, {stride}]>(x, u)
            b = Relu(a)
            [second] c = Conv(b, v)
            d = ReduceMean<keepdims = 0>(c, axes)
            [last] y = MatMul(d, w)
        }}""",
        axes=np.array([2, 3], np.int64),
        **weights,
    )
