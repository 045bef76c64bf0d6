"""Element by element: functions of one value, arithmetic, comparisons and logic, broadcast as in ONNX."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch
from torch import Tensor

from tightc.bridge.operator import Build, Operator, on_one_device, scalar
from tightc.model.onnx_proto.graph import Node


def of_one(function: Callable[[Tensor], Tensor]) -> Build:
    """An operator that applies `function` to its input."""
    return lambda _node: function


def of_two(function: Callable[[Tensor, Tensor], Tensor]) -> Build:
    """An operator that applies `function` to its two inputs, broadcast."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        a, b = on_one_device(a, b)
        return function(a, b)

    return lambda _node: run


def of_many(function: Callable[[Tensor, Tensor], Tensor]) -> Build:
    """An operator that applies `function` to its first two inputs, then to the result and the next one."""
    return lambda _node: lambda *values: reduce(function, on_one_device(*values))


def mean(_node: Node) -> Operator:
    """The mean of the inputs, broadcast."""
    return lambda *values: reduce(torch.add, on_one_device(*values)) / len(values)


def modulo(node: Node) -> Operator:
    """The remainder of a / b, with the sign of b, or with that of a where fmod is set."""
    return of_two(torch.fmod if node.attributes.get("fmod", 0) else torch.remainder)(node)


def power(_node: Node) -> Operator:
    """a to the power b, broadcast, in the dtype of a."""

    def run(a: Tensor, b: Tensor) -> Tensor:
        if b.numel() == 1 and b.dim() <= a.dim() and a.is_floating_point():
            return torch.pow(a, scalar(b))  # torch squares faster than it raises to tensors
        a, b = on_one_device(a, b)
        return torch.pow(a, b).to(a.dtype)

    return run


def where(_node: Node) -> Operator:
    """x where the condition is true, else y, broadcast."""

    def run(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        condition, x, y = on_one_device(condition, x, y)
        return torch.where(condition, x, y)

    return run


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b; integers are truncated towards zero."""
    return torch.div(a, b) if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


ARITHMETIC: dict[str, Build] = {
    "Abs": of_one(torch.abs),
    "Add": of_two(torch.add),
    "And": of_two(torch.logical_and),
    "Atan": of_one(torch.atan),
    "Ceil": of_one(torch.ceil),
    "Cos": of_one(torch.cos),
    "Div": of_two(_divide),
    "Equal": of_two(torch.eq),
    "Erf": of_one(torch.erf),
    "Exp": of_one(torch.exp),
    "Floor": of_one(torch.floor),
    "Greater": of_two(torch.gt),
    "GreaterOrEqual": of_two(torch.ge),
    "IsNaN": of_one(torch.isnan),
    "Less": of_two(torch.lt),
    "LessOrEqual": of_two(torch.le),
    "Log": of_one(torch.log),
    "Max": of_many(torch.maximum),
    "Mean": mean,
    "Min": of_many(torch.minimum),
    "Mod": modulo,
    "Mul": of_two(torch.mul),
    "Neg": of_one(torch.neg),
    "Not": of_one(torch.logical_not),
    "Or": of_two(torch.logical_or),
    "Pow": power,
    "Reciprocal": of_one(torch.reciprocal),
    "Round": of_one(torch.round),
    "Sign": of_one(torch.sign),
    "Sin": of_one(torch.sin),
    "Sqrt": of_one(torch.sqrt),
    "Sub": of_two(torch.sub),
    "Sum": of_many(torch.add),
    "Tanh": of_one(torch.tanh),
    "Where": where,
    "Xor": of_two(torch.logical_xor),
}
