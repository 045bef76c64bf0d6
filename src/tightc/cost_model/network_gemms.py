"""The matrix products of a network: each layer with its input vectors and its feature maps."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from tightc.cost_model.gemm import FeatureMaps, GemmWorkload
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.layer_view.mac_counts import MacCounts
from tightc.model.onnx_proto.graph import Graph, read_graph


def network_gemms(plain: Model, network: Network, counts: MacCounts) -> dict[str, GemmWorkload]:
    """The product of every layer of the plain model, by the layer's output."""
    feature_maps = _feature_maps(network, counts, read_graph(plain.proto))
    return {
        layer.output: _gemm(layer, network, counts, feature_maps[layer.output]) for layer in network.layers
    }


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
