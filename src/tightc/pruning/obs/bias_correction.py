"""Bias correction: the constant added to a layer's outputs, which can compensate a shift of their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
from numpy.typing import NDArray

from tightc.errors import ModelError
from tightc.model.layer_view.layer import Layer
from tightc.model.onnx_proto.graph import Graph, Node, subgraph_reads


@dataclass(frozen=True)
class BiasCorrection:
    """`tensor` has one number per filter; raising it by 1 raises the value after the layer by `unit`."""

    tensor: str
    unit: float


def added_bias(layer: Layer, node: Node, graph: Graph) -> NDArray[Any] | None:
    """The own bias of `layer`, shaped to be subtracted from its output; None if it has none.

    `node`: of the layer in `graph`. ModelError if the bias is not constant.
    """
    if node.op == "MatMul" or len(node.inputs) < 3 or not node.inputs[2]:
        return None
    if node.inputs[2] not in graph.tensors:
        raise ModelError(
            f"layer {layer.label}: expected a constant bias, got {node.inputs[2]}, which is computed at run time",
            f"add --skip {layer.label}, or prune by magnitude",
        )
    bias = graph.tensors[node.inputs[2]]
    if node.op == "Gemm":
        return bias * float(node.attributes.get("beta", 1.0))
    rank = graph.tensors[layer.weight].ndim
    return bias.reshape(-1, *[1] * (rank - 2))


def find_bias_correction(
    layer: Layer, node: Node, graph: Graph, proto: onnx.ModelProto
) -> BiasCorrection | None:
    """The bias of `layer`, else the mean of the next BatchNormalization or the constant of the next Add, else None.

    `node`: of the layer in `graph`, the graph of `proto`. Tensors that other nodes read, too, are not used.
    """
    if node.op == "ConvTranspose":  # several filters make one output channel
        return None
    constants = _UnsharedConstants(layer, graph, proto)
    if node.op != "MatMul" and len(node.inputs) > 2 and node.inputs[2]:
        unit = float(node.attributes.get("beta", 1.0)) if node.op == "Gemm" else 1.0
        usable = unit and constants.along_filters(node.inputs[2], node)
        return BiasCorrection(node.inputs[2], unit) if usable else None
    readers = graph.consumers().get(layer.output, [])
    if len(readers) != 1 or layer.output in graph.outputs or layer.output in constants.captured:
        return None
    reader = readers[0]
    if reader.op == "BatchNormalization" and not reader.attributes.get("training_mode", 0):
        mean = reader.inputs[3]
        return BiasCorrection(mean, -1.0) if constants.is_unshared(mean) and layer.op == "Conv" else None
    if reader.op == "Add":
        addends = [name for name in reader.inputs if name in graph.tensors]
        if len(addends) == 1 and constants.along_filters(addends[0], node):
            return BiasCorrection(addends[0], 1.0)
    return None


class _UnsharedConstants:
    """The constants that only one node reads."""

    def __init__(self, layer: Layer, graph: Graph, proto: onnx.ModelProto) -> None:
        self.layer, self.graph = layer, graph
        self.captured = subgraph_reads(proto)
        self.fed = {value.name for value in proto.graph.input}

    def is_unshared(self, name: str) -> bool:
        """Whether `name` is a constant with one number per filter that one node reads, once."""
        tensor = self.graph.tensors.get(name)
        reads = sum(node.inputs.count(name) for node in self.graph.nodes)
        return (
            tensor is not None
            and tensor.size == self.layer.filters
            and (tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16")
            and reads == 1
            and name not in self.fed
            and name not in self.captured
            and name not in self.graph.outputs
        )

    def along_filters(self, name: str, node: Node) -> bool:
        """Whether `name` is unshared, and adding it to the output of `node` adds one number per filter."""
        if not self.is_unshared(name):
            return False
        shape = self.graph.tensors[name].shape
        if node.op == "Conv":
            if name in node.inputs:
                return True
            axes_after = self.graph.tensors[self.layer.weight].ndim - 2
        else:
            axes_after = int(node.op == "MatMul" and self.layer.filters_first)
        ones = (1,) * axes_after
        return len(shape) > axes_after and shape[len(shape) - axes_after - 1 :] == (self.layer.filters, *ones)
