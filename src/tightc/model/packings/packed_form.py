"""The packed form of a model: layers to packed nodes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.functions import PACKED_OPERATORS, PackedOperator, packed_functions
from tightc.model.file_format.headers import PACK_AGAIN, read_headers, tensor_suffixes, write_headers
from tightc.model.file_format.rebuild import (
    DOMAIN,
    REBUILD,
    SUBWORD_SECTIONS,
    TENSORS,
    WeightLayout,
    decode_layout,
    encode_layout,
    is_packed_form,
    subword_index_bits,
    subword_rebuild_name,
)
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import default_opset, is_identity, subgraph_reads
from tightc.model.onnx_proto.naming import value_names, walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.packings.metadata import (
    decode_packing,
    encode_header,
    read_packings,
    with_packings,
)
from tightc.tile.matrix import LayerMatrix
from tightc.tile.packing import Packing
from tightc.tile.store import SECTIONS, BitStream, Section, to_stream

_IR_WITH_FUNCTIONS = 8


def is_packed(model: Model) -> bool:
    """Whether `model` is in the packed form."""
    return is_packed_form(model.proto)


def pack_layers(model: Model, network: Network, packings: Mapping[str, Packing]) -> Model:
    """`model` with the layers of `network` that are in `packings`, by weight, as packed nodes.

    Other nodes and tensors are untouched. Where another node reads a weight too, such as the DequantizeLinear of an
    int8 weight, the layer stays and a separate node rebuilds the weight, once for all readers.
    """
    proto = model.copy_proto()
    proto.ir_version = max(proto.ir_version, _IR_WITH_FUNCTIONS)
    layers = {layer.output: layer for layer in network.layers if layer.weight in packings}
    used_names = {name for graph in walk_graphs(proto.graph) for name in value_names(graph)}
    operators, headers = [], read_headers(model.proto, model.origin)
    rebuild_nodes: list[onnx.NodeProto] = []
    tensors: dict[str, list[onnx.TensorProto]] = {}
    for node in proto.graph.node:
        layer = layers.get(node.output[0])
        if layer is None:
            continue
        packing = packings[layer.weight]
        is_first_reader = layer.weight not in tensors
        if is_first_reader:
            prefix = _free_prefix(layer.weight, used_names)
            tensors[layer.weight] = _encode_tensors(network, layer, packing, prefix)
            used_names |= {tensor.name for tensor in tensors[layer.weight]}
            renamed = {} if prefix == layer.weight else {"tensors": prefix}
            headers[layer.weight] = {**encode_header(packing), **renamed}
        inputs = [tensor.name for tensor in tensors[layer.weight]]
        if layer.weight not in network.tied:
            operators.append(_packed_operator(node, layer))
            _to_packed(node, operators[-1], inputs)
        elif is_first_reader:
            bits = packing.subword_bits
            rebuild = REBUILD if bits is None else subword_rebuild_name(bits)
            rebuild_nodes.append(helper.make_node(rebuild, inputs, [layer.weight], domain=DOMAIN))
    _replace_weights(proto, tensors)
    write_headers(proto, headers)
    replace_items(proto.graph.node, [*rebuild_nodes, *proto.graph.node])
    subword_bits = [packing.subword_bits for packing in packings.values()]
    proto.functions.extend(packed_functions(operators, default_opset(proto), subword_bits))
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model.with_proto(proto)


def unpack_layers(model: Model) -> Model:
    """The plain model of a packed `model`, with its packings recorded; a plain model is returned unchanged."""
    if not is_packed(model):
        return model
    proto = model.copy_proto()
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    headers = read_headers(model.proto, model.origin)
    weight_of = {header.get("tensors"): name for name, header in headers.items()}
    weights: dict[str, NDArray[Any]] = {}
    restored: dict[str, str] = {}
    packings = read_packings(model)  # of layers without non-zeros, which have no packed tensors
    for node in proto.graph.node:
        if node.domain != DOMAIN:
            continue
        prefix = node.input[-1].removesuffix(f".{TENSORS[-1]}")
        weight = weight_of.get(prefix, prefix)
        if weight not in headers:
            raise ModelError(
                f"{model.origin}: the packing of {weight} is not recorded: removed or renamed since tightc pack",
                PACK_AGAIN,
            )
        if weight not in weights:
            try:
                packings[weight], weights[weight] = _decode_tensors(headers[weight], prefix, constants)
                restored[prefix] = weight
            except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as fault:
                raise ModelError(
                    f"{model.origin}: the packed tensors of {weight} are damaged ({fault})",
                    PACK_AGAIN,
                ) from None
        operator = PACKED_OPERATORS.get(node.op_type)
        if operator is not None:
            _to_plain(node, operator, weight)
    replace_items(proto.graph.node, [node for node in proto.graph.node if node.domain != DOMAIN])
    _restore_weights(proto, weights, restored)
    _remove_domain(proto)
    return with_packings(model.with_proto(proto), packings)


def _remove_domain(proto: onnx.ModelProto) -> None:
    """Remove the functions of the packed form and the import of their domain."""
    functions = [function for function in proto.functions if function.domain != DOMAIN]
    del proto.functions[:]
    proto.functions.extend(functions)
    opsets = [entry for entry in proto.opset_import if entry.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)


def _free_prefix(weight: str, used_names: set[str]) -> str:
    """The prefix of the packed tensors' names: that of the weight, unless the model uses such names already."""
    prefix = weight
    while any(f"{prefix}.{suffix}" in used_names for suffix in TENSORS):
        prefix += "_"
    return prefix


def _packed_operator(node: onnx.NodeProto, layer: Layer) -> PackedOperator:
    left = layer.op == "MatMul" and layer.filters_first
    return PackedOperator(layer.op, bias=len(node.input) > 2 and bool(node.input[2]), left=left)


def _encode_tensors(network: Network, layer: Layer, packing: Packing, prefix: str) -> list[onnx.TensorProto]:
    """The packed tensors of the weight of `layer`, with names that start with `prefix`."""
    weight, matrix = network.weights[layer.weight], layer_matrix(network, layer, packing.subword_bits)
    filters, inputs = packing.slots()
    arrays, further = {}, []
    if packing.subword_bits is None:
        arrays["values"] = np.append(np.zeros(1, weight.dtype), matrix.weights(filters, inputs))
    else:
        digits, places = matrix.subwords(filters, inputs)
        further = [
            Section(np.abs(digits), packing.subword_bits),
            Section((digits < 0).astype(np.uint8), 1),
            Section(places, subword_index_bits(packing.subword_bits)),
        ]
    stream = to_stream(packing, further)
    filter_stride, input_stride = (layer.inputs, 1) if layer.filters_first else (1, layer.filters)
    layout = WeightLayout(filter_stride, input_stride, layer.inputs, weight.shape)
    arrays |= {"index": stream.content, "layout": encode_layout(layout, stream)}
    return [
        numpy_helper.from_array(np.ascontiguousarray(arrays[suffix]), f"{prefix}.{suffix}")
        for suffix in tensor_suffixes(packing.subword_bits)
    ]


def _decode_tensors(
    header: Mapping[str, Any], prefix: str, constants: Mapping[str, onnx.TensorProto]
) -> tuple[Packing, NDArray[Any]]:
    """The packing and the dense weight, in its own shape, from the packed tensors with names of `prefix`."""
    bits = header.get("subword_bits")
    arrays = {
        suffix: numpy_helper.to_array(constants[f"{prefix}.{suffix}"]) for suffix in tensor_suffixes(bits)
    }
    sections = len(SECTIONS) + (0 if bits is None else len(SUBWORD_SECTIONS))
    layout, stream = decode_layout(arrays["layout"], arrays["index"], sections)
    packing = decode_packing(header, stream)
    values = arrays["values"][1:] if bits is None else _decode_subwords(bits, stream)
    filters, inputs = packing.slots()
    if len(filters) != len(values):
        raise ValueError(f"expected {len(filters)} values for as many occupied slots, got {len(values)}")
    matrix = np.zeros((packing.filters, packing.inputs), values.dtype)
    elements = filters, inputs - LayerMatrix(matrix, packing.groups).first_input(filters)
    if bits is None:
        matrix[elements] = values
    else:
        np.add.at(matrix, elements, values)
    filters_first = layout.filter_stride != 1
    return packing, np.ascontiguousarray(matrix if filters_first else matrix.T).reshape(layout.shape)


def _decode_subwords(bits: int, stream: BitStream) -> NDArray[np.int8]:
    """What the subword in each slot adds to its weight, (slots,) int8."""
    digits, signs, places = (stream.section(len(SECTIONS) + i) for i in range(len(SUBWORD_SECTIONS)))
    values: NDArray[np.int8] = ((1 - 2 * signs) * digits << bits * places).astype(np.int8)
    return values


def _to_packed(node: onnx.NodeProto, operator: PackedOperator, tensors: list[str]) -> None:
    """Make `node` a call of the packed `operator` on its activations, its bias and the packed `tensors`."""
    kept = [node.input[1 if operator.left else 0], *([node.input[2]] if operator.bias else [])]
    del node.input[:]
    node.input.extend([*kept, *tensors])
    node.op_type, node.domain = operator.function, DOMAIN


def _to_plain(node: onnx.NodeProto, operator: PackedOperator, weight: str) -> None:
    """Make a packed `node` the plain operator again, on its activations, the `weight` and its bias."""
    operands = {"X": node.input[0], "B": node.input[1], "W": weight}
    del node.input[:]
    node.input.extend(operands[key] for key in operator.operands)
    node.op_type, node.domain = operator.operator, ""


def _replace_weights(proto: onnx.ModelProto, tensors: Mapping[str, list[onnx.TensorProto]]) -> None:
    """Put the packed `tensors` in place of each weight, by name.

    Constant and Identity nodes that fed only packed layers are removed too.
    """
    initializers = list(proto.graph.initializer)
    plain = {tensor.name for tensor in initializers}
    replaced: list[onnx.TensorProto] = []
    for tensor in initializers:
        replaced += tensors.get(tensor.name, [tensor])
    for name, packed in tensors.items():
        replaced += [] if name in plain else packed
    replace_items(proto.graph.initializer, replaced)
    aliases = set(tensors)
    for node in proto.graph.node:
        if is_identity(node.op_type, node.domain) and node.input[0] in aliases:
            aliases.add(node.output[0])
    read = {value.name for value in proto.graph.output} | set(subgraph_reads(proto))
    kept: list[onnx.NodeProto] = []
    removed = set(tensors)
    for node in reversed(proto.graph.node):
        output = node.output[0] if node.output else ""
        unread = is_identity(node.op_type, node.domain) and output in aliases and output not in read
        if unread or (node.op_type == "Constant" and output in aliases):
            removed.add(output)
        else:
            kept.append(node)
            read.update(node.input)
    replace_items(proto.graph.node, kept[::-1])
    replace_items(
        proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in removed]
    )


def _restore_weights(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], restored: Mapping[str, str]
) -> None:
    """Put each of `weights` in place of its packed tensors; `restored` maps the prefix of their names to the weight."""
    last_tensors = {f"{prefix}.{TENSORS[-1]}": weight for prefix, weight in restored.items()}
    packed = {f"{prefix}.{suffix}" for prefix in restored for suffix in TENSORS}
    tensors: list[onnx.TensorProto] = []
    for tensor in proto.graph.initializer:
        if tensor.name in last_tensors:
            weight = last_tensors[tensor.name]
            tensors.append(numpy_helper.from_array(weights[weight], weight))
        elif tensor.name not in packed:
            tensors.append(tensor)
    replace_items(proto.graph.initializer, tensors)
