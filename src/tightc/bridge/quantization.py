"""Whole numbers on the way: QuantizeLinear, DequantizeLinear. Rounding lets gradients through as if it did nothing."""

from __future__ import annotations

import torch
from torch import Tensor

from tightc.bridge.operator import Operator, beside, refuse
from tightc.model.onnx_proto.graph import Node

_KNOWN = (torch.int8, torch.uint8, torch.int16, torch.uint16)


def quantize_linear(node: Node) -> Operator:
    """x / scale + zero point, rounded to the nearest, of two to the even one, and cut off; whole, but of x's dtype.

    The gradient is that of x / scale, 0 where it is cut off (straight through: Bengio et al., 2013).
    """
    axis = _axis(node)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        kind = torch.uint8 if zero is None else zero.dtype
        if kind not in _KNOWN:
            name = str(kind).removeprefix("torch.")
            refuse(node, f"{name} is not supported by finetune (permitted: whole numbers of 8 or 16 bits)")
        lowest, highest = torch.iinfo(kind).min, torch.iinfo(kind).max
        steps = x / _along(scale, x, axis)
        if zero is not None:
            steps = steps + _along(zero, x, axis).to(x.dtype)
        return (steps + (steps.round() - steps).detach()).clamp(lowest, highest)

    return run


def dequantize_linear(node: Node) -> Operator:
    """(x - zero point) scale, in the dtype of the scale."""
    axis = _axis(node)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        real = x.to(scale.dtype)
        if zero is not None:
            real = real - _along(zero, x, axis).to(scale.dtype)
        return real * _along(scale, x, axis)

    return run


def _axis(node: Node) -> int:
    if node.attributes.get("block_size", 0):
        refuse(node, "scales by blocks are not supported by finetune")
    return int(node.attributes.get("axis", 1))


def _along(tensor: Tensor, x: Tensor, axis: int) -> Tensor:
    """One value for all, or one for each place along an axis of `x`, to be broadcast."""
    tensor = beside(tensor, x)
    if tensor.numel() == 1:
        return tensor.reshape(())
    shape = [1] * x.dim()
    shape[axis] = -1
    return tensor.reshape(shape)
