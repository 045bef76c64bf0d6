"""Data movement and shapes: Reshape, Transpose, Concat, Slice, Pad, Gather, Shape and similar."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tightc.bridge.operator import (
    Operator,
    choice,
    index_select,
    integers,
    on_one_device,
    scalar,
)
from tightc.bridge.window import padded
from tightc.model.onnx_proto.graph import Node


def identity(_node: Node) -> Operator:
    """x itself."""
    return lambda x: x


def flatten(node: Node) -> Operator:
    """x as a matrix: the axes before `axis` become rows, the others columns."""
    axis = int(node.attributes.get("axis", 1))

    def run(x: Tensor) -> Tensor:
        split = axis + x.dim() if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:split]), math.prod(x.shape[split:]))

    return run


def reshape(node: Node) -> Operator:
    """x in another shape; 0 keeps the input's size unless allowzero is set, -1 is inferred."""
    zero_is_zero = bool(node.attributes.get("allowzero", 0))

    def run(x: Tensor, shape: Tensor) -> Tensor:
        sizes = integers(shape)
        if not zero_is_zero:
            sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
        return x.reshape(sizes)

    return run


def transpose(node: Node) -> Operator:
    """x with its axes in the order `perm`, reversed by default."""
    order = node.attributes.get("perm")
    return lambda x: x.permute(order if order else list(reversed(range(x.dim()))))


def concat(node: Node) -> Operator:
    """The inputs concatenated along `axis`."""
    axis = int(node.attributes["axis"])
    return lambda *parts: torch.cat(on_one_device(*parts), axis)


def squeeze(node: Node) -> Operator:
    """x without the given axes, or without all axes of size 1."""
    attribute = node.attributes.get("axes")

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = attribute if axes is None else integers(axes)
        return torch.squeeze(x) if named is None else torch.squeeze(x, tuple(named))

    return run


def unsqueeze(node: Node) -> Operator:
    """x with axes of size 1 at the given places, which count in the output."""
    attribute = node.attributes.get("axes")

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = list(attribute or ()) if axes is None else integers(axes)
        rank = x.dim() + len(named)
        for axis in sorted(axis % rank for axis in named):
            x = x.unsqueeze(axis)
        return x

    return run


def shape(node: Node) -> Operator:
    """The sizes of axes `start` to `end`, int64, on the CPU to avoid transfers."""
    start = int(node.attributes.get("start", 0))
    end = node.attributes.get("end")
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64)


def gather(node: Node) -> Operator:
    """The slices of x along `axis` at `index`; the shape of `index` replaces that axis."""
    axis = int(node.attributes.get("axis", 0))

    def run(x: Tensor, index: Tensor) -> Tensor:
        place = axis % x.dim()
        flat = index.reshape(-1).long()
        flat = torch.where(flat < 0, flat + x.shape[place], flat)
        return index_select(x, place, flat).reshape([*x.shape[:place], *index.shape, *x.shape[place + 1 :]])

    return run


def slices(_node: Node) -> Operator:
    """x from start to end by steps, along the given axes or the first ones."""

    def run(
        x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        begin, end = integers(starts), integers(ends)
        places = list(range(len(begin))) if axes is None else [axis % x.dim() for axis in integers(axes)]
        strides = [1] * len(begin) if steps is None else integers(steps)
        cut: list[slice] = [slice(None)] * x.dim()
        for place, first, last, stride in zip(places, begin, end, strides, strict=True):
            if stride > 0:
                cut[place] = slice(first, last, stride)
            else:  # torch has no negative steps
                chosen = range(*slice(first, last, stride).indices(x.shape[place]))
                x = index_select(x, place, torch.tensor(chosen, dtype=torch.int64))
        return x[tuple(cut)]

    return run


def pad(node: Node) -> Operator:
    """x padded before and after its axes, or cropped where a pad is negative."""
    mode = choice(node, "mode", "constant", ("constant", "reflect", "edge", "wrap"))

    def run(x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
        named = list(range(x.dim())) if axes is None else [axis % x.dim() for axis in integers(axes)]
        amounts = integers(pads)
        begin, end = [0] * x.dim(), [0] * x.dim()
        for place, axis in enumerate(named):
            begin[axis], end[axis] = amounts[place], amounts[place + len(named)]
        if mode == "constant":
            return padded(x, begin, end, 0.0 if value is None else scalar(value))
        for axis in named:
            if begin[axis] or end[axis]:
                x = index_select(x, axis, _border(mode, x.shape[axis], begin[axis], end[axis]))
        return x

    return run


def _border(mode: str, size: int, begin: int, end: int) -> Tensor:
    """The source index, below `size`, of each place of the padded axis: (size + begin + end,) int64."""
    index = torch.arange(-begin, size + end)
    if mode == "edge":
        return index.clamp(0, size - 1)
    if mode == "wrap":
        return index % size
    period = max(2 * (size - 1), 1)
    index = index % period
    return torch.minimum(index, period - index) if size > 1 else index
