"""Quantize: weights as int8 with a scale for each filter and, with images, what streams through them too."""

from __future__ import annotations

from typing import Any

import numpy as np

from tightc.calibration.calibration import Calibration
from tightc.data.images import NormalizedImages
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.history import HistoryEntry, stage_result
from tightc.model.layer_view.layer_metrics import layer_identity
from tightc.model.layer_view.layers import Layer, Network, read_network
from tightc.model.onnx_proto.graph import read_graph
from tightc.model.packings.metadata import is_permuted, matching_packings, with_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.progress import Progress, no_progress
from tightc.quantization.nodes import WholeWeight, with_whole_inputs, with_whole_weights
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.ranges import spans
from tightc.quantization.scale import LARGEST, best_scales, to_int8
from tightc.report import Report, first_few
from tightc.selection.prunable import layers_except


def quantize(
    model: Model,
    options: QuantizeOptions,
    seen: NormalizedImages | None = None,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[Model, Report]:
    """`model` with the weights of its layers as int8, symmetric, with a scale for each filter; zeros stay zeros.

    Scales are those that leave the least mean square error. With images that are `seen`, drawn by `seed`, what streams
    into the layers goes through int8 too, symmetric, with one scale for each value. Standard QuantizeLinear and
    DequantizeLinear say so in the model. What is quantized already stays as it is. ModelError where all is, or a weight
    is not float32; OptionError where --keep names no layer.
    """
    plain = unpack_layers(model)
    network = read_network(plain)
    owners = layers_except(network, options.keep)
    weights = {
        layer.weight: _whole(plain, network, layer)
        for layer in owners
        if layer.weight not in network.quantized
    }
    scales: dict[str, float] = {}
    readers: list[Layer] = []
    if seen is not None:
        named = {layer.weight for layer in owners}
        readers = [layer for layer in network.layers if layer.weight in named]
        calibration = Calibration.of(plain, seen.images, seen.normalization, options.images, seed)
        scales = _scales(plain, readers, calibration, options, progress)
    if not weights and not scales:
        raise ModelError(f"{model.origin}: what could be is quantized already", "use it as it is")
    progress("quantize", 1.0, {})
    whole = with_whole_inputs(with_whole_weights(plain, weights), readers, scales)
    if weights:
        whole = with_packings(whole, {})
    else:  # the arrangement stays, and has to be that of the weights
        matching_packings(whole, read_network(whole))
    drawn_by = seed if seen is not None else None
    whole = stage_result(whole, HistoryEntry("quantize", options.model_dump(mode="json"), drawn_by), model)
    rows = [_row(network, layer, weights.get(layer.weight), scales) for layer in owners]
    return whole, _report(model, whole, rows, gone=bool(weights) and is_permuted(plain))


def _whole(model: Model, network: Network, layer: Layer) -> WholeWeight:
    weight = network.weights[layer.weight]
    if weight.dtype != np.float32:
        raise ModelError(
            f"{model.origin}: the weight of {layer.name} is {weight.dtype}, quantize takes float32",
            "quantize before the model is converted, or keep the layer",
        )
    matrix = network.dequantized_matrix(layer)
    scales = best_scales(matrix)
    values = layer.tensor(to_int8(matrix, scales), weight.shape)
    return WholeWeight(values, scales, 0 if layer.filters_first else 1)


def _scales(
    model: Model,
    layers: list[Layer],
    calibration: Calibration,
    options: QuantizeOptions,
    progress: Progress,
) -> dict[str, float]:
    """The step of int8 for each value that streams into `layers` and is no int8 yet."""
    graph = read_graph(model.proto)
    ready = {name for node in graph.nodes if node.op == "DequantizeLinear" for name in node.outputs}
    values = [name for name in dict.fromkeys(layer.input for layer in layers) if name not in ready]
    largest = spans(model, values, calibration, options, progress) if values else {}
    return {name: largest[name] / LARGEST or 1.0 for name in values}


def _row(
    network: Network, layer: Layer, whole: WholeWeight | None, scales: dict[str, float]
) -> dict[str, Any]:
    matrix, values = network.dequantized_matrix(layer), network.matrix(layer)
    row = {**layer_identity(layer), "weights": matrix.size, "rounded_to_zero": 0, "error": 0.0}
    if whole is not None:
        values = layer.matrix(whole.values)
        left = values * whole.scales[:, None].astype(np.float64) - matrix
        row["rounded_to_zero"] = int(np.count_nonzero(matrix) - np.count_nonzero(values))
        row["error"] = float(np.sqrt(np.square(left).sum() / (np.square(matrix).sum() or 1.0)))
    return {**row, "nonzeros": int(np.count_nonzero(values)), "input_scale": scales.get(layer.input)}


def _report(before: Model, after: Model, rows: list[dict[str, Any]], *, gone: bool) -> Report:
    counts = ("weights", "nonzeros", "rounded_to_zero")
    totals = {
        **{name: sum(row[name] for row in rows) for name in counts},
        "bytes_in": len(before.to_bytes()),
        "bytes_out": len(after.to_bytes()),
    }
    notes = list(before.notes)
    lost = [row["name"] for row in rows if row["rounded_to_zero"]]
    if lost:
        notes.append(f"{first_few(lost)}: some weights are below half a step and became zero")
    if gone:
        notes.append("the arrangement was made for the weights before and is gone: run tightc permute again")
    return Report("quantize", totals, tuple(rows), notes=tuple(notes))
