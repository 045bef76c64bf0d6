"""The dtype that training needs: float32, also for graphs of 16-bit floats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import Array, Graph, Node

if TYPE_CHECKING:
    from tightc.bridge.module import TorchGraph

_HALVES = ("float16", "bfloat16")
_HALF_TYPES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def as_float32(graph: Graph) -> Graph:
    """`graph` with float32 in place of float16 and bfloat16: constants, and the types that Cast nodes give.

    A Cast of such a constant to float32 becomes an Identity, through which the constant is trained.
    """
    tensors = {name: _widened(array) for name, array in graph.tensors.items()}
    changed = {name for name in graph.tensors if graph.dtype(name).name in _HALVES}
    nodes = tuple(
        replace(node, op="Identity", attributes={})
        if node.op == "Cast" and node.inputs[0] in changed and node.attributes["to"] == onnx.TensorProto.FLOAT
        else node
        for node in map(_with_float32, graph.nodes)
    )
    return replace(graph, nodes=nodes, tensors=tensors)


def in_dtypes_of(tensors: Mapping[str, Array], originals: Mapping[str, Array]) -> dict[str, Array]:
    """The float `tensors` in the dtypes of the `originals` of the same name.

    A number that would round to zero becomes the smallest number of that dtype instead: zeros are those of the pruning.
    """
    return {
        name: _narrowed(array, originals[name].dtype) if name in originals else array
        for name, array in tensors.items()
    }


def check_float32(module: TorchGraph, origin: str, *, needs: str, remedy: str) -> None:
    """Checks that all trained tensors of `module` are float32.

    ModelError otherwise, which names the model `origin`, who `needs` it, such as "finetune trains", and the `remedy`.
    """
    for name in module.roles:
        dtype = str(module.parameter(name).dtype).removeprefix("torch.")
        if dtype != "float32":
            raise ModelError(f"{origin}: tensor {name} is {dtype}, {needs} float32", remedy)


def _widened(value: Any) -> Any:
    is_half = isinstance(value, np.ndarray) and value.dtype.name in _HALVES
    return value.astype(np.float32) if is_half else value


def _narrowed(array: Array, dtype: np.dtype[Any]) -> Array:
    if array.dtype == dtype or dtype.name not in _HALVES:
        return array
    with np.errstate(over="ignore"):  # infinity is refused with the name of its tensor
        narrowed = array.astype(dtype)
    lost = (narrowed == 0) & (array != 0)
    smallest = np.array(1, np.uint16).view(dtype)
    return np.where(lost, np.where(array < 0, -smallest, smallest), narrowed).astype(dtype)


def _with_float32(node: Node) -> Node:
    attributes = {name: _widened(value) for name, value in node.attributes.items()}
    if node.op == "Cast" and attributes.get("to") in _HALF_TYPES:
        attributes["to"] = int(onnx.TensorProto.FLOAT)
    return replace(node, attributes=attributes)
