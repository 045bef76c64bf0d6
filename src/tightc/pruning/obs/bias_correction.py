"""The constant that is added to a layer's outputs, where it can be moved: there, a mean that changed is mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.layer_view.layers import Layer
from tightc.model.onnx_proto.graph import Graph, Node, subgraph_reads


@dataclass(frozen=True)
class Offset:
    """`tensor` holds one number a filter; raising it by 1 raises what follows the layer by `unit`."""

    tensor: str
    unit: float


def added_bias(layer: Layer, node: Node, graph: Graph) -> NDArray[Any] | None:
    """What the layer itself adds to its products, shaped to be subtracted from its output; None where nothing.

    ModelError where that is no constant.
    """
    if node.op == "MatMul" or len(node.inputs) < 3 or not node.inputs[2]:
        return None
    if node.inputs[2] not in graph.tensors:
        raise ModelError(
            f"layer {layer.name}: its bias {node.inputs[2]} is computed at run time",
            f"add --keep {layer.name}, or prune by magnitude",
        )
    bias = graph.tensors[node.inputs[2]]
    if node.op == "Gemm":
        return bias * float(node.attributes.get("beta", 1.0))
    rank = graph.tensors[layer.weight].ndim
    return bias.reshape(-1, *[1] * (rank - 2))


def offset_of(layer: Layer, node: Node, graph: Graph, proto: onnx.ModelProto) -> Offset | None:
    """The bias of the layer, else the mean of a BatchNormalization or a constant added right behind; None without one.

    A tensor that something else reads too is left alone.
    """
    free = _Free(layer, graph, proto)
    if node.op != "MatMul" and len(node.inputs) > 2 and node.inputs[2]:
        unit = float(node.attributes.get("beta", 1.0)) if node.op == "Gemm" else 1.0
        return Offset(node.inputs[2], unit) if unit and free.along_filters(node.inputs[2], node) else None
    readers = graph.consumers().get(layer.output, [])
    if len(readers) != 1 or layer.output in graph.outputs or layer.output in free.inside:
        return None
    behind = readers[0]
    if behind.op == "BatchNormalization" and not behind.attributes.get("training_mode", 0):
        mean = behind.inputs[3]
        return Offset(mean, -1.0) if free.is_own(mean) and layer.op == "Conv" else None
    if behind.op == "Add":
        constants = [name for name in behind.inputs if name in graph.tensors]
        if len(constants) == 1 and free.along_filters(constants[0], node):
            return Offset(constants[0], 1.0)
    return None


class _Free:
    """Which constants nobody else depends on."""

    def __init__(self, layer: Layer, graph: Graph, proto: onnx.ModelProto) -> None:
        self.layer, self.graph = layer, graph
        self.inside = subgraph_reads(proto)
        self.fed = {value.name for value in proto.graph.input}

    def is_own(self, name: str) -> bool:
        """Whether `name` is a constant of one number a filter that one node reads, once."""
        tensor = self.graph.tensors.get(name)
        reads = sum(node.inputs.count(name) for node in self.graph.nodes)
        return (
            tensor is not None
            and tensor.size == self.layer.filters
            and np.issubdtype(tensor.dtype, np.floating)
            and reads == 1
            and name not in self.fed
            and name not in self.inside
            and name not in self.graph.outputs
        )

    def along_filters(self, name: str, node: Node) -> bool:
        """Whether it is one, and adding it gives each filter its own number."""
        if not self.is_own(name):
            return False
        shape = self.graph.tensors[name].shape
        if node.op == "Conv":
            if name in node.inputs:
                return True
            behind = self.graph.tensors[self.layer.weight].ndim - 2
        else:
            behind = int(node.op == "MatMul" and self.layer.filters_first)
        ones = (1,) * behind
        return len(shape) > behind and shape[len(shape) - behind - 1 :] == (self.layer.filters, *ones)
