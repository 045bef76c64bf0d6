"""The packed form of a model: layers to packed nodes and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format.functions import RebuildGroup, packed_functions
from tightc.model.file_format.headers import (
    PACK_AGAIN,
    read_headers,
    tensor_names,
    tensor_suffixes,
    write_headers,
)
from tightc.model.file_format.rebuild import (
    DOMAIN,
    DOMAIN_VERSION,
    SUBWORD_SECTIONS,
    TENSORS,
    ZEROS,
    WeightLayout,
    decode_layout,
    encode_layout,
    is_packed_form,
    rebuild_name,
    subword_index_bits,
    zero_repeats,
)
from tightc.model.file_format.value_functions import PackedWeight, WeightKind
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.quantized_weights import QuantizedWeight
from tightc.model.onnx_proto.graph import default_opset
from tightc.model.onnx_proto.naming import value_names, walk_graphs
from tightc.model.onnx_proto.repeated_fields import replace_items
from tightc.model.onnx_proto.stored_tensors import TensorStorage, tensor_from_array, tensor_values
from tightc.model.packings.metadata import (
    decode_packing,
    encode_header,
    read_packings,
    with_packings,
)
from tightc.tile.matrix import Ids, LayerMatrix
from tightc.tile.packing import Packing
from tightc.tile.store import SECTIONS, BitStream, Section, to_stream

_IR_WITH_FUNCTIONS = 8
_WEIGHTS_OF_ANY_LAYER = 2**26
_WEIGHTS_PER_BYTE = 2**14  # of the stream: a packed layer of lower density is no longer believed
# the calls of version 1 of the domain, in which each layer rebuilt its weight W: the operator and its operands
_VERSION_1 = {
    "PackedConv": ("Conv", "XW"),
    "PackedConvBias": ("Conv", "XWB"),
    "PackedGemm": ("Gemm", "XW"),
    "PackedGemmBias": ("Gemm", "XWB"),
    "PackedMatMul": ("MatMul", "XW"),
    "PackedLeftMatMul": ("MatMul", "WX"),
}


@dataclass(frozen=True)
class _Encoded:
    """A weight as packed `tensors`, its `header`, and the `function` that rebuilds it, with its `kind` of weights."""

    header: dict[str, Any]
    kind: WeightKind
    function: str
    packed: PackedWeight
    tensors: list[onnx.TensorProto]


def is_packed(model: Model) -> bool:
    """Whether `model` is in the packed form."""
    return is_packed_form(model.proto)


def pack_layers(model: Model, network: Network, packings: Mapping[str, Packing]) -> Model:
    """`model` with packed tensors in place of the weights in `packings`, and nodes that rebuild them.

    One node rebuilds all weights of a kind. All other nodes and tensors are untouched: they read the weights as before.
    """
    proto = model.copy_proto()
    proto.ir_version = max(proto.ir_version, _IR_WITH_FUNCTIONS)
    used_names = {name for graph in walk_graphs(proto.graph) for name in value_names(graph)}
    headers = read_headers(model.proto, model.origin)
    encoded: dict[str, _Encoded] = {}
    for layer in network.owners:
        packing = packings.get(layer.weight)
        if packing is None:
            continue
        prefix = _free_prefix(layer.weight, used_names)
        encoded[layer.weight] = _encode(network, layer, packing, prefix, model.storage)
        used_names |= {tensor.name for tensor in encoded[layer.weight].tensors}
        headers[layer.weight] = encoded[layer.weight].header
    _replace_weights(proto, encoded)
    write_headers(proto, headers)
    _add_rebuilding(proto, encoded)
    return model.with_proto(proto)


def _add_rebuilding(proto: onnx.ModelProto, encoded: Mapping[str, _Encoded]) -> None:
    """Put nodes before all others of `proto` that rebuild the `encoded` weights, with their functions."""
    nodes, groups = [], []
    for name in dict.fromkeys(own.function for own in encoded.values()):
        members = {weight: own for weight, own in encoded.items() if own.function == name}
        weights = sorted(members, key=lambda weight: members[weight].packed.int32_layout)
        inputs = [tensor.name for weight in weights for tensor in members[weight].tensors]
        nodes.append(helper.make_node(name, inputs, weights, domain=DOMAIN))
        kind = members[weights[0]].kind
        groups.append(RebuildGroup(name, kind, tuple(members[weight].packed for weight in weights)))
    replace_items(proto.graph.node, [*nodes, *proto.graph.node])
    proto.functions.extend(packed_functions(groups, default_opset(proto)))
    proto.opset_import.append(helper.make_opsetid(DOMAIN, DOMAIN_VERSION))


def unpack_layers(model: Model) -> Model:
    """The plain model of a packed `model`, with its packings recorded; a plain model is returned unchanged."""
    plain, packings = decode_layers(model)
    return plain if packings is None else with_packings(plain, packings)


def decode_layers(model: Model) -> tuple[Model, dict[str, Packing] | None]:
    """(the plain model of a packed `model`, without a record of packings; these packings, by weight).

    A plain model is returned unchanged, with None.
    """
    if not is_packed(model):
        return model, None
    proto = model.copy_proto()
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    headers = read_headers(model.proto, model.origin)
    stems = {header.get("tensors", weight): weight for weight, header in headers.items()}
    weights: dict[str, onnx.TensorProto] = {}
    packings = read_packings(model)  # of layers without non-zeros, which have no packed tensors
    for node in proto.graph.node:
        for weight in _packed_weights(node, stems):
            if weight not in headers:
                raise ModelError(
                    f"{model.origin}: the packing of {weight} is not recorded: removed or renamed since tightc pack",
                    PACK_AGAIN,
                )
            try:
                packings[weight], values = _decode_tensors(headers[weight], weight, constants)
            except (ValueError, IndexError) as fault:
                raise ModelError(
                    f"{model.origin}: the packed tensors of {weight} are damaged ({fault})",
                    PACK_AGAIN,
                ) from None
            weights[weight] = tensor_from_array(values, weight, model.storage)
            if node.op_type in _VERSION_1 and len(node.input) > 1:
                _to_plain(node, weight)
    replace_items(proto.graph.node, [node for node in proto.graph.node if node.domain != DOMAIN])
    _restore_weights(proto, weights, headers)
    _remove_domain(proto)
    write_headers(proto, {})
    return model.with_proto(proto), packings


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
    while any(f"{prefix}.{suffix}" in used_names for suffix in (*TENSORS, ZEROS)):
        prefix += "_"
    return prefix


def _packed_weights(node: onnx.NodeProto, stems: Mapping[str, str]) -> list[str]:
    """The weights that `node` rebuilds, none for other nodes; `stems` gives the weight by the name of its tensors."""
    if node.domain != DOMAIN:
        return []
    if node.op_type in _VERSION_1 and len(node.input) > 1:
        stem = node.input[-1].removesuffix(f".{TENSORS[-1]}")
        return [stems.get(stem, stem)]
    return list(node.output)


def _encode(
    network: Network, layer: Layer, packing: Packing, prefix: str, storage: TensorStorage
) -> _Encoded:
    """The weight of `layer` as packed tensors with names that start with `prefix`; `storage` takes large ones."""
    bits, dtype, entry = (
        packing.subword_bits,
        network.stored[layer.weight],
        network.quantized.get(layer.weight),
    )
    shape = network.shapes[layer.weight]
    several = bits is None and entry is not None and not entry.has_one_zero_point
    renamed = {} if prefix == layer.weight else {"tensors": prefix}
    header = {**encode_header(packing), **renamed, **({ZEROS: True} if several else {})}
    matrix = layer_matrix(network, layer, bits)
    filters, inputs = packing.slots()
    arrays, further = {}, []
    if bits is None:
        arrays["values"] = _stored_values(network, layer, filters, inputs)
    else:
        digits, places = matrix.subwords(filters, inputs)
        further = [
            Section(np.abs(digits), bits),
            Section((digits < 0).astype(np.uint8), 1),
            Section(places, subword_index_bits(bits)),
        ]
    if several and entry is not None:
        arrays[ZEROS] = _zeros(entry, shape).astype(dtype)
    stream = to_stream(packing, further)
    per_group = layer.filters // layer.groups
    filter_stride, input_stride = (layer.inputs, 1) if layer.filters_first else (1, per_group)
    layout = WeightLayout(filter_stride, input_stride, layer.inputs, shape)
    numbers = encode_layout(layout, stream)
    arrays |= {"index": stream.content, "layout": numbers}
    tensors = [
        tensor_from_array(arrays[suffix], f"{prefix}.{suffix}", storage) for suffix in tensor_suffixes(header)
    ]
    zero_point = 0 if entry is None else int(entry.zero_points.flat[0])
    return _Encoded(
        header,
        WeightKind(dtype.name, bits, several),
        rebuild_name(dtype, bits, None if several else zero_point),
        PackedWeight(layout, stream, numbers.dtype == np.int32, arrays[ZEROS].shape if several else ()),
        tensors,
    )


def _stored_values(network: Network, layer: Layer, filters: Ids, inputs: Ids) -> NDArray[Any]:
    """The packed tensor `values`: what empty slots hold, then the weights of these `filters` and `inputs`."""
    stored = network.with_zero_points(network.weights)[layer.weight]
    matrix = LayerMatrix(layer.matrix(stored), layer.groups)
    entry = network.quantized.get(layer.weight)
    zero_point = 0 if entry is None or not entry.has_one_zero_point else int(entry.zero_points[0])
    return np.append(np.array([zero_point]).astype(stored.dtype), matrix.weights(filters, inputs))


def _zeros(entry: QuantizedWeight, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The zero points with as many axes as the weight of `shape`, each for as many places as the next."""
    zeros = entry.zero_points
    if entry.axis is not None and entry.block and zeros.shape[entry.axis] * entry.block == shape[entry.axis]:
        return zeros
    return entry.spread(zeros, shape)  # the last block may be shorter


def _array(constants: Mapping[str, onnx.TensorProto], name: str) -> NDArray[Any]:
    if name not in constants:
        raise ValueError(f"expected the tensor {name}, got none")
    values: NDArray[Any] = tensor_values(constants[name])
    return values


def _decode_tensors(
    header: Mapping[str, Any], weight: str, constants: Mapping[str, onnx.TensorProto]
) -> tuple[Packing, NDArray[Any]]:
    """The packing and the dense tensor of `weight`, from its packed tensors among `constants`."""
    bits = header.get("subword_bits")
    named = zip(tensor_suffixes(header), tensor_names(weight, header), strict=True)
    arrays = {suffix: _array(constants, name) for suffix, name in named}
    sections = len(SECTIONS) + (0 if bits is None else len(SUBWORD_SECTIONS))
    layout, stream = decode_layout(arrays["layout"], arrays["index"], sections)
    packing = decode_packing(header, stream)
    _require_size(packing, layout, stream)
    values = np.append(np.int8(0), _decode_subwords(bits, stream)) if bits else arrays["values"]
    if values.ndim != 1 or not len(values):
        raise ValueError(f"expected a list of values, got shape {values.shape}")
    empty, values = values[0], values[1:]
    filters, inputs = packing.slots()
    if len(filters) != len(values):
        raise ValueError(f"expected {len(filters)} values for as many occupied slots, got {len(values)}")
    matrix = np.full((packing.filters, packing.inputs), empty, values.dtype)
    elements = filters, inputs - LayerMatrix(matrix, packing.groups).first_input(filters)
    if any((own < 0).any() or (own >= side).any() for own, side in zip(elements, matrix.shape, strict=True)):
        raise ValueError("a slot holds a weight that the layer does not have")
    if bits is None:
        matrix[elements] = values
    else:
        np.add.at(matrix, elements, values)
    tensor = _as_tensor(matrix, packing, layout)
    if ZEROS in arrays:
        written = np.zeros(matrix.shape, bool)
        written[elements] = True
        zeros = arrays[ZEROS]
        for axis, times in enumerate(zero_repeats(zeros.shape, layout.shape)):
            zeros = np.repeat(zeros, times, axis)
        tensor = np.where(_as_tensor(written, packing, layout), tensor, zeros)
    return packing, tensor


def _require_size(packing: Packing, layout: WeightLayout, stream: BitStream) -> None:
    """ValueError where the dense weight has another size than its layer, or one beyond all sense for its stream."""
    weights = packing.filters * packing.inputs
    if prod(layout.shape) != weights or min(layout.shape, default=0) < 1:
        raise ValueError(
            f"expected a shape of {packing.filters}x{packing.inputs} weights, got {layout.shape}"
        )
    most = max(_WEIGHTS_OF_ANY_LAYER, _WEIGHTS_PER_BYTE * len(stream.content))
    if weights > most:
        raise ValueError(f"expected at most {most} weights for so short a stream, got {weights}")


def _as_tensor(matrix: NDArray[Any], packing: Packing, layout: WeightLayout) -> NDArray[Any]:
    """A layer matrix in the layout of the weight."""
    if layout.filter_stride == 1:
        matrix = matrix.reshape(packing.groups, -1, packing.inputs).swapaxes(1, 2)
    return np.ascontiguousarray(matrix).reshape(layout.shape)


def _decode_subwords(bits: int, stream: BitStream) -> NDArray[np.int8]:
    """What the subword in each slot adds to its weight, (slots,) int8."""
    digits, signs, places = (stream.section(len(SECTIONS) + i) for i in range(len(SUBWORD_SECTIONS)))
    values: NDArray[np.int8] = ((1 - 2 * signs) * digits << bits * places).astype(np.int8)
    return values


def _to_plain(node: onnx.NodeProto, weight: str) -> None:
    """Make a packed `node` of version 1 the plain operator again, on its activations, the `weight` and its bias."""
    operator, names = _VERSION_1[node.op_type]
    operands = {"X": node.input[0], "B": node.input[1], "W": weight}
    node.input[:] = [operands[name] for name in names]
    node.op_type, node.domain = operator, ""


def _replace_weights(proto: onnx.ModelProto, encoded: Mapping[str, _Encoded]) -> None:
    """Put the packed tensors in place of each of the `encoded` weights, which are initializers or Constant nodes."""
    initializers = list(proto.graph.initializer)
    plain = {tensor.name for tensor in initializers}
    replaced: list[onnx.TensorProto] = []
    for tensor in initializers:
        replaced += encoded[tensor.name].tensors if tensor.name in encoded else [tensor]
    for weight, own in encoded.items():
        replaced += [] if weight in plain else own.tensors
    replace_items(proto.graph.initializer, replaced)
    kept = [
        node for node in proto.graph.node if not (node.op_type == "Constant" and node.output[0] in encoded)
    ]
    replace_items(proto.graph.node, kept)


def _restore_weights(
    proto: onnx.ModelProto, weights: Mapping[str, onnx.TensorProto], headers: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put each of `weights` in place of its packed tensors, which its header names."""
    names = {weight: tensor_names(weight, headers[weight]) for weight in weights}
    last = {own[-1]: weight for weight, own in names.items()}
    packed = {name for own in names.values() for name in own}
    tensors: list[onnx.TensorProto] = []
    for tensor in proto.graph.initializer:
        if tensor.name in last:
            tensors.append(weights[last[tensor.name]])
        elif tensor.name not in packed:
            tensors.append(tensor)
    replace_items(proto.graph.initializer, tensors)
