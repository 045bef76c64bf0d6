"""The workload of the simulator: every layer of a model as a GEMM, with its packing where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.bank_network import BankNetwork
from tightc.config.input_sizes import InputSizeOptions
from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.cost_model.lane_inputs import LaneInputs
from tightc.cost_model.passes import Dataflow, Passes, dense_passes, packed_passes
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layer_metrics import layer_identity, layer_matrix
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.layer_view.mac_counts import MacCounts, count_macs
from tightc.model.onnx_proto.graph import Graph, read_graph
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.report import Figures
from tightc.tile.measures import Measures, measure
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LayerWorkload:
    """A layer with its GEMM, its non-zeros and, if permuted, its packing.

    `identity`: what names the layer in reports. `nonzeros` counts subwords where slots hold those.
    """

    layer: Layer
    identity: Mapping[str, Any]
    gemm: GemmWorkload
    nonzeros: int
    packing: Packing | None

    @property
    def method(self) -> str:
        """The method of its packing, "dense" where it has none."""
        return self.packing.method if self.packing else "dense"

    def passes(self, dataflow: Dataflow, accelerator: Accelerator) -> Passes:
        """The passes of its tiles, or of all its weights where it has no packing or a dense one.

        Dense passes are in `dataflow` on the array of `accelerator`; tiles are weight-stationary on their own.
        """
        if not self.packing or self.packing.method == "dense":
            return self.dense_passes(dataflow, accelerator)
        passes = packed_passes(self.packing, self.gemm)
        if accelerator.bank_network is None:
            return passes
        return self._with_banks(passes, LaneInputs.of_packing(self.packing), accelerator.bank_network)

    def dense_passes(self, dataflow: Dataflow, accelerator: Accelerator) -> Passes:
        """The passes of all its weights in `dataflow`; weight-stationary where `accelerator` has banks."""
        passes = dense_passes(dataflow, self.gemm, accelerator.array)
        if accelerator.bank_network is None:
            return passes
        lane_inputs = LaneInputs.of_dense(self.gemm, accelerator.array)
        return self._with_banks(passes, lane_inputs, accelerator.bank_network)

    def _with_banks(self, passes: Passes, lane_inputs: LaneInputs, network: BankNetwork) -> Passes:
        # loads numba, which a simulation without banks does not need
        from tightc.cost_model.banks import with_banks

        return with_banks(passes, lane_inputs, self.gemm, network)


@dataclass(frozen=True)
class Workload:
    """The layers of a plain model in order, with the `measures` of each packing by weight.

    `uncovered`: operators with multiply-accumulates that no layer covers; `macs_covered`: the fraction that layers do.
    """

    plain: Model
    network: Network
    layers: tuple[LayerWorkload, ...]
    measures: Mapping[str, Measures]
    uncovered: tuple[Figures, ...]
    macs_covered: float | None


def read_workload(model: Model, input_sizes: InputSizeOptions) -> Workload:
    """The layers of `model`, dense, pruned, permuted or packed, for inputs of `input_sizes`.

    ModelError where a packing does not fit its weights.
    """
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    counts = count_macs(plain, network, input_sizes)
    packings = matching_packings(plain, network, decoded)
    feature_maps = _feature_maps(network, counts, read_graph(plain.proto))
    layers = tuple(
        LayerWorkload(
            layer,
            layer_identity(layer),
            _gemm(layer, network, counts, feature_maps[layer.output]),
            _count_nonzeros(network, layer, packings.get(layer.weight)),
            packings.get(layer.weight),
        )
        for layer in network.layers
    )
    measures = {
        layer.weight: measure(packing, layer_matrix(network, layer, packing.subword_bits))
        for layer in network.owners
        if (packing := packings.get(layer.weight))
    }
    return Workload(
        plain,
        network,
        layers,
        measures,
        uncovered=counts.uncovered,
        macs_covered=counts.macs_covered,
    )


def _count_nonzeros(network: Network, layer: Layer, packing: Packing | None) -> int:
    slots = layer_matrix(network, layer, packing.subword_bits if packing else None).slots()
    return int(slots.sum(dtype=np.int64))


def _gemm(layer: Layer, network: Network, counts: MacCounts, feature_maps: FeatureMaps) -> GemmWorkload:
    positions = prod(network.shapes[layer.weight][2:]) if layer.is_convolution else 1
    return GemmWorkload(
        filters=layer.filters // layer.groups,
        inputs=layer.inputs,
        groups=layer.groups,
        vectors=counts.vectors[layer.output],
        positions=positions,
        feature_maps=feature_maps,
        overlaps=layer.op == "ConvTranspose",
    )


def _feature_maps(network: Network, counts: MacCounts, graph: Graph) -> dict[str, FeatureMaps]:
    """The feature maps of each layer, by its output, with those of its producers and consumers."""
    producers = {name: node for node in graph.nodes for name in node.outputs}
    layers = {layer.output for layer in network.layers}

    def sources(values: Iterable[str]) -> set[str]:
        """Outputs of layers and inputs of the model that `values` are computed from with no layer between."""
        found, seen, pending = set(), set(), list(values)
        while pending:
            name = pending.pop()
            if name in layers or name in graph.inputs:
                found.add(name)
            elif name not in seen and name in producers:
                seen.add(name)
                pending += (*producers[name].inputs, *producers[name].captured)
        return found

    reads = {layer.output: sources([layer.input]) for layer in network.layers}
    model_outputs = sources(graph.outputs)
    feature_maps = {}
    for output, (read, written) in counts.elements.items():
        before = [counts.elements[name][1] for name in reads[output] & layers]
        behind = [counts.elements[name][0] for name in layers if output in reads[name]]
        feature_maps[output] = FeatureMaps(
            read,
            written,
            from_model_input=not reads[output] <= layers,
            to_model_output=output in model_outputs,
            producer_output=max(before, default=0),
            consumer_input=max(behind, default=0),
        )
    return feature_maps
