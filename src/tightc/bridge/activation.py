"""Activations, from Relu to Softmax."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tightc.bridge.operator import Build, Operator, choice, scalar
from tightc.model.onnx_proto.graph import Node

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875


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


def thresholded_relu(node: Node) -> Operator:
    """x where it is above alpha, else 0."""
    alpha = float(node.attributes.get("alpha", 1.0))
    return lambda x: torch.where(x > alpha, x, 0)


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


def swish(node: Node) -> Operator:
    """x sigmoid(alpha x)."""
    alpha = float(node.attributes.get("alpha", 1.0))
    return lambda x: functional.silu(x) if alpha == 1.0 else x * torch.sigmoid(x * alpha)


def gelu(node: Node) -> Operator:
    """x times the normal distribution function of x, exact or approximated by tanh."""
    approximation = choice(node, "approximate", "none", ("none", "tanh"))
    return lambda x: functional.gelu(x, approximate=approximation)


def mish(_node: Node) -> Operator:
    """x tanh(softplus(x))."""
    return functional.mish


def elu(node: Node) -> Operator:
    """x where it is positive, else alpha (exp(x) - 1)."""
    alpha = float(node.attributes.get("alpha", 1.0))
    return lambda x: functional.elu(x, alpha)


def celu(node: Node) -> Operator:
    """x where it is positive, else alpha (exp(x / alpha) - 1)."""
    alpha = float(node.attributes.get("alpha", 1.0))
    return lambda x: functional.celu(x, alpha)


def selu(node: Node) -> Operator:
    """gamma x where it is positive, else gamma alpha (exp(x) - 1)."""
    alpha = float(node.attributes.get("alpha", _SELU_ALPHA))
    gamma = float(node.attributes.get("gamma", _SELU_GAMMA))
    return lambda x: functional.elu(x, alpha) * gamma


def softmax(node: Node) -> Operator:
    """exp(x) divided by its sum along one axis."""
    axis = int(node.attributes.get("axis", -1))
    return lambda x: torch.softmax(x, axis)


def log_softmax(node: Node) -> Operator:
    """The logarithm of the softmax along one axis."""
    axis = int(node.attributes.get("axis", -1))
    return lambda x: torch.log_softmax(x, axis)


ACTIVATIONS: dict[str, Build] = {
    "Celu": celu,
    "Clip": clip,
    "Elu": elu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "LeakyRelu": leaky_relu,
    "LogSoftmax": log_softmax,
    "Mish": mish,
    "PRelu": prelu,
    "Relu": relu,
    "Selu": selu,
    "Sigmoid": sigmoid,
    "Softmax": softmax,
    "Softplus": lambda _node: functional.softplus,
    "Softsign": lambda _node: functional.softsign,
    "Swish": swish,
    "ThresholdedRelu": thresholded_relu,
}
