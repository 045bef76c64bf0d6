"""Conv and ConvTranspose in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator
from tightc.bridge.window import Window, padded
from tightc.model.onnx_proto.graph import Node


def _in_float32_on_cpu(convolve: Operator) -> Operator:
    """`convolve` without autocast on CPUs: in three dimensions oneDNN's bfloat16 gradients of weights are wrong."""

    def run(x: Tensor, weight: Tensor, bias: Tensor | None, *arguments: Any, **keywords: Any) -> Tensor:
        if x.device.type != "cpu":
            y: Tensor = convolve(x, weight, bias, *arguments, **keywords)
            return y
        with torch.autocast("cpu", enabled=False):
            added = None if bias is None else bias.to(weight.dtype)
            y = convolve(x.to(weight.dtype), weight, added, *arguments, **keywords)
        return y

    return run


_CONVOLUTIONS: dict[int, Operator] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: _in_float32_on_cpu(functional.conv3d),
}
_TRANSPOSED: dict[int, Operator] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: _in_float32_on_cpu(functional.conv_transpose3d),
}


def convolution(node: Node) -> Operator:
    """Convolution of x (batch, channels, spatial...) by weight (filters, channels per group, kernel...), plus bias."""
    window = Window.of(node)
    groups = int(node.attributes.get("group", 1))

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        kernel = weight.shape[2:]
        strides, dilations = window.strides_for(len(kernel)), window.dilations_for(len(kernel))
        begin, end = window.pads_for(x.shape[2:], kernel)
        if begin != end or min(begin) < 0:
            x, begin = padded(x, begin, end, 0.0), [0] * len(kernel)
        convolve = _CONVOLUTIONS[len(kernel)]
        y: Tensor = convolve(x, weight, bias, strides, padding=begin, dilation=dilations, groups=groups)
        return y

    return run


def transposed_convolution(node: Node) -> Operator:
    """Transposed convolution of x by weight (channels, filters per group, kernel...), plus bias.

    The whole product is cut, or padded by zeros, to the size that pads, output_padding, output_shape and auto_pad give.
    """
    window = Window.of(node)
    groups = int(node.attributes.get("group", 1))

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        kernel = weight.shape[2:]
        strides, dilations = window.strides_for(len(kernel)), window.dilations_for(len(kernel))
        convolve = _TRANSPOSED[len(kernel)]
        whole: Tensor = convolve(x, weight, None, strides, groups=groups, dilation=dilations)
        begin, sizes = _place_of_output(node, window, x.shape[2:], kernel)
        end = [size + first - given for size, first, given in zip(sizes, begin, whole.shape[2:], strict=True)]
        y = padded(whole, [-first for first in begin], end, 0.0)
        return y if bias is None else y + bias.view([-1] + [1] * len(kernel))

    return run


def _place_of_output(
    node: Node, window: Window, sizes: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Where the output begins in the whole product, and its size, for each spatial axis, as onnxruntime has them."""
    rank = len(kernel)
    strides = window.strides_for(rank)
    added = list(node.attributes.get("output_padding", ())) or [0] * rank
    wanted = list(node.attributes.get("output_shape", ()))[-rank:]
    whole = [
        (size - 1) * stride + taps + more
        for size, stride, taps, more in zip(sizes, strides, window.extents_for(kernel), added, strict=True)
    ]
    same = window.auto_pad in ("SAME_UPPER", "SAME_LOWER")
    if not wanted and not same:
        begin, end = window.pads_for(sizes, kernel)
        return begin, [full - first - last for full, first, last in zip(whole, begin, end, strict=True)]
    wanted = wanted or [size * stride for size, stride in zip(sizes, strides, strict=True)]
    cut = [max(0, full - size) for full, size in zip(whole, wanted, strict=True)]
    begin = [total // 2 if window.auto_pad == "SAME_UPPER" else total - total // 2 for total in cut]
    if same and "output_shape" not in node.attributes:
        wanted = [full - total for full, total in zip(whole, cut, strict=True)]
    return begin, wanted
