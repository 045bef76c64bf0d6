"""The networks that are measured: a pruned ResNet-20, and layers of the shapes of VGG-16 and ResNet-50."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import tightc
from benchmarks.page import SEED
from tightc.model.file import Model, load_model_bytes
from tightc.model.layer_view.layer_metrics import layer_matrix
from tightc.model.layer_view.layers import read_network
from tightc.pruning.options import PruneOptions
from tightc.tile.matrix import LayerMatrix

MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"
RESNET20 = MODELS / "resnet20-cifar10.onnx"
RESNET20_BN = MODELS / "resnet20-cifar10-bn.onnx"
SYNTHETIC = (
    "Synthetic layers hold float32 weights: standard normal numbers times a log-normal factor (scale 0.4) per filter "
    "and per input. One threshold prunes all of them: a quantile of four million such weights. The density of a layer "
    "is therefore only about the one named."
)
_SCALE = 0.4
_SAMPLE = 4_000_000

Shape = tuple[int, int]


def _vgg16() -> list[Shape]:
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    convolutions = [(after, 9 * before) for before, after in pairwise(channels)]
    return [*convolutions, (4096, 25088), (4096, 4096), (1000, 4096)]


def _resnet50() -> list[Shape]:
    shapes, before = [(64, 3 * 49)], 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            shapes += [(width, before), (width, 9 * width), (4 * width, width)]
            if block == 0:
                shapes.append((4 * width, before))
            before = 4 * width
    return [*shapes, (1000, 2048)]


VGG16, RESNET50 = _vgg16(), _resnet50()  # filters x inputs of every layer, in order
LARGEST: list[Shape] = [(4096, 4096), (4096, 25088)]


def distinct_shapes() -> list[Shape]:
    """Those of VGG-16 and ResNet-50 but for the two largest, the smallest first."""
    return sorted({*VGG16, *RESNET50} - {*LARGEST}, key=lambda shape: (shape[0] * shape[1], shape))


@cache
def pruned(path: Path, sparsity: float) -> Model:
    """The network in the file, pruned globally."""
    return tightc.prune(tightc.load(str(path)), PruneOptions(sparsity=sparsity))[0]


def matrices(path: Path, sparsity: float) -> dict[str, LayerMatrix]:
    """Its layers by name."""
    network = read_network(pruned(path, sparsity))
    return {layer.name: layer_matrix(network, layer) for layer in network.owners}


def missing(path: Path) -> str:
    """The sentence that stands where there is no such file, empty where there is one."""
    return "" if path.exists() else f"Left out: there is no {path.name} in ../shared/models."


def synthetic(filters: int, inputs: int, density: float, salt: str = "") -> LayerMatrix:
    """A layer of that shape; the same shape and `salt` give the same weights before pruning."""
    rng = np.random.default_rng([SEED, filters, inputs, zlib.crc32(salt.encode())])
    rows = np.exp(_SCALE * rng.standard_normal((filters, 1), np.float32))
    columns = np.exp(_SCALE * rng.standard_normal(inputs, np.float32))
    values = rng.standard_normal((filters, inputs), np.float32)
    values *= rows
    values *= columns
    values[np.abs(values) < threshold(density)] = 0
    return LayerMatrix(values)


@cache
def threshold(density: float) -> float:
    """The magnitude that a share `density` of all weights exceeds."""
    rng = np.random.default_rng(SEED)
    factors = np.exp(_SCALE * np.sqrt(2) * rng.standard_normal(_SAMPLE))
    return float(np.quantile(np.abs(rng.standard_normal(_SAMPLE)) * factors, 1 - density))


def resnet50(density: float) -> Model:
    """A model with the layers of ResNet-50 for an image of 224x224, strides in the 3x3 layers as torchvision has them.

    Synthetic weights, no biases. A block's shortcut comes after its three layers, as in RESNET50.
    """
    graph = _Graph([], [], density)
    x = graph.conv("image", 7, 2)
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            inner = graph.conv(graph.conv(x, 1, 1), 3, stride)
            outer = graph.conv(inner, 1, 1, relu=False)
            shortcut = x if block else graph.conv(x, 1, stride, relu=False)
            x = graph.node("Relu", graph.node("Add", outer, shortcut))
    x = graph.node("Flatten", graph.node("GlobalAveragePool", x))
    y = graph.layer("Gemm", x, (1, 1), transB=1)
    ends = (("image", [1, 3, 224, 224]), (y, [1, RESNET50[-1][0]]))
    first, last = (helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in ends)
    made = helper.make_graph(graph.nodes, "resnet50", [first], [last], graph.weights)
    proto = helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return load_model_bytes(proto.SerializeToString(), "resnet50.onnx")


@dataclass
class _Graph:
    """A network of the layers of RESNET50 while it grows; `layer` takes them in order."""

    nodes: list[onnx.NodeProto]
    weights: list[onnx.TensorProto]
    density: float

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """One more node; gives the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def layer(self, operator: str, x: str, kernel: tuple[int, int], **attributes: object) -> str:
        """One more node that has the weights of the next layer."""
        number = len(self.weights)
        filters, inputs = RESNET50[number]
        values = synthetic(filters, inputs, self.density, salt=str(number)).values
        if operator == "Conv":
            values = values.reshape(filters, -1, *kernel)
        self.weights.append(numpy_helper.from_array(values, f"w{number}"))
        return self.node(operator, x, f"w{number}", **attributes)

    def conv(self, x: str, side: int, stride: int, relu: bool = True) -> str:
        """One more convolution, `side` x `side`."""
        pads, kernel = [side // 2] * 4, (side, side)
        y = self.layer("Conv", x, kernel, kernel_shape=kernel, strides=[stride, stride], pads=pads)
        return self.node("Relu", y) if relu else y


def layers_model(layers: Sequence[Shape]) -> Model:
    """Random matrices of these shapes as 1x1 convolutions, each on an input of its own."""
    rng = np.random.default_rng(SEED)
    tensors, nodes, inputs, outputs = [], [], [], []
    for i, (filters, channels) in enumerate(layers):
        weight = rng.standard_normal((filters, channels, 1, 1), np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}"], [f"y{i}"]))
        inputs.append(helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, ["B", channels, 7, 7]))
        outputs.append(helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["B", filters, 7, 7]))
    return _model(helper.make_graph(nodes, "layers", inputs, outputs, tensors))


def deep_model(layers: int) -> Model:
    """So many random 3x3 convolutions of 16 channels in a row, each with its ReLU."""
    rng = np.random.default_rng(SEED)
    tensors, nodes, value = [], [], "x"
    for i in range(layers):
        weight = rng.standard_normal((16, 16, 3, 3), np.float32)
        tensors.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"y{i}"]))
        value = f"y{i}"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 16, 8, 8]) for name in ("x", value)]
    return _model(helper.make_graph(nodes, "deep", ends[:1], ends[1:], tensors))


def _model(graph: onnx.GraphProto) -> Model:
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(proto)
    return load_model_bytes(proto.SerializeToString(), f"{graph.name}.onnx")
