"""Weights that are computed from constants, such as a weight times its pruning mask, become constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.model.fields import set_field
from tightc.model.graph import WEIGHT_INPUTS, is_standard, outer_reads
from tightc.model.naming import graphs, names
from tightc.model.session import open_session, ort_faults

_KEPT = frozenset(("QuantizeLinear", "DequantizeLinear"))  # they say what an int8 weight stands for
_RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
)


def fold_weights(proto: onnx.ModelProto, origin: str) -> tuple[str, ...]:
    """Computes every weight of a layer that depends on constants alone, in place; gives the names of these weights.

    A weight keeps the name of the value that it was. The constants and nodes that nothing else reads go. What an int8
    weight is dequantized by stays.
    """
    constants = _constants(proto)
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    targets: list[str] = []
    needed: set[str] = set()
    for name in dict.fromkeys(_weight_values(proto, producers)):
        cone = _cone(name, producers, constants)
        if cone is not None:
            targets.append(name)
            needed |= cone
    if targets:
        _replace(proto, _computed(proto, targets, needed, origin), needed)
    return tuple(targets)


def _weight_values(proto: onnx.ModelProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """The values that layers read as weights, behind Identity nodes, and that a node computes."""
    for node in proto.graph.node:
        for slot in WEIGHT_INPUTS.get(node.op_type, ()) if is_standard(node.domain) else ():
            name = node.input[slot]
            while name in producers and producers[name].op_type == "Identity":
                name = producers[name].input[0]
            if name in producers and producers[name].op_type != "Constant":
                yield name


def _cone(name: str, producers: dict[str, onnx.NodeProto], constants: set[str]) -> set[str] | None:
    """The values that `name` is computed from, itself included; None where one is no constant, or is kept."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        value = waiting.pop()
        if value in found or not value or value in constants:
            continue
        node = producers.get(value)
        if node is None or not _is_foldable(node):
            return None
        found.update(output for output in node.output if output)
        waiting += node.input
    return found


def _is_foldable(node: onnx.NodeProto) -> bool:
    plain = is_standard(node.domain) and node.op_type not in _KEPT | _RANDOM
    return plain and not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _constants(proto: onnx.ModelProto) -> set[str]:
    """The initializers that no caller can replace."""
    fed = {value.name for value in proto.graph.input}
    return {tensor.name for tensor in proto.graph.initializer} - fed


def _computed(
    proto: onnx.ModelProto, targets: list[str], needed: set[str], origin: str
) -> dict[str, NDArray[np.generic]]:
    """The values of `targets`, by onnxruntime on the nodes that compute the values `needed`."""
    nodes = [node for node in proto.graph.node if needed.intersection(node.output)]
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    outputs = [helper.make_empty_tensor_value_info(name) for name in targets]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    part = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    session = open_session(part.SerializeToString(), origin)
    with ort_faults(origin, "onnxruntime cannot compute its weights"):
        return dict(zip(targets, session.run(targets, {}), strict=True))


def _replace(proto: onnx.ModelProto, folded: Mapping[str, NDArray[np.generic]], needed: set[str]) -> None:
    """Makes each value of `folded` an initializer, and drops what only its computation needed: nodes and constants."""
    read = {value.name for value in proto.graph.output} | set(outer_reads(proto))
    taken = {name for graph in graphs(proto.graph) for name in names(graph)}
    kept: list[onnx.NodeProto] = []
    freed: set[str] = set()
    for node in reversed(proto.graph.node):
        own = {name for name in node.output if name} - folded.keys()
        if own <= needed and not own & read:
            freed.update(node.input)
            continue
        for index, name in enumerate(node.output):
            if name in folded:  # one part of a Split, whose other parts are read
                node.output[index] = _unread(name, taken)
        kept.append(node)
        read.update(node.input)
    set_field(proto.graph.node, kept[::-1])
    gone = freed - read - {value.name for value in proto.graph.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name not in gone]
    tensors += [numpy_helper.from_array(array, name) for name, array in folded.items()]
    set_field(proto.graph.initializer, tensors)
    left = (needed | folded.keys()) - {name for node in kept for name in node.output}
    set_field(proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in left])


def _unread(name: str, taken: set[str]) -> str:
    """A name for an output that nothing reads."""
    name += ".unread"
    while name in taken:
        name += "_"
    taken.add(name)
    return name
