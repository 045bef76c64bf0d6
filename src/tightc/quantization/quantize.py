"""Quantize: weights to int8 with a scale per filter and, with images, activations to int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.calibration.calibration import Calibration, calibration_of
from tightc.data.images import NormalizedImages
from tightc.data.samples import Samples
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_identity
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.onnx_proto.serialization import serialized_size
from tightc.model.packings.metadata import is_permuted, matching_packings, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.model.reading.constant_folding import fold_weights
from tightc.model.reading.opset import raise_opset
from tightc.model.runtime.float32_copy import use_float32
from tightc.progress import Progress, no_progress
from tightc.quantization.nodes import Int8Weight, with_int8_inputs, with_int8_weights
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.ranges import activation_ranges
from tightc.quantization.scale import LARGEST, best_scales, to_int8
from tightc.report import Report, Result, join_names
from tightc.selection.network.prunable import unskipped_layers

_FLOAT32_SENTENCE = "bfloat16 became float32: onnxruntime does not quantize it"
_HALF_OPSET = 19  # from which QuantizeLinear and DequantizeLinear take float16


def quantize(
    model: Model,
    options: QuantizeOptions,
    images: NormalizedImages | Samples | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Result:
    """`model` with int8 weights, symmetric, with one scale per filter; zeros stay zeros.

    Scales have the least mean square error. With `images`, drawn by `seed`, the layers' inputs are quantized too,
    symmetric, with one scale per value; `options` say how their ranges are calibrated. Weights and inputs that are
    quantized already stay as they are. `progress` is called during calibration.
    float16 takes opset 19, to which an older model is raised; bfloat16 becomes float32. ModelError if nothing is left
    to quantize, or a weight is float64; OptionError if --skip matches no layer.
    """
    plain, raised = _with_half_quantization(unpack_layers(model))
    network = read_network(plain)
    owners = unskipped_layers(network, options.skip)
    weights = {
        layer.weight: _quantized(plain, network, layer)
        for layer in owners
        if layer.weight not in network.quantized
    }
    scales: dict[str, float] = {}
    readers: list[Layer] = []
    if images is not None:
        named = {layer.weight for layer in owners}
        readers = [layer for layer in network.layers if layer.weight in named]
        calibration = calibration_of(plain, images, options.calibration_images, seed)
        largest = _largest_inputs(plain, readers, calibration, options, progress)
        scales = {
            layer.input: _input_scale(network, layer, largest[layer.input])
            for layer in readers
            if layer.input in largest
        }
    if not weights and not scales:
        raise ModelError(
            f"{model.origin}: expected float weights or inputs to quantize, got none",
            "use the model as it is",
        )
    progress("quantize", 1.0, {})
    quantized = with_int8_inputs(
        with_int8_weights(plain, weights), readers, scales, _halves(network, readers)
    )
    if weights:
        quantized = with_packings(quantized, {})
    else:  # packings stay, and must match the weights
        matching_packings(quantized, read_network(quantized))
    drawn_by = seed if images is not None else None
    entry = HistoryEntry("quantize", options.model_dump(mode="json"), drawn_by)
    source = replace(model, notes=(*model.notes, raised)) if raised else model
    quantized = stage_result(quantized, entry, source)
    rows = [_row(network, layer, weights.get(layer.weight), scales) for layer in owners]
    return Result(
        quantized,
        _report(model, quantized, rows, raised, packings_dropped=bool(weights) and is_permuted(plain)),
    )


def _quantized(model: Model, network: Network, layer: Layer) -> Int8Weight:
    weight = network.weights[layer.weight]
    if weight.dtype not in (np.float32, np.float16):
        raise ModelError(
            f"{model.origin}: layer {layer.label}: expected a float32 or float16 weight, got {weight.dtype}",
            "quantize before the model is converted, or skip the layer",
        )
    matrix = network.dequantized_matrix(layer)
    axis = layer.filters_axis(weight.ndim)
    places = _places(layer, weight.shape, axis)
    order = np.argsort(places, kind="stable")
    shared = matrix[order].reshape(
        places.max() + 1, -1
    )  # filters that share a place on the axis share a scale
    scales = best_scales(shared).astype(weight.dtype)
    per_filter = scales.astype(np.float32)[places]
    values = layer.tensor(to_int8(matrix, per_filter), weight.shape)
    return Int8Weight(values, scales, per_filter, axis)


def _places(layer: Layer, shape: tuple[int, ...], axis: int) -> NDArray[np.int64]:
    """The place of each filter on the `axis` of a weight of `shape`: (filters,)."""
    sides = [shape[axis] if other == axis else 1 for other in range(len(shape))]
    if layer.filters == 1:
        return np.zeros(1, np.int64)
    on_axis = np.broadcast_to(np.arange(shape[axis]).reshape(sides), shape)
    found: NDArray[np.int64] = layer.matrix(np.ascontiguousarray(on_axis))[:, 0]
    return found


def _with_half_quantization(model: Model) -> tuple[Model, str]:
    """`model` in a form in which its 16-bit floats can be quantized, and a sentence where it was changed."""
    dtypes = {weight.dtype.name for weight in read_network(model).weights.values()}
    proto = model.copy_proto()
    if "bfloat16" in dtypes and use_float32(proto):
        fold_weights(proto, model.origin)  # those behind a Cast
        return model.with_proto(proto), _FLOAT32_SENTENCE
    if "float16" not in dtypes:
        return model, ""
    done = raise_opset(proto, model.origin, _HALF_OPSET)
    return (model.with_proto(proto), done) if done else (model, "")


def _halves(network: Network, layers: list[Layer]) -> frozenset[str]:
    """The inputs of the layers with float16 weights."""
    return frozenset(layer.input for layer in layers if network.weights[layer.weight].dtype == np.float16)


def _input_scale(network: Network, layer: Layer, largest: float) -> float:
    """The int8 scale of an input, in the precision that the layer computes in."""
    scale = largest / LARGEST or 1.0
    if network.weights[layer.weight].dtype != np.float16:
        return scale
    return float(max(np.float16(scale), np.finfo(np.float16).smallest_subnormal))


def _largest_inputs(
    model: Model,
    layers: list[Layer],
    calibration: Calibration,
    options: QuantizeOptions,
    progress: Progress,
) -> dict[str, float]:
    """The range of each input value of `layers` that is not quantized yet, by name."""
    graph = read_graph(model.proto)
    dequantized = {name for node in graph.nodes if node.op == "DequantizeLinear" for name in node.outputs}
    values = [name for name in dict.fromkeys(layer.input for layer in layers) if name not in dequantized]
    return dict(activation_ranges(model, values, calibration, options, progress)) if values else {}


def _row(
    network: Network, layer: Layer, quantized: Int8Weight | None, scales: dict[str, float]
) -> dict[str, Any]:
    matrix, values = network.dequantized_matrix(layer), network.matrix(layer)
    row = {**layer_identity(layer), "weights": matrix.size, "rounded_to_zero": 0, "error": 0.0}
    if quantized is not None:
        values = layer.matrix(quantized.values)
        error = values * quantized.per_filter[:, None].astype(np.float64) - matrix
        row["rounded_to_zero"] = int(np.count_nonzero(matrix) - np.count_nonzero(values))
        row["error"] = float(np.sqrt(np.square(error).sum() / (np.square(matrix).sum() or 1.0)))
    return {**row, "nonzeros": int(np.count_nonzero(values)), "input_scale": scales.get(layer.input)}


def _report(
    before: Model, after: Model, rows: list[dict[str, Any]], raised: str, *, packings_dropped: bool
) -> Report:
    counts = ("weights", "nonzeros", "rounded_to_zero")
    totals = {
        **{name: sum(row[name] for row in rows) for name in counts},
        "bytes_in": serialized_size(before.proto),
        "bytes_out": serialized_size(after.proto),
    }
    notes = [*before.notes, *([raised] if raised else [])]
    rounded = [row["label"] for row in rows if row["rounded_to_zero"]]
    if rounded:
        notes.append(f"{join_names(rounded)}: some weights are below half a scale step and became zero")
    if packings_dropped:
        notes.append("the packings held for the weights before and were dropped: run tightc permute again")
    return Report("quantize", totals, tuple(rows), notes=tuple(notes))
