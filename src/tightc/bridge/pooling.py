"""Pooling: MaxPool, AveragePool, GlobalMaxPool, GlobalAveragePool."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator
from tightc.bridge.window import Window, padded
from tightc.model.onnx_proto.graph import Node

_MAXIMA: dict[int, Operator] = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEANS: dict[int, Operator] = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
_SUMS: dict[int, Operator] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def max_pool(node: Node) -> Operator:
    """The maximum of each window, without its padding."""
    window = Window.of(node)
    kernel = list(node.attributes["kernel_shape"])
    rank = len(kernel)
    strides, dilations = window.strides_for(rank), window.dilations_for(rank)

    def run(x: Tensor) -> Tensor:
        begin, end = window.pads_for(x.shape[2:], kernel)
        end = [pad + more for pad, more in zip(end, window.overhang_for(x.shape[2:], kernel), strict=True)]
        if begin != end or max(dilations) > 1 or not _torch_pads(begin, kernel):
            x, begin = padded(x, begin, end, _lowest(x.dtype)), [0] * rank
        return _MAXIMA[rank](x, kernel, strides, begin, dilations)  # type: ignore[no-any-return]

    return run


def average_pool(node: Node) -> Operator:
    """The mean of each window; padding counts as zeros with count_include_pad, else not at all."""
    window = Window.of(node)
    kernel = list(node.attributes["kernel_shape"])
    rank = len(kernel)
    strides, dilations = window.strides_for(rank), window.dilations_for(rank)
    count_padding = bool(node.attributes.get("count_include_pad", 0))

    def run(x: Tensor) -> Tensor:
        begin, end = window.pads_for(x.shape[2:], kernel)
        over = window.overhang_for(x.shape[2:], kernel)
        plain = begin == end and not any(over) and max(dilations) == 1 and _torch_pads(begin, kernel)
        plain = plain and (rank < 3 or x.dtype != torch.float16)  # which torch lacks on the CPU
        if plain and all(size >= taps for size, taps in zip(x.shape[2:], kernel, strict=True)):
            return _MEANS[rank](x, kernel, strides, begin, count_include_pad=count_padding)  # type: ignore[no-any-return]
        counted = x.new_ones((1, 1, *x.shape[2:]))
        counted = padded(counted, begin, end, 1.0 if count_padding else 0.0)
        counted = padded(counted, [0] * rank, over, 0.0)
        x = padded(padded(x, begin, end, 0.0), [0] * rank, over, 0.0)
        taps = x.new_ones((1, 1, *kernel))
        images = x.reshape(-1, 1, *x.shape[2:])
        total = _SUMS[rank](images, taps, stride=strides, dilation=dilations)
        count = _SUMS[rank](counted, taps, stride=strides, dilation=dilations)
        mean = total / count.clamp(min=1)  # 0 for a window of padding only
        return mean.reshape(*x.shape[:2], *mean.shape[2:])  # type: ignore[no-any-return]

    return run


def global_max_pool(_node: Node) -> Operator:
    """The maximum of each channel; the spatial axes keep size 1."""
    return lambda x: torch.amax(x, list(range(2, x.dim())), keepdim=True)


def global_average_pool(_node: Node) -> Operator:
    """The mean of each channel; the spatial axes keep size 1."""
    return lambda x: torch.mean(x, list(range(2, x.dim())), keepdim=True)


def _torch_pads(pads: list[int], kernel: list[int]) -> bool:
    """Whether torch's pooling accepts this padding: at most half the kernel."""
    return all(0 <= 2 * pad <= taps for pad, taps in zip(pads, kernel, strict=True))


def _lowest(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).min if dtype.is_floating_point else torch.iinfo(dtype).min
