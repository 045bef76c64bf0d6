"""Makes the embedded example in src/tightc/example: digits.npz and a small network trained on it, digits.onnx.

Needs scikit-learn and torch (pip install 'tightc[finetune,scripts]'). Run anew, it writes the same bytes:

    python scripts/make_digits.py
"""

from __future__ import annotations

import argparse
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tightc.data.images import Images, Normalization
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.files import write_file_atomically
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model, load_model_bytes

EXAMPLE = Path(__file__).parents[1] / "src" / "tightc" / "example"
SEED = 0
TEST_IMAGES = 497
CLASSES = 10
# (name, inputs, filters); all 3x3, the image is halved to 4x4 after the second.
CONVOLUTIONS = (("conv1", 1, 16), ("conv2", 16, 32), ("conv3", 32, 64), ("conv4", 64, 96))
POOLED_AFTER = "conv2"
TRAINING = FinetuneOptions(epochs=30, batch_size=64, learning_rate=0.05, device="cpu", dtype="float32")


def make_data() -> dict[str, NDArray[Any]]:
    """The 1797 scans of scikit-learn, 0..16 spread over 0..255, shuffled and split: x as (images, 8, 8) uint8."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    y = digits.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(x))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}


def make_network() -> Model:
    """Four convolutions with norms and a linear layer, initialized as He et al. do (normal, variance 2 / inputs).

    The norms stay nodes of their own: without them the network does not recover so well from pruning.
    """
    generator = np.random.default_rng(SEED)
    nodes: list[onnx.NodeProto] = []
    tensors: list[onnx.TensorProto] = []

    def add_tensor(name: str, values: NDArray[np.floating]) -> str:
        tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def add_weight(name: str, shape: tuple[int, ...]) -> str:
        return add_tensor(name, generator.normal(0, math.sqrt(2 / math.prod(shape[1:])), shape))

    def add_norm(name: str, filters: int) -> list[str]:
        start = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        return [add_tensor(f"{name}.{part}", np.full(filters, value)) for part, value in start.items()]

    def add_node(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    value = "image"
    for number, (name, inputs, filters) in enumerate(CONVOLUTIONS):
        suffix = f"_{number}" if number else ""
        weight = add_weight(f"{name}.weight", (filters, inputs, 3, 3))
        geometry = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [1, 1]}
        value = add_node("Conv", [value, weight], f"conv2d{suffix}", **geometry)
        norm = add_norm(f"bn{number + 1}", filters)
        value = add_node("BatchNormalization", [value, *norm], f"batch_norm{suffix}")
        value = add_node("Relu", [value], f"relu{suffix}")
        if name == POOLED_AFTER:
            value = add_node("MaxPool", [value], "max_pool2d", kernel_shape=[2, 2], strides=[2, 2])
    value = add_node("GlobalAveragePool", [value], "mean")
    value = add_node("Flatten", [value], "flatten", axis=1)
    weights = [
        add_weight("fc.weight", (CLASSES, CONVOLUTIONS[-1][2])),
        add_tensor("fc.bias", np.zeros(CLASSES)),
    ]
    add_node("Gemm", [value, *weights], "logits", transB=1)

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "digits", [image], [logits], tensors)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return load_model_bytes(proto.SerializeToString(deterministic=True), "digits.onnx")


def main() -> None:
    """Writes both files and says how good the network is and how large they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=EXAMPLE, help="where to write (default: the package)")
    folder = parser.parse_args().folder

    arrays = make_data()
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    train, test = (Images(arrays[f"x_{split}"][:, None], arrays[f"y_{split}"]) for split in ("train", "test"))

    import torch

    torch.set_num_threads(1)  # sums in one order, on any number of cores
    model, report = finetune(make_network(), train, Normalization(), TRAINING, seed=SEED)
    accuracy = evaluate(model, test, Normalization(), EvaluateOptions()).totals["accuracy"]
    print(f"train {report.totals['train_accuracy']:.2f} %, test {accuracy:.2f} %")
    for name, content in (("digits.npz", stream.getvalue()), ("digits.onnx", model.to_bytes())):
        write_file_atomically(folder / name, content)
        print(f"{folder / name}: {len(content)} bytes")


if __name__ == "__main__":
    main()
