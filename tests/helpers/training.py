"""Small networks, and an easy data set to train them on: which quadrant is bright."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, parser

from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.finetuning.finetune import finetune
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model, load_model_bytes
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.report import Report

NORMALIZATION = Normalization((0.5,), (0.25,))
QUICK: dict[str, Any] = {
    "epochs": 3, "batch_size": 16, "learning_rate": 0.05, "device": "cpu", "dtype": "float32",
}  # fmt: skip

_END = "p = MaxPool<kernel_shape = [4, 4], strides = [4, 4]>(s)\nf = Flatten(p)\n"
_GEMM = f"{_END}[last] logits = Gemm<transB = 1>(f, last_w, last_b)"
TEXTS = {
    "folded": f"[first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w, first_b)\ns = Relu(a)\n{_GEMM}",
    "normed": "[first] c = Conv<pads = [1, 1, 1, 1]>(image, first_w)\n"
    f"a = BatchNormalization(c, scale, shift, mean, variance)\ns = Relu(a)\n{_GEMM}",
    "grouped": "[first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w, first_b)\nr = Relu(a)\n"
    "[middle] b = Conv<group = 2, pads = [1, 1, 1, 1]>(r, grouped_w, grouped_b)\ns = Relu(b)\n"
    f"{_END}l = MatMul(f, last_v)\nlogits = Add(l, last_b)",
    "shared": "[first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w, first_b)\nr = Relu(a)\n"
    "[one] b = Conv<pads = [1, 1, 1, 1]>(r, shared_w)\nt = Relu(b)\n"
    f"[two] s = Conv<pads = [1, 1, 1, 1]>(t, shared_w)\n{_GEMM}",
    "dropout": "[first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w, first_b)\nr = Relu(a)\n"
    f"s = Dropout(r, half)\n{_GEMM}",
}
_SHAPES = {
    "first_w": (8, 1, 3, 3), "first_b": (8,), "grouped_w": (8, 4, 3, 3), "grouped_b": (8,), "last_v": (32, 4),
    "shared_w": (8, 8, 3, 3), "last_w": (4, 32), "last_b": (4,), "scale": (8,), "shift": (8,), "mean": (8,),
    "variance": (8,),
}  # fmt: skip
FILTERS_LAST = {"last_v"}  # MatMul's weights have a filter in each column
WEIGHTS = {
    "folded": ("first_w", "last_w"),
    "normed": ("first_w", "last_w"),
    "grouped": ("first_w", "grouped_w", "last_v"),
    "shared": ("first_w", "shared_w", "last_w"),
    "dropout": ("first_w", "last_w"),
}


def proto_of(which: str, density: float = 1.0, seed: int = 0) -> onnx.ModelProto:
    """One of the networks; a fraction `density` of its weights is nonzero."""
    random = np.random.default_rng(seed)
    proto = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> '
        f"g (float[batch, 1, 8, 8] image) => (float[batch, 4] logits) {{ {TEXTS[which]} }}"
    )
    for name, shape in _SHAPES.items():
        array = random.standard_normal(shape).astype(np.float32) * (
            0.3 if name.endswith(("_w", "_v")) else 0.1
        )
        if name in WEIGHTS[which]:
            array[random.random(shape) >= density] = 0
        array = np.abs(array) + 1 if name in ("scale", "variance") else array
        if name in TEXTS[which]:
            proto.graph.initializer.append(numpy_helper.from_array(array, name))
    if "half" in TEXTS[which]:
        proto.graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "half"))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def network(which: str, density: float = 1.0, seed: int = 0) -> Model:
    """The same network as a Model."""
    return load_model_bytes(proto_of(which, density, seed).SerializeToString(), f"{which}.onnx")


def quantized(which: str, density: float = 1.0, seed: int = 0) -> Model:
    """The same network, quantized to int8."""
    calibration = NormalizedImages(quadrants(), NORMALIZATION)
    return quantize(network(which, density, seed), QuantizeOptions(), calibration)[0]


def quadrants(count: int = 64, seed: int = 0) -> Images:
    """Dim noise with one bright quadrant; its number is the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, count)
    pixels = random.integers(0, 100, (count, 1, 8, 8), dtype=np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[0, row : row + 4, column : column + 4] += 120
    return Images(pixels, labels, ("nw", "ne", "sw", "se"))


def train(
    model: Model,
    images: Images | None = None,
    *,
    seed: int = 0,
    teacher: Model | None = None,
    progress: Any = None,
    **options: Any,
) -> tuple[Model, Report]:
    """Finetunes `model` with `options` on top of QUICK."""
    pruning = {} if {"sparsity", "budget"}.isdisjoint(options) else {"pruning_interval": 2}
    finetune_options = FinetuneOptions.of({**QUICK, **pruning, **options})
    further = {} if progress is None else {"progress": progress}
    return finetune(
        model, images or quadrants(), NORMALIZATION, finetune_options, seed=seed, teacher=teacher, **further
    )


def tensors(model: Model) -> dict[str, np.ndarray]:
    """The tensors of the file, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.proto.graph.initializer}


def matrix(name: str, tensor: np.ndarray) -> np.ndarray:
    """A weight as (filters, inputs)."""
    return tensor.T if name in FILTERS_LAST else tensor.reshape(len(tensor), -1)


def counts(model: Model, which: str) -> dict[str, int]:
    """The number of nonzero weights of each layer."""
    return {name: int(np.count_nonzero(tensors(model)[name])) for name in WEIGHTS[which]}
