"""Parts and copies of tensors: Split, Expand, Tile, DepthToSpace, gathering and scattering by index, and similar."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tightc.bridge.operator import (
    Build,
    Operator,
    choice,
    integers,
    on_device_of,
    scalar,
)
from tightc.model.onnx_proto.graph import Node

_SCATTERS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def split(node: Node) -> Operator:
    """Parts of x along an axis, of the given sizes, else equal; the last one may be smaller."""
    axis = int(node.attributes.get("axis", 0))
    attribute = node.attributes.get("split")

    def run(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        parts = attribute if sizes is None else integers(sizes)
        return torch.split(x, parts or max(1, math.ceil(x.shape[axis] / len(node.outputs))), axis)

    return run


def expand(_node: Node) -> Operator:
    """x repeated along the axes in which the given shape is larger."""

    def run(x: Tensor, shape: Tensor) -> Tensor:
        sizes = torch.broadcast_shapes(x.shape, tuple(integers(shape)))  # type: ignore[no-untyped-call]
        return x.expand(sizes)

    return run


def tile(_node: Node) -> Operator:
    """x repeated a number of times along each axis."""
    return lambda x, repeats: x.repeat(integers(repeats))


def depth_to_space(node: Node) -> Operator:
    """Channels become blocks of pixels."""
    size = int(node.attributes["blocksize"])
    depth_first = choice(node, "mode", "DCR", ("DCR", "CRD")) == "DCR"

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        left = channels // size**2
        if depth_first:
            x = x.reshape(batch, size, size, left, height, width).permute(0, 3, 4, 1, 5, 2)
        else:
            x = x.reshape(batch, left, size, size, height, width).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(batch, left, height * size, width * size)

    return run


def space_to_depth(node: Node) -> Operator:
    """Blocks of pixels become channels."""
    size = int(node.attributes["blocksize"])
    depth_first = choice(node, "mode", "DCR", ("DCR", "CRD")) == "DCR"

    def run(x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // size, size, width // size, size)
        x = x.permute(0, 3, 5, 1, 2, 4) if depth_first else x.permute(0, 1, 3, 5, 2, 4)
        return x.reshape(batch, channels * size**2, height // size, width // size)

    return run


def gather_elements(node: Node) -> Operator:
    """The element of x at each index along an axis."""
    axis = int(node.attributes.get("axis", 0))
    return lambda x, index: torch.gather(x, axis, _from_zero(index, x, axis))


def gather_nd(node: Node) -> Operator:
    """The parts of x at indices of several axes, which are the last axis of the index."""
    batch_axes = int(node.attributes.get("batch_dims", 0))

    def run(x: Tensor, index: Tensor) -> Tensor:
        index = on_device_of(x, index).long()
        places = list(index.unbind(-1))  # torch counts negative indices from the end, as ONNX does
        for axis in range(batch_axes):
            shape = [1] * (index.dim() - 1)
            shape[axis] = -1
            places.insert(axis, torch.arange(x.shape[axis], device=x.device).reshape(shape))
        found: Tensor = x[tuple(places)]
        return found

    return run


def scatter_elements(node: Node) -> Operator:
    """x with updates at the indices along an axis, which replace its elements or are combined with them."""
    axis = int(node.attributes.get("axis", 0))
    kind = choice(node, "reduction", "none", ("none", *_SCATTERS))

    def run(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        index, updates = _from_zero(index, x, axis), on_device_of(x, updates)
        if kind == "none":
            return x.scatter(axis, index, updates)
        return x.scatter_reduce(axis, index, updates, _SCATTERS[kind])

    return run


def scatter_nd(node: Node) -> Operator:
    """x with updates at indices of several axes, which replace its parts or are added to them."""
    accumulate = choice(node, "reduction", "none", ("none", "add")) == "add"

    def run(x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
        places = tuple(on_device_of(x, index).long().unbind(-1))
        return x.index_put(places, on_device_of(x, updates), accumulate)

    return run


def one_hot(node: Node) -> Operator:
    """A new axis with one value at the place of the index, and the other value elsewhere."""
    axis = int(node.attributes.get("axis", -1))

    def run(index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
        count = int(scalar(depth))
        place = axis if axis >= 0 else axis + index.dim() + 1
        classes = torch.arange(count, device=index.device).reshape([-1] + [1] * (index.dim() - place))
        low, high = on_device_of(index, values).unbind()
        whole = index.long()
        whole = torch.where(whole < 0, whole + count, whole)
        return torch.where(whole.unsqueeze(place) == classes, high, low)

    return run


def triangle(node: Node) -> Operator:
    """The upper or lower triangle of matrices, with zeros elsewhere."""
    cut = torch.triu if node.attributes.get("upper", 1) else torch.tril
    return lambda x, diagonal=None: cut(x, 0 if diagonal is None else int(scalar(diagonal)))


def arange(_node: Node) -> Operator:
    """Numbers from start in steps of delta, below limit; on the CPU, as shapes are."""

    def run(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        start, limit, delta = (value.cpu().reshape(()) for value in (start, limit, delta))
        count = max(0, math.ceil((limit - start) / delta))
        return start + torch.arange(count, dtype=start.dtype) * delta

    return run


def size(_node: Node) -> Operator:
    """The number of elements, int64, on the CPU."""
    return lambda x: torch.tensor(x.numel(), dtype=torch.int64)


def grid_sample(node: Node) -> Operator:
    """x, (batch, channels, spatial...), sampled at the positions of a grid, by linear or nearest interpolation."""
    mode = choice(node, "mode", "linear", ("linear", "bilinear", "nearest"))
    padding = choice(node, "padding_mode", "zeros", ("zeros", "border", "reflection"))
    aligned = bool(node.attributes.get("align_corners", 0))

    def run(x: Tensor, grid: Tensor) -> Tensor:
        names = {"linear": "bilinear"}
        return torch.nn.functional.grid_sample(
            x, on_device_of(x, grid), names.get(mode, mode), padding, align_corners=aligned
        )

    return run


def _from_zero(index: Tensor, x: Tensor, axis: int) -> Tensor:
    """Indices along an axis of `x`, int64 on its device, with negative ones counted from the end."""
    whole = on_device_of(x, index).long()
    return torch.where(whole < 0, whole + x.shape[axis], whole)


REARRANGEMENTS: dict[str, Build] = {
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "GridSample": grid_sample,
    "OneHot": one_hot,
    "Range": arange,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Size": size,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Tile": tile,
    "Trilu": triangle,
}
