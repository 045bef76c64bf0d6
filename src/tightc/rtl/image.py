"""The layers of a network as the accelerator takes them: tiles, windows, requantization, and what is expected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from tightc.accelerator.accelerator import Accelerator
from tightc.cost_model.cycles import layer_cycles, start_cycles
from tightc.errors import OptionError
from tightc.model.intermediate_values import Values, intermediate_values
from tightc.model.layer_view.im2col import output_matrix
from tightc.model.onnx_proto.graph import Node, read_graph
from tightc.model.runtime.session import create_session
from tightc.progress import Progress
from tightc.rtl.fixed_point import FixedPoint
from tightc.rtl.operands import Operands, QuantizedInput, quantized_input, read_operands
from tightc.rtl.outputs import (
    NO_POOL,
    OutputPath,
    Pool,
    Quantization,
    output_path,
    with_dequantized_lists,
)
from tightc.rtl.tile_image import TileImage, tile_image
from tightc.rtl.window import WindowPath, window_path
from tightc.simulation.integer_products import ACTIVATION_LIMIT, WEIGHT_LIMIT, integer_product, parts
from tightc.simulation.workload import LayerWorkload, Workload
from tightc.tile.dense import dense_packing
from tightc.tile.matrix import LayerMatrix


@dataclass(frozen=True)
class LayerImage:
    """The images of one layer.

    `sums`: (vectors, filters) int32, of onnxruntime. `bytes`: (vectors, filters) int8, of onnxruntime, None where the
    outputs are not quantized or a mean comes before. `starts`: (tiles,), the cycles in which the first steps enter, of
    `cycles`. `source`: the number of the layer whose outputs this one reads through `pool`, None where it is not known.
    """

    workload: LayerWorkload
    tiles: TileImage
    window: WindowPath
    zero_point: int
    requantization: FixedPoint
    sums: NDArray[np.int32]
    bytes: NDArray[np.int8] | None
    starts: NDArray[np.int64]
    cycles: int
    source: int | None = None
    pool: Pool = NO_POOL


@dataclass(frozen=True)
class _Quantized:
    """A layer with int8 operands: its node, where it reads, and where its outputs go."""

    entry: LayerWorkload
    node: Node
    source: QuantizedInput
    path: OutputPath


def layer_images(
    workload: Workload, accelerator: Accelerator, fan_in: int, feeds: Values, progress: Progress
) -> tuple[list[LayerImage], list[str]]:
    """The images of all layers with int8 operands, in order, in one run on `feeds`; and the names of the others.

    `fan_in`: inputs of the multiplexers. OptionError where no layer has int8 operands.
    """
    found, left_out = _quantized_layers(workload)
    operands = read_operands(workload, [(one.entry, one.source) for one in found], feeds) if found else []
    left_out += [one.entry.layer.label for one, read in zip(found, operands, strict=True) if read is None]
    pairs = [
        (replace(one, path=one.path.representable(read.scale)), read)
        for one, read in zip(found, operands, strict=True)
        if read is not None
    ]
    if not pairs:
        raise OptionError(
            f"{workload.plain.origin}: expected a layer with int8 weights and activations, got none",
            "run tightc quantize with --data first",
        )
    outputs = _expected_bytes(workload, [one.path for one, _ in pairs], feeds)
    images: list[LayerImage] = []
    for (one, read), given in zip(pairs, outputs, strict=True):
        image = _layer_image(one, read, given, accelerator, fan_in)
        images.append(_with_source(image, one, [earlier for earlier, _ in pairs[: len(images)]], images))
        progress("rtl", len(images) / len(pairs), {"layer": one.entry.layer.label})
    return images, left_out


def _quantized_layers(workload: Workload) -> tuple[list[_Quantized], list[str]]:
    graph = with_dequantized_lists(read_graph(workload.plain.proto))
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    consumers = graph.consumers()
    found, left_out = [], []
    for entry in workload.layers:
        node = producers[entry.layer.output]
        source = quantized_input(entry.layer, node, graph, producers)
        if source is None:
            left_out.append(entry.layer.label)
        else:
            found.append(_Quantized(entry, node, source, output_path(entry.layer, node, graph, consumers)))
    return found, left_out


def _layer_image(
    one: _Quantized,
    operands: Operands,
    given: NDArray[Any] | None,
    accelerator: Accelerator,
    fan_in: int,
) -> LayerImage:
    entry, layer = one.entry, one.entry.layer
    packing = entry.packing or dense_packing(layer.filters, layer.inputs, layer.groups, accelerator.array)
    matrix = LayerMatrix(np.ascontiguousarray(layer.matrix(operands.weight)), layer.groups)
    window = window_path(layer, one.node, operands.value, operands.zero_point, operands.weight.shape)
    requantization = _without_zero_point(one.path.requantization(operands.scale), matrix, operands.zero_point)
    passes = entry.passes("ws", accelerator)
    starts = start_cycles(passes, accelerator)
    hops = np.arange(accelerator.array.columns) // accelerator.columns_per_lane_register
    return LayerImage(
        workload=entry,
        tiles=tile_image(packing, matrix, fan_in, window.geometry, starts[:, None] + hops),
        window=window,
        zero_point=operands.zero_point,
        requantization=requantization,
        sums=_sums(one, operands, matrix),
        bytes=_as_matrix(one, given),
        starts=starts,
        cycles=layer_cycles(passes, accelerator).total,
    )


def _without_zero_point(form: FixedPoint, matrix: LayerMatrix, zero_point: int) -> FixedPoint:
    """`form` for sums of activations as they are stored, with their zero point."""
    return replace(form, offset=form.offset - form.multiplier * zero_point * _weight_sums(matrix))


def _weight_sums(matrix: LayerMatrix) -> NDArray[np.int64]:
    sums: NDArray[np.int64] = matrix.values.sum(axis=1, dtype=np.int64)
    return sums


def _sums(one: _Quantized, operands: Operands, matrix: LayerMatrix) -> NDArray[np.int32]:
    """onnxruntime's sums of the products, and what the zero points of the activations add to them."""
    value = operands.value.astype(np.int32) - operands.zero_point
    total = sum(
        integer_product(one.entry.layer, one.node, value_part, weight_part)
        for value_part in parts(value, ACTIVATION_LIMIT)
        for weight_part in parts(operands.weight, WEIGHT_LIMIT)
    )
    found: NDArray[np.int32] = (total + operands.zero_point * _weight_sums(matrix)).astype(np.int32)
    return found


def _as_matrix(one: _Quantized, given: NDArray[Any] | None) -> NDArray[np.int8] | None:
    if given is None or one.path.quantization is None:
        return None
    shifted = given.astype(np.int16) - one.path.quantization.shift
    return np.ascontiguousarray(output_matrix(one.entry.layer, shifted).astype(np.int8))


def _expected_bytes(
    workload: Workload, paths: Sequence[OutputPath], feeds: Values
) -> Iterator[NDArray[Any] | None]:
    """The quantized outputs of each of `paths` by onnxruntime, None where there are none before a mean."""
    quantized = [path for path in paths if path.quantization is not None and path.pool.kind != "mean"]
    values = intermediate_values(workload.plain, sorted({path.real for path in quantized}), feeds)
    for path in paths:
        if path.quantization is None or path.pool.kind == "mean":
            yield None
        elif values[path.real].dtype in (np.int8, np.uint8):
            yield values[path.real]
        else:
            yield _quantize(values[path.real], path.quantization)


def _quantize(values: NDArray[Any], quantization: Quantization) -> NDArray[Any]:
    """`values` through onnxruntime's QuantizeLinear."""
    kind = onnx.TensorProto.UINT8 if quantization.unsigned else onnx.TensorProto.INT8
    constants = [
        helper.make_tensor("scale", onnx.TensorProto.FLOAT, (), [quantization.scale]),
        helper.make_tensor("zero", kind, (), [quantization.zero_point]),
    ]
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
        "quantize",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("y", kind, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = create_session(model.SerializeToString(), "QuantizeLinear")
    found: NDArray[Any] = session.run(None, {"x": values.astype(np.float32)})[0]
    return found


def _with_source(
    image: LayerImage, one: _Quantized, earlier: Sequence[_Quantized], images: Sequence[LayerImage]
) -> LayerImage:
    """`image` with the layer that it reads from, where the bytes between them are the same and in one order."""
    for number, before in enumerate(earlier):
        pool = before.path.names.get(one.source.name)
        if pool is None or before.path.quantization is None:
            continue
        if not (image.window.in_order and images[number].window.in_order):
            continue
        same = before.path.quantization.zero_point - before.path.quantization.shift == image.zero_point
        positive = pool.kind != "mean" or image.zero_point == 0
        window, written = images[number].window, map_after(images[number], pool)
        if same and positive and window.images * prod(written) == image.window.bytes.size:
            return replace(image, source=number, pool=pool)
    return image


def map_after(image: LayerImage, pool: Pool) -> tuple[int, int, int]:
    """(channels, height, width) of one image after `pool`."""
    sides = (
        1 if pool.kernel is None else (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip(
            image.window.outputs, pool.pads, pool.kernel or (1, 1), pool.strides, strict=True
        )
    )
    height, width = sides
    return image.workload.layer.filters, height, width
