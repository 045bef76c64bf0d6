"""How the kernel of a convolution moves over its input, with any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, trunc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Node

Sides = tuple[int, ...]

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class ConvGeometry:
    """A kernel on its input; every field has one entry for each spatial axis.

    `sizes`: of the input, in pixels. `begin`, `end`: zeros before and behind it, pixels cut off where negative.
    `dilations`: pixels from one position of the kernel to the next.
    """

    sizes: Sides
    kernel: Sides
    strides: Sides
    dilations: Sides
    begin: Sides
    end: Sides

    @property
    def reach(self) -> Sides:
        """Pixels from the first to the last position of the kernel, both included."""
        return _reach(self.kernel, self.dilations)

    @property
    def outputs(self) -> Sides:
        """Sizes of the output, in pixels."""
        axes = zip(self.sizes, self.begin, self.end, self.reach, self.strides, strict=True)
        return tuple(
            (before + size + behind - reach) // stride + 1 for size, before, behind, reach, stride in axes
        )

    @property
    def needed(self) -> Sides:
        """Sizes of the padded input, in pixels, up to the last one that a window touches."""
        axes = zip(self.outputs, self.strides, self.reach, strict=True)
        return tuple((output - 1) * stride + reach for output, stride, reach in axes)


def conv_geometry(node: Node, input_shape: Sequence[int], weight_shape: Sequence[int]) -> ConvGeometry:
    """The geometry of a Conv: input (batch, channels, *sizes), weight (filters, channels of a group, *kernel).

    ModelError for an auto_pad that ONNX does not know.
    """
    sizes, kernel = tuple(input_shape[2:]), tuple(weight_shape[2:])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides", ())) or ones
    dilations = tuple(node.attributes.get("dilations", ())) or ones
    begin, end = _pads(node, sizes, strides, _reach(kernel, dilations))
    return ConvGeometry(sizes, kernel, strides, dilations, begin, end)


def windows(x: NDArray[Any], geometry: ConvGeometry) -> NDArray[Any]:
    """The input vectors of a convolution (im2col), in the dtype of `x`.

    (batch, channels, *sizes) -> (batch * output pixels, channels * kernel positions). Rows go image by image, the last
    axis fastest; columns are (channel, kernel position) as in the layer matrix, so that a group has its channels side
    by side.
    """
    rank = len(geometry.kernel)
    spatial = tuple(range(2, 2 + rank))
    every = np.lib.stride_tricks.sliding_window_view(_padded(x, geometry), geometry.reach, spatial)
    steps = (slice(None, None, step) for step in (*geometry.strides, *geometry.dilations))
    taken = every[(slice(None), slice(None), *steps)]
    batch, channels = x.shape[:2]
    ordered = taken.transpose(0, *spatial, 1, *range(2 + rank, 2 + 2 * rank))
    return ordered.reshape(batch * prod(geometry.outputs), channels * prod(geometry.kernel))


def _reach(kernel: Sides, dilations: Sides) -> Sides:
    return tuple((taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True))


def _pads(node: Node, sizes: Sides, strides: Sides, reach: Sides) -> tuple[Sides, Sides]:
    """Zeros before and behind each axis."""
    rank = len(sizes)
    auto_pad = str(node.attributes.get("auto_pad", "NOTSET"))
    if auto_pad not in _AUTO_PADS:
        raise ModelError(
            f"Conv {node.label}: auto_pad {auto_pad} is not permitted (permitted: {', '.join(_AUTO_PADS)})",
            "export the model with explicit pads",
        )
    if auto_pad == "VALID":
        return (0,) * rank, (0,) * rank
    if auto_pad == "NOTSET":
        pads = tuple(node.attributes.get("pads", ())) or (0, 0) * rank
        return pads[:rank], pads[rank:]
    axes = zip(sizes, strides, reach, strict=True)
    sides = [same_pads(size, stride, span, auto_pad) for size, stride, span in axes]
    return tuple(begin for begin, _ in sides), tuple(end for _, end in sides)


def same_pads(size: int, stride: int, reach: int, auto_pad: str, *, pool: bool = False) -> tuple[int, int]:
    """What SAME_UPPER or SAME_LOWER adds before and behind an axis, so that ceil(size / stride) windows fill it.

    Negative where strides leave pixels out. As onnxruntime does, halves are rounded toward zero, and a Conv cuts off
    one pixel less before its input than a pool.
    """
    total = (-(-size // stride) - 1) * stride + reach - size
    kept = total < 0 and not pool
    begin = trunc((total + kept + (auto_pad == "SAME_LOWER")) / 2)
    return begin, total - begin


def _padded(x: NDArray[Any], geometry: ConvGeometry) -> NDArray[Any]:
    """`x` with zeros around its spatial axes, or cut off there."""
    sides = list(zip(geometry.begin, geometry.end, geometry.sizes, strict=True))
    kept = tuple(slice(max(-begin, 0), size - max(-end, 0)) for begin, end, size in sides)
    pads = ((0, 0), (0, 0), *((max(begin, 0), max(end, 0)) for begin, end, _ in sides))
    return np.pad(x[(slice(None), slice(None), *kept)], pads)
