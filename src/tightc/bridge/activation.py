"""Activations: Relu, LeakyRelu, PRelu, Clip, Sigmoid, HardSigmoid, HardSwish, Softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Operator, scalar
from tightc.model.onnx_proto.graph import Node


def relu(_node: Node) -> Operator:
    """max(x, 0)."""
    return torch.relu


def leaky_relu(node: Node) -> Operator:
    """x where it is positive, else alpha x."""
    alpha = float(node.attributes.get("alpha", 0.01))
    return lambda x: functional.leaky_relu(x, alpha)


def prelu(_node: Node) -> Operator:
    """x where it is positive, else x times a trained slope, broadcast from the right as in ONNX."""
    return lambda x, slope: torch.where(x < 0, x * slope, x)


def clip(_node: Node) -> Operator:
    """x clamped between two optional bounds."""

    def run(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        if low is None and high is None:
            return x
        return torch.clamp(x, None if low is None else scalar(low), None if high is None else scalar(high))

    return run


def sigmoid(_node: Node) -> Operator:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid


def hard_sigmoid(node: Node) -> Operator:
    """alpha x + beta, clamped between 0 and 1."""
    alpha = float(node.attributes.get("alpha", 0.2))
    beta = float(node.attributes.get("beta", 0.5))
    return lambda x: torch.clamp(x * alpha + beta, 0, 1)


def hard_swish(_node: Node) -> Operator:
    """x times the hard sigmoid with alpha 1/6 and beta 1/2."""
    return functional.hardswish


def softmax(node: Node) -> Operator:
    """exp(x) divided by its sum along one axis."""
    axis = int(node.attributes.get("axis", -1))
    return lambda x: torch.softmax(x, axis)
