"""Prune by second moments: choose weights by what the network loses without them, and refit those that stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tightc.calibration.calibration import Calibration
from tightc.calibration.divergence import divergence
from tightc.errors import OptionError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Layer, Network
from tightc.model.onnx_proto.graph import Graph, read_graph
from tightc.progress import Progress
from tightc.pruning.obs.allocation import GRID, network_worths
from tightc.pruning.obs.bias_correction import Offset, added_bias, offset_of
from tightc.pruning.obs.elimination import Marks
from tightc.pruning.obs.hessian import Moments
from tightc.pruning.obs.least_squares import Fit
from tightc.pruning.obs.weight_sharing import Use, use_moments
from tightc.selection.aligned import keep_segments
from tightc.selection.options import SelectionOptions
from tightc.selection.prunable import Prunable
from tightc.selection.select import Candidates, select
from tightc.selection.top_k import largest

_TRIED_ON = 128  # images: enough to rank layers
_MOST_INPUTS = 8192  # of a layer: its moments take half a gibibyte then, and five times that to work with

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Owner:
    """A weight to prune: the layer that has it, its matrix, float64, and all its uses with what can be moved there."""

    layer: Layer
    matrix: NDArray[np.float64]
    weight: NDArray[Any]
    uses: tuple[Use, ...]
    offsets: tuple[Offset | None, ...]


class SecondOrder:
    """Prunes the `layers` of a plain `model` with images for calibration.

    ModelError where a layer's moments would not fit or its bias is no constant.
    """

    def __init__(
        self,
        model: Model,
        network: Network,
        layers: list[Prunable],
        calibration: Calibration,
        progress: Progress,
    ) -> None:
        self.model, self.layers, self.calibration, self.progress = model, layers, calibration, progress
        self.graph = read_graph(model.proto)
        self.owners = [_owner(entry.layer, network, self.graph, model) for entry in layers]
        self.steps, self.done = 2 * len(layers), 0

    def prune(self, options: SelectionOptions, share: float) -> Tensors:
        """The tensors that change, by name: pruned weights, and biases or means that make up for them."""
        if share >= 1:
            return {}
        kept = self._chosen(options, share)
        changed: Tensors = {}
        for owner, marks in zip(self.owners, kept, strict=True):
            sums = self._moments(owner, self.model.with_tensors(changed))
            fit = Fit.of(_centerd(owner, sums), owner.matrix)
            same = marks if options.granularity == "filter" else _as_many(fit, marks, options)
            changed |= self._changed(owner, sums, fit, same & ~fit.gone)
            self._tell(owner)
        return changed

    def _chosen(self, options: SelectionOptions, share: float) -> list[Marks]:
        """Which weights would stay if each layer were pruned alone: how many of each, or of each filter, is settled."""
        few = self.calibration.first(_TRIED_ON)
        dense = few.logits(self.model)
        candidates = []
        for owner, entry in zip(self.owners, self.layers, strict=True):
            sums = self._moments(owner, self.model)
            fit = Fit.of(_centerd(owner, sums), owner.matrix)
            losses = fit.losses()
            if options.scope == "global":
                found = []
                for part in GRID:
                    kept = largest(losses.ravel(), losses.size - round(part * losses.size))
                    changed = self._changed(owner, sums, fit, kept.reshape(losses.shape) & ~fit.gone)
                    found.append(divergence(dense, few.logits(self.model.with_tensors(changed))))
                losses = network_worths(losses, GRID, found)
            candidates.append(Candidates(losses, owner.layer.groups, entry.vectors, entry.channels))
            self._tell(owner)
        return select(candidates, options, share)

    def _moments(self, owner: _Owner, now: Model) -> list[Moments]:
        """Of each use of a weight."""
        return [use_moments(self.calibration, self.model, now, use, owner.weight) for use in owner.uses]

    def _changed(self, owner: _Owner, sums: list[Moments], fit: Fit, kept: Marks) -> Tensors:
        """The owner's weight, fitted at the places `kept`, and the constants behind it."""
        weights = fit.weights(kept)
        if all(owner.offsets):
            weights *= fit.scales(weights)[:, None]
        rounded = weights.astype(owner.weight.dtype)
        # a weight that is kept is no zero, even where nothing that the images show depends on it
        rounded = np.where(kept & (rounded == 0), owner.matrix.astype(owner.weight.dtype), rounded)
        changed = {owner.layer.weight: owner.layer.tensor(rounded, owner.weight.shape)}
        for offset, part in zip(owner.offsets, sums, strict=True):
            if offset is not None:
                old = self.graph.tensors[offset.tensor]
                shift = _mean_error(part, rounded.astype(np.float64), owner.layer.groups) / offset.unit
                changed[offset.tensor] = (old + shift.reshape(old.shape)).astype(old.dtype)
        return changed

    def _tell(self, owner: _Owner) -> None:
        self.done += 1
        self.progress("prune", self.done / self.steps, {"layer": owner.layer.name})


def _owner(layer: Layer, network: Network, graph: Graph, model: Model) -> _Owner:
    if layer.inputs > _MOST_INPUTS:
        raise OptionError(
            f"--criterion obs: layer {layer.name} has {layer.inputs} inputs, at most {_MOST_INPUTS} are permitted",
            f"add --keep {layer.name}, or prune by magnitude",
        )
    nodes = {name: node for node in graph.nodes for name in node.outputs}
    users = [user for user in network.layers if user.weight == layer.weight]
    uses = tuple(Use(user, nodes[user.output], added_bias(user, nodes[user.output], graph)) for user in users)
    offsets = tuple(offset_of(use.layer, use.node, graph, model.proto) for use in uses)
    weight = network.weights[layer.weight]
    return _Owner(layer, layer.matrix(weight).astype(np.float64), weight, uses, offsets)


def _centerd(owner: _Owner, sums: list[Moments]) -> list[Moments]:
    return [part.centerd() if offset else part for part, offset in zip(sums, owner.offsets, strict=True)]


def _as_many(fit: Fit, chosen: Marks, options: SelectionOptions) -> Marks:
    """As many of the weights of most loss as were `chosen`, of the layer or of each filter: (filters, inputs) bool."""
    losses = np.where(fit.gone, -1.0, fit.losses())
    if options.align is not None:
        return keep_segments(losses, 1, chosen.sum(axis=1))
    return largest(losses.ravel(), int(chosen.sum())).reshape(losses.shape)


def _mean_error(sums: Moments, weights: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """What each filter's outputs lack on average: (filters,) float64."""
    means = sums.input_sums / sums.count
    blocks = weights.reshape(groups, -1, weights.shape[1])
    given = np.einsum("gnk,gk->gn", blocks, means).ravel()
    return np.asarray(sums.output_sums / sums.count - given)
