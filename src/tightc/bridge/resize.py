"""Resize, nearest and linear, with sizes and coordinates in float32 as in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tightc.bridge.operator import Operator, choice, index_select, integers, on_device_of, unsupported
from tightc.model.onnx_proto.graph import Node

_COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")

_TIE = 1e-6  # onnxruntime treats a coordinate this close to halfway as halfway

_ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "round_prefer_floor": lambda x: torch.ceil(x.double() - 0.5 - _TIE),
    "round_prefer_ceil": lambda x: torch.floor(x.double() + 0.5 + _TIE),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


def resize(node: Node) -> Operator:
    """Resamples x one axis at a time: nearest and linear interpolation are separable."""
    mode = choice(node, "mode", "nearest", ("nearest", "linear"))
    coordinates = choice(node, "coordinate_transformation_mode", "half_pixel", _COORDINATES)
    rounding = _ROUNDINGS[choice(node, "nearest_mode", "round_prefer_floor", tuple(_ROUNDINGS))]
    policy = choice(node, "keep_aspect_ratio_policy", "stretch", ("stretch", "not_larger", "not_smaller"))
    if node.attributes.get("antialias", 0):
        unsupported(node, "antialias 0", node.attributes["antialias"])
    named_axes = node.attributes.get("axes")

    def run(
        x: Tensor, _roi: Tensor | None = None, scales: Tensor | None = None, sizes: Tensor | None = None
    ) -> Tensor:
        axes = [axis % x.dim() for axis in named_axes] if named_axes else list(range(x.dim()))
        inputs = [x.shape[axis] for axis in axes]
        if sizes is not None and sizes.numel():
            outputs, factors = _from_sizes(inputs, integers(sizes), policy)
        elif scales is not None:
            factors = scales.detach().cpu().float()
            outputs = integers(factors * torch.tensor(inputs, dtype=torch.float32))
        else:
            return x
        if outputs == inputs:
            return x  # even if the scales are not 1
        for axis, size, factor in zip(axes, outputs, factors, strict=True):
            if factor != 1:
                sources = _sources(coordinates, x.shape[axis], size, factor)
                x = _nearest(x, axis, rounding(sources)) if mode == "nearest" else _linear(x, axis, sources)
        return x

    return run


def _from_sizes(inputs: list[int], sizes: list[int], policy: str) -> tuple[list[int], Tensor]:
    """Output sizes and scale factors, (axes,) float32."""
    given = torch.tensor(inputs, dtype=torch.float32)
    factors = torch.tensor(sizes, dtype=torch.float32) / given
    if policy == "stretch":
        return sizes, factors
    factor = factors.min() if policy == "not_larger" else factors.max()
    return integers((factor * given).double().add(0.5).floor()), factor.expand(len(sizes))


def _sources(coordinates: str, given: int, size: int, factor: Tensor) -> Tensor:
    """The coordinate in an axis of `given` values that each of `size` outputs samples: (size,) float32."""
    x = torch.arange(size, dtype=torch.float32)
    # a tensor: torch divides a Python number by a tensor in two rounded steps
    length = torch.tensor(size, dtype=torch.float32)
    if coordinates == "asymmetric":
        return x / factor
    if coordinates == "align_corners":
        return x * (given - 1) / (length - 1) if size > 1 else x * 0
    if coordinates == "pytorch_half_pixel" and size == 1:
        return x * 0
    if coordinates == "half_pixel_symmetric":
        offset = given / 2 * (1 - length / (factor * given))
        return (offset.double() + (x.double() + 0.5) / factor.double() - 0.5).float()
    return (x + 0.5) / factor - 0.5


def _nearest(x: Tensor, axis: int, sources: Tensor) -> Tensor:
    return index_select(x, axis, sources.clamp(0, x.shape[axis] - 1).long())


def _linear(x: Tensor, axis: int, sources: Tensor) -> Tensor:
    """Linear interpolation at `sources`, with the border value beyond the border."""
    last = x.shape[axis] - 1
    sources = sources.clamp(0, last)
    low = sources.floor()
    fraction = on_device_of(x, (sources - low).to(x.dtype)).reshape([-1] + [1] * (x.dim() - axis - 1))
    left = index_select(x, axis, low.long())
    right = index_select(x, axis, (low + 1).clamp(max=last).long())
    return torch.lerp(left, right, fraction)
