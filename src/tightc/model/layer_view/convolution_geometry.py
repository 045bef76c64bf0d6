"""Geometry of a convolution with any number of spatial axes: padding, strides, dilations, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, trunc
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Node

Sides = tuple[int, ...]  # one entry for each spatial axis

_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class ConvGeometry:
    """A kernel on its input; every field has one entry for each spatial axis.

    `sizes`: of the input, in pixels. `pads_begin`, `pads_end`: zeros before and after it; negative ones cut pixels off.
    `dilations`: pixels from one position of the kernel to the next.
    """

    sizes: Sides
    kernel: Sides
    strides: Sides
    dilations: Sides
    pads_begin: Sides
    pads_end: Sides

    @property
    def dilated_kernel(self) -> Sides:
        """Pixels from the first to the last position of the kernel, both included."""
        return _dilate(self.kernel, self.dilations)

    @property
    def outputs(self) -> Sides:
        """Sizes of the output, in pixels."""
        padded = [sum(axis) for axis in zip(self.pads_begin, self.sizes, self.pads_end, strict=True)]
        axes = zip(padded, self.dilated_kernel, self.strides, strict=True)
        return tuple((size - kernel) // stride + 1 for size, kernel, stride in axes)

    @property
    def used_sizes(self) -> Sides:
        """Sizes of the padded input, in pixels, up to the last pixel that a window covers."""
        axes = zip(self.outputs, self.strides, self.dilated_kernel, strict=True)
        return tuple((output - 1) * stride + kernel for output, stride, kernel in axes)


def conv_geometry(node: Node, input_shape: Sequence[int], weight_shape: Sequence[int]) -> ConvGeometry:
    """The geometry of the Conv `node`.

    `input_shape` is (batch, channels, *sizes), `weight_shape` (filters, channels of a group, *kernel). ModelError for
    an auto_pad that is not in the ONNX standard.
    """
    sizes, kernel = tuple(input_shape[2:]), tuple(weight_shape[2:])
    ones = (1,) * len(kernel)
    strides = tuple(node.attributes.get("strides", ())) or ones
    dilations = tuple(node.attributes.get("dilations", ())) or ones
    pads_begin, pads_end = _find_pads(node, sizes, strides, _dilate(kernel, dilations))
    return ConvGeometry(sizes, kernel, strides, dilations=dilations, pads_begin=pads_begin, pads_end=pads_end)


def windows(x: NDArray[Any], geometry: ConvGeometry) -> NDArray[Any]:
    """The input vectors (im2col) of a convolution of `geometry` on `x`, in its dtype.

    (batch, channels, *sizes) -> (batch * output pixels, channels * kernel positions). Rows go image by image, the last
    axis fastest. Columns are (channel, kernel position) as in the layer matrix, so that the channels of a group are
    adjacent.
    """
    rank = len(geometry.kernel)
    spatial = tuple(range(2, 2 + rank))
    dense = np.lib.stride_tricks.sliding_window_view(_pad(x, geometry), geometry.dilated_kernel, spatial)
    steps = (slice(None, None, step) for step in (*geometry.strides, *geometry.dilations))
    strided = dense[(slice(None), slice(None), *steps)]
    batch, channels = x.shape[:2]
    ordered = strided.transpose(0, *spatial, 1, *range(2 + rank, 2 + 2 * rank))
    return ordered.reshape(batch * prod(geometry.outputs), channels * prod(geometry.kernel))


@dataclass(frozen=True)
class TransposedGeometry:
    """A transposed convolution; every field has one entry for each spatial axis.

    The product of input pixel `i` and kernel position `k` is added to output pixel i * stride + k * dilation - pad.
    `sizes` are those of the input and `outputs` those of the output, in pixels.
    """

    sizes: Sides
    kernel: Sides
    strides: Sides
    dilations: Sides
    pads_begin: Sides
    outputs: Sides


def transposed_geometry(
    node: Node, input_shape: Sequence[int], weight_shape: Sequence[int]
) -> TransposedGeometry:
    """The geometry of the ConvTranspose `node`.

    `input_shape` is (batch, channels, *sizes), `weight_shape` (channels, channels out of a group, *kernel). Sizes and
    pads are those of the ONNX operator ConvTranspose, with auto_pad as onnxruntime reads it.
    """
    sizes, kernel = tuple(input_shape[2:]), tuple(weight_shape[2:])
    rank = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get("strides", ())) or (1,) * rank
    dilations = tuple(attributes.get("dilations", ())) or (1,) * rank
    extra = tuple(attributes.get("output_padding", ())) or (0,) * rank
    dilated = _dilate(kernel, dilations)
    full = tuple((s - 1) * step + k + e for s, step, k, e in zip(sizes, strides, dilated, extra, strict=True))
    auto_pad = str(attributes.get("auto_pad", "NOTSET"))
    pads = tuple(attributes.get("pads", ())) or (0, 0) * rank
    stated = tuple(attributes.get("output_shape", ()))[-rank:]
    if not stated and auto_pad.startswith(
        "SAME"
    ):  # onnxruntime pads nothing where the kernels do not reach so far
        stated = tuple(min(size * step, f) for size, step, f in zip(sizes, strides, full, strict=True))
    if not stated:
        begin, end = (pads[:rank], pads[rank:]) if auto_pad == "NOTSET" else ((0,) * rank, (0,) * rank)
        outputs = tuple(f - b - e for f, b, e in zip(full, begin, end, strict=True))
        return TransposedGeometry(sizes, kernel, strides, dilations, begin, outputs)
    totals = [max(f - o, 0) for f, o in zip(full, stated, strict=True)]
    begin = tuple(total // 2 if auto_pad == "SAME_UPPER" else total - total // 2 for total in totals)
    return TransposedGeometry(sizes, kernel, strides, dilations, begin, stated)


def overlap_add(
    products: NDArray[Any], geometry: TransposedGeometry, batch: int, channels: int
) -> NDArray[Any]:
    """The output of a transposed convolution, (batch, channels, *outputs), in the dtype of `products`.

    `products`: (batch * input pixels, channels * kernel positions). Those that fall on one output pixel are added.
    """
    rank = len(geometry.kernel)
    blocks = products.reshape(batch, *geometry.sizes, channels, *geometry.kernel)
    blocks = np.moveaxis(blocks, 1 + rank, 1)  # batch, channels, *sizes, *kernel
    reach = _dilate(geometry.kernel, geometry.dilations)
    padded = [
        max((size - 1) * step + kernel, begin + output)
        for size, step, kernel, begin, output in zip(
            geometry.sizes, geometry.strides, reach, geometry.pads_begin, geometry.outputs, strict=True
        )
    ]
    total = np.zeros((batch, channels, *padded), products.dtype)
    for position in np.ndindex(*geometry.kernel):
        places = tuple(
            slice(k * dilation, k * dilation + (size - 1) * step + 1, step)
            for k, dilation, size, step in zip(
                position, geometry.dilations, geometry.sizes, geometry.strides, strict=True
            )
        )
        total[(slice(None), slice(None), *places)] += blocks[(..., *position)]
    kept = tuple(slice(b, b + o) for b, o in zip(geometry.pads_begin, geometry.outputs, strict=True))
    return total[(slice(None), slice(None), *kept)]


def _dilate(kernel: Sides, dilations: Sides) -> Sides:
    return tuple((taps - 1) * dilation + 1 for taps, dilation in zip(kernel, dilations, strict=True))


def _find_pads(node: Node, sizes: Sides, strides: Sides, dilated_kernel: Sides) -> tuple[Sides, Sides]:
    """The zeros before and after each axis."""
    rank = len(sizes)
    auto_pad = str(node.attributes.get("auto_pad", "NOTSET"))
    if auto_pad not in _AUTO_PADS:
        raise ModelError(
            f"Conv {node.label}: expected auto_pad of {', '.join(_AUTO_PADS)}, got {auto_pad}",
            "export the model with explicit pads",
        )
    if auto_pad == "VALID":
        return (0,) * rank, (0,) * rank
    if auto_pad == "NOTSET":
        pads = tuple(node.attributes.get("pads", ())) or (0, 0) * rank
        return pads[:rank], pads[rank:]
    axes = zip(sizes, strides, dilated_kernel, strict=True)
    sides = [same_pads(size, stride, kernel, auto_pad) for size, stride, kernel in axes]
    return tuple(begin for begin, _ in sides), tuple(end for _, end in sides)


def same_pads(
    size: int, stride: int, dilated_kernel: int, auto_pad: str, *, pool: bool = False
) -> tuple[int, int]:
    """The padding before and after an axis of `size` pixels with an `auto_pad` of SAME_UPPER or SAME_LOWER.

    With it, ceil(size / stride) windows of `dilated_kernel` pixels, `stride` apart, fill the axis. It is negative where
    strides skip pixels. As in onnxruntime, halves are rounded toward zero, and a Conv cuts off one pixel less before
    its input than a `pool`.
    """
    total = (-(-size // stride) - 1) * stride + dilated_kernel - size
    keeps_pixel = total < 0 and not pool
    begin = trunc((total + keeps_pixel + (auto_pad == "SAME_LOWER")) / 2)
    return begin, total - begin


def _pad(x: NDArray[Any], geometry: ConvGeometry) -> NDArray[Any]:
    """`x` with its spatial axes padded with zeros, or cut where the padding is negative."""
    sides = list(zip(geometry.pads_begin, geometry.pads_end, geometry.sizes, strict=True))
    kept = tuple(slice(max(-begin, 0), size - max(-end, 0)) for begin, end, size in sides)
    pads = ((0, 0), (0, 0), *((max(begin, 0), max(end, 0)) for begin, end, _ in sides))
    return np.pad(x[(slice(None), slice(None), *kept)], pads)
