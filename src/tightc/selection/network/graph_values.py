"""What following channels needs to know of a graph's values: constants, shapes, and who reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import onnx

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError, OptionError
from tightc.model.file import Model
from tightc.model.intermediate_values import limited_values, random_feeds
from tightc.model.onnx_proto.graph import Array, Graph, Node, is_standard, read_graph
from tightc.model.runtime.shapes import Shape, value_shapes

_PARAMETERS = frozenset(("Slice", "Split", "Gather", "Pad", "Tile", "Clip"))  # all inputs but the first
_RESHAPED = _PARAMETERS | {
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Expand",
    "Resize",
    "Upsample",
    "Concat",
}
_SUBSTITUTES = (192, 256)  # pixels, for the sizes that a model leaves open


@dataclass(frozen=True)
class Addend:
    """A constant `tensor` that a node adds, and its `numbers`, before a DequantizeLinear in between.

    `shared`: other nodes read it too. `changeable`: its numbers can be changed for this node alone; a shared one by a
    copy, if there is no node in between.
    """

    tensor: str
    numbers: Array
    shared: bool
    changeable: bool


@dataclass(frozen=True)
class GraphValues:
    """A graph with its constants, and the shapes and numbers of axes of its values by name, as far as they are known.

    `readers`: how many nodes read each value; graph outputs and subgraphs count too.
    """

    graph: Graph
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    ranks: Mapping[str, int]
    readers: Mapping[str, int]
    producers: Mapping[str, Node]

    def constant(self, node: Node, slot: int) -> Array | None:
        """The constant that `node` reads as input `slot`."""
        return self.constants.get(node.inputs[slot]) if slot < len(node.inputs) else None

    def addend(self, name: str) -> Addend | None:
        """The constant tensor behind value `name`, through Identity and DequantizeLinear; None if there is none."""
        shared = self.readers[name] > 1
        if name in self.constants:
            stored = name in self.graph.tensors
            return Addend(name, self.constants[name], shared, changeable=stored)
        node = self.producers.get(name)
        if node is None or not is_standard(node.domain) or node.op not in ("Identity", "DequantizeLinear"):
            return None
        zero = self.constant(node, 2)
        if any(node.inputs[2:3]) and (zero is None or zero.any()):
            return None
        behind = self.addend(node.inputs[0])
        if behind is None:
            return None
        shared = shared or behind.shared
        return replace(behind, shared=shared, changeable=behind.changeable and not shared)


def read_values(model: Model) -> GraphValues:
    """The values of the graph of `model`, without shapes."""
    graph = read_graph(model.proto)
    inputs = {value.name for value in model.proto.graph.input}
    constants = {name: array for name, array in graph.tensors.items() if name not in inputs}
    constants |= {node.outputs[0]: array for node in graph.nodes for array in _listed_constant(node)}
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    inferred = onnx.shape_inference.infer_shapes(model.proto).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
    }
    ranks |= {name: array.ndim for name, array in constants.items()}
    return GraphValues(graph, constants, {}, ranks, _reader_counts(graph), producers)


def with_shapes(model: Model, values: GraphValues) -> list[GraphValues]:
    """`values` with their shapes; for two input sizes if `model` leaves other sizes than the batch open.

    What holds for both does not depend on the size. Empty where neither can be run.
    """
    with suppress(ModelError):
        return [_with_sizes(model, values, InputSizeOptions())]
    with suppress(ModelError, OptionError):
        return [_with_sizes(model, values, _sizes(model, size)) for size in _SUBSTITUTES]
    return []


def _with_sizes(model: Model, values: GraphValues, sizes: InputSizeOptions) -> GraphValues:
    """`values` with the shapes, and the numbers computed from shapes, for inputs of `sizes`."""
    graph = values.graph
    wanted = [
        name
        for node in graph.nodes
        if node.op in _RESHAPED and is_standard(node.domain)
        for name in (*node.inputs, *node.outputs)
        if name
    ]
    shapes = value_shapes(model.proto, model.origin, wanted, sizes)
    computed = [
        name
        for node in graph.nodes
        if node.op in _PARAMETERS and is_standard(node.domain)
        for name in node.inputs[1:]
        if name and name not in values.constants and _depends_on_shapes(name, values)
    ]
    constants = dict(values.constants)
    if computed:
        with suppress(ModelError):
            found = limited_values(model, computed, random_feeds(model, sizes, 0))
            constants |= {name: np.asarray(found[name]) for name in computed}
    return replace(values, constants=constants, shapes=shapes)


def _listed_constant(node: Node) -> Iterator[Array]:
    """The number or list of numbers of a Constant node that holds no tensor."""
    if node.op == "Constant" and is_standard(node.domain):
        for key in ("value_int", "value_ints", "value_float", "value_floats"):
            if key in node.attributes:
                yield np.asarray(node.attributes[key])


def _reader_counts(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        for name in (*node.inputs, *node.captured):
            counts[name] = counts.get(name, 0) + 1
    for name in graph.outputs:
        counts[name] = counts.get(name, 0) + 1
    return counts


def _depends_on_shapes(name: str, values: GraphValues) -> bool:
    """Whether a value depends on constants and shapes alone."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        value = waiting.pop()
        if value in seen or not value or value in values.constants:
            continue
        seen.add(value)
        node = values.producers.get(value)
        if node is None or not is_standard(node.domain) or node.captured or node.op.startswith("Random"):
            return False
        if node.op not in ("Shape", "Size"):
            waiting += node.inputs
    return True


def _sizes(model: Model, size: int) -> InputSizeOptions:
    """Every open dimension of an input but the batch as long as `size`."""
    constants = {tensor.name for tensor in model.proto.graph.initializer}
    shapes = []
    for value in model.proto.graph.input:
        sides = value.type.tensor_type.shape.dim
        if value.name not in constants and sides:
            shapes.append(f"{value.name}={'x'.join(map(str, _filled(sides, size)))}")
    return InputSizeOptions(input_shape=tuple(shapes))


def _filled(sides: Iterable[onnx.TensorShapeProto.Dimension], size: int) -> Iterator[int]:
    for axis, side in enumerate(sides):
        if side.HasField("dim_value"):
            yield side.dim_value
        else:
            yield 1 if axis == 0 else size
