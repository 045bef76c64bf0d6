"""Layers that read what the layers before them have written, up to the class of an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import pytest

import tightc
from helpers.packings import QUICK
from helpers.rtl_images import Images
from helpers.rtl_models import Weighted, graph, int8, network
from helpers.rtl_runs import icarus, randomly_packed, verilator, write
from tightc.example import RECIPE
from tightc.model.file import Model
from tightc.rtl.cosimulation import simulate_folder

DIGITS = np.load(RECIPE.parent / "digits.npz")
MAP = (2, 3, 8, 7)


def conv(filters: int, channels: int, *kernel: int, settings: str = "") -> Weighted:
    return Weighted("Conv", int8(filters, channels, *kernel), settings)


def gemm(inputs: int, filters: int, settings: str = "") -> Weighted:
    return Weighted("Gemm", int8(inputs, filters), settings, axis=1)


FIRST = conv(4, 3, 3, 3)
# steps, zero point of all activations, whether the second layer reads what the first has written
CHAINS: dict[str, tuple[tuple[int, ...], list[Weighted | str], np.generic, bool]] = {
    "convolutions": (MAP, [FIRST, "Relu", conv(5, 4, 2, 2, settings="<pads = [1, 0, 0, 1]>")], np.uint8(7), True),
    "flattened": (MAP, [FIRST, "Relu", "Flatten", gemm(120, 5)], np.uint8(0), True),
    "products": ((3, 5), [gemm(5, 6), gemm(6, 4)], np.int8(-3), True),
    "products of transposed": ((5, 4), [gemm(5, 6, "<transA = 1>"), gemm(4, 3, "<transA = 1>")], np.int8(-3), False),
    "one axis": ((2, 3, 8), [conv(4, 3, 3), conv(5, 4, 2)], np.uint8(7), True),
    "three axes, flattened": ((2, 2, 3, 3, 3), [conv(3, 2, 2, 2, 2), "Flatten", gemm(24, 5)], np.int8(0), False),
    "largest": (MAP, [FIRST, "MaxPool<kernel_shape = [2, 3], strides = [2, 1]>", conv(5, 4, 2, 2)], np.int8(5), True),
    "largest, padded": (
        MAP,
        [FIRST, "MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>", conv(5, 4, 2, 2)],
        np.uint8(9),
        True,
    ),
    "largest of all": (MAP, [FIRST, "GlobalMaxPool", conv(5, 4, 1, 1)], np.uint8(7), True),
    "mean": (MAP, [FIRST, "Relu", "AveragePool<kernel_shape = [2, 2]>", conv(5, 4, 2, 2)], np.int8(0), True),
    "mean, padded": (
        MAP,
        [FIRST, "Relu", "AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>", conv(5, 4, 2, 2)],
        np.int8(0),
        True,
    ),
    "mean of all": (MAP, [FIRST, "Relu", "GlobalAveragePool", "Flatten", gemm(4, 5)], np.int8(0), True),
    "mean of what is negative too": (MAP, [FIRST, "GlobalAveragePool", "Flatten", gemm(4, 5)], np.int8(0), False),
    "what is not known": (MAP, [FIRST, "Tanh", conv(5, 4, 2, 2)], np.int8(0), False),
}  # fmt: skip


@icarus
@pytest.mark.parametrize("name", CHAINS)
def test_a_layer_reads_what_the_layer_before_has_written(name: str, tmp_path: Path) -> None:
    shape, steps, zero_point, linked = CHAINS[name]
    design = write(randomly_packed(network(shape, *steps, zero_point=zero_point), (4, 4), 3), tmp_path)
    first, second = (row["reads"] for row in design.report.layers)
    assert first is None and (second == "layer0") == linked
    assert len(simulate_folder(tmp_path, "icarus", chain=True)) == 2
    if linked:  # the activations of the image would do as well: without them it has to read the first layer's
        _scramble(tmp_path, Images(tmp_path).records[1].first_activation)
        with pytest.raises(tightc.VerifyError, match=r"activation \d+: expected -?\d+, got"):
            simulate_folder(tmp_path, "icarus", chain=True)


def _scramble(folder: Path, first: int) -> None:
    """Changes the activations from `first` on, as if onnxruntime had had others."""
    lines = (folder / "activations.hex").read_text().split()
    changed = [
        f"{int(line, 16) ^ 0x15:02x}" if number >= first else line for number, line in enumerate(lines)
    ]
    (folder / "activations.hex").write_text("\n".join(changed) + "\n")


@icarus
def test_bytes_that_differ_by_rounding_are_counted_and_what_reads_them_is_not_compared(
    tmp_path: Path,
) -> None:
    """Halves, which onnxruntime rounds to even and the fixed point up."""
    proto = graph(
        """(float[1, 4] x) => (float[1, 2] y) {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            v = DequantizeLinear(w, h, z)
            [halves] a = Gemm<transB = 1>(d, v)
            p = QuantizeLinear(a, s, z)
            c = DequantizeLinear(p, s, z)
            u = DequantizeLinear(t, h, z)
            [reader] y = Gemm(c, u)
        }""",
        s=np.float32(1), h=np.float32(0.5), z=np.int8(0), w=np.eye(4, dtype=np.int8), t=int8(4, 2, density=1),
    )  # fmt: skip
    np.savez(tmp_path / "x.npz", x=np.array([[1, 2, 5, 9]], np.float32))
    folder = tmp_path / "rtl"
    write(randomly_packed(proto, (2, 2), 2), folder, inputs=str(tmp_path / "x.npz"))
    halves, reader = simulate_folder(folder, "icarus")
    assert (halves.rounded, reader.rounded, reader.rounded_reads) == (3, 0, 0)  # 0.5, 2.5 and 4.5
    halves, reader = simulate_folder(folder, "icarus", chain=True)
    assert (halves.rounded, halves.rounded_reads, reader.rounded_reads) == (3, 0, 3)


def quantized_digits(array: str, fan_in: int) -> Model:
    """The embedded network, pruned, with int8 operands, permuted."""
    images = tightc.load_images(
        str(RECIPE.parent / "digits.npz"), tightc.load(str(RECIPE.parent / "digits.onnx"))
    )
    model = tightc.prune(tightc.load(str(RECIPE.parent / "digits.onnx")), sparsity=0.9).model
    model = tightc.quantize(model, images=images, calibration_images=64).model
    return tightc.permute(model, array=array, fan_in=fan_in, temp_schedule=QUICK).model


def check_classes(simulator: str, count: int, folder: Path) -> None:
    """The classes of the first `count` test images, from the last sums that the testbench has found right."""
    pixels = (DIGITS["x_test"][:count, None] / 255).astype(np.float32)
    np.savez(folder / "images.npz", image=pixels)
    model = quantized_digits("16x16", 8)
    write(model, folder / "rtl", inputs=str(folder / "images.npz"), batch=count, prefetch_weights=True)
    found = simulate_folder(folder / "rtl", simulator, chain=True)
    images = Images(folder / "rtl")
    assert [layer.cycles for layer in found] == [record.cycles for record in images.records]
    assert sum(layer.rounded_reads for layer in found) == 0  # else the last sums are not compared
    proto = model.to_proto()
    (logits,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"image": pixels})
    last = len(images.records) - 1
    sums = images.stored("sums.hex", last, 32)
    assert (np.argmax(_real(proto, images, sums), axis=1) == logits.argmax(axis=1)).all()


def _real(proto: onnx.ModelProto, images: Images, sums: np.ndarray) -> np.ndarray:
    """The logits, from the sums of the last layer: scales, zero point and bias are read from the model."""
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    gemm = proto.graph.node[-1]
    reads, weight = (
        next(node for node in proto.graph.node if name in node.output) for name in gemm.input[:2]
    )
    zero_point = images.records[-1].zero_point
    assert zero_point == tensors[reads.input[2]]
    weights = tensors[weight.input[0]].astype(np.int64).sum(axis=1)
    return (sums - zero_point * weights) * tensors[reads.input[1]] * tensors[weight.input[1]] + tensors[
        gemm.input[2]
    ]


@icarus
def test_digits_have_their_class_in_icarus(tmp_path: Path) -> None:
    check_classes("icarus", 2, tmp_path)


@verilator
def test_digits_have_their_class_in_verilator(tmp_path: Path) -> None:
    check_classes("verilator", 20, tmp_path)
