"""The layers of a model as other tools take them: convolutions or products, and packed layers as their passes."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, count
from math import prod

from tightc.config.input_sizes import InputSizeOptions
from tightc.model.file import Model
from tightc.model.layer_view.convolution_geometry import Sides, conv_geometry
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import read_network
from tightc.model.layer_view.mac_counts import count_macs
from tightc.model.onnx_proto.graph import Node, read_graph
from tightc.model.packings.metadata import matching_packings
from tightc.model.packings.packed_form import decode_layers
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.model.runtime.shapes import Shape, value_shapes
from tightc.names import file_stem
from tightc.tile.packing import Packing


@dataclass(frozen=True)
class LayerShape:
    """A layer, one group of it, or one pass: an input with its padding and a kernel with one stride.

    `ifmap` and `kernel`: height and width in pixels. A product is a 1x1 convolution with a pixel for each vector.
    """

    ifmap: Sides
    kernel: Sides
    channels: int
    filters: int
    stride: int

    @property
    def inputs(self) -> int:
        """Inputs of a filter."""
        return prod(self.kernel) * self.channels

    @property
    def ofmap(self) -> Sides:
        """Height and width of the output."""
        axes = zip(self.ifmap, self.kernel, strict=True)
        height, width = ((size - taps) // self.stride + 1 for size, taps in axes)
        return height, width

    @property
    def vectors(self) -> int:
        """Output pixels."""
        return prod(self.ofmap)


@dataclass(frozen=True)
class ExportedLayer:
    """A layer with a name that is safe in files: its dense shape, and those of its passes in order.

    `passes`: None where the layer is not packed, or packed as dense.
    """

    name: str
    dense: LayerShape
    passes: tuple[LayerShape, ...] | None


def exported_layers(model: Model, input_sizes: InputSizeOptions) -> tuple[ExportedLayer, ...]:
    """The layers of `model` with inputs of `input_sizes`, in execution order.

    A grouped layer has the shape of one group, as all have the same, and its name ends in `_x` and their number. Layers
    that are no convolution over two axes with one stride (dilation, unequal strides, other axes, several images, Gemm,
    MatMul) have that of the product with the same matrix and vectors. A pass is the product of its lanes and columns.
    """
    input_sizes, _ = resolve_open_sizes(model.proto, model.origin, input_sizes)
    plain, decoded = decode_layers(model)
    network = read_network(plain)
    packings = matching_packings(plain, network, decoded)
    vectors = count_macs(plain, network, input_sizes).vectors
    nodes = {node.outputs[0]: node for node in read_graph(plain.proto).nodes if node.outputs}
    inputs = {layer.output: nodes[layer.output].inputs[0] for layer in network.layers if layer.op == "Conv"}
    shapes = value_shapes(plain.proto, plain.origin, inputs.values(), input_sizes)
    found: dict[str, ExportedLayer] = {}
    for layer in network.layers:
        shape = None
        if layer.op == "Conv":
            weight = network.weights[layer.weight]
            shape = _convolution(
                nodes[layer.output], shapes[inputs[layer.output]], weight.shape, layer.groups
            )
        steps = vectors[layer.output]
        dense = shape or _product(steps, layer.inputs, layer.filters // layer.groups)
        name = _name(layer, found)
        found[name] = ExportedLayer(name, dense, _passes(packings.get(layer.weight), steps))
    return tuple(found.values())


def _passes(packing: Packing | None, vectors: int) -> tuple[LayerShape, ...] | None:
    if packing is None or packing.method == "dense":
        return None
    return tuple(_product(vectors, tile.lanes, tile.columns) for tile in packing.tiles)


def _convolution(node: Node, data: Shape, weight: Shape, groups: int) -> LayerShape | None:
    """One group of a Conv; None where the form cannot express it.

    SCALE-Sim rounds the size of the output up and ONNX down, so the part of the input outside all windows is left out.
    """
    geometry = conv_geometry(node, data, weight)
    strides = set(geometry.strides)
    if data[0] != 1 or len(geometry.kernel) != 2 or len(strides) != 1 or set(geometry.dilations) != {1}:
        return None
    filters, channels, *_ = weight
    return LayerShape(geometry.used_sizes, geometry.kernel, channels, filters // groups, strides.pop())


def _product(vectors: int, inputs: int, filters: int) -> LayerShape:
    """A matrix product as a 1x1 convolution: a pixel for each vector, a channel for each input."""
    return LayerShape((vectors, 1), (1, 1), inputs, filters, 1)


def _name(layer: Layer, taken: Collection[str]) -> str:
    """A name that is not in `taken` and not that of a pass, without commas.

    DP is written small, since it marks a depthwise layer in SCALE-Sim.
    """
    safe = file_stem(layer.name).replace("DP", "dp")
    marked = layer.groups > 1 or re.search(r"_(x|pass_)\d+$", safe)
    groups = f"_x{layer.groups}" if marked else ""
    candidates = (f"{safe}{twin}{groups}" for twin in chain([""], (f"_{number}" for number in count(2))))
    return next(name for name in candidates if name not in taken)
