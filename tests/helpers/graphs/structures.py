"""If, Loop and functions of the model's own around nodes that are drawn as all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from helpers.graphs.network import LOCAL, Draw, Network, RefusedError, Value, free_names, subgraphs


@dataclass(frozen=True)
class Body:
    """Nodes taken out of the network, the constants among them that go along, and their result."""

    nodes: list[onnx.NodeProto]
    tensors: list[onnx.TensorProto]
    result: Value

    @property
    def constants(self) -> list[onnx.NodeProto]:
        """The constants as nodes: a function holds no initializers."""
        return [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in self.tensors]


def _body(net: Network, x: Value, draws: Sequence[Draw]) -> Body:
    """A few nodes after `x`, with the constants that stay outside captured."""
    start, before = len(net.nodes), set(net.tensors)
    net.depth += 1
    value = x
    for draw in draws:
        name = draw(net, value)[0]
        value = net.value(name)
    net.depth -= 1
    nodes = net.nodes[start:]
    del net.nodes[start:]
    new = [name for name in net.tensors if name not in before and name not in net.listed]
    inside = new if net.flag() else []
    net.note("body: own constants" if inside else "body: captured constants")
    tensors = [net.tensors.pop(name) for name in inside]
    made = {name for node in nodes for name in node.output} | set(inside)
    for name in made & net.weights.keys():
        del net.weights[name]  # no other layer sees it
    if value.name not in {name for node in nodes for name in node.output}:
        raise RefusedError("a body of no nodes")
    return Body(nodes, tensors, value)


def _typed(name: str, array: np.ndarray, *, shaped: bool = True) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, dtype, array.shape if shaped else None)


def choice(net: Network, x: Value, draws: Sequence[Draw]) -> list[str]:
    """An If with the body in both branches; the second has a Relu or nothing behind it."""
    body = _body(net, x, draws)
    condition = net.choose(["input", "constant"])
    if condition == "input" and net.depth == 0:
        flag = net.name("flag")
        net.inputs.append(flag)
        net.known[flag] = np.array(net.flag())
        net.note("If: condition is an input")
    else:
        flag = net.tensor(np.array(net.flag()), "flag")
    result = body.result
    then = helper.make_graph(body.nodes, net.name("then"), [], [_typed(result.name, result.array)])
    then.initializer.extend(body.tensors)
    other = net.name("v")
    renamed = {name: f"{name}_else" for node in body.nodes for name in node.output if name}
    renamed |= {tensor.name: f"{tensor.name}_else" for tensor in body.tensors}
    nodes = [_renamed(node, renamed) for node in body.nodes]
    nodes.append(helper.make_node(net.choose(["Relu", "Neg"]), [renamed[result.name]], [other]))
    otherwise = helper.make_graph(nodes, net.name("else"), [], [_typed(other, result.array)])
    for tensor in body.tensors:
        otherwise.initializer.add().CopyFrom(tensor)
        otherwise.initializer[-1].name = renamed[tensor.name]
    net.note("structure: If")
    return [net.add("If", [flag], then_branch=then, else_branch=otherwise)]


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for field in (copy.input, copy.output):
        for place, name in enumerate(field):
            field[place] = names.get(name, name)
    for graph in subgraphs(copy):
        inner = {name: f"{name}_else" for entry in graph.node for name in entry.output if name}
        inner |= {tensor.name: f"{tensor.name}_else" for tensor in graph.initializer}
        inner |= {value.name: f"{value.name}_else" for value in graph.input}
        nodes = [_renamed(entry, {**names, **inner}) for entry in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for value in (*graph.initializer, *graph.input, *graph.output):
            value.name = {**names, **inner}.get(value.name, value.name)
    return copy


def loop(net: Network, x: Value, draws: Sequence[Draw]) -> list[str]:
    """A Loop that carries the value where its shape stays, else stacks the results."""
    state = Value(net.name("state"), x.array)
    net.known[state.name] = x.array
    body = _body(net, state, draws)
    carries = body.result.shape == x.shape and body.result.array.dtype == x.array.dtype
    count, condition, kept = net.name("count"), net.name("before"), net.name("after")
    nodes = [helper.make_node("Identity", [condition], [kept]), *body.nodes]
    inputs = [
        helper.make_tensor_value_info(count, TensorProto.INT64, []),
        helper.make_tensor_value_info(condition, TensorProto.BOOL, []),
        _typed(state.name, state.array),
    ]
    outputs = [helper.make_tensor_value_info(kept, TensorProto.BOOL, [])]
    if not carries:
        same = net.name("v")
        nodes.append(helper.make_node("Identity", [state.name], [same]))
        outputs.append(_typed(same, state.array))
    outputs.append(_typed(body.result.name, body.result.array))
    graph = helper.make_graph(nodes, net.name("body"), inputs, outputs, body.tensors)
    trips = net.tensor(np.array(net.choose([1, 2]), np.int64), "trips")
    always = net.tensor(np.array(True), "flag")
    net.note("structure: Loop that carries" if carries else "structure: Loop that stacks")
    found = net.add_all("Loop", [trips, always, x.name], 1 if carries else 2, body=graph)
    return found[-1:]


_REFERABLE = ("strides", "pads", "dilations", "group", "alpha", "beta", "axis", "perm", "transB")


def function(net: Network, x: Value, draws: Sequence[Draw]) -> list[str]:
    """A call of a new function, whose body may call earlier ones."""
    body = _body(net, x, draws)
    nodes = [*body.constants, *body.nodes]
    inputs = free_names(nodes)
    attributes: dict[str, object] = {}
    if net.flag():
        attributes = _refer(nodes)
    if any(node.domain == LOCAL for node in nodes):
        net.note("function: nested")
    if attributes:
        net.note("function: attribute reference")
    imports = [helper.make_opsetid("", net.opset), helper.make_opsetid(LOCAL, 1)]
    name = net.name("Function")
    proto = helper.make_function(LOCAL, name, inputs, [body.result.name], nodes, imports, list(attributes))
    net.functions.append(proto)
    result = net.add(name, inputs, domain=LOCAL, **attributes)
    net.note("structure: function")
    if net.known[result].shape == x.shape and x.name in inputs and net.flag():
        again = [result if given == x.name else given for given in inputs]
        result = net.add(name, again, domain=LOCAL, **attributes)
        net.note("function: called twice")
    return [result]


def _refer(nodes: list[onnx.NodeProto]) -> dict[str, object]:
    """Turns attributes into references in place; the values that the caller gives."""
    found: dict[str, object] = {}
    for place, node in enumerate(nodes):
        for attribute in node.attribute:
            if node.op_type in ("Conv", "Gemm", "Transpose") and attribute.name in _REFERABLE:
                name = f"{attribute.name}_{place}"
                found[name] = helper.get_attribute_value(attribute)
                kind = attribute.type
                given = attribute.name
                attribute.Clear()
                attribute.name, attribute.type, attribute.ref_attr_name = given, kind, name
    return found
