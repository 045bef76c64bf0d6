"""The packed form in a model: layers to packed nodes and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tightc.errors import ModelError
from tightc.model.arrangement import (
    header,
    packing_of,
    read_header,
    read_headers,
    read_packings,
    with_packings,
    write_header,
)
from tightc.model.fields import set_field
from tightc.model.figures import layer_matrix
from tightc.model.file import Model
from tightc.model.functions import FORMS, Form, functions, layout
from tightc.model.graph import default_opset
from tightc.model.layers import Layer, Network
from tightc.model.rebuild import DIGIT_TENSORS, DOMAIN, REBUILD, TENSORS, place_bits, rebuild_digits
from tightc.tiles.matrix import LayerMatrix
from tightc.tiles.packing import Packing
from tightc.tiles.store import from_bytes, select_width, to_arrays, to_bytes

_IR_WITH_FUNCTIONS = 8


def is_packed(model: Model) -> bool:
    """Whether `model` is in the packed form."""
    return any(function.domain == DOMAIN for function in model.proto.functions)


def pack_layers(model: Model, network: Network, packings: Mapping[str, Packing]) -> Model:
    """`model` with each layer in `packings` (by weight) as a packed node; other nodes and tensors are untouched.

    Where a weight is whole numbers, the layer stays too: a node before it rebuilds the constant that
    DequantizeLinear reads.
    """
    proto = model.editable()
    proto.ir_version = max(proto.ir_version, _IR_WITH_FUNCTIONS)
    layers = {layer.output: layer for layer in network.layers if layer.weight in packings}
    names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    names |= {tensor.name for tensor in proto.graph.initializer}
    forms = []
    rebuilt: list[onnx.NodeProto] = []
    tensors: dict[str, list[onnx.TensorProto]] = {}
    for node in proto.graph.node:
        layer = layers.get(node.output[0])
        if layer is None:
            continue
        new = layer.weight not in tensors
        if new:
            stem = _free_stem(layer.weight, names)
            tensors[layer.weight] = _tensors(network, layer, packings[layer.weight], stem)
            names |= {tensor.name for tensor in tensors[layer.weight]}
            write_header(proto, layer.weight, {**header(packings[layer.weight]), "tensors": stem})
        names_of = [tensor.name for tensor in tensors[layer.weight]]
        if layer.weight not in network.quantised:
            forms.append(_form(node, layer))
            _to_packed(node, forms[-1], names_of)
        elif new:
            bits = packings[layer.weight].subword_bits
            kind = REBUILD if bits is None else rebuild_digits(bits)
            rebuilt.append(helper.make_node(kind, names_of, [layer.weight], domain=DOMAIN))
    _replace_weights(proto, tensors)
    set_field(proto.graph.node, [*rebuilt, *proto.graph.node])
    digits = [packing.subword_bits for packing in packings.values() if packing.subword_bits is not None]
    proto.functions.extend(functions(forms, default_opset(proto), digits))
    proto.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model.changed(proto)


def unpack_layers(model: Model) -> Model:
    """The plain model behind a packed one, its packings recorded; a plain model comes back as it is."""
    if not is_packed(model):
        return model
    proto = model.editable()
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    stems = {head.get("tensors"): name for name, head in read_headers(model).items()}
    weights: dict[str, NDArray[Any]] = {}
    restored: dict[str, str] = {}
    packings = read_packings(model)  # of layers that have no weights left and so no packed tensors
    for node in proto.graph.node:
        if node.domain != DOMAIN:
            continue
        form = FORMS.get(node.op_type)
        stem = node.input[-1].removesuffix(f".{TENSORS[-1]}")
        weight = stems.get(stem, stem)
        if weight not in weights:
            try:
                head = read_header(model, weight)
                arrays = {
                    key: numpy_helper.to_array(constants[f"{stem}.{key}"])
                    for key in _keys(head.get("subword_bits"))
                }
                packings[weight] = packing_of(head, arrays)
                weights[weight] = _rebuild(packings[weight], arrays)
                restored[stem] = weight
            except (KeyError, ValueError, IndexError) as fault:
                raise ModelError(
                    f"{model.origin}: the packed tensors of {weight} are damaged ({fault})",
                    "run tightc pack again from the permuted model",
                ) from None
        if form is not None:
            _to_plain(node, form, weight)
    set_field(proto.graph.node, [node for node in proto.graph.node if node.domain != DOMAIN])
    _restore_weights(proto, weights, restored)
    kept = [function for function in proto.functions if function.domain != DOMAIN]
    del proto.functions[:]
    proto.functions.extend(kept)
    opsets = [entry for entry in proto.opset_import if entry.domain != DOMAIN]
    del proto.opset_import[:]
    proto.opset_import.extend(opsets)
    return with_packings(model.changed(proto), packings)


def _free_stem(weight: str, names: set[str]) -> str:
    """What the packed tensors' names begin with: the weight's name, unless the model has such names already."""
    stem = weight
    while any(f"{stem}.{key}" in names for key in {*TENSORS, *DIGIT_TENSORS}):
        stem += "_"
    return stem


def _form(node: onnx.NodeProto, layer: Layer) -> Form:
    left = layer.op == "MatMul" and layer.filters_first
    return Form(layer.op, bias=len(node.input) > 2 and bool(node.input[2]), left=left)


def _keys(subword_bits: int | None) -> tuple[str, ...]:
    """What the packed tensors of a weight are called after their stem."""
    return TENSORS if subword_bits is None else DIGIT_TENSORS


def _tensors(network: Network, layer: Layer, packing: Packing, stem: str) -> list[onnx.TensorProto]:
    weight = network.weights[layer.weight]
    arrays = {
        **to_arrays(packing),
        **_held(layer_matrix(network, layer, packing.subword_bits), packing),
        "layout": layout(layer.filters_first, layer.filters, layer.inputs, select_width(packing.fan_in)),
        "shape": np.array(weight.shape, np.int64),
        "zero": np.zeros((), weight.dtype),
    }
    return [
        numpy_helper.from_array(np.ascontiguousarray(arrays[key]).reshape(arrays[key].shape), f"{stem}.{key}")
        for key in _keys(packing.subword_bits)
    ]


def _held(matrix: LayerMatrix, packing: Packing) -> dict[str, NDArray[Any]]:
    """What the slots hold, in their order."""
    filters, inputs = packing.slots()
    if matrix.subword_bits is None:
        return {"values": matrix.weights(filters, inputs)}
    digits, places = matrix.digits(filters, inputs)
    return {
        "digits": to_bytes(np.abs(digits), matrix.subword_bits),
        "signs": to_bytes(digits < 0, 1),
        "places": to_bytes(places, place_bits(matrix.subword_bits)),
    }


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
    set_field(proto.graph.initializer, copies)
    gone = set(tensors)
    read = {name for node in proto.graph.node if node.op_type != "Identity" for name in node.input}
    read |= {value.name for value in proto.graph.output}
    kept = []
    for node in proto.graph.node:
        dead = node.op_type == "Identity" and node.input[0] in gone and node.output[0] not in read
        if dead or (node.op_type == "Constant" and node.output[0] in gone):
            gone.add(node.output[0])
        else:
            kept.append(node)
    set_field(proto.graph.node, kept)
    set_field(proto.graph.value_info, [value for value in proto.graph.value_info if value.name not in gone])


def _restore_weights(
    proto: onnx.ModelProto, weights: Mapping[str, NDArray[Any]], restored: Mapping[str, str]
) -> None:
    """Puts each of `weights` where its packed tensors were; `restored` gives the weight for the stem of their names."""
    heads = {
        f"{stem}.{keys[0]}": weight for stem, weight in restored.items() for keys in (TENSORS, DIGIT_TENSORS)
    }
    parts = {f"{stem}.{key}" for stem in restored for key in {*TENSORS, *DIGIT_TENSORS}}
    tensors: list[onnx.TensorProto] = []
    for tensor in proto.graph.initializer:
        if tensor.name in heads:
            tensors.append(numpy_helper.from_array(weights[heads[tensor.name]], heads[tensor.name]))
        elif tensor.name not in parts:
            tensors.append(tensor)
    set_field(proto.graph.initializer, tensors)


def _rebuild(packing: Packing, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The dense weight, in its own shape, from what its slots hold."""
    filters, inputs = packing.slots()
    values = _values(packing.subword_bits, arrays, len(filters))
    matrix = np.zeros((packing.filters, packing.inputs), arrays["zero"].dtype)
    local = inputs - LayerMatrix(matrix, packing.groups).first_input(filters)
    if len(filters) != len(values):
        raise ValueError("as many values as occupied slots are needed")
    if packing.subword_bits is None:
        matrix[filters, local] = values
    else:
        np.add.at(matrix, (filters, local), values)
    filters_first = bool(arrays["layout"][0] != 1)
    return np.ascontiguousarray(matrix if filters_first else matrix.T).reshape(arrays["shape"])


def _values(bits: int | None, arrays: Mapping[str, NDArray[Any]], slots: int) -> NDArray[Any]:
    """What each slot adds to its weight."""
    if bits is None:
        return arrays["values"]
    digits, places = from_bytes(arrays["digits"], bits), from_bytes(arrays["places"], place_bits(bits))
    signed = np.where(from_bytes(arrays["signs"], 1)[:slots] != 0, -1, 1) * digits[:slots]
    values: NDArray[Any] = (signed << bits * places[:slots]).astype(np.int8)
    return values
