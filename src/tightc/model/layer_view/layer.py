"""A layer: an operator with a constant weight, seen as a matrix of filters and inputs."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from tightc.model.onnx_proto.graph import Array, Node
from tightc.model.onnx_proto.weight_operators import WEIGHT_OPERATORS

CONVOLUTIONS = ("Conv", "ConvInteger", "QLinearConv")


@dataclass(frozen=True)
class Layer:
    """An operator with a constant `weight` that is a matrix of `filters` x `inputs`.

    `name` is that of the node. `filters` counts all groups and `inputs` those of one group: the blocks of a grouped
    layer are stacked. With `filters_first`, a filter is a row of the weight tensor; else a column, in the part of the
    tensor that is its group. `slot` is the place of the weight among the inputs of the operator. `input` and `output`
    are the values that the layer reads and computes. `shared_with` is the name of an earlier layer with the same
    weight. `module` is the path of the torch module that owns the weight, None where there is no single one.

    Of a transposed convolution, a filter is a kernel position of an output channel, so N = channels x positions.
    """

    name: str
    op: str
    weight: str
    filters: int
    inputs: int
    groups: int
    filters_first: bool
    slot: int
    input: str
    output: str
    shared_with: str | None = None
    module: str | None = None

    @property
    def label(self) -> str:
        """The name that tables and messages show: the module's, or the node's where there is none."""
        return self.module or self.name

    @property
    def is_convolution(self) -> bool:
        """Whether a filter slides over the input."""
        return self.op in CONVOLUTIONS

    @property
    def weight_is_left(self) -> bool:
        """Whether the weight is the left operand of a matrix product, so that input vectors are columns."""
        return self.op not in CONVOLUTIONS and self.slot == 0

    def filters_axis(self, rank: int) -> int:
        """The axis of the weight, of `rank` axes, along which filters, or their output channels, go."""
        if self.op in CONVOLUTIONS or rank == 1:
            return 0
        if self.op == "ConvTranspose":
            return 1
        return rank - 2 if self.filters_first else rank - 1

    def matrix(self, weight: Array) -> Array:
        """The weight tensor as (filters, inputs), a view where its layout allows."""
        if self.filters_first:
            return weight.reshape(self.filters, self.inputs)
        blocks = weight.reshape(self.groups, self.inputs, self.filters // self.groups)
        return blocks.swapaxes(1, 2).reshape(self.filters, self.inputs)

    def tensor(self, matrix: Array, shape: tuple[int, ...]) -> Array:
        """The inverse of `matrix`: from (filters, inputs) to the `shape` of the weight tensor."""
        if not self.filters_first:
            blocks = matrix.reshape(self.groups, self.filters // self.groups, self.inputs)
            matrix = blocks.swapaxes(1, 2)
        return np.ascontiguousarray(matrix.reshape(shape))

    def reads_alike(self, other: Layer) -> bool:
        """Whether `other` sees a weight of the same shape as the same matrix."""
        mine = (self.groups, self.filters_first, self.filters, self.inputs)
        return mine == (other.groups, other.filters_first, other.filters, other.inputs)


def build_layer(node: Node, weight: str, shape: tuple[int, ...], slot: int) -> Layer:
    """The layer of `node` with its `weight`, of a given `shape`, as input `slot`."""
    groups, filters_first = 1, False
    if node.op in CONVOLUTIONS:
        filters, inputs, filters_first = shape[0], prod(shape[1:]), True
        groups = node.attributes.get("group", 1)
    elif node.op == "ConvTranspose":
        groups = node.attributes.get("group", 1)
        filters, inputs = groups * prod(shape[1:]), shape[0] // groups
    elif len(shape) == 1:
        filters, inputs, filters_first = 1, shape[0], True
    else:
        transposed = "transA" if slot == 0 else "transB"
        filters_first = (slot == 0) != bool(node.attributes.get(transposed, 0))
        groups = prod(shape[:-2])
        per_group, inputs = shape[-2:] if filters_first else shape[:-3:-1]
        filters = groups * per_group
    return Layer(
        name=node.label,
        op=node.op,
        weight=weight,
        filters=filters,
        inputs=inputs,
        groups=groups,
        filters_first=filters_first,
        slot=slot,
        input=node.inputs[WEIGHT_OPERATORS[node.op].activation(slot)],
        output=node.outputs[0],
    )
