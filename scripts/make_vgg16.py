"""Writes a VGG-16 with batch normalization for 32x32 images, with random weights: a network to train.

    python scripts/make_vgg16.py vgg16-random.onnx --classes 10 --seed 0

Thirteen 3x3 convolutions in five blocks, each block closed by a maximum over 2x2, then one linear layer: the form
that the pruning literature uses for CIFAR-10 (14.7 million weights). Weights after He et al. 2015, "Delving Deep into
Rectifiers", section 2.2, from the filters' side; norms start as identities.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_OPSET, _IR = 17, 8


def vgg16(classes: int, seed: int) -> onnx.ModelProto:
    """The network: input `image`, batch x 3 x 32 x 32 float32; output `logits`, batch x `classes`."""
    randomness = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def tensor(name: str, values: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    value, channels = "image", 3
    for block, widths in enumerate(BLOCKS, 1):
        for place, filters in enumerate(widths, 1):
            name = f"conv{block}_{place}"
            spread = sqrt(2 / (9 * filters))
            weight = tensor(f"{name}.weight", spread * randomness.standard_normal((filters, channels, 3, 3)))
            settings = {"scale": 1, "shift": 0, "mean": 0, "variance": 1}
            norm = [tensor(f"{name}.{part}", np.full(filters, start)) for part, start in settings.items()]
            nodes.append(helper.make_node("Conv", [value, weight], [f"{name}.sum"], name, pads=[1, 1, 1, 1]))
            nodes.append(
                helper.make_node(
                    "BatchNormalization", [f"{name}.sum", *norm], [f"{name}.normed"], f"{name}.norm"
                )
            )
            nodes.append(helper.make_node("Relu", [f"{name}.normed"], [f"{name}.out"], f"{name}.relu"))
            value, channels = f"{name}.out", filters
        pooled = f"pool{block}"
        nodes.append(
            helper.make_node("MaxPool", [value], [pooled], pooled, kernel_shape=[2, 2], strides=[2, 2])
        )
        value = pooled
    weight = tensor("linear.weight", 0.01 * randomness.standard_normal((classes, channels)))
    bias = tensor("linear.bias", np.zeros(classes))
    nodes.append(helper.make_node("Flatten", [value], ["features"], "flatten"))
    nodes.append(helper.make_node("Gemm", ["features", weight, bias], ["logits"], "linear", transB=1))
    graph = helper.make_graph(
        nodes,
        "vgg16",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Writes the file that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    onnx.save(vgg16(asked.classes, asked.seed), asked.path)


if __name__ == "__main__":
    main()
