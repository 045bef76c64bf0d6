"""The operators of a small convolutional network with int8 weights as TensorFlow Lite has them.

Activations are NHWC and int8. Their scales are all ACTIVATION_SCALE, and biases are 0: they change no weight.
BatchNormalization is left out, since it changes scales and biases alone, and so is a Softmax at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.layer_view.layer import Layer
from tightc.model.layer_view.layers import Network, read_network
from tightc.model.onnx_proto.graph import Graph, Node, read_graph
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.model.runtime.shapes import Shape, value_shapes

ACTIVATION_SCALE = 1 / 16
_LEFT_OUT = ("BatchNormalization", "DequantizeLinear", "Identity", "Dropout", "Softmax")
_LARGEST = 127


@dataclass(frozen=True)
class Tensor:
    """A value of the network; `data` are those of a constant, `scales` one for each place on axis 0, or one."""

    name: str
    shape: Shape
    scales: NDArray[np.float32]
    data: NDArray[np.int8] | NDArray[np.int32] | None = None


@dataclass
class Operator:
    """One call of the builtin operator `code`; `options` are the fields of its options table."""

    code: str
    inputs: tuple[str, ...]
    output: str
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LiteNetwork:
    """Operators in execution order, and all values by name."""

    tensors: Mapping[str, Tensor]
    operators: Sequence[Operator]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def weights(self) -> list[Tensor]:
        """The int8 constants."""
        return [
            tensor
            for tensor in self.tensors.values()
            if tensor.data is not None and tensor.data.dtype == np.int8
        ]


def lite_network(model: Model) -> LiteNetwork:
    """`model`, a network of convolutions, products, additions, ReLUs and mean pools, for one image.

    ModelError where a weight is not int8 with the zero point 0, or an operator is another.
    """
    return _Writer(model).written()


class _Writer:
    """The operators so far; `same` has the value that stands for each ONNX value."""

    def __init__(self, model: Model) -> None:
        self._origin = model.origin
        self._graph: Graph = read_graph(model.proto)
        self._network: Network = read_network(model)
        self._layers = {layer.output: layer for layer in self._network.layers}
        sizes, _ = resolve_open_sizes(model.proto, model.origin, InputSizeOptions())
        names = [*self._graph.inputs, *(name for node in self._graph.nodes for name in node.outputs if name)]
        self._shapes = value_shapes(model.proto, model.origin, names, sizes)
        self._readers = self._graph.consumers()
        self._same: dict[str, str] = {}
        self._tensors: dict[str, Tensor] = {}
        self._made: dict[str, Operator] = {}

    def written(self) -> LiteNetwork:
        for name in self._graph.inputs:
            self._activation(name)
        for node in self._graph.nodes:
            self._take(node)
        outputs = tuple(self._value(name) for name in self._graph.outputs)
        return LiteNetwork(self._tensors, list(self._made.values()), self._graph.inputs, outputs)

    def _take(self, node: Node) -> None:
        layer = self._layers.get(node.outputs[0])
        if node.op == "DequantizeLinear":
            return
        if layer is not None and node.op == "Conv":
            self._convolution(node, layer)
        elif layer is not None and node.op in ("Gemm", "MatMul"):
            self._product(node, layer)
        elif node.op == "Relu":
            self._relu(node)
        elif node.op == "Add" and not any(name in self._graph.tensors for name in node.inputs):
            self._append(Operator("ADD", self._values(node), node.outputs[0]))
        elif node.op in ("AveragePool", "GlobalAveragePool"):
            self._pool(node)
        elif node.op in ("Flatten", "Reshape", *_LEFT_OUT):
            self._pass_on(node)
        else:
            raise ModelError(
                f"{self._origin}: expected convolutions, products, additions, ReLUs and mean pools, got {node.op} "
                f"in {node.label}",
                "leave that model out",
            )

    def _convolution(self, node: Node, layer: Layer) -> None:
        weight = self._int8(layer).transpose(0, 2, 3, 1)
        code, options = "CONV_2D", {}
        if layer.groups > 1:
            if layer.groups != layer.filters or weight.shape[3] != 1:
                raise ModelError(
                    f"{self._origin}: expected one filter for each group, got {layer.groups} groups in {layer.label}",
                    "leave that model out",
                )
            code, weight, options = "DEPTHWISE_CONV_2D", weight.transpose(3, 1, 2, 0), {"DepthMultiplier": 1}
        options |= self._window(node, weight.shape[1:3])
        self._layer(code, node, layer, weight, options)

    def _product(self, node: Node, layer: Layer) -> None:
        self._layer("FULLY_CONNECTED", node, layer, layer.matrix(self._int8(layer)), {})

    def _layer(
        self, code: str, node: Node, layer: Layer, weight: NDArray[np.int8], options: dict[str, int]
    ) -> None:
        scale = np.full(1, 1 / _LARGEST, np.float32)
        name, bias = f"{node.outputs[0]}/weight", f"{node.outputs[0]}/bias"
        self._tensors[name] = Tensor(name, weight.shape, scale, np.ascontiguousarray(weight))
        zeros = np.zeros(layer.filters, np.int32)
        self._tensors[bias] = Tensor(bias, zeros.shape, scale * np.float32(ACTIVATION_SCALE), zeros)
        self._append(Operator(code, (self._value(layer.input), name, bias), node.outputs[0], options))

    def _int8(self, layer: Layer) -> NDArray[np.int8]:
        quantized = self._network.quantized.get(layer.weight)
        if quantized is None or quantized.dtype != np.int8 or quantized.zero_points.any():
            raise ModelError(
                f"{self._origin}: expected int8 weights with the zero point 0, got others in {layer.label}",
                "run tightc quantize first",
            )
        weight: NDArray[np.int8] = self._network.weights[layer.weight].astype(np.int8)
        return weight

    def _window(self, node: Node, kernel: Sequence[int]) -> dict[str, int]:
        """Strides and padding of a convolution or a pool; ModelError where its padding is neither SAME nor none."""
        sides = self._shapes[node.inputs[0]][2:]
        strides = tuple(node.attributes.get("strides", ())) or (1, 1)
        pads = tuple(node.attributes.get("pads", ())) or (0, 0, 0, 0)
        axes = zip(sides, kernel, strides, strict=True)
        totals = [max(0, (ceil(side / stride) - 1) * stride + size - side) for side, size, stride in axes]
        same = (*(total // 2 for total in totals), *(total - total // 2 for total in totals))
        dilated = set(node.attributes.get("dilations", ())) - {1}
        if dilated or (any(pads) and pads != same) or node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
            raise ModelError(
                f"{self._origin}: expected padding that keeps the size, or none, got pads {pads} in {node.label}",
                "leave that model out",
            )
        return {"Padding": 0 if any(pads) else 1, "StrideH": strides[0], "StrideW": strides[1]}

    def _pool(self, node: Node) -> None:
        kernel = tuple(node.attributes.get("kernel_shape", ())) or self._shapes[node.inputs[0]][2:]
        options = {**self._window(node, kernel), "FilterHeight": kernel[0], "FilterWidth": kernel[1]}
        self._append(Operator("AVERAGE_POOL_2D", self._values(node), node.outputs[0], options))

    def _relu(self, node: Node) -> None:
        """Joined with the operator before, which nothing else reads."""
        before = self._made.get(self._value(node.inputs[0]))
        if before is None or len(self._readers[node.inputs[0]]) > 1 or before.code == "AVERAGE_POOL_2D":
            raise ModelError(
                f"{self._origin}: expected a ReLU alone behind a layer or an addition, got another in {node.label}",
                "leave that model out",
            )
        before.options["FusedActivationFunction"] = 1
        self._pass_on(node)

    def _pass_on(self, node: Node) -> None:
        """The value before `node` stands for its output too; a map of one pixel becomes a vector."""
        before, after = (self._shapes[name] for name in (node.inputs[0], node.outputs[0]))
        if node.op in ("Flatten", "Reshape") and np.prod(before[2:], dtype=int) > 1:
            raise ModelError(
                f"{self._origin}: expected a map of one pixel in {node.label}, got the shape {before}",
                "leave that model out",
            )
        if len(before) == len(after):
            self._same[node.outputs[0]] = self._value(node.inputs[0])
        else:
            self._append(Operator("RESHAPE", (self._value(node.inputs[0]),), node.outputs[0]))

    def _append(self, operator: Operator) -> None:
        self._activation(operator.output)
        self._made[operator.output] = operator

    def _activation(self, name: str) -> None:
        shape = self._shapes[name]
        shape = (1, *shape[2:], shape[1]) if len(shape) == 4 else (1, *shape[1:])
        self._tensors[name] = Tensor(name, shape, np.full(1, ACTIVATION_SCALE, np.float32))

    def _value(self, name: str) -> str:
        return self._same.get(name, name)

    def _values(self, node: Node) -> tuple[str, ...]:
        return tuple(map(self._value, node.inputs))
