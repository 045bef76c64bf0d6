"""Pools, norms, activations, and operators that join two values."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from helpers.graphs.network import Network, Value


def max_pool(net: Network, x: Value) -> list[str]:
    return _pool(net, x, "MaxPool")


def average_pool(net: Network, x: Value) -> list[str]:
    return _pool(net, x, "AveragePool")


def _pool(net: Network, x: Value, op: str) -> list[str]:
    kernel = [net.choose([size for size in (2, 1, 3) if size <= side]) for side in x.shape[2:]]
    settings: dict[str, Any] = {"kernel_shape": kernel}
    if net.flag():
        settings["strides"] = [net.choose([2, 1, 3]) for _ in kernel]
    mode = net.choose(["", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if mode == "pads":
        settings["pads"] = [net.number(0, size - 1) for size in (*kernel, *kernel)]
    elif mode:
        settings["auto_pad"] = mode
    if net.opset >= 10 and not mode.startswith("SAME") and net.flag():
        settings["ceil_mode"] = 1
        net.note(f"ceil_mode: {op}")
    if op == "AveragePool" and net.flag():
        settings["count_include_pad"] = 1
    return [net.add(op, [x.name], **settings)]


def global_pool(net: Network, x: Value) -> list[str]:
    op = net.choose(["GlobalAveragePool", "GlobalMaxPool", "ReduceMean"])
    if op != "ReduceMean":
        return [net.add(op, [x.name])]
    axes = list(range(2, x.rank))
    keep = net.choose([1, 0])
    if net.opset < 18:
        return [net.add(op, [x.name], axes=axes, keepdims=keep)]
    return [net.add(op, [x.name, net.integers(*axes)], keepdims=keep)]


def batch_norm(net: Network, x: Value) -> list[str]:
    dtype, count = x.array.dtype, x.shape[1]
    arrays = [
        net.rng.uniform(0.5, 1.5, count),
        net.rng.normal(size=count) / 2,
        net.rng.normal(size=count) / 2,
        net.rng.uniform(0.5, 1.5, count),
    ]
    names = [net.tensor(array.astype(dtype), "bn") for array in arrays]
    settings = {"epsilon": 0.01} if net.flag() else {}
    return [net.add("BatchNormalization", [x.name, *names], **settings)]


def activation(net: Network, x: Value) -> list[str]:
    ops = ["Relu", "Sigmoid", "Clip", "LeakyRelu", "Tanh", "Elu", "HardSigmoid", "Softmax"]
    op = net.choose([*ops, *(["HardSwish"] if net.opset >= 14 else [])])
    if op != "Clip":
        return [net.add(op, [x.name])]
    low, high = net.choose([(0.0, 6.0), (-1.0, np.inf), (-np.inf, 1.0), (None, 1.0), (-1.0, None)])
    if net.opset < 11:
        bounds = {"min": low, "max": high}
        return [net.add(op, [x.name], **{key: bound for key, bound in bounds.items() if bound is not None})]
    inputs = [x.name]
    for bound in (low, high):
        inputs.append("" if bound is None else net.tensor(np.array(bound, x.array.dtype), "bound"))
    return [net.add(op, inputs)]


def joined(net: Network, x: Value) -> list[str]:
    """An Add, Mul or Sub with another value, a constant or a new input."""
    op = net.choose(["Add", "Mul", "Sub"])
    others = [
        value.name
        for value in net.values[::-1]
        if value.array.dtype == x.array.dtype and value.name != x.name and _broadcasts(value.shape, x.shape)
    ]
    kind = net.choose([*(["branch"] * 2 if others else []), "constant", "input", "itself"])
    if kind == "branch":
        other = net.choose(others)
        net.note(f"branches: {op}")
    elif kind == "constant":
        shape = net.choose([(), (1,), x.shape[-1:], (1, *x.shape[1:2], *(1,) * (x.rank - 2)), x.shape])
        other = net.tensor(net.random(shape, x.array.dtype), "k")
    elif kind == "input" and not net.depth:
        other = new_input(net, x.shape, x.array.dtype).name
    else:
        other = x.name
    return [net.add(op, [x.name, other] if net.choose([True, False]) else [other, x.name])]


def _broadcasts(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(one, other)
    except ValueError:
        return False
    return True


def new_input(net: Network, shape: tuple[int, ...], dtype: Any) -> Value:
    name = net.name("x")
    net.inputs.append(name)
    net.known[name] = net.random(shape, dtype)
    net.note("inputs: several" if len(net.inputs) > 1 else "inputs: one")
    return Value(name, net.known[name])


def cast(net: Network, x: Value) -> list[str]:
    other = np.float16 if x.array.dtype == np.float32 else np.float32
    return [net.add("Cast", [x.name], to=helper.np_dtype_to_tensor_dtype(np.dtype(other)))]
