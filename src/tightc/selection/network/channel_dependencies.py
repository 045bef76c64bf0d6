"""Channel dependencies: the layer that computes the input channels of another."""

from __future__ import annotations

from collections.abc import Sequence

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network
from tightc.model.onnx_proto.graph import Node, read_graph
from tightc.model.runtime.shapes import value_shapes
from tightc.selection.filters import Channels

# operators that keep each value in its place ...
_ACTIVATIONS = (
    "Relu LeakyRelu PRelu ThresholdedRelu Elu Celu Selu Gelu HardSigmoid HardSwish Mish Sigmoid Softplus Tanh"
)
_OTHERS = "Softsign Clip Abs Neg Erf Exp Sqrt Identity Cast Dropout BatchNormalization Add Sub Mul Div"
_ELEMENT_WISE = frozenset(f"{_ACTIVATIONS} {_OTHERS}".split())
# ... or in its channel, if axis 1 holds the channels
_POOLING = "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool"
_WITHIN_CHANNELS = frozenset(f"{_POOLING} InstanceNormalization".split())
_FLATTENING = frozenset(("Flatten", "Reshape", "Squeeze"))


def channels_of(model: Model, network: Network, layers: Sequence[Layer]) -> list[Channels]:
    """How the filters and inputs of each of `layers`, in execution order, depend on the others.

    `network`: the layers of the plain `model`.

    A layer depends on another if only element-wise operators (with constants), batch norms, pooling, and the
    flattening before a Gemm or MatMul lie between them. Channels that are added to those of another layer, concatenated
    or mixed have no dependency: a filter may be removed, but no inputs with it. The same holds for channels of a weight
    that several layers share, and of layers that are not among `layers`.
    """
    tracer = _Tracer(model, network)
    indices = {layer.weight: index for index, layer in enumerate(layers)}
    found = []
    for layer in layers:
        source = tracer.source(layer)
        index = None if source is None else indices.get(source.weight)
        depthwise = source is not None and index is not None and layer.groups == source.filters
        found.append(Channels(index, removable=not depthwise and layer.weight not in tracer.output_weights))
    return found


class _Tracer:
    """Traces values back to the layers that compute them; `output_weights` are those of the network's outputs."""

    def __init__(self, model: Model, network: Network) -> None:
        graph = read_graph(model.proto)
        self.constants = graph.tensors
        self.producers = {name: node for node in graph.nodes for name in node.outputs}
        self.layers = {layer.output: layer for layer in network.layers}
        self.shared = {layer.weight for layer in network.layers if layer.shared_with}
        ends = [node for node in graph.nodes if node.op in _FLATTENING]
        wanted = [name for node in ends for name in (node.inputs[0], node.outputs[0])]
        try:
            self.shapes = (
                value_shapes(model.proto, model.origin, wanted, InputSizeOptions()) if wanted else {}
            )
        except ModelError:  # sizes are open, so flattening stays unknown
            self.shapes = {}
        self.output_weights = {layer.weight for name in graph.outputs for layer in self._behind(name)}

    def source(self, reader: Layer) -> Layer | None:
        """The layer that computes the input channels of `reader`, if there is one."""
        if reader.weight in self.shared or not self._sums_over_channels(reader):
            return None
        found = self._traced(reader.input, reader, frozenset())
        if found is None or found.weight in self.shared or found.filters % reader.groups:
            return None
        return found if reader.inputs % (found.filters // reader.groups) == 0 else None

    def _traced(self, name: str, reader: Layer, passed: frozenset[str]) -> Layer | None:
        """The layer that computes the channels of value `name`; `passed` are the kinds of operators after it."""
        if name in self.layers:
            return self.layers[name] if self._fits(self.layers[name], reader, passed) else None
        node = self.producers.get(name)
        if node is None:
            return None
        if node.op in _WITHIN_CHANNELS:
            return self._traced(node.inputs[0], reader, passed | {"pooled"})
        if node.op in _FLATTENING and self._flattens(node):
            return self._traced(node.inputs[0], reader, passed | {"flattened"})
        if node.op not in _ELEMENT_WISE:
            return None
        operands = [name for name in node.inputs if name and name not in self.constants]
        sources = [self._traced(name, reader, passed) for name in operands]
        return sources[0] if sources and all(layer == sources[0] for layer in sources) else None

    def _fits(self, source: Layer, reader: Layer, passed: frozenset[str]) -> bool:
        """Whether `reader` sums over the axis of the filters of `source`."""
        if source.op == "Conv":
            return (reader.op != "Conv") == ("flattened" in passed)
        return reader.op != "Conv" and not passed and self._sums_over_channels(source)

    def _sums_over_channels(self, layer: Layer) -> bool:
        """Whether channels lie along the last axis, or the second of a Conv: not in W x X, nor in transposed X."""
        transposed = self.producers[layer.output].attributes.get("transA", 0)
        return not transposed and not (layer.op == "MatMul" and layer.filters_first)

    def _flattens(self, node: Node) -> bool:
        """Whether `node` merges all axes but the batch, channel after channel."""
        before, after = (self.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
        if before is None or after is None or len(before) < 3 or len(after) != 2:
            return False
        return before[0] == after[0]

    def _behind(self, output: str) -> list[Layer]:
        """The layers that the value `output` depends on with no other layer in between."""
        found, names, seen = [], [output], set()
        while names:
            name = names.pop()
            if name in seen:
                continue
            seen.add(name)
            if name in self.layers:
                found.append(self.layers[name])
            elif name in self.producers:
                names += (*self.producers[name].inputs, *self.producers[name].captured)
        return found
