"""How operators that move values without computing pass channels on: a table of rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from tightc.model.onnx_proto.graph import Node
from tightc.selection.channels import ALWAYS, NEVER
from tightc.selection.network.channel_map import LARGEST, ChannelMap, concatenated, reshaped, with_rank
from tightc.selection.network.channel_trace import ChannelTrace

Rule = Callable[[ChannelTrace, Node], list[ChannelMap] | None]


def _reshape(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    """Reshape, Flatten, Squeeze, Unsqueeze: by the shapes before and after."""
    shapes = trace.values.shapes
    before, after = shapes.get(node.inputs[0]), shapes.get(node.outputs[0])
    channels = trace.maps.get(node.inputs[0])
    if channels is None or before is None or after is None:
        return None
    found = reshaped(channels, before, after)
    return None if found is None else [found]


def _transpose(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels = trace.maps[node.inputs[0]]
    return [channels.transpose(node.attributes.get("perm"))]


def _concat(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    rank = next(trace.maps[name].ndim for name in node.inputs if name in trace.maps)
    axis = node.attributes["axis"] % rank
    maps, sides = [], []
    for name in node.inputs:
        constant, shape = trace.values.constants.get(name), trace.values.shapes.get(name)
        channels = trace.maps.get(name)
        if channels is None:
            zero = constant is not None and not constant.any()
            channels = np.full((1,) * rank, ALWAYS if zero else NEVER)
        shape = constant.shape if constant is not None else shape
        side = shape[axis] if shape is not None else channels.shape[axis]
        if shape is None and (side == 1 or channels.ndim != rank):
            return None
        maps.append(channels)
        sides.append(side)
    found = concatenated(maps, sides, axis)
    return None if found is None else [found]


def _split(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels = trace.maps[node.inputs[0]]
    axis = node.attributes.get("axis", 0) % channels.ndim
    side = channels.shape[axis]
    if side == 1:
        return [channels] * len(node.outputs)
    if len(node.inputs) > 1 and node.inputs[1]:
        given = trace.values.constant(node, 1)
        if given is None:
            return None
        parts = [int(part) for part in given]
    else:
        each = -(-side // len(node.outputs))
        parts = [min(each, side - each * place) for place in range(len(node.outputs))]
    if sum(parts) != side:
        return None
    return np.split(channels, np.cumsum(parts)[:-1], axis=axis)


def _slice(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels = trace.maps[node.inputs[0]]
    given = [trace.values.constant(node, slot) for slot in (1, 2, 3, 4)]
    if any(
        value is None and slot < len(node.inputs) and node.inputs[slot] for slot, value in enumerate(given, 1)
    ):
        return None
    starts, ends, axes, steps = given
    if starts is None or ends is None:
        return None
    axes = np.arange(len(starts)) if axes is None else axes
    steps = np.ones(len(starts), np.int64) if steps is None else steps
    index = [slice(None)] * channels.ndim
    for start, end, axis, step in zip(*(map(int, one) for one in (starts, ends, axes, steps)), strict=True):
        side = channels.shape[axis % channels.ndim]
        if side > 1:
            index[axis % channels.ndim] = _slice_of(start, end, step, side)
    found = channels[tuple(index)]
    return [found] if found.size else None


def _slice_of(start: int, end: int, step: int, side: int) -> slice:
    """The slice of an axis as ONNX counts it: ends beyond the axis are clamped, also when going backward."""
    if step > 0:
        return slice(*slice(start, end, step).indices(side))
    start = min(start + side if start < 0 else start, side - 1)
    end = max(end + side if end < 0 else end, -1)
    return slice(start, None if end == -1 else end, step)


def _gather(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    if node.inputs[0] not in trace.maps:
        return None
    channels = trace.maps[node.inputs[0]]
    axis = node.attributes.get("axis", 0) % channels.ndim
    indices = trace.values.constant(node, 1)
    side = channels.shape[axis]
    if indices is None:
        shape = trace.values.shapes.get(node.inputs[1])
        if shape is None or side > 1:
            return None
        indices = np.zeros((1,) * len(shape), np.int64)
    elif side == 1:
        indices = np.zeros((1,) * indices.ndim, np.int64)
    return [np.take(channels, indices.astype(np.int64) % side, axis=axis)]


def _pad(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels, pads = trace.maps[node.inputs[0]], trace.values.constant(node, 1)
    axes = trace.values.constant(node, 3)
    if pads is None or (axes is None and any(node.inputs[3:4])):
        return None
    places = [int(axis) % channels.ndim for axis in (range(channels.ndim) if axes is None else axes)]
    half = len(pads) // 2
    widths = [(0, 0)] * channels.ndim
    for place, before, after in zip(places, pads[:half], pads[half:], strict=True):
        widths[place] = (int(before), int(after))
    mode = node.attributes.get("mode", "constant")
    value = trace.values.constant(node, 2)
    if mode == "constant" and (np.any(value) if value is not None else any(node.inputs[2:3])):
        return None
    shape = trace.values.shapes.get(node.inputs[0], (0,) * channels.ndim)  # to tell one pixel from equal ones
    varying = [
        width if side > 1 or real == 1 else (0, 0)
        for width, side, real in zip(widths, channels.shape, shape, strict=True)
    ]
    return [_padded(channels, varying, mode)]


def _padded(channels: ChannelMap, widths: Sequence[tuple[int, int]], mode: str) -> ChannelMap:
    """The map with `widths` before and after along each axis; negative ones cut off."""
    cut = tuple(
        slice(max(0, -before), side - max(0, -after))
        for (before, after), side in zip(widths, channels.shape, strict=True)
    )
    grown = [(max(0, before), max(0, after)) for before, after in widths]
    if mode == "constant":
        return np.pad(channels[cut], grown, constant_values=ALWAYS)
    found: ChannelMap = np.pad(channels[cut], grown, mode=mode)  # type: ignore[call-overload]
    return found


def _expand(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    shape = trace.values.shapes.get(node.outputs[0])
    channels = trace.maps.get(node.inputs[0])
    return None if shape is None or channels is None else [with_rank(channels, len(shape))]


def _tile(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels, repeats = trace.maps.get(node.inputs[0]), trace.values.constant(node, 1)
    if channels is None or repeats is None:
        return None
    counts = [int(count) if side > 1 else 1 for count, side in zip(repeats, channels.shape, strict=True)]
    return None if prod(counts) * channels.size > LARGEST else [np.tile(channels, counts)]


def _resize(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    """Resize along axes that the channels do not lie along; a border of another value is not followed."""
    channels = trace.maps.get(node.inputs[0])
    before, after = (trace.values.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
    if channels is None or before is None or after is None or node.attributes.get("extrapolation_value", 0.0):
        return None
    resized = [one != other for one, other in zip(before, after, strict=True)]
    varies = [side > 1 for side in channels.shape]
    return None if any(map(all, zip(resized, varies, strict=True))) else [channels]


def _depth_to_space(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    """An output channel is made of blocksize x blocksize others, so it is zero if all of them are."""
    channels, size = trace.maps[node.inputs[0]], node.attributes["blocksize"]
    if channels.shape != (1, channels.shape[1], 1, 1):
        return None
    if channels.size == 1:
        return [channels]
    columns_first = node.attributes.get("mode", "DCR") == "DCR"
    blocks = channels.reshape((size * size, -1) if columns_first else (-1, size * size))
    summed = trace.sum_along(blocks, [0 if columns_first else 1])
    return [summed.reshape(1, -1, 1, 1)]


def _space_to_depth(trace: ChannelTrace, node: Node) -> list[ChannelMap] | None:
    channels, size = trace.maps[node.inputs[0]], node.attributes["blocksize"]
    if channels.shape != (1, channels.shape[1], 1, 1):
        return None
    return [channels if channels.size == 1 else np.tile(channels, (1, size * size, 1, 1))]


MOVES: Mapping[str, Rule] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
}
