"""Sensitivity analysis: the loss of accuracy if one layer alone is pruned by magnitude, for each layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tightc.calibration.calibration import Calibration
from tightc.calibration.divergence import kl_divergence
from tightc.data.images import Images, Normalization, check_labels
from tightc.inspection.options import SPARSITIES, SensitivityOptions
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.packings.packed_form import decode_layers
from tightc.progress import Progress, no_progress
from tightc.report import LayerReport, Report
from tightc.selection.top_k import largest


def with_sensitivity(
    report: Report,
    model: Model,
    images: Images,
    normalization: Normalization,
    options: SensitivityOptions,
    *,
    progress: Progress = no_progress,
) -> Report:
    """The `report` of inspect with the sensitivity of each layer of `model`, on `images`.

    `options`: number and seed of the images drawn, normalized by `normalization`. `progress` is called after each
    layer.
    Totals get `accuracy` (percent) of the model as it is, and `images`. Each row gets, for each sparsity S of
    SPARSITIES, `accuracy_drop_at_S` (points) and `divergence_at_S` (KL divergence of the class probabilities, nats).
    They are None for a layer that shares the weight of an earlier one. ModelError or DataError if model, images and
    labels do not fit.
    """
    plain, _ = decode_layers(model)
    network = read_network(plain)
    drawn = Calibration.of(plain, images, normalization, options.images, options.seed)
    before = drawn.logits(plain)
    check_labels(images, before.shape[1])
    labels = drawn.require_labels()
    accuracy = _accuracy(before, labels)
    rows: list[LayerReport] = []
    for layer, row in zip(network.layers, report.layers, strict=True):
        loss: dict[str, float | None] = {}
        for sparsity in SPARSITIES:
            drop = divergence = None
            if layer.shared_with is None:
                after = drawn.logits(_pruned(plain, network, layer, sparsity))
                drop, divergence = accuracy - _accuracy(after, labels), kl_divergence(before, after)
            loss |= {f"accuracy_drop_at_{sparsity}": drop, f"divergence_at_{sparsity}": divergence}
        rows.append(LayerReport({**row, **loss}))
        progress("sensitivity", len(rows) / len(network.layers), {"layer": layer.label})
    totals = {**report.totals, "accuracy": accuracy, "images": len(labels)}
    return replace(report, totals=totals, layers=tuple(rows))


def _pruned(model: Model, network: Network, layer: Layer, sparsity: float) -> Model:
    """The model with the smallest weights of one layer set to zero."""
    weight = network.weights[layer.weight]
    magnitudes = np.abs(network.dequantized_matrix(layer))
    (kept,) = largest([magnitudes], magnitudes.size - round(sparsity * magnitudes.size))
    pruned = np.where(layer.tensor(kept, weight.shape), weight, weight.dtype.type(0))
    return network.store(model, {layer.weight: pruned})


def _accuracy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Top-1, in percent."""
    return 100 * float(np.mean(logits.argmax(axis=1) == labels))
