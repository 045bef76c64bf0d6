"""The trained constants of a graph and their roles."""

from __future__ import annotations

from typing import Literal

from tightc.model.onnx_proto.graph import Array, Graph, Node

Role = Literal["weight", "bias", "scale", "slope"]
"""weight: of a Conv, ConvTranspose, Gemm or MatMul. bias: of these, or the shift of a normalization. scale: of a
normalization. slope: of a PRelu."""

_ROLES: dict[str, dict[int, Role]] = {
    "Conv": {1: "weight", 2: "bias"},
    "ConvTranspose": {1: "weight", 2: "bias"},
    "Gemm": {0: "weight", 1: "weight", 2: "bias"},
    "MatMul": {0: "weight", 1: "weight"},
    "BatchNormalization": {1: "scale", 2: "bias"},
    "GroupNormalization": {1: "scale", 2: "bias"},
    "InstanceNormalization": {1: "scale", 2: "bias"},
    "LayerNormalization": {1: "scale", 2: "bias"},
    "RMSNormalization": {1: "scale"},
    "PRelu": {1: "slope"},
}
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SAME_VALUES = frozenset({"Identity", "Transpose"})


def trained_tensors(graph: Graph) -> dict[str, Role]:
    """The role of every float constant that training changes, in the order of the nodes.

    A constant may reach its operator through Identity or Transpose. One that is added to the output of a Conv, Gemm or
    MatMul is a bias, as exporters write it for linear layers, unless it is a single number: these belong to decomposed
    activations, such as x + 3 in a hard swish. A weight keeps that role even if it has others.
    """
    makers = {output: node for node in graph.nodes for output in node.outputs}
    found: dict[str, Role] = {}
    for node in graph.nodes:
        roles = dict(_ROLES.get(node.op, {}))
        if node.op == "Add":
            roles = {1 - side: "bias" for side in (0, 1) if _is_product(node.inputs[side], makers)}
        for place, role in roles.items():
            if place >= len(node.inputs):
                continue
            name = _origin(node.inputs[place], graph, makers)
            tensor = graph.tensors.get(name)
            if tensor is None or not _is_float(tensor) or (node.op == "Add" and tensor.size == 1):
                continue
            if found.get(name) != "weight":
                found[name] = role
    return found


def running_statistics(graph: Graph) -> dict[str, float]:
    """The constants with running means and variances, in the order of the nodes, and their update rates, from 0 to 1.

    Several nodes that share one update it in turn, so its rate combines theirs.
    """
    makers = {output: node for node in graph.nodes for output in node.outputs}
    found: dict[str, float] = {}
    for node in graph.nodes:
        if node.op == "BatchNormalization":
            rate = 1 - float(node.attributes.get("momentum", 0.9))
            names = (_origin(name, graph, makers) for name in node.inputs[3:5])
            for name in names:
                if name in graph.tensors:
                    found[name] = 1 - (1 - found[name]) * (1 - rate) if name in found else rate
    return found


def trained_layers(graph: Graph) -> dict[str, str]:
    """The name of each layer with a trained weight, and that weight's name; a shared one once."""
    makers = {output: node for node in graph.nodes for output in node.outputs}
    roles = trained_tensors(graph)
    found: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in _PRODUCTS:
            for place, role in _ROLES[node.op].items():
                name = _origin(node.inputs[place], graph, makers) if place < len(node.inputs) else ""
                if role == "weight" and name in roles and name not in found.values():
                    found[node.label] = name
    return found


def _origin(name: str, graph: Graph, makers: dict[str, Node]) -> str:
    """The value that reaches `name` through Identity and Transpose."""
    while name not in graph.tensors and name in makers and makers[name].op in _SAME_VALUES:
        name = makers[name].inputs[0]
    return name


def _is_float(tensor: Array) -> bool:
    return tensor.dtype.kind == "f" or tensor.dtype.name == "bfloat16"


def _is_product(name: str, makers: dict[str, Node]) -> bool:
    return name in makers and makers[name].op in _PRODUCTS
