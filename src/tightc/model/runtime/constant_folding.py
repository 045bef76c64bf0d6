"""Weights that are computed from constants, such as a weight times its pruning mask, become constants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import WEIGHT_INPUTS, constant_slots, is_identity, is_standard, outer_reads
from tightc.model.onnx_proto.naming import graphs, names
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.runtime.session import create_session, ort_errors

_KEPT = frozenset(("QuantizeLinear", "DequantizeLinear"))  # they say what an int8 weight stands for
_RANDOM = frozenset(
    (
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    )
)


@dataclass(frozen=True)
class FoldedWeights:
    """The weights that were computed; of these, the ones whose values another reader has under another name."""

    names: tuple[str, ...] = ()
    untied: tuple[str, ...] = ()


def fold_weights(proto: onnx.ModelProto, origin: str) -> FoldedWeights:
    """Computes every weight of a layer that depends on constants alone, in place.

    A weight keeps the name of the value that it was. The constants and nodes that nothing else reads go. What an int8
    weight is dequantized by stays, and so does what onnxruntime cannot compute.
    """
    constants = _constants(proto)
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    cones = {}
    for name in dict.fromkeys(_weight_values(proto, producers)):
        cone = _cone(name, producers, constants)
        if cone is not None:
            cones[name] = cone
    folded = _computed_each(proto, cones, origin) if cones else {}
    if not folded:
        return FoldedWeights()
    read = _replace(proto, folded, set().union(*(cones[name] for name in folded)))
    sizes = {name: prod(tensor.dims) for name, tensor in constant_slots(proto) if name in read}
    names = tuple(name for name in folded if name in read)
    untied = tuple(
        name
        for name in names
        if any(sizes.get(leaf) == folded[name].size for leaf in _leaves(cones[name], producers))
    )
    return FoldedWeights(names, untied)


def _weight_values(proto: onnx.ModelProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """The values that layers read as weights, behind Identity nodes, and that a node computes."""
    for node in proto.graph.node:
        for slot in WEIGHT_INPUTS.get(node.op_type, ()) if is_standard(node.domain) else ():
            name = node.input[slot]
            while name in producers and is_identity(producers[name].op_type, producers[name].domain):
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


def _leaves(cone: set[str], producers: Mapping[str, onnx.NodeProto]) -> set[str]:
    """The constants that the values of `cone` are computed from."""
    nodes = [producers[name] for name in cone]
    made = {name for node in nodes if node.op_type == "Constant" for name in node.output}
    return made | {name for node in nodes for name in node.input} - cone


def _computed_each(
    proto: onnx.ModelProto, cones: Mapping[str, set[str]], origin: str
) -> dict[str, NDArray[np.generic]]:
    """The values that `cones` end in, but for those that onnxruntime cannot compute."""
    try:
        return _computed(proto, cones, origin)
    except ModelError:
        found: dict[str, NDArray[np.generic]] = {}
        for name, cone in cones.items():
            with suppress(ModelError):
                found |= _computed(proto, {name: cone}, origin)
        return found


def _computed(
    proto: onnx.ModelProto, cones: Mapping[str, set[str]], origin: str
) -> dict[str, NDArray[np.generic]]:
    """The values that `cones` end in, by onnxruntime; ModelError where it cannot compute one."""
    targets, needed = list(cones), set().union(*cones.values())
    nodes = [node for node in proto.graph.node if needed.intersection(node.output)]
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    outputs = [helper.make_empty_tensor_value_info(name) for name in targets]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    part = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    session = create_session(part.SerializeToString(), origin)
    with ort_errors(origin, "onnxruntime cannot compute its weights"):
        return dict(zip(targets, session.run(targets, {}), strict=True))


def _replace(proto: onnx.ModelProto, folded: Mapping[str, NDArray[np.generic]], needed: set[str]) -> set[str]:
    """Makes each value of `folded` an initializer, and drops what only its computation needed: nodes and constants.

    Gives the names that are read then.
    """
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
    replace_items(proto.graph.node, kept[::-1])
    gone = freed - read - {value.name for value in proto.graph.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name not in gone]
    tensors += [numpy_helper.from_array(array, name) for name, array in folded.items() if name in read]
    replace_items(proto.graph.initializer, tensors)
    left = (needed | folded.keys()) - {name for node in kept for name in node.output}
    replace_items(
        proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in left]
    )
    return read


def _unread(name: str, taken: set[str]) -> str:
    """A name for an output that nothing reads."""
    name += ".unread"
    while name in taken:
        name += "_"
    taken.add(name)
    return name
