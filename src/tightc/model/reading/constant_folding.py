"""Folding of weights that are computed from constants, such as a weight times its pruning mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tightc.errors import ModelError
from tightc.model.onnx_proto.graph import (
    constant_tensors,
    is_identity,
    is_standard,
    subgraph_reads,
)
from tightc.model.onnx_proto.integer_types import is_integer_type
from tightc.model.onnx_proto.naming import value_names, walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.onnx_proto.stored_tensors import TensorStorage, embedded, tensor_from_array
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS, has_weight
from tightc.model.runtime.limited import LimitError, open_session
from tightc.model.runtime.shapes import runs_within_bounds
from tightc.report import join_names

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
    """`names` of the weights that were computed; `untied`: those that other nodes still read under another name."""

    names: tuple[str, ...] = ()
    untied: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """What was done, in words; empty where nothing was."""
        done = [f"weights folded from constants: {join_names(self.names)}"] if self.names else []
        if self.untied:
            names = join_names(self.untied)
            done.append(f"untied by folding, so stored twice and trained separately: {names}")
        return done


def fold_weights(proto: onnx.ModelProto, origin: str, storage: TensorStorage | None = None) -> FoldedWeights:
    """Replace every weight of a layer in `proto` that depends on constants alone by its value, in place.

    The initializer gets the name of the computed value. Constants and nodes that nothing else reads are removed. A node
    that dequantizes integers of a type that weights may have stays where a layer reads its output; what it reads is
    folded. What onnxruntime cannot compute stays too. `origin` names the model, `storage` takes
    large values.
    """
    constants = _constants(proto)
    producers = {name: node for node in proto.graph.node for name in node.output if name}
    cones = {}
    for name in dict.fromkeys(_weight_values(proto, producers)):
        cone = _cone(name, producers, constants)
        if cone is not None:
            cones[name] = cone
    folded = _compute_possible(proto, cones, origin) if cones else {}
    if not folded:
        return FoldedWeights()
    tensors = [tensor_from_array(array, name, storage) for name, array in folded.items()]
    read = _replace(proto, tensors, set().union(*(cones[name] for name in folded)))
    sizes = {name: prod(tensor.dims) for name, tensor in constant_tensors(proto) if name in read}
    folded_names = tuple(name for name in folded if name in read)
    untied = tuple(
        name
        for name in folded_names
        if any(sizes.get(leaf) == folded[name].size for leaf in _leaves(cones[name], producers))
    )
    return FoldedWeights(folded_names, untied)


def _weight_values(proto: onnx.ModelProto, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """The values that layers read as weights, possibly through Identity nodes, and that a node computes.

    A Cast from bfloat16 to float32 stays: with it, the weight takes half the room. Of a weight that stays dequantized
    at run time, the integers, scales and zero points.
    """
    tensors = dict(constant_tensors(proto))
    for node in proto.graph.node:
        if not has_weight(node.op_type, node.domain):
            continue
        operator = WEIGHT_OPERATORS[node.op_type]
        for slot in (*operator.weights, *operator.zero_points.values(), *operator.scales.values()):
            name = node.input[slot] if slot < len(node.input) else ""
            while name in producers and is_identity(producers[name].op_type, producers[name].domain):
                name = producers[name].input[0]
            names = [name]
            if name in producers and _widens(producers[name], tensors):
                continue
            if name in producers and _stays_quantized(producers[name], tensors):
                names = list(producers[name].input)
            yield from (name for name in names if name in producers and producers[name].op_type != "Constant")


def _widens(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether `node` casts a constant from bfloat16 to float32."""
    constant = tensors.get(node.input[0]) if is_standard(node.domain) and node.op_type == "Cast" else None
    return (
        constant is not None
        and constant.data_type == onnx.TensorProto.BFLOAT16
        and any(
            attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT for attribute in node.attribute
        )
    )


def _stays_quantized(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether `node` dequantizes integers of a type that weights may have.

    Integers that are not computed yet have the type of the zero point, if there is one.
    """
    if node.op_type != "DequantizeLinear" or not is_standard(node.domain):
        return False
    typed = next((tensors[name] for name in node.input[::2] if name in tensors), None)
    return typed is None or is_integer_type(np.dtype(helper.tensor_dtype_to_np_dtype(typed.data_type)))


def _cone(name: str, producers: dict[str, onnx.NodeProto], constants: set[str]) -> set[str] | None:
    """The fan-in cone of `name`: all values that it is computed from, and itself.

    None where one is not constant, or comes from a node that must stay.
    """
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
    plain = is_standard(node.domain) and node.op_type not in _RANDOM
    return plain and not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _constants(proto: onnx.ModelProto) -> set[str]:
    """The initializers that are not also inputs, which a caller may override."""
    fed = {value.name for value in proto.graph.input}
    return {tensor.name for tensor in proto.graph.initializer} - fed


def _leaves(cone: set[str], producers: Mapping[str, onnx.NodeProto]) -> set[str]:
    """The constants that the values of `cone` are computed from."""
    nodes = [producers[name] for name in cone]
    constants = {name for node in nodes if node.op_type == "Constant" for name in node.output}
    return constants | {name for node in nodes for name in node.input} - cone


def _compute_possible(
    proto: onnx.ModelProto, cones: Mapping[str, set[str]], origin: str
) -> dict[str, NDArray[np.generic]]:
    """The values at the ends of `cones`, except those that onnxruntime cannot compute."""
    try:
        return _compute(proto, cones, origin)
    except LimitError:
        raise
    except ModelError:
        found: dict[str, NDArray[np.generic]] = {}
        for name, cone in cones.items():
            try:
                found |= _compute(proto, {name: cone}, origin)
            except LimitError:
                raise
            except ModelError:
                continue
        return found


def _compute(
    proto: onnx.ModelProto, cones: Mapping[str, set[str]], origin: str
) -> dict[str, NDArray[np.generic]]:
    """The values at the ends of `cones`, by onnxruntime; ModelError where it cannot compute one."""
    targets, needed = list(cones), set().union(*cones.values())
    nodes = [node for node in proto.graph.node if needed.intersection(node.output)]
    read = {name for node in nodes for name in node.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    outputs = [helper.make_empty_tensor_value_info(name) for name in targets]
    graph = helper.make_graph(nodes, "weights", [], outputs, tensors)
    part = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    is_bounded = runs_within_bounds(part)
    with open_session(embedded(part, origin).SerializeToString(), origin, is_bounded=is_bounded) as session:
        found = session.run(targets, {})
    values = {name: value for name, value in zip(targets, found, strict=True) if value is not None}
    if len(values) < len(targets):
        raise ModelError(f"{origin}: expected weights that are numbers, got others", "export the model again")
    return values


def _replace(proto: onnx.ModelProto, values: list[onnx.TensorProto], needed: set[str]) -> set[str]:
    """Make each of `values` an initializer; remove nodes and constants that only its computation needed.

    Returns the names that the remaining nodes and outputs read.
    """
    folded = {tensor.name for tensor in values}
    read = {value.name for value in proto.graph.output} | set(subgraph_reads(proto))
    used = {name for graph in walk_graphs(proto.graph) for name in value_names(graph)}
    kept: list[onnx.NodeProto] = []
    no_longer_read: set[str] = set()
    for node in reversed(proto.graph.node):
        own = {name for name in node.output if name} - folded
        if own <= needed and not own & read:
            no_longer_read.update(node.input)
            continue
        for index, name in enumerate(node.output):
            if name in folded:  # one output of a Split with other outputs that are read
                node.output[index] = _unread_name(name, used)
        kept.append(node)
        read.update(node.input)
    replace_items(proto.graph.node, kept[::-1])
    removed = no_longer_read - read - {value.name for value in proto.graph.input}
    tensors = [tensor for tensor in proto.graph.initializer if tensor.name not in removed]
    tensors += [tensor for tensor in values if tensor.name in read]
    replace_items(proto.graph.initializer, tensors)
    obsolete = (needed | folded) - {name for node in kept for name in node.output}
    replace_items(
        proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in obsolete]
    )
    return read


def _unread_name(name: str, used: set[str]) -> str:
    """A new name, not in `used`, for an output that nothing reads; it is added to `used`."""
    name += ".unread"
    while name in used:
        name += "_"
    used.add(name)
    return name
