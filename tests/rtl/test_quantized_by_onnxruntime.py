"""Models as onnxruntime's own quantizer writes them: unsigned activations, int32 biases, pools of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

import tightc
from helpers.rtl_runs import icarus
from tightc.rtl.options import RtlOptions
from tightc.rtl.rtl import rtl

FORMATS = {"QDQ": QuantFormat.QDQ, "QOperator": QuantFormat.QOperator}


def network() -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    shapes = {"w1": (6, 3, 3, 3), "b1": (6,), "w2": (5, 6, 2, 2), "b2": (5,), "w3": (4, 5, 3, 3)}
    tensors = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["c", "w2", "b2"], ["d"], name="second"),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Conv", ["e", "w3"], ["y"], name="third"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 3, 8, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 4, 1, 1])],
        tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Images(CalibrationDataReader):
    def __init__(self) -> None:
        rng = np.random.default_rng(1)
        self._batches: Iterator[dict[str, np.ndarray]] = iter(
            [{"x": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)} for _ in range(4)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


@icarus
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_all_bytes_are_onnxruntimes_and_all_layers_are_linked(
    tmp_path: Path, form: str, per_channel: bool
) -> None:
    onnx.save(network(), tmp_path / "net.onnx")
    quantize_static(
        tmp_path / "net.onnx",
        tmp_path / "int8.onnx",
        Images(),
        quant_format=FORMATS[form],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    model, _ = tightc.permute(tightc.load(tmp_path / "int8.onnx"), array="4x4", fan_in=4, method="first-fit")
    report = tightc.write_rtl(model, tmp_path / "rtl", simulate="icarus", chain=True, prefetch_weights=True)
    first, second, third = report.layers
    assert (first["reads"], second["reads"], third["reads"]) == (None, first["name"], second["name"])
    assert all(row["requantized"] for row in report.layers)
    assert all(row["simulated_cycles"] == row["cycles"] for row in report.layers)
    zero_points = {image.zero_point for image in rtl(model, RtlOptions()).images}
    assert zero_points - {-128}, "no layer has a zero point within the range, so that it was not tried"
