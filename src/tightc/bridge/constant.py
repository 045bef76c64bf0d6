"""Constants and types: Constant, ConstantOfShape, Cast, CastLike."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tightc.bridge.operator import Operator, integers, unsupported
from tightc.model.onnx_proto.graph import Node

# onnx.TensorProto.DataType to torch, for the types that torch computes with.
_TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    4: torch.uint16,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    12: torch.uint32,
    13: torch.uint64,
    16: torch.bfloat16,
}

_VALUE_TYPES = {
    "value_float": torch.float32,
    "value_floats": torch.float32,
    "value_int": torch.int64,
    "value_ints": torch.int64,
}


def constant(node: Node) -> Operator:
    """The tensor, number or list of numbers stored in the node."""
    if "value" in node.attributes:
        value_tensor = from_array(node.attributes["value"])
    else:
        form, value = next(iter(node.attributes.items()), ("no value", None))
        if form not in _VALUE_TYPES:
            unsupported(node, f"value or {' or '.join(_VALUE_TYPES)}", form)
        value_tensor = torch.tensor(value, dtype=_VALUE_TYPES[form])
    return lambda: value_tensor


def constant_of_shape(node: Node) -> Operator:
    """A tensor of the given shape, filled with one value; float32 zero by default."""
    fill = from_array(node.attributes.get("value", np.zeros(1, np.float32))).reshape(())
    return lambda shape: fill.expand(integers(shape)).contiguous()


def cast(node: Node) -> Operator:
    """x converted to another type."""
    code = int(node.attributes["to"])
    if code not in _TYPES:
        unsupported(node, f"a type of {sorted(_TYPES)}", f"type {code}")
    dtype = _TYPES[code]
    return lambda x: x.to(dtype)


def cast_like(_node: Node) -> Operator:
    """x converted to the type of another tensor."""
    return lambda x, other: x.to(other.dtype)


def from_array(array: Any) -> Tensor:
    """A tensor with a copy of `array`, of the same dtype, including bfloat16."""
    array = np.asarray(array)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(np.array(array, order="C"))


def to_array(tensor: Tensor) -> Any:
    """A copy of `tensor` as a numpy array in C order."""
    return tensor.detach().cpu().contiguous().numpy().copy()
