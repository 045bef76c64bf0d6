"""What there is to simulate: every layer of a model as a product of matrices, with its packing where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tightc.config.extent import ExtentOptions
from tightc.model.arrangement import fitting_packings
from tightc.model.figures import identity, layer_matrix
from tightc.model.file import Model
from tightc.model.graph import read_graph
from tightc.model.layers import Layer, Network, read_network
from tightc.model.packed import unpack_layers
from tightc.model.streams import Streams, count_streams
from tightc.report import Figures
from tightc.simulation.chip import Chip
from tightc.simulation.passes import Dataflow, Passes, dense_passes, packed_passes
from tightc.simulation.work import Maps, Work
from tightc.tiles.measures import Measures, measure
from tightc.tiles.packing import Packing


@dataclass(frozen=True)
class LayerWork:
    """A layer as a `work`, its non-zeros and, where it is arranged, its `packing`; `identity` names it in reports."""

    layer: Layer
    identity: Mapping[str, Any]
    work: Work
    nonzeros: int
    packing: Packing | None

    @property
    def method(self) -> str:
        """How it is arranged."""
        return self.packing.method if self.packing else "dense"

    def passes(self, dataflow: Dataflow, chip: Chip) -> Passes:
        """Its tiles, or all its weights where it is not arranged or the arrangement holds all."""
        if self.packing and self.packing.method != "dense":
            return packed_passes(self.packing, self.work)
        return dense_passes(dataflow, self.work, chip.array)


@dataclass(frozen=True)
class Workload:
    """The layers of a plain model in order; `measures` of each packing by weight; what is not covered."""

    plain: Model
    network: Network
    layers: tuple[LayerWork, ...]
    measures: Mapping[str, Measures]
    outside: tuple[Figures, ...]
    macs_covered: float


def read_workload(model: Model, extent: ExtentOptions) -> Workload:
    """The layers of `model`, dense, pruned, permuted or packed; ModelError where a packing does not fit its weights."""
    plain = unpack_layers(model)
    network = read_network(plain)
    streams = count_streams(plain, network, extent)
    packings = fitting_packings(plain, network)
    graph = read_graph(plain.proto)
    outside = {*graph.inputs, *graph.outputs}
    layers = []
    for layer in network.layers:
        crossing = (
            layer.input in outside or layer.output == network.layers[0].output,
            layer.output in outside or layer.output == network.layers[-1].output,
        )
        layers.append(
            LayerWork(
                layer,
                identity(layer),
                _work(layer, network, streams, crossing),
                int(np.count_nonzero(network.weights[layer.weight])),
                packings.get(layer.weight),
            )
        )
    measures = {
        layer.weight: measure(packings[layer.weight], layer_matrix(network, layer))
        for layer in network.owners
        if layer.weight in packings
    }
    return Workload(plain, network, tuple(layers), measures, streams.outside, streams.macs_covered)


def _work(layer: Layer, network: Network, streams: Streams, crossing: tuple[bool, bool]) -> Work:
    """`crossing`: whether the map that it reads comes from outside, and whether the one that it writes goes there."""
    positions = prod(network.weights[layer.weight].shape[2:]) if layer.op == "Conv" else 1
    maps = Maps(*streams.elements[layer.output], *crossing)
    vectors = streams.vectors[layer.output]
    return Work(layer.filters // layer.groups, layer.inputs, layer.groups, vectors, positions, maps)
