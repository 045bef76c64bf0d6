"""What pruning filters did to a file, by plain loops over its nodes: which filters went, and what was cut with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from helpers.chains import constants
from helpers.graphs.network import Array, run

# the weight's place, and that of its zero point, of the operators that read one
_PLACES = {
    "Conv": [(1, None)],
    "ConvTranspose": [(1, None)],
    "Gemm": [(1, None), (0, None)],
    "MatMul": [(1, None), (0, None)],
    "ConvInteger": [(1, 3)],
    "MatMulInteger": [(1, 3), (0, 2)],
    "QLinearConv": [(3, 5)],
    "QLinearMatMul": [(3, 5), (0, 2)],
}


@dataclass(frozen=True)
class _Weight:
    """A weight that a node reads: its tensor, the node, the node's place for it, and its zero point."""

    tensor: str
    node: onnx.NodeProto
    place: int
    zero: int


def _weights(proto: onnx.ModelProto) -> Iterator[_Weight]:
    tensors = constants(proto)
    producers = {name: node for node in proto.graph.node for name in node.output}
    for node in proto.graph.node:
        for place, zero_place in _PLACES.get(node.op_type, []):
            name, zero = node.input[place], 0
            if zero_place is not None and zero_place < len(node.input) and node.input[zero_place]:
                zero = int(tensors[node.input[zero_place]].flat[0])
            while name in producers and producers[name].op_type in ("Identity", "DequantizeLinear"):
                source = producers[name]
                if (
                    source.op_type == "DequantizeLinear"
                    and len(source.input) > 2
                    and source.input[2] in tensors
                ):
                    zero = int(tensors[source.input[2]].flat[0])
                name = source.input[0]
            if name in tensors:
                yield _Weight(name, node, place, zero)
                break


def _by_filter(weight: _Weight, array: Array) -> Array:
    """A view of (filters or groups of them, ..., inputs) with all filters in the first axes, inputs last."""
    node = weight.node
    settings = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    if node.op_type == "ConvTranspose":
        groups = settings.get("group", 1)
        split = array.reshape(groups, array.shape[0] // groups, array.shape[1], -1)
        return split.transpose(0, 2, 1, 3).reshape(groups * array.shape[1], -1)
    if "Conv" in node.op_type:
        return array.reshape(len(array), -1)
    if array.ndim == 1:
        return array.reshape(1, -1)
    transposed = settings.get("transA" if weight.place == 0 else "transB", 0)
    left = weight.place == 0
    matrix = array if left != bool(transposed) else array.swapaxes(-1, -2)
    return matrix.reshape(-1, matrix.shape[-1])


def _back(weight: _Weight, rows: Array, like: Array) -> Array:
    """The tensor whose filters are `rows`."""
    places = _by_filter(weight, np.arange(like.size).reshape(like.shape))
    flat = np.empty(like.size, like.dtype)
    flat[places.reshape(-1)] = rows.reshape(-1)
    return flat.reshape(like.shape)


def removed_filters(before: onnx.ModelProto, after: onnx.ModelProto) -> int:
    return sum(int(dead.sum()) for _, dead, _ in _compared(before, after))


def _compared(before: onnx.ModelProto, after: onnx.ModelProto) -> Iterator[tuple[_Weight, Array, Array]]:
    old, new = constants(before), constants(after)
    for weight in _weights(after):
        if weight.tensor in old:
            rows, left = _by_filter(weight, old[weight.tensor]), _by_filter(weight, new[weight.tensor])
            dead = (rows != weight.zero).any(axis=1) & (left == weight.zero).all(axis=1)
            yield weight, dead, np.where(dead[:, None], left, rows)


def with_inputs_restored(before: onnx.ModelProto, after: onnx.ModelProto) -> onnx.ModelProto:
    """`after` with the weights of `before`, but for the removed filters: nothing that reads their zeros is cut."""
    restored = {
        weight.tensor: _back(weight, rows, constants(before)[weight.tensor])
        for weight, _, rows in _compared(before, after)
    }
    result = onnx.ModelProto()
    result.CopyFrom(after)
    for tensor in result.graph.initializer:
        if tensor.name in restored:
            tensor.CopyFrom(numpy_helper.from_array(restored[tensor.name], tensor.name))
    for node in result.graph.node:
        if node.op_type == "Constant" and node.output[0] in restored:
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(restored[node.output[0]]))
    return result


def shifted_channels(
    before: onnx.ModelProto, after: onnx.ModelProto, feeds: dict[str, Array]
) -> Iterator[Array]:
    """Of each node whose bias or shift was changed: its outputs where it was, which have to be zeros."""
    old, new = constants(before), constants(after)
    weights = {weight.tensor for weight in _weights(after)}
    changed = []
    for earlier, node in zip(before.graph.node, after.graph.node, strict=True):
        for one, other in zip(earlier.input, node.input, strict=True):
            if one in old and other in new and other not in weights:
                mask = old[one] != new[other]
                if mask.any() and "Linear" not in node.op_type and "Integer" not in node.op_type:
                    changed.append((node, mask))
    if not changed:
        return
    probe = onnx.ModelProto()
    probe.CopyFrom(after)
    del probe.graph.output[:]
    names = list(dict.fromkeys(node.output[0] for node, _ in changed))
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    values = dict(zip(names, run(probe, feeds), strict=True))
    for node, mask in changed:
        value = values[node.output[0]]
        if node.op_type in ("Conv", "ConvTranspose", "BatchNormalization"):
            mask = mask.reshape(-1, *(1,) * (value.ndim - 2))
        yield value[np.broadcast_to(mask, value.shape)]
