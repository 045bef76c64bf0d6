"""The packed form in a model: layers to packed nodes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.functions import FORMS, Form, functions
from tightc.model.file_format.headers import PACK_AGAIN, packed_keys, read_headers, write_headers
from tightc.model.file_format.rebuild import (
    DIGIT_SECTIONS,
    DOMAIN,
    REBUILD,
    TENSORS,
    is_packed_form,
    layout,
    place_bits,
    read_layout,
    rebuild_subwords,
)
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Layer, Network
from tightc.model.onnx_proto.graph import default_opset, is_identity, outer_reads
from tightc.model.onnx_proto.naming import graphs, names
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.packings.metadata import (
    header,
    packing_of,
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
    """`model` with each layer in `packings` (by weight) as a packed node; other nodes and tensors are untouched.

    Where something else reads a weight too, such as the DequantizeLinear of an int8 one, the layer stays: a node of its
    own rebuilds the weight, once for all readers.
    """
    proto = model.editable()
    proto.ir_version = max(proto.ir_version, _IR_WITH_FUNCTIONS)
    layers = {layer.output: layer for layer in network.layers if layer.weight in packings}
    taken = {name for graph in graphs(proto.graph) for name in names(graph)}
    forms, heads = [], read_headers(model.proto, model.origin)
    rebuilt: list[onnx.NodeProto] = []
    tensors: dict[str, list[onnx.TensorProto]] = {}
    for node in proto.graph.node:
        layer = layers.get(node.output[0])
        if layer is None:
            continue
        new = layer.weight not in tensors
        if new:
            stem = _free_stem(layer.weight, taken)
            tensors[layer.weight] = _tensors(network, layer, packings[layer.weight], stem)
            taken |= {tensor.name for tensor in tensors[layer.weight]}
            renamed = {} if stem == layer.weight else {"tensors": stem}
            heads[layer.weight] = {**header(packings[layer.weight]), **renamed}
        names_of = [tensor.name for tensor in tensors[layer.weight]]
        if layer.weight not in network.tied:
            forms.append(_form(node, layer))
            _to_packed(node, forms[-1], names_of)
        elif new:
            bits = packings[layer.weight].subword_bits
            kind = REBUILD if bits is None else rebuild_subwords(bits)
            rebuilt.append(helper.make_node(kind, names_of, [layer.weight], domain=DOMAIN))
    _replace_weights(proto, tensors)
    write_headers(proto, heads)
    replace_items(proto.graph.node, [*rebuilt, *proto.graph.node])
    kinds = [packing.subword_bits for packing in packings.values()]
    proto.functions.extend(functions(forms, default_opset(proto), kinds))
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model.changed(proto)


def unpack_layers(model: Model) -> Model:
    """The plain model behind a packed one, its packings recorded; a plain model comes back as it is."""
    if not is_packed(model):
        return model
    proto = model.editable()
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    heads = read_headers(model.proto, model.origin)
    stems = {head.get("tensors"): name for name, head in heads.items()}
    weights: dict[str, NDArray[Any]] = {}
    restored: dict[str, str] = {}
    packings = read_packings(model)  # of layers that have no weights left and so no packed tensors
    for node in proto.graph.node:
        if node.domain != DOMAIN:
            continue
        form = FORMS.get(node.op_type)
        stem = node.input[-1].removesuffix(f".{TENSORS[-1]}")
        weight = stems.get(stem, stem)
        if weight not in heads:
            raise ModelError(
                f"{model.origin}: the packing of {weight} is not recorded: removed or renamed since tightc pack",
                PACK_AGAIN,
            )
        if weight not in weights:
            try:
                head = heads[weight]
                arrays = {
                    key: numpy_helper.to_array(constants[f"{stem}.{key}"])
                    for key in packed_keys(head.get("subword_bits"))
                }
                packings[weight], weights[weight] = _rebuild(head, arrays)
                restored[stem] = weight
            except (KeyError, TypeError, ValueError, IndexError, ArithmeticError) as fault:
                raise ModelError(
                    f"{model.origin}: the packed tensors of {weight} are damaged ({fault})",
                    PACK_AGAIN,
                ) from None
        if form is not None:
            _to_plain(node, form, weight)
    replace_items(proto.graph.node, [node for node in proto.graph.node if node.domain != DOMAIN])
    _restore_weights(proto, weights, restored)
    kept = [function for function in proto.functions if function.domain != DOMAIN]
    del proto.functions[:]
    proto.functions.extend(kept)
    opsets = [entry for entry in proto.opset_import if entry.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    return with_packings(model.changed(proto), packings)


def _free_stem(weight: str, taken: set[str]) -> str:
    """What the packed tensors' names begin with: the weight's name, unless the model has such names already."""
    stem = weight
    while any(f"{stem}.{key}" in taken for key in TENSORS):
        stem += "_"
    return stem


def _form(node: onnx.NodeProto, layer: Layer) -> Form:
    left = layer.op == "MatMul" and layer.filters_first
    return Form(layer.op, bias=len(node.input) > 2 and bool(node.input[2]), left=left)


def _tensors(network: Network, layer: Layer, packing: Packing, stem: str) -> list[onnx.TensorProto]:
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
            Section(places, place_bits(packing.subword_bits)),
        ]
    stream = to_stream(packing, further)
    strides = (layer.inputs, 1) if layer.filters_first else (1, layer.filters)
    arrays |= {"index": stream.content, "layout": layout(strides, layer.inputs, stream, weight.shape)}
    return [
        numpy_helper.from_array(np.ascontiguousarray(arrays[key]), f"{stem}.{key}")
        for key in packed_keys(packing.subword_bits)
    ]


def _to_packed(node: onnx.NodeProto, form: Form, tensors: list[str]) -> None:
    kept = [node.input[1 if form.left else 0], *([node.input[2]] if form.bias else [])]
    del node.input[:]
    node.input.extend([*kept, *tensors])
    node.op_type, node.domain = form.function, DOMAIN


def _to_plain(node: onnx.NodeProto, form: Form, weight: str) -> None:
    operands = {"X": node.input[0], "B": node.input[1], "W": weight}
    del node.input[:]
    node.input.extend(operands[key] for key in form.operands)
    node.op_type, node.domain = form.operator, ""


def _replace_weights(proto: onnx.ModelProto, tensors: Mapping[str, list[onnx.TensorProto]]) -> None:
    """Puts the packed tensors where each weight was; Constant and Identity nodes that fed it alone go with it."""
    initializers = list(proto.graph.initializer)
    plain = {tensor.name for tensor in initializers}
    copies: list[onnx.TensorProto] = []
    for tensor in initializers:
        copies += tensors.get(tensor.name, [tensor])
    for name, packed in tensors.items():
        copies += [] if name in plain else packed
    replace_items(proto.graph.initializer, copies)
    names = set(tensors)
    for node in proto.graph.node:
        if is_identity(node.op_type, node.domain) and node.input[0] in names:
            names.add(node.output[0])
    read = {value.name for value in proto.graph.output} | set(outer_reads(proto))
    kept: list[onnx.NodeProto] = []
    gone = set(tensors)
    for node in reversed(proto.graph.node):
        output = node.output[0] if node.output else ""
        unread = is_identity(node.op_type, node.domain) and output in names and output not in read
        if unread or (node.op_type == "Constant" and output in names):
            gone.add(output)
        else:
            kept.append(node)
            read.update(node.input)
    replace_items(proto.graph.node, kept[::-1])
    replace_items(
        proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in gone]
    )


def _restore_weights(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], restored: Mapping[str, str]
) -> None:
    """Puts each of `weights` where its packed tensors were; `restored` gives the weight for the stem of their names."""
    heads = {f"{stem}.{TENSORS[-1]}": weight for stem, weight in restored.items()}
    parts = {f"{stem}.{key}" for stem in restored for key in TENSORS}
    tensors: list[onnx.TensorProto] = []
    for tensor in proto.graph.initializer:
        if tensor.name in heads:
            tensors.append(numpy_helper.from_array(weights[heads[tensor.name]], heads[tensor.name]))
        elif tensor.name not in parts:
            tensors.append(tensor)
    replace_items(proto.graph.initializer, tensors)


def _rebuild(head: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> tuple[Packing, NDArray[Any]]:
    """The packing, and the dense weight in its own shape, from what the packed tensors hold."""
    bits = head.get("subword_bits")
    sections = len(SECTIONS) + (0 if bits is None else len(DIGIT_SECTIONS))
    strides, stream, shape = read_layout(arrays["layout"], arrays["index"], sections)
    packing = packing_of(head, stream)
    values = arrays["values"][1:] if bits is None else _digits(bits, stream)
    filters, inputs = packing.slots()
    if len(filters) != len(values):
        raise ValueError("as many values as occupied slots are needed")
    matrix = np.zeros((packing.filters, packing.inputs), values.dtype)
    places = filters, inputs - LayerMatrix(matrix, packing.groups).first_input(filters)
    if bits is None:
        matrix[places] = values
    else:
        np.add.at(matrix, places, values)
    return packing, np.ascontiguousarray(matrix if strides[0] != 1 else matrix.T).reshape(shape)


def _digits(bits: int, stream: BitStream) -> NDArray[np.int8]:
    """What the digit in each slot adds to its weight."""
    digits, signs, places = (stream.section(len(SECTIONS) + i) for i in range(len(DIGIT_SECTIONS)))
    values: NDArray[np.int8] = ((1 - 2 * signs) * digits << bits * places).astype(np.int8)
    return values
