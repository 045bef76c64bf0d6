"""OBS pruning of a network: choose weights by the network's loss, and refit those that stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.calibration.calibration import Calibration
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import Graph, read_graph
from tightc.progress import Progress
from tightc.pruning.obs.allocation import SPARSITIES, network_saliency
from tightc.pruning.obs.bias_correction import BiasCorrection, added_bias, find_bias_correction
from tightc.pruning.obs.hessian import CalibrationSums
from tightc.pruning.obs.least_squares import LeastSquares
from tightc.pruning.obs.weight_sharing import SharingLayer, layer_sums
from tightc.selection.aligned import keep_segments
from tightc.selection.network.prunable import Prunable
from tightc.selection.options import SelectionOptions
from tightc.selection.select import Candidates, select
from tightc.selection.sparse_input import above_zeros
from tightc.selection.top_k import Mask, largest

_ALLOCATION_IMAGES = 128  # enough to compare layers
_TINY = float(np.finfo(np.float64).tiny)
_MOST_INPUTS = 8192  # of a layer: its Hessian then takes half a gibibyte, and the work five times that

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _PrunedWeight:
    """A weight to prune, with the first layer that reads it, all layers that share it, and their bias corrections.

    `matrix`: (filters, inputs) float64. `weight`: in its own shape and dtype.
    """

    layer: Layer
    matrix: NDArray[np.float64]
    weight: NDArray[Any]
    readers: tuple[SharingLayer, ...]
    corrections: tuple[BiasCorrection | None, ...]


class ObsPruner:
    """Prunes the `layers` of a plain `model` with calibration images.

    OptionError if a layer has too many inputs; ModelError if its bias is not constant.
    """

    def __init__(
        self,
        model: Model,
        network: Network,
        layers: list[Prunable],
        calibration: Calibration,
        *,
        progress: Progress,
    ) -> None:
        self.model, self.layers, self.calibration, self.progress = model, layers, calibration, progress
        self.graph = read_graph(model.proto)
        self.weights = [_pruned_weight(entry.layer, network, self.graph, model) for entry in layers]
        self.steps, self.done = 2 * len(layers), 0

    def prune(self, options: SelectionOptions, fraction: float) -> Tensors:
        """The tensors that change, by name: pruned weights, and the biases or means that compensate.

        `options` select which weights to keep, `fraction` of the cost.
        """
        if fraction >= 1:
            return {}
        masks = self._select(options, fraction)
        changed: Tensors = {}
        for weight, mask in zip(self.weights, masks, strict=True):
            sums = self._sums(weight, self.model.with_tensors(changed))
            problem = LeastSquares.of(_centered(weight, sums), weight.matrix)
            kept = mask if options.granularity == "filter" else _same_count(problem, mask, options)
            changed |= self._changed(weight, sums, problem, kept & ~problem.zeros)
            self._report(weight)
        return changed

    def _select(self, options: SelectionOptions, fraction: float) -> Sequence[Mask]:
        """The masks if each layer were pruned alone, which fix the number of weights of each layer or filter."""
        few = self.calibration.first(_ALLOCATION_IMAGES)
        dense = few.output_values(self.model)
        candidates = []
        for weight, entry in zip(self.weights, self.layers, strict=True):
            sums = self._sums(weight, self.model)
            problem = LeastSquares.of(_centered(weight, sums), weight.matrix)
            saliency = problem.losses()
            if options.scope == "global":
                divergences = []
                for sparsity in SPARSITIES:
                    (mask,) = largest([saliency], saliency.size - round(sparsity * saliency.size))
                    kept = mask & ~problem.zeros
                    changed = self._changed(weight, sums, problem, kept)
                    outputs = few.output_values(self.model.with_tensors(changed))
                    divergences.append(few.divergence(dense, outputs))
                saliency = network_saliency(saliency, SPARSITIES, divergences)
            saliency = above_zeros(saliency, ~problem.zeros)
            candidates.append(Candidates(saliency, weight.layer.groups, entry.costs, entry.channels))
            self._report(weight)
        return select(candidates, options, fraction)

    def _sums(self, weight: _PrunedWeight, pruned: Model) -> list[CalibrationSums]:
        """The sums of each layer that shares the weight, with the inputs of the model as `pruned` so far."""
        shape = weight.weight.shape
        return [layer_sums(self.calibration, self.model, pruned, reader, shape) for reader in weight.readers]

    def _changed(
        self, weight: _PrunedWeight, sums: list[CalibrationSums], problem: LeastSquares, kept: Mask
    ) -> Tensors:
        """The weight, refitted where `kept`, and the corrected biases."""
        fitted = problem.weights(kept)
        if all(weight.corrections):
            fitted *= problem.output_scales(fitted)[:, None]
        dtype = weight.weight.dtype
        rounded = fitted.astype(dtype)
        # a kept weight must not be zero, even if nothing on these images depends on it
        rounded = np.where(kept & (rounded == 0), weight.matrix.astype(dtype), rounded)
        changed = {weight.layer.weight: weight.layer.tensor(rounded, weight.weight.shape)}
        for correction, part in zip(weight.corrections, sums, strict=True):
            if correction is not None:
                old = self.graph.tensors[correction.tensor]
                shift = _mean_error(part, rounded.astype(np.float64), weight.layer.groups) / correction.unit
                changed[correction.tensor] = (old + shift.reshape(old.shape)).astype(old.dtype)
        return changed

    def _report(self, weight: _PrunedWeight) -> None:
        self.done += 1
        self.progress("prune", self.done / self.steps, {"layer": weight.layer.label})


def _pruned_weight(layer: Layer, network: Network, graph: Graph, model: Model) -> _PrunedWeight:
    if layer.inputs > _MOST_INPUTS:
        raise OptionError(
            f"--criterion obs: layer {layer.label}: expected at most {_MOST_INPUTS} inputs, got {layer.inputs}",
            f"add --skip {layer.label}, or prune by magnitude",
        )
    nodes = {name: node for node in graph.nodes for name in node.outputs}
    sharing = [other for other in network.layers if other.weight == layer.weight]
    readers = tuple(
        SharingLayer(other, nodes[other.output], added_bias(other, nodes[other.output], graph))
        for other in sharing
    )
    corrections = tuple(
        find_bias_correction(reader.layer, reader.node, graph, model.proto) for reader in readers
    )
    weight = network.weights[layer.weight]
    return _PrunedWeight(layer, layer.matrix(weight).astype(np.float64), weight, readers, corrections)


def _centered(weight: _PrunedWeight, sums: list[CalibrationSums]) -> list[CalibrationSums]:
    """The sums, centered for those layers that have a bias correction."""
    return [
        part.centered() if correction else part
        for part, correction in zip(sums, weight.corrections, strict=True)
    ]


def _same_count(problem: LeastSquares, mask: Mask, options: SelectionOptions) -> Mask:
    """As many weights as in `mask`, of the layer or of each filter, those of most loss: (filters, inputs) bool."""
    losses = np.where(problem.zeros, 0.0, problem.losses() + _TINY)  # zeros last, and no saliency below 0
    if options.align is not None:
        return keep_segments(losses, 1, mask.sum(axis=1))
    return largest([losses], int(mask.sum()))[0]


def _mean_error(sums: CalibrationSums, weights: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """Mean of the wanted minus the computed outputs of each filter: (filters,) float64."""
    means = sums.input_sums / sums.count
    blocks = weights.reshape(groups, -1, weights.shape[1])
    computed = np.einsum("gnk,gk->gn", blocks, means).ravel()
    return np.asarray(sums.output_sums / sums.count - computed)
