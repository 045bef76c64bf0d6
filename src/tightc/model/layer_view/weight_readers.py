"""The readers of each constant, which decide whether it can be the weight of a layer."""

from __future__ import annotations

from dataclasses import replace

from onnx import TensorProto

from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer, build_layer
from tightc.model.layer_view.quantized_weights import (
    dequantized_weights,
    fits,
    integer_weight,
)
from tightc.model.onnx_proto.graph import Graph, Node, is_identity, is_standard, subgraph_reads
from tightc.model.onnx_proto.unknown_operators import is_known
from tightc.model.onnx_proto.weight_operators import NBITS, WEIGHT_OPERATORS, has_weight, weight_inputs

_OTHER_MULTIPLIERS = frozenset(("DeformConv", "Einsum", "LSTM", "GRU", "RNN", "Attention"))
_WITH_SUBGRAPHS = frozenset(("If", "Loop", "Scan"))
# of onnxruntime's quantizer, in the domain com.microsoft: element by element, pools and moves
_QUANTIZED_WITHOUT_MACS = frozenset(
    (
        *("QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"),
        *("QLinearConcat", "QLinearWhere"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean"),
    )
)
_FOREIGN_HINTS = {
    "com.microsoft": "give the model as it was before onnxruntime optimized it, or quantized with QuantFormat.QDQ"
}
_FLOATS = ("float16", "bfloat16", "float32", "float64")


class WeightReaders:
    """The readers of each constant, which decide whether it can be a layer matrix."""

    def __init__(self, graph: Graph, model: Model) -> None:
        proto = model.proto
        self.graph = graph
        self.quantized, self.not_weights = dequantized_weights(graph)
        self.widened = _widened(graph)
        self.identities = {
            node.outputs[0]: node.inputs[0] for node in graph.nodes if is_identity(node.op, node.domain)
        }
        self.producers = {name: node for node in graph.nodes for name in node.outputs}
        self.readers = graph.consumers()
        self.outputs = {self.skip_identities(name) for name in graph.outputs}
        self.subgraph_reads = {
            self.skip_identities(name): label for name, label in subgraph_reads(proto).items()
        }
        self.graph_inputs = {value.name for value in proto.graph.input}

    def skip_identities(self, name: str) -> str:
        """The value at the start of the chain of Identity nodes that ends in `name`."""
        while name in self.identities:
            name = self.identities[name]
        return name

    def find_layer(self, node: Node, earlier: list[Layer]) -> Layer | str:
        """The layer of `node`, or the reason why it cannot be one; `earlier` are the layers before it."""
        reason = _unsupported_operator(node, self.graph.opset)
        if reason:
            return reason
        slots = [
            slot
            for slot in weight_inputs(node.op)
            if self._constant_behind(self.skip_identities(node.inputs[slot]))
        ]
        if not slots:
            return self._explain_not_constant(node)
        slot = slots[0]
        value = self.skip_identities(node.inputs[slot])
        name = self._constant_behind(value)
        reason = self._unsupported_weight(node, value, slot)
        if reason:
            return reason
        shape = self.graph.shape(name)
        reason = _contradiction(node, shape)
        if reason:
            return reason
        layer = build_layer(node, name, shape, slot)
        if WEIGHT_OPERATORS[node.op].is_integer:
            entry = integer_weight(node, slot, 0 if layer.filters_first else len(shape) - 1, self.graph)
            if isinstance(entry, str):
                return entry
            if not self.quantized.setdefault(value, entry).scales_like(entry):
                return f"its weight {name} has other scales or another zero point in an earlier layer"
        if value in self.quantized and not fits(self.quantized[value], shape):
            return f"its weight {name} has another number of scales or zero points than its axis has places"
        first = next((other for other in earlier if other.weight == name), None)
        if first is None:
            return layer
        if not first.reads_alike(layer):
            return f"its weight {name} is shared with {first.name}, which reads it as another matrix"
        return replace(layer, shared_with=first.name)

    def _constant_behind(self, value: str) -> str:
        """`value` itself if it is a constant, the one that it is dequantized or cast from, or an empty name."""
        if value in self.quantized:
            return self.quantized[value].weight
        value = self.widened.get(value, value)
        return value if value in self.graph.tensors else ""

    def _explain_not_constant(self, node: Node) -> str:
        """The reason why no operand of `node` is a constant weight."""
        value = self.skip_identities(node.inputs[weight_inputs(node.op)[0]])
        if value in self.not_weights:
            return self.not_weights[value]
        producer = self.producers.get(value)
        if producer is None or not self._depends_on_constants(value):
            return "it has no constant weight: both sides are computed at run time"
        return f"its weight is computed from constants by {producer.op}, which is not folded here"

    def _depends_on_constants(self, value: str) -> bool:
        """Whether a value depends on nothing but constants."""
        seen: set[str] = set()
        waiting = [value]
        while waiting:
            name = waiting.pop()
            if name in seen or not name or (name in self.graph.tensors and name not in self.graph_inputs):
                continue
            if name not in self.producers:
                return False
            seen.add(name)
            waiting += self.producers[name].inputs
        return True

    def _unsupported_weight(self, node: Node, value: str, slot: int) -> str:
        """The reason why the weight `value`, input `slot` of `node`, cannot be a layer matrix, or empty."""
        name = self._constant_behind(value)
        shape, dtype = self.graph.shape(name), self.graph.dtype(name)
        if name in self.graph_inputs:
            return f"its weight {name} is also an input of the model, which a caller may replace"
        integer = WEIGHT_OPERATORS[node.op].is_integer
        if value not in self.quantized and not integer and dtype.name not in _FLOATS:
            return f"its weight {name} is {dtype.name}, not a floating-point type numpy has"
        if not shape:
            return f"its weight {name} is a single number"
        if 1 in shape[:-2][_leading_ones(shape) :] and "Conv" not in node.op:
            return f"its weight {name} has an axis of length 1 between several matrices"
        if 0 in shape:
            return f"its weight {name} is empty"
        values = [other for other, constant in self.widened.items() if constant == name] or [value]
        readers = [
            reader
            for other in values
            for reader in self._find_readers(other)
            if not self._reads_as_weight(reader, other)
        ]
        if value in self.widened:
            readers += [reader for reader in self.readers[name] if reader.outputs[0] not in values]
        if value in self.quantized and self.quantized[value].is_dequantized:
            readers += self.readers[name][1:]
        labels = [reader.label for reader in readers]
        labels += [self.subgraph_reads[read] for read in (*values, name) if read in self.subgraph_reads]
        if labels:
            return f"its weight {name} also feeds {labels[0]}"
        if {*values, name} & self.outputs:
            return f"its weight {name} is also an output of the model"
        other = self.skip_identities(node.inputs[WEIGHT_OPERATORS[node.op].activation(slot)])
        if self._constant_behind(other):
            return "both of its sides are constant"
        return ""

    def _find_readers(self, name: str) -> list[Node]:
        """The nodes that read a value, directly or through Identity nodes."""
        found = []
        for reader in self.readers.get(name, []):
            found += (
                self._find_readers(reader.outputs[0]) if is_identity(reader.op, reader.domain) else [reader]
            )
        return found

    def _reads_as_weight(self, node: Node, name: str) -> bool:
        """Whether `node` reads the value `name` as its weight and nowhere else."""
        slots = [slot for slot, value in enumerate(node.inputs) if self.skip_identities(value) == name]
        return has_weight(node.op, node.domain) and len(slots) == 1 and slots[0] in weight_inputs(node.op)


def _contradiction(node: Node, shape: tuple[int, ...]) -> str:
    """What in the attributes of a convolution contradicts its weight of `shape`, or empty; onnxruntime refuses it."""
    if "Conv" not in node.op:
        return ""
    rank = len(shape) - 2
    if rank < 1:
        return f"its weight has {len(shape)} axes, and a convolution needs 3 or more"
    group = node.attributes.get("group", 1)
    if group < 1 or shape[0] % group:
        return f"its group is {group}, which does not divide the {shape[0]} of its weight"
    for key, count in (("strides", rank), ("dilations", rank), ("pads", 2 * rank)):
        numbers = node.attributes.get(key, [1] * count)
        if len(numbers) not in (0, count) or (key != "pads" and any(number < 1 for number in numbers)):
            return f"its {key} are {numbers}, which do not fit {rank} axes"
    kernel = node.attributes.get("kernel_shape", [])
    return (
        f"its kernel_shape is {kernel}, and its weight {shape}"
        if kernel and tuple(kernel) != shape[2:]
        else ""
    )


def _widened(graph: Graph) -> dict[str, str]:
    """The values that a Cast makes of a bfloat16 constant, as reading leaves it, and that constant."""
    return {
        node.outputs[0]: node.inputs[0]
        for node in graph.nodes
        if node.op == "Cast"
        and is_standard(node.domain)
        and node.attributes.get("to") == TensorProto.FLOAT
        and node.inputs[0] in graph.tensors
        and graph.dtype(node.inputs[0]).name == "bfloat16"
    }


def _leading_ones(shape: tuple[int, ...]) -> int:
    return next((place for place, side in enumerate(shape) if side != 1), len(shape))


def multiplies(node: Node, opset: int) -> bool:
    """Whether a node multiplies, or may do so: other domains, subgraphs and unknown operators count as such."""
    if node.domain == "com.microsoft" and node.op in _QUANTIZED_WITHOUT_MACS:
        return False
    return (
        not is_standard(node.domain)
        or node.op in WEIGHT_OPERATORS
        or node.op in _OTHER_MULTIPLIERS
        or node.op in _WITH_SUBGRAPHS
        or not is_known(node.op, opset)
    )


def _unsupported_operator(node: Node, opset: int) -> str:
    """The reason why the operator of `node` cannot be a layer, or empty."""
    if node.op == NBITS:
        return (
            f"{NBITS} is onnxruntime's own form of weights in blocks: quantize with QuantFormat.QDQ, which writes "
            "DequantizeLinear and MatMul"
        )
    if node.op == "QGemm" and has_weight(node.op, node.domain):
        return (
            "" if len(node.inputs) > 7 and node.inputs[7] else "QGemm is packed with quantized outputs alone"
        )
    if not is_standard(node.domain):
        hint = _FOREIGN_HINTS.get(node.domain, "functions: inline them with onnx.inliner")
        return f"operators of the domain {node.domain} are not known ({hint})"
    if node.op in _WITH_SUBGRAPHS:
        return "layers inside a subgraph are not read"
    if not is_known(node.op, opset):
        return f"{node.op} is not an operator of ONNX in opset {opset}"
    if node.op not in WEIGHT_OPERATORS:
        return f"{node.op} is not among the operators that are packed"
    return ""
