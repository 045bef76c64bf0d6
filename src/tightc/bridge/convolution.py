"""Conv in one, two and three dimensions."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator
from tightc.bridge.window import Window, padded
from tightc.model.onnx_proto.graph import Node

_CONVOLUTIONS: dict[int, Operator] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


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
