"""Operators that move values and compute none."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from helpers.graphs.network import Network, Value


def concat(net: Network, x: Value) -> list[str]:
    axis = net.choose([1, *(axis for axis in range(x.rank) if axis != 1)]) if x.rank > 1 else 0
    others = [
        value.name
        for value in net.values[::-1]
        if value.array.dtype == x.array.dtype
        and value.rank == x.rank
        and all(
            a == b for place, (a, b) in enumerate(zip(value.shape, x.shape, strict=True)) if place != axis
        )
    ]
    inputs = [x.name, net.choose(others or [x.name])]
    return [net.add("Concat", inputs, axis=axis - (x.rank if net.flag() else 0))]


def split(net: Network, x: Value) -> list[str]:
    axes = [axis for axis in (1, *range(x.rank)) if axis < x.rank and x.shape[axis] > 1]
    if not axes:
        return [net.add("Identity", [x.name])]
    axis = net.choose(axes)
    size = x.shape[axis]
    first = net.number(1, size - 1)
    sizes = [size // 2] * 2 if size % 2 == 0 and net.flag() else [first, size - first]
    if net.opset < 13:
        return net.add_all("Split", [x.name], 2, axis=axis, split=sizes)
    if net.opset >= 18 and sizes[0] == sizes[1] and net.flag():
        return net.add_all("Split", [x.name], 2, axis=axis, num_outputs=2)
    return net.add_all("Split", [x.name, net.integers(*sizes)], 2, axis=axis)


def slices(net: Network, x: Value) -> list[str]:
    axis = net.number(0, x.rank - 1)
    size = x.shape[axis]
    start = net.number(0, size - 1)
    end = net.choose([2**31 - 1, net.number(start + 1, size)])
    if net.opset < 10:
        return [net.add("Slice", [x.name], axes=[axis], starts=[start], ends=[end])]
    step = net.choose([1, 2, -1])
    if step < 0:
        start, end = size - 1, -(2**31)
    steps = [net.integers(step)] if step != 1 or net.flag() else []
    inputs = [x.name, net.integers(start), net.integers(end), net.integers(axis), *steps]
    return [net.add("Slice", inputs)]


def gather(net: Network, x: Value) -> list[str]:
    axis = net.number(0, x.rank - 1)
    last = x.shape[axis] - 1
    if x.rank > 1 and net.choose([False, False, True]):
        return [net.add("Gather", [x.name, net.tensor(np.array(last, np.int64), "n")], axis=axis)]
    places = net.draw(st.lists(st.integers(0, last), min_size=1, max_size=4))
    return [net.add("Gather", [x.name, net.integers(*places)], axis=axis)]


def transpose(net: Network, x: Value) -> list[str]:
    return [net.add("Transpose", [x.name], perm=net.draw(st.permutations(range(x.rank))))]


def reshape(net: Network, x: Value) -> list[str]:
    """Joins two axes, or splits one."""
    sides = list(x.shape)
    axis = net.number(0, x.rank - 1)
    if x.rank > 2 and axis + 1 < x.rank and net.choose([True, False]):
        sides[axis : axis + 2] = [sides[axis] * sides[axis + 1]]
    elif x.rank < 5:
        factor = next((f for f in (2, 3) if sides[axis] % f == 0), 1)
        sides[axis : axis + 1] = [factor, sides[axis] // factor]
    for place in range(len(sides)):
        if place < x.rank and sides[place] == x.shape[place] and net.choose([True, False]):
            sides[place] = 0
    if net.flag():
        sides[net.number(0, len(sides) - 1)] = -1
    return [net.add("Reshape", [x.name, net.integers(*sides)])]


def flatten(net: Network, x: Value) -> list[str]:
    axis = net.choose([1, *range(2, x.rank + 1), 0])
    return [net.add("Flatten", [x.name], axis=axis)]


def unsqueeze(net: Network, x: Value) -> list[str]:
    axis = net.number(0, x.rank)
    if net.opset < 13:
        return [net.add("Unsqueeze", [x.name], axes=[axis])]
    return [net.add("Unsqueeze", [x.name, net.integers(axis)])]


def pad(net: Network, x: Value) -> list[str]:
    mode = net.choose(["constant", "edge", "reflect"])
    most = [min(2, size - 1) if mode == "reflect" else 2 for size in x.shape]
    pads = [
        net.number(0, room) if axis >= min(2, x.rank - 1) else 0 for axis, room in enumerate((*most, *most))
    ]
    pads[x.rank : x.rank + min(2, x.rank - 1)] = [0] * min(2, x.rank - 1)
    settings: dict[str, Any] = {"mode": mode} if mode != "constant" or net.flag() else {}
    if net.opset < 11:
        return [net.add("Pad", [x.name], pads=pads, **settings)]
    inputs = [x.name, net.integers(*pads)]
    if mode == "constant" and net.flag():
        inputs.append(net.tensor(np.array(net.choose([0.5, 0.0, -np.inf]), x.array.dtype), "value"))
    return [net.add("Pad", inputs, **settings)]


def resize(net: Network, x: Value) -> list[str]:
    """Larger or smaller pixels; Upsample before opset 10."""
    mode = net.choose(["nearest", "linear"]) if x.rank == 4 else "nearest"
    factors = [1.0, 1.0, *(net.choose([2.0, 1.0, 1.5, 0.6, 2.3]) for _ in x.shape[2:])]
    if net.opset < 10:
        factors = [max(1.0, factor) for factor in factors]
    scales = np.array(factors, np.float32)
    if net.opset < 9:
        return [net.add("Upsample", [x.name], mode=mode, scales=factors)]
    if net.opset < 11:
        op = "Upsample" if net.opset < 10 else "Resize"
        return [net.add(op, [x.name, net.tensor(scales, "s")], mode=mode)]
    transformations = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    settings: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": net.choose(transformations),
    }
    if mode == "nearest":
        settings["nearest_mode"] = net.choose(["floor", "round_prefer_floor", "ceil", "round_prefer_ceil"])
    unused = "" if net.opset >= 13 else net.tensor(np.zeros(0, np.float32), "none")
    if net.flag():
        sizes = [max(1, int(size * factor)) for size, factor in zip(x.shape, factors, strict=True)]
        no_scales = "" if net.opset >= 13 else net.tensor(np.zeros(0, np.float32), "none")
        return [net.add("Resize", [x.name, unused, no_scales, net.integers(*sizes)], **settings)]
    return [net.add("Resize", [x.name, unused, net.tensor(scales, "s")], **settings)]
