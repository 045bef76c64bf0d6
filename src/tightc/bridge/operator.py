"""Shared by all operators: their type, the error for unsupported nodes, and reading of constant inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Node

Operator = Callable[..., Any]
"""Takes a node's inputs in order, None for an omitted one; returns a tensor, or a tuple of tensors."""

Build = Callable[[Node], Operator]
"""Reads a node's attributes once and returns its operator; ModelError where they are not supported."""


def unsupported(node: Node, expected: str, got: object) -> NoReturn:
    """ModelError: finetune supports only what is `expected` of `node`, which has `got` instead."""
    raise ModelError(
        f"operator {node.op} of node {node.label}: expected {expected}, got {got}",
        "finetune before the export, or export the model without it",
    )


def choice(node: Node, attribute: str, default: str, permitted: tuple[str, ...]) -> str:
    """The value of a string `attribute` of `node`, or its `default`; ModelError where it is none of `permitted`."""
    value = str(node.attributes.get(attribute, default))
    if value not in permitted:
        unsupported(node, f"{attribute} {', '.join(permitted[:-1])} or {permitted[-1]}", value)
    return value


def integers(constant: Tensor) -> list[int]:
    """A constant input, such as shape, axes or pads, as Python integers."""
    return [int(value) for value in constant.reshape(-1).tolist()]


def scalar(constant: Tensor) -> int | float | bool:
    """A constant input of one value as a Python number."""
    number: int | float | bool = constant.item()
    return number


def on_device_of(other: Tensor, tensor: Tensor) -> Tensor:
    """`tensor` on the device of `other`; small constants stay on the CPU, whatever device the network runs on."""
    return tensor if tensor.device == other.device else tensor.to(other.device)


def on_one_device(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All `tensors` on the device of the first one that is not on the CPU."""
    reference = next((tensor for tensor in tensors if tensor.device.type != "cpu"), tensors[0])
    return tuple(on_device_of(reference, tensor) for tensor in tensors)


def index_select(data: Tensor, axis: int, index: Tensor) -> Tensor:
    """The slices of `data` along `axis` at `index`, (entries,) int64, in order."""
    return torch.index_select(data, axis, on_device_of(data, index))
