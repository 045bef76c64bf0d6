"""QuantizeLinear and DequantizeLinear, with straight-through gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from tightc.bridge.operator import Operator, on_device_of, unsupported
from tightc.model.onnx_proto.graph import Node

_KNOWN = (torch.int8, torch.uint8, torch.int16, torch.uint16)


def quantize_linear(node: Node) -> Operator:
    """x / scale + zero point, rounded half to even and clamped; integer values in the dtype of x.

    The gradient is that of x / scale, and 0 where the value is clamped (straight-through estimator: Bengio et al.,
    2013).
    """
    axis = _axis(node)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        kind = torch.uint8 if zero is None else zero.dtype
        if kind not in _KNOWN:
            unsupported(node, "integers of 8 or 16 bits", str(kind).removeprefix("torch."))
        lowest, highest = torch.iinfo(kind).min, torch.iinfo(kind).max
        steps = x / _along(scale, x, axis)
        if zero is not None:
            steps = steps + _along(zero, x, axis).to(x.dtype)
        return (steps + (steps.round() - steps).detach()).clamp(lowest, highest)

    return run


def dequantize_linear(node: Node) -> Operator:
    """(x - zero point) scale, in the dtype of scale."""
    axis = _axis(node)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        values = x.to(scale.dtype)
        if zero is not None:
            values = values - _along(zero, x, axis).to(scale.dtype)
        return values * _along(scale, x, axis)

    return run


def _axis(node: Node) -> int:
    if node.attributes.get("block_size", 0):
        unsupported(node, "one scale per tensor or channel", "blocked scales")
    return int(node.attributes.get("axis", 1))


def _along(tensor: Tensor, x: Tensor, axis: int) -> Tensor:
    """A per-tensor or per-axis constant in a shape that broadcasts over `x`."""
    tensor = on_device_of(x, tensor)
    if tensor.numel() == 1:
        return tensor.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return tensor.reshape(shape)
