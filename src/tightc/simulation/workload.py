"""What there is to simulate: every layer of a model as a product of matrices, with its packing where it has one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from tightc.config.input_sizes import InputSizeOptions
from tightc.model.file import Model
from tightc.model.layer_view.layer_metrics import layer_identity, layer_matrix
from tightc.model.layer_view.layers import Layer, Network, read_network
from tightc.model.layer_view.mac_counts import MacCounts, count_macs
from tightc.model.onnx_proto.graph import Graph, read_graph
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.report import Figures
from tightc.simulation.accelerator.accelerator import Accelerator
from tightc.simulation.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.simulation.cost_model.passes import Dataflow, Passes, dense_passes, packed_passes
from tightc.tile.measures import Measures, measure
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LayerWork:
    """A layer as a `work`, its non-zeros and, where it is arranged, its `packing`; `identity` names it in reports.

    Where slots hold digits, `nonzeros` counts those.
    """

    layer: Layer
    identity: Mapping[str, Any]
    work: GemmWorkload
    nonzeros: int
    packing: Packing | None

    @property
    def method(self) -> str:
        """How it is arranged."""
        return self.packing.method if self.packing else "dense"

    def passes(self, dataflow: Dataflow, accelerator: Accelerator) -> Passes:
        """Its tiles, or all its weights where it is not arranged or the arrangement holds all."""
        if self.packing and self.packing.method != "dense":
            return packed_passes(self.packing, self.work)
        return dense_passes(dataflow, self.work, accelerator.array)


@dataclass(frozen=True)
class Workload:
    """The layers of a plain model in order; `measures` of each packing by weight; what is not covered."""

    plain: Model
    network: Network
    layers: tuple[LayerWork, ...]
    measures: Mapping[str, Measures]
    outside: tuple[Figures, ...]
    macs_covered: float | None


def read_workload(model: Model, input_sizes: InputSizeOptions) -> Workload:
    """The layers of `model`, dense, pruned, permuted or packed; ModelError where a packing does not fit its weights."""
    plain = unpack_layers(model)
    network = read_network(plain)
    streams = count_macs(plain, network, input_sizes)
    packings = matching_packings(plain, network)
    maps = _maps(network, streams, read_graph(plain.proto))
    layers = tuple(
        LayerWork(
            layer,
            layer_identity(layer),
            _work(layer, network, streams, maps[layer.output]),
            _used_slots(network, layer, packings.get(layer.weight)),
            packings.get(layer.weight),
        )
        for layer in network.layers
    )
    measures = {
        layer.weight: measure(packing, layer_matrix(network, layer, packing.subword_bits))
        for layer in network.owners
        if (packing := packings.get(layer.weight))
    }
    return Workload(plain, network, layers, measures, streams.uncovered, streams.macs_covered)


def _used_slots(network: Network, layer: Layer, packing: Packing | None) -> int:
    return int(layer_matrix(network, layer, packing.subword_bits if packing else None).slots().sum())


def _work(layer: Layer, network: Network, streams: MacCounts, maps: FeatureMaps) -> GemmWorkload:
    positions = prod(network.weights[layer.weight].shape[2:]) if layer.op == "Conv" else 1
    vectors = streams.vectors[layer.output]
    return GemmWorkload(layer.filters // layer.groups, layer.inputs, layer.groups, vectors, positions, maps)


def _maps(network: Network, streams: MacCounts, graph: Graph) -> dict[str, FeatureMaps]:
    """The feature maps of each layer, by its output, with those of the layers before and behind it."""
    producers = {name: node for node in graph.nodes for name in node.outputs}
    layers = {layer.output for layer in network.layers}

    def sources(values: Iterable[str]) -> set[str]:
        """Layers, by output, and inputs of the model that `values` come from with no layer between."""
        found, seen, waiting = set(), set(), list(values)
        while waiting:
            name = waiting.pop()
            if name in layers or name in graph.inputs:
                found.add(name)
            elif name not in seen and name in producers:
                seen.add(name)
                waiting += (*producers[name].inputs, *producers[name].captured)
        return found

    reads = {layer.output: sources([layer.input]) for layer in network.layers}
    leaving = sources(graph.outputs)
    maps = {}
    for output, (read, written) in streams.elements.items():
        before = [streams.elements[name][1] for name in reads[output] & layers]
        behind = [streams.elements[name][0] for name in layers if output in reads[name]]
        from_outside = not reads[output] <= layers
        maps[output] = FeatureMaps(
            read, written, from_outside, output in leaving, max(before, default=0), max(behind, default=0)
        )
    return maps
