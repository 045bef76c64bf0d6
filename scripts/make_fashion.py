"""Writes a small convolutional network for the 28x28 images of Fashion-MNIST, with random weights: a network to train.

    apt-get install dataset-fashion-mnist  # Debian; the images, in /usr/share/datasets/fashion-mnist
    python scripts/make_fashion.py fashion-random.onnx --seed 0

Five 3x3 convolutions with batch normalization in four blocks, each block closed by a maximum over 2x2 or by the mean,
then one linear layer (0.25 million weights). Weights after He et al. 2015, "Delving Deep into Rectifiers", section
2.2, from the filters' side; norms start as identities.
"""

from __future__ import annotations

import argparse
from math import sqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = ((16,), (32,), (64,), (128, 128))
SIDE, CLASSES = 28, 10
_OPSET, _IR = 17, 8


def fashion(seed: int) -> onnx.ModelProto:
    """The network: input `image`, batch x 1 x 28 x 28 float32; output `logits`, batch x 10."""
    randomness = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def tensor(name: str, values: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    value, channels = "image", 1
    for block, widths in enumerate(BLOCKS, 1):
        if block > 1:
            value = node("MaxPool", [value], f"pool{block - 1}", kernel_shape=[2, 2], strides=[2, 2])
        for place, filters in enumerate(widths, 1):
            name = f"conv{block}_{place}"
            spread = sqrt(2 / (9 * filters))
            weight = tensor(f"{name}.weight", spread * randomness.standard_normal((filters, channels, 3, 3)))
            settings = {"scale": 1, "shift": 0, "mean": 0, "variance": 1}
            norm = [tensor(f"{name}.{part}", np.full(filters, start)) for part, start in settings.items()]
            value = node("Conv", [value, weight], name, pads=[1, 1, 1, 1])
            value = node("BatchNormalization", [value, *norm], f"{name}.norm")
            value = node("Relu", [value], f"{name}.relu")
            channels = filters
    value = node("GlobalAveragePool", [value], "mean")
    value = node("Flatten", [value], "features")
    weight = tensor("linear.weight", 0.01 * randomness.standard_normal((CLASSES, channels)))
    bias = tensor("linear.bias", np.zeros(CLASSES))
    node("Gemm", [value, weight, bias], "logits", transB=1)
    graph = helper.make_graph(
        nodes,
        "fashion",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Writes the file that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    onnx.save(fashion(asked.seed), asked.path)


if __name__ == "__main__":
    main()
