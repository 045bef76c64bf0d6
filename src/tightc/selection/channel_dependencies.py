"""Which layer's filters a layer reads, channel by channel."""

from __future__ import annotations

from collections.abc import Sequence

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layers import Layer, Network
from tightc.model.onnx_proto.graph import Node, read_graph
from tightc.model.runtime.shapes import value_shapes
from tightc.selection.filters import Channels

# what leaves every number in its place ...
_ACTIVATIONS = (
    "Relu LeakyRelu PRelu ThresholdedRelu Elu Celu Selu Gelu HardSigmoid HardSwish Mish Sigmoid Softplus Tanh"
)
_OTHERS = "Softsign Clip Abs Neg Erf Exp Sqrt Identity Cast Dropout BatchNormalization Add Sub Mul Div"
_ELEMENT_WISE = frozenset(f"{_ACTIVATIONS} {_OTHERS}".split())
# ... or, where axis 1 holds the channels, in its channel
_POOLING = "MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool GlobalLpPool"
_WITHIN_CHANNELS = frozenset(f"{_POOLING} InstanceNormalization".split())
_FLATTENING = frozenset(("Flatten", "Reshape", "Squeeze"))


def channels_of(model: Model, network: Network, layers: Sequence[Layer]) -> list[Channels]:
    """For each of `layers`, in order of execution, what its filters and inputs are to the others.

    A layer reads another channel by channel where nothing lies between them but element-wise operators (with constants,
    if with anything), batch norms, pooling, and the flattening before a Gemm or MatMul. Channels that are added to
    those of another layer, as in residual networks, concatenated or mixed are left alone: a filter of such a layer may
    go, which empties its row, but takes no inputs along. So are channels of a weight that several layers share, and
    those of layers that are not among `layers`.
    """
    tracer = _Tracer(model, network)
    places = {layer.weight: place for place, layer in enumerate(layers)}
    found = []
    for layer in layers:
        source = tracer.source(layer)
        place = None if source is None else places.get(source.weight)
        depthwise = source is not None and place is not None and layer.groups == source.filters
        found.append(Channels(place, removable=not depthwise and layer.weight not in tracer.last))
    return found


class _Tracer:
    """Follows values back to the layers that compute them; `last` are the weights of those behind the outputs."""

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
        except ModelError:  # of open size: what is flattened in it stays unknown
            self.shapes = {}
        self.last = {layer.weight for name in graph.outputs for layer in self._behind(name)}

    def source(self, reader: Layer) -> Layer | None:
        """The layer whose filters are the input channels of `reader`."""
        if reader.weight in self.shared or not self._sums_over_channels(reader):
            return None
        found = self._traced(reader.input, reader, frozenset())
        if found is None or found.weight in self.shared or found.filters % reader.groups:
            return None
        return found if reader.inputs % (found.filters // reader.groups) == 0 else None

    def _traced(self, name: str, reader: Layer, passed: frozenset[str]) -> Layer | None:
        """The layer whose channels the value `name` still has; `passed` are kinds of operators behind it."""
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
        streams = [side for side in node.inputs if side and side not in self.constants]
        behind = [self._traced(side, reader, passed) for side in streams]
        return behind[0] if behind and all(layer == behind[0] for layer in behind) else None

    def _fits(self, source: Layer, reader: Layer, passed: frozenset[str]) -> bool:
        """Whether the axis of the source's filters is the one that `reader` sums over."""
        if source.op == "Conv":
            return (reader.op != "Conv") == ("flattened" in passed)
        return reader.op != "Conv" and not passed and self._sums_over_channels(source)

    def _sums_over_channels(self, layer: Layer) -> bool:
        """Whether filters and inputs lie along the last axis, or for a Conv the second: not of W x X, nor of X'."""
        turned = self.producers[layer.output].attributes.get("transA", 0)
        return not turned and not (layer.op == "MatMul" and layer.filters_first)

    def _flattens(self, node: Node) -> bool:
        """Whether all but the batch becomes one axis, channel after channel."""
        before, after = (self.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
        if before is None or after is None or len(before) < 3 or len(after) != 2:
            return False
        return before[0] == after[0]

    def _behind(self, output: str) -> list[Layer]:
        """The layers that the value `output` comes from with no other layer in between."""
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
