"""What the families of operators share: the shape of an operator, how it refuses, how it reads settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Node

Operator = Callable[..., Any]
"""Takes a node's inputs in order, None for one that is left out; gives a tensor, or a tuple of tensors."""

Build = Callable[[Node], Operator]
"""Reads a node's attributes once and gives its operator; ModelError where they ask for what it cannot do."""


def refuse(node: Node, why: str) -> NoReturn:
    """Says that `node` cannot be trained, and why, as a clause after its name."""
    raise ModelError(
        f"operator {node.op} of node {node.label}: {why}",
        "finetune before the export, or export the model without it",
    )


def choice(node: Node, attribute: str, default: str, permitted: tuple[str, ...]) -> str:
    """The value of a text attribute; ModelError where it is none of `permitted`."""
    value = str(node.attributes.get(attribute, default))
    if value not in permitted:
        refuse(node, f"{attribute} {value} is not supported by finetune (permitted: {', '.join(permitted)})")
    return value


def integers(setting: Tensor) -> list[int]:
    """A setting (shape, axes, pads) as Python numbers."""
    return [int(value) for value in setting.reshape(-1).tolist()]


def scalar(setting: Tensor) -> int | float | bool:
    """A setting of one value as a Python number."""
    number: int | float | bool = setting.item()
    return number


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """`tensor` on the device of `other`; small constants live on the CPU, whatever the network runs on."""
    return tensor if tensor.device == other.device else tensor.to(other.device)


def brought_together(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """All on one device: that of the first which is not on the CPU."""
    leader = next((tensor for tensor in tensors if tensor.device.type != "cpu"), tensors[0])
    return tuple(beside(tensor, leader) for tensor in tensors)


def spread(data: Tensor, axis: int, index: Tensor) -> Tensor:
    """The slices of `data` along `axis` that `index`, (entries,) int64, names in order."""
    return torch.index_select(data, axis, beside(index, data))
