"""Random networks in which channels are added, gated, split, shuffled and concatenated.

Nothing is imported from tightc.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers import models

PIXELS = 6


@dataclass(frozen=True)
class Image:
    """A value of `channels` x `side` x `side` in NCHW."""

    name: str
    channels: int
    side: int


@dataclass
class ChannelNetwork:
    """A random network that grows.

    `forced`: the value after the bias and norm of each layer but gates, by weight.
    """

    rng: np.random.Generator
    batch: int | str = 2
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    forced: dict[str, str] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    in_phases: bool = False  # whether an image has zeros in some pixels only

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """A node with new outputs; the name of the first."""
        names = [f"v{len(self.nodes)}_{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"n{len(self.nodes)}", **attributes))
        return names[0]

    def tensor(self, array: np.ndarray) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = array
        return name

    def numbers(self, *shape: int, scale: float = 1.0) -> str:
        return self.tensor((scale * self.rng.normal(size=shape)).astype(np.float32))

    def integers(self, *values: int) -> str:
        return self.tensor(np.array(values, np.int64))

    def pick(self, *, even: bool = False) -> Image:
        """One of the images, the latest ones more often."""
        fitting = [image for image in self.images[-4:] if not even or image.channels % 2 == 0]
        return fitting[self.rng.integers(len(fitting))] if fitting else self.conv(self.images[-1], filters=6)

    def keep(self, name: str, like: Image, channels: int | None = None, side: int | None = None) -> Image:
        image = Image(name, like.channels if channels is None else channels, side or like.side)
        self.images.append(image)
        return image

    def conv(
        self,
        image: Image,
        filters: int,
        groups: int = 1,
        kernel: int = 3,
        act: bool = True,
        forced: bool = True,
    ) -> Image:
        """A convolution with a bias, a norm, an addition, or none of them, and an activation."""
        each = image.channels // groups
        weight = self.numbers(filters, each, kernel, kernel, scale=1 / np.sqrt(each * kernel * kernel))
        value = self.shifted(
            "Conv", image, (weight, filters), forced=forced, pads=[kernel // 2] * 4, group=groups
        )
        return Image(self.activation(value) if act else value, filters, image.side)

    def transposed_conv(self, image: Image, filters: int, groups: int = 1) -> Image:
        """As `conv`, by a transposed convolution, which keeps the side or doubles it."""
        doubles = image.side <= PIXELS
        kernel, stride, pad = ((2, 2, 0), (4, 2, 1))[self.rng.integers(2)] if doubles else (3, 1, 1)
        each = image.channels // groups
        scale = stride / np.sqrt(each * kernel * kernel)
        weight = self.numbers(image.channels, filters // groups, kernel, kernel, scale=scale)
        attributes = {"pads": [pad] * 4, "strides": [stride] * 2, "group": groups}
        value = self.shifted("ConvTranspose", image, (weight, filters), **attributes)
        return Image(self.activation(value), filters, stride * image.side)

    def shifted(
        self, op: str, image: Image, layer: tuple[str, int], *, forced: bool = True, **attributes: object
    ) -> str:
        """A convolution by the weight of a `layer` of so many filters, with a bias, a norm, an addition, or none."""
        weight, filters = layer
        shift = self.rng.choice(["bias", "norm", "add", "none"])
        bias = [self.numbers(filters, scale=0.5)] if shift == "bias" else []
        value = self.add(op, image.name, weight, *bias, **attributes)
        if shift == "norm":
            parameters = [self.numbers(filters) for _ in range(3)]
            variance = self.tensor(self.rng.uniform(0.5, 2, filters).astype(np.float32))
            value = self.add("BatchNormalization", value, *parameters, variance)
        if shift == "add":
            value = self.add("Add", value, self.numbers(filters, 1, 1, scale=0.5))
        if forced:
            self.forced[weight] = value
        return value

    def activation(self, value: str) -> str:
        """None of them gives a channel of zeros by chance."""
        kind = self.rng.choice(["leaky", "swish", "hard swish", "prelu", "tanh", "none"])
        if kind == "leaky":
            return self.add("LeakyRelu", value, alpha=0.3)
        if kind == "swish":
            return self.add("Mul", value, self.add("Sigmoid", value))
        if kind == "hard swish":
            clipped = self.add(
                "Clip",
                self.add("Add", value, self.tensor(np.float32(30))),
                self.tensor(np.float32(0)),
                self.tensor(np.float32(60)),
            )
            return self.add("Div", self.add("Mul", value, clipped), self.tensor(np.float32(60)))
        if kind == "prelu":
            return self.add("PRelu", value, self.tensor(np.array([0.2], np.float32)))
        return self.add("Tanh", value) if kind == "tanh" else value

    # --- the ways in which channels are moved and mixed

    def convolve(self) -> None:
        image = self.pick()
        made = self.conv(image, filters=int(self.rng.integers(3, 9)), kernel=int(self.rng.choice([1, 3])))
        self.keep(made.name, made)

    def convolve_in_groups(self) -> None:
        image = self.pick(even=True)
        made = self.conv(image, filters=2 * int(self.rng.integers(2, 5)), groups=2)
        self.keep(made.name, made)

    def convolve_depthwise(self) -> None:
        image = self.pick()
        made = self.conv(image, filters=image.channels * int(self.rng.integers(1, 3)), groups=image.channels)
        self.keep(made.name, made)

    def convolve_transposed(self) -> None:
        image = self.pick(even=True)
        kind = self.rng.choice(["plain", "groups", "depthwise"])
        groups = {"plain": 1, "groups": 2, "depthwise": image.channels}[str(kind)]
        filters = 2 * int(self.rng.integers(2, 5)) if kind != "depthwise" else image.channels
        made = self.transposed_conv(image, filters, groups)
        self.keep(made.name, made)

    def halve(self) -> None:
        image = self.pick()
        if image.side % 2 == 0 and not self.in_phases:
            name = self.add("AveragePool", image.name, kernel_shape=[2, 2], strides=[2, 2])
            self.keep(name, image, side=image.side // 2)

    def concatenate(self) -> None:
        one = self.pick()
        other = [image for image in self.images if image.side == one.side][-1]
        self.keep(self.add("Concat", one.name, other.name, axis=1), one, one.channels + other.channels)

    def split(self) -> None:
        image = self.pick()
        first = int(self.rng.integers(1, image.channels)) if image.channels > 1 else 0
        if first:
            sizes = self.integers(first, image.channels - first)
            name = self.add("Split", image.name, sizes, outputs=2, axis=1)
            self.keep(name, image, first)
            self.keep(name.replace("_0", "_1"), image, image.channels - first)

    def slice(self) -> None:
        image = self.pick()
        step = int(self.rng.choice([1, 2, -1]))
        start, end = (image.channels - 1, -(2**31)) if step < 0 else (image.channels // 3, 2**31)
        name = self.add(
            "Slice",
            image.name,
            self.integers(start),
            self.integers(end),
            self.integers(1),
            self.integers(step),
        )
        left = len(range(image.channels)[slice(start, None if step < 0 else end, step)])
        self.keep(name, image, left)

    def gather(self) -> None:
        image = self.pick()
        indices = self.rng.integers(-image.channels, image.channels, max(2, image.channels - 1))
        name = self.add("Gather", image.name, self.tensor(indices.astype(np.int64)), axis=1)
        self.keep(name, image, len(indices))

    def add_up(self) -> None:
        one = self.pick()
        same = [image for image in self.images if (image.channels, image.side) == (one.channels, one.side)]
        other = same[0] if len(same) > 1 else self.conv(one, one.channels)
        self.keep(self.add("Add", one.name, other.name), one)

    def shuffle(self) -> None:
        image = self.pick(even=True)
        half, side = image.channels // 2, image.side
        split = self.add("Reshape", image.name, self.integers(-1, 2, half, side, side))
        swapped = self.add("Transpose", split, perm=[0, 2, 1, 3, 4])
        self.keep(self.add("Reshape", swapped, self.integers(0, -1, side, side)), image)

    def gate(self) -> None:
        """Squeeze and excitation."""
        image = self.pick()
        if self.rng.random() < 0.5:
            pooled = self.add("GlobalAveragePool", image.name)
        else:
            pooled = self.add("ReduceMean", image.name, self.integers(2, 3), keepdims=1)
        inner = self.conv(Image(pooled, image.channels, 1), filters=4, kernel=1)
        outer = self.conv(inner, filters=image.channels, kernel=1, act=False, forced=False)
        if self.rng.random() < 0.5:
            gate = self.add("Sigmoid", outer.name)
        else:
            gate = self.add("HardSigmoid", outer.name, alpha=0.01)  # not 0 for any of our inputs
        self.keep(
            self.add("Mul", *((image.name, gate) if self.rng.random() < 0.5 else (gate, image.name))), image
        )

    def pad(self) -> None:
        image = self.pick()
        pads = self.integers(0, 1, 0, 0, 0, 2, 0, 0)
        self.keep(self.add("Pad", image.name, pads), image, image.channels + 3)

    def rearrange(self) -> None:
        """Depth to space and back, or a stay in NHWC."""
        image = self.pick()
        if image.channels % 4 == 0 and image.side < 2 * PIXELS:
            self.in_phases = True
            mode = str(self.rng.choice(["DCR", "CRD"]))
            name = self.add("DepthToSpace", image.name, blocksize=2, mode=mode)
            self.keep(name, image, image.channels // 4, 2 * image.side)
        elif image.side % 2 == 0 and image.channels < 9 and not self.in_phases:
            self.keep(
                self.add("SpaceToDepth", image.name, blocksize=2), image, 4 * image.channels, image.side // 2
            )
        else:
            last = self.activation(self.add("Transpose", image.name, perm=[0, 2, 3, 1]))
            self.keep(self.add("Transpose", last, perm=[0, 3, 1, 2]), image)

    def pool(self) -> None:
        image = self.pick()
        name = self.add("AveragePool", image.name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        self.keep(self.add("Mul", name, self.numbers(1, image.channels, 1, 1)), image)

    # --- the whole network

    def head(self, image: Image) -> str:
        """A layer on all pixels, in one of the orders of flattening, or on their means."""
        kind = self.rng.choice(["flatten", "channels last", "means"])
        inputs = image.channels * image.side**2
        if kind == "means" or self.in_phases:
            flat, inputs = self.add("ReduceMean", image.name, self.integers(2, 3), keepdims=0), image.channels
        elif kind == "flatten":
            flat = self.add("Flatten", image.name)
        else:
            last = self.add("Transpose", image.name, perm=[0, 2, 3, 1])
            flat = self.add("Reshape", last, self.integers(0, -1))
        weight = self.numbers(8, inputs, scale=1 / np.sqrt(inputs))
        hidden = self.add("Gemm", flat, weight, self.numbers(8), transB=1)
        self.forced[weight] = hidden
        return self.add("MatMul", self.activation(hidden), self.numbers(8, 3))

    def proto(self, outputs: list[str]) -> onnx.ModelProto:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [self.batch, 3, PIXELS, PIXELS])
        tensors = [numpy_helper.from_array(array, name) for name, array in self.tensors.items()]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", [image], values, tensors)
        proto = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", models.OPSET)], ir_version=models.IR
        )
        return onnx.shape_inference.infer_shapes(proto)


STEPS = (
    *("convolve", "convolve", "convolve_in_groups", "convolve_depthwise", "concatenate", "split", "slice"),
    *("gather", "add_up", "shuffle", "gate", "pad", "rearrange", "pool"),
    *("convolve_transposed", "convolve_transposed", "halve"),
)


def random_network(seed: int, steps: int = 7) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A network of so many random `steps`, and the value after the bias and norm of each of its layers, by weight.

    The last two values are read; sometimes one is an output too. Gates are left out: their channels are not zero.
    """
    rng = np.random.default_rng(seed)
    network = ChannelNetwork(rng, batch=2 if rng.random() < 0.5 else "N")
    first = network.conv(Image("image", 3, PIXELS), filters=8)
    network.keep(first.name, first)
    for step in rng.choice(STEPS, steps):
        getattr(network, step)()
    outputs = [network.head(image) for image in network.images[-2:]]
    if rng.random() < 0.2:
        outputs.append(network.images[-1].name)
    return network.proto(outputs), network.forced
