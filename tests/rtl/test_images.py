"""The memory images, read with NumPy alone, against the weights of the model and what onnxruntime computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import tightc
from helpers.loading import loaded
from helpers.packings import QUICK
from helpers.rtl_images import Images, Matrix, read_hex, schedule
from helpers.rtl_models import Layer, Weighted, int8, network
from helpers.rtl_runs import randomly_packed, write

PAGE = Path(__file__).parents[2] / "docs" / "rtl.md"
UNSIGNED = {"zero_point": np.uint8(120), "out_zero_point": np.uint8(0)}


def conv_matrix(weight: np.ndarray, groups: int = 1, dilations: tuple[int, int] = (1, 1)) -> Matrix:
    """The non-zeros of a convolution's weight by filter and position in the window."""
    found = {}
    for filter_, channel, y, x in np.argwhere(weight):
        first = filter_ // (len(weight) // groups) * weight.shape[1]
        position = (int(first + channel), int(y * dilations[0]), int(x * dilations[1]))
        found[int(filter_), position] = int(weight[filter_, channel, y, x])
    return found


def product_matrix(weight: np.ndarray) -> Matrix:
    """The same of a product, (filters, inputs)."""
    return {(int(f), (int(k), 0, 0)): int(weight[f, k]) for f, k in np.argwhere(weight)}


CONV, GROUPED, DEEP = int8(6, 4, 3, 2), int8(6, 2, 3, 3), int8(6, 3, 2, 2, 2)
LAYERS: dict[str, tuple[Layer, Callable[[], Matrix]]] = {
    "convolution": (
        Layer("Conv", (2, 4, 7, 6), CONV, "<dilations = [2, 3], strides = [1, 2], pads = [1, 0, 2, 3]>", **UNSIGNED),
        lambda: conv_matrix(CONV, dilations=(2, 3)),
    ),
    "groups": (Layer("Conv", (2, 4, 7, 6), GROUPED, "<group = 2>"), lambda: conv_matrix(GROUPED, 2)),
    "one axis": (
        Layer("Conv", (2, 4, 9), CONV[:, :, :, 0], "<pads = [2, 1], dilations = [2]>", **UNSIGNED),
        lambda: conv_matrix(CONV[:, :, None, :, 0], dilations=(1, 2)),
    ),
    "three axes": (Layer("Conv", (2, 3, 3, 4, 3), DEEP), lambda: product_matrix(DEEP.reshape(6, -1))),
    "Gemm": (Layer("Gemm", (5, 9), int8(6, 9), "<transB = 1>", **UNSIGNED), lambda: product_matrix(int8(6, 9))),
    "MatMul": (Layer("MatMul", (2, 3, 9), int8(9, 6), axis=1), lambda: product_matrix(int8(9, 6).T)),
}  # fmt: skip


def inputs_file(layer: Layer, folder: Path) -> tuple[Path, np.ndarray]:
    """Inputs that differ from the random ones, in a file."""
    x = np.random.default_rng(11).uniform(-3, 3, layer.shape).astype(np.float32)
    np.savez(folder / "inputs.npz", x=x)
    return folder / "inputs.npz", x


def values(proto: onnx.ModelProto, names: list[str], x: np.ndarray) -> list[np.ndarray]:
    """The values `names` in a run of onnxruntime without any optimization."""
    copy = onnx.ModelProto.FromString(proto.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(copy.SerializeToString(), options)
    return list(session.run(names, {"x": x}))


@pytest.mark.parametrize("bits", [None, 4, 2], ids=["words", "4 bits", "2 bits"])
@pytest.mark.parametrize("name", LAYERS)
def test_the_images_are_the_layer(name: str, bits: int | None, tmp_path: Path) -> None:
    layer, matrix = LAYERS[name]
    path, x = inputs_file(layer, tmp_path)
    write(randomly_packed(layer.proto(), (3, 4), 3, subword_bits=bits), tmp_path, inputs=str(path), fan_in=5)
    images = Images(tmp_path)
    assert images.parameters["SUBWORD_BITS"] == (bits or 0) and images.fan_in == 5
    assert images.matrix(0) == matrix()
    sums = images.sums(0)
    np.testing.assert_array_equal(sums, images.stored("sums.hex", 0, 32))
    read, written = values(layer.proto(), ["q", "p"], x)
    if name not in ("three axes", "MatMul"):  # which are stored as vectors
        shift = 128 if read.dtype == np.uint8 else 0
        np.testing.assert_array_equal(
            read_hex(tmp_path, "activations.hex", 8), read.astype(int).ravel() - shift
        )
    expected = written if written.ndim == 2 else np.moveaxis(written, 1, -1)
    expected = written if name == "MatMul" else expected
    shift = 128 if written.dtype == np.uint8 else 0
    stored = images.stored("bytes.hex", 0, 8)
    np.testing.assert_array_equal(stored.ravel(), expected.astype(int).ravel() - shift)
    computed, exact = images.exact_bytes(0, sums)
    differ = computed != stored
    assert np.abs(exact[differ] % 1 - 0.5).max(initial=0) < 1e-3


OVERLAP = {"prefetch_weights": True, "overlap_drain": True}


@pytest.mark.parametrize(
    "options", [{}, {"prefetch_weights": True}, OVERLAP], ids=["plain", "prefetch", "overlap"]
)
@pytest.mark.parametrize("registers", [1, 3, 8])
@pytest.mark.parametrize("array", [(4, 4), (1, 7), (5, 1), (2, 8)], ids=str)
@pytest.mark.parametrize("vectors", [1, 4, 30])
def test_starts_and_cycles(
    options: dict[str, bool], registers: int, array: tuple[int, int], vectors: int, tmp_path: Path
) -> None:
    model = randomly_packed(Layer("Gemm", (vectors, 9), int8(6, 9), "<transB = 1>").proto(), array, 2)
    write(model, tmp_path, columns_per_lane_register=registers, **options)
    images = Images(tmp_path)
    starts, cycles = schedule(images, 0)
    assert len(starts) > 3 or array == (4, 4)
    assert (images.starts(0).tolist(), images.records[0].cycles) == (starts, cycles)


@pytest.mark.parametrize("options", [{}, OVERLAP], ids=["plain", "overlap"])
def test_each_filter_has_one_first_and_one_last_part(options: dict[str, bool], tmp_path: Path) -> None:
    weight = int8(6, 9) * (np.arange(6) != 2)[:, None].astype(np.int8)
    proto = Layer("Gemm", (2, 9), weight, "<transB = 1>").proto()
    write(randomly_packed(proto, (1, 8), 2), tmp_path, **options)
    words = read_hex(tmp_path, "columns.hex").reshape(-1, 8)
    used, first, last = (words >> bit & 1 for bit in (31, 30, 29))
    assert (words[used == 0] == 0).all()
    filters = words & (1 << 29) - 1
    images = Images(tmp_path)
    leaves = images.starts(0)[:, None] + np.arange(8)  # when the sums of a column leave, but for a constant
    order = leaves * 8 + np.arange(8)
    for filter_ in range(6):
        own = (filters == filter_) & (used == 1)
        assert (own & (first == 1)).sum() == (own & (last == 1)).sum() == (filter_ != 2)
        if filter_ != 2:
            assert (
                order[own & (first == 1)] == order[own].min() and order[own & (last == 1)] == order[own].max()
            )


def test_a_small_tile_takes_the_lowest_rows_and_the_first_columns(tmp_path: Path) -> None:
    weight = np.zeros((5, 9), np.int8)
    weight[3, 4] = -7
    write(randomly_packed(Layer("Gemm", (2, 9), weight, "<transB = 1>").proto(), (3, 4), 2), tmp_path)
    slots = Images(tmp_path).tile_words("slots.hex", 4)
    assert slots.shape == (1, 3, 4) and slots[0, 2, 0] == 256 - 7 and np.count_nonzero(slots) == 1


@pytest.mark.parametrize("method", ["tight", "column-combine", "nm", "structured", "dense"])
def test_the_images_of_a_network_are_its_weights(method: str, tmp_path: Path) -> None:
    """Those of the permuted model: some methods drop weights."""
    proto = network(
        (2, 3, 6, 5),
        Weighted("Conv", int8(8, 3, 3, 3, density=0.3), "<pads = [1, 1, 1, 1]>"),
        "Relu",
        Weighted("Conv", int8(6, 4, 2, 2, density=0.3), "<group = 2>"),
        "Flatten",
        Weighted("Gemm", int8(120, 5, density=0.2), axis=1),
        zero_point=np.uint8(3),
    )
    model = tightc.permute(loaded(proto), method=method, array="4x6", fan_in=8, temp_schedule=QUICK).model
    write(model, tmp_path)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.to_proto().graph.initializer}
    images = Images(tmp_path)
    assert images.matrix(0) == conv_matrix(tensors["w0"])
    assert images.matrix(1) == conv_matrix(tensors["w2"], 2)
    assert images.matrix(2) == product_matrix(tensors["w4"].T)
    for number in range(3):
        np.testing.assert_array_equal(images.sums(number), images.stored("sums.hex", number, 32))


def test_the_page_names_every_file_module_and_parameter(tmp_path: Path) -> None:
    write(randomly_packed(Layer("Gemm", (2, 9), int8(6, 9), "<transB = 1>").proto(), (3, 4), 2), tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    for path in tmp_path.iterdir():
        name = path.stem if path.suffix == ".sv" else path.name
        assert path.name in ("README.txt", "network.svh") or f"`{name}`" in page, name
    assert set(re.findall(r"`(\w+\.hex)`", page)) == {path.name for path in tmp_path.glob("*.hex")}


def test_words_have_the_digits_of_the_page(tmp_path: Path) -> None:
    """Two's complement, one word a line."""
    write(randomly_packed(Layer("Gemm", (2, 9), int8(6, 9), "<transB = 1>").proto(), (3, 4), 2), tmp_path)
    digits: dict[str, Any] = {
        "lanes": 16,
        "columns": 8,
        "multipliers": 8,
        "offsets": 16,
        "sums": 8,
        "layers": 8,
        "links": 8,
    }
    for path in tmp_path.glob("*.hex"):
        lines = path.read_text().splitlines()
        assert all(re.fullmatch("[0-9a-f]+", line) for line in lines), path
        assert {len(line) for line in lines} == {digits.get(path.stem, len(lines[0]))}, path
