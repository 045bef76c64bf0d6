"""Arithmetic: Add, Sub, Mul, Div, ReduceMean."""

from __future__ import annotations

import torch
from torch import Tensor

from tightc.bridge.operator import Operator, integers, on_one_device
from tightc.model.onnx_proto.graph import Node


def add(_node: Node) -> Operator:
    """a + b, broadcast."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        a, b = on_one_device(a, b)
        return torch.add(a, b)

    return run


def subtract(_node: Node) -> Operator:
    """a - b, broadcast."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        a, b = on_one_device(a, b)
        return torch.sub(a, b)

    return run


def multiply(_node: Node) -> Operator:
    """a b, broadcast."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        a, b = on_one_device(a, b)
        return torch.mul(a, b)

    return run


def divide(_node: Node) -> Operator:
    """a / b, broadcast; integers are truncated towards zero."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        a, b = on_one_device(a, b)
        return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")

    return run


def reduce_mean(node: Node) -> Operator:
    """The mean over the given axes, or over all; they are an attribute up to opset 17, then an input."""
    attribute = node.attributes.get("axes")
    keep_axes = bool(node.attributes.get("keepdims", 1))
    empty_means_none = bool(node.attributes.get("noop_with_empty_axes", 0))

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        named = list(attribute or ()) if axes is None else integers(axes)
        if not named and empty_means_none:
            return x
        return torch.mean(x, named or list(range(x.dim())), keepdim=keep_axes)

    return run
