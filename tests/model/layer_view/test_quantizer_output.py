"""What onnxruntime's own quantizers write, through all stages."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from helpers import models
from helpers.chains import ARRAY, assert_sound, constants, outputs, stored, through
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.inspection.inspect import inspect
from tightc.inspection.options import InspectOptions
from tightc.model.file import Model
from tightc.model.layer_view.layers import read_network
from tightc.model.reading.foreign_quantization import to_standard_quantization
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

FIXTURES = Path(__file__).parent / "fixtures"
BLOCKS = ["symmetric-blocks", "asymmetric-blocks"]
# format, type of weights, a scale for each filter, symmetric; and the type and the operators of the layers
STATIC = {
    "QDQ, int4": (QuantFormat.QDQ, QuantType.QInt4, True, True, "int4", ["Conv", "Gemm"]),
    "QDQ, int4 for all filters": (QuantFormat.QDQ, QuantType.QInt4, False, True, "int4", ["Conv", "Gemm"]),
    "QDQ, uint4": (QuantFormat.QDQ, QuantType.QUInt4, True, False, "uint4", ["Conv", "Gemm"]),
    "QDQ, uint8": (QuantFormat.QDQ, QuantType.QUInt8, True, False, "uint8", ["Conv", "Gemm"]),
    "QDQ, int8": (QuantFormat.QDQ, QuantType.QInt8, True, False, "int8", ["Conv", "Gemm"]),
    "QOperator": (QuantFormat.QOperator, QuantType.QInt8, False, True, "int8", ["QLinearConv", "QGemm"]),
    "QOperator, uint8": (QuantFormat.QOperator, QuantType.QUInt8, False, False, "uint8", ["QLinearConv", "QGemm"]),
    "QOperator, uint8, filters": (
        QuantFormat.QOperator, QuantType.QUInt8, True, True, ["int8", "uint8"], ["QLinearConv", "QGemm"]
    ),
    "QOperator, filters": (QuantFormat.QOperator, QuantType.QInt8, True, True, "int8", ["QLinearConv", "QGemm"]),
}  # fmt: skip


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    """Two random inputs."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        self.feeds: Iterator[Any] = iter([models.feeds(proto), models.feeds(proto)])

    def get_next(self) -> Any:
        """The next inputs, None at the end."""
        return next(self.feeds, None)


def network(opset: int = 21) -> onnx.ModelProto:
    return models.build(
        """net (float[2, 4, 8, 8] x) => (float[2, 5] y) {
            [one] a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
            b = Relu(a)
            f = Flatten(b)
            [two] y = Gemm<transB = 1>(f, w2, b2)
        }""",
        opset,
        w1=models.sparse(6, 4, 3, 3, density=1),
        b1=models.sparse(6, density=1),
        w2=models.sparse(5, 384, density=1),
        b2=models.sparse(5, density=1),
    )


def statically_quantized(name: str, place: Path, opset: int = 21) -> onnx.ModelProto:
    form, kind, per_channel, symmetric, *_ = STATIC[name]
    proto = network(opset)
    models.save(proto, place / "float.onnx")
    logging.disable(logging.WARNING)
    quantize_static(
        place / "float.onnx",
        place / "quantized.onnx",
        Calibration(proto),
        quant_format=form,
        weight_type=kind,
        activation_type=QuantType.QUInt8,
        per_channel=per_channel,
        extra_options={"WeightSymmetric": symmetric},
    )
    logging.disable(logging.NOTSET)
    return onnx.load(place / "quantized.onnx")


def error_of(proto: onnx.ModelProto, report: Any) -> None:
    """The engine computes what onnxruntime does, whose layers between are the same."""
    assert report.totals["verified_layers"] == 2
    assert report.totals["value_error"] < 1e-5 or "QLinearConv" in {node.op_type for node in proto.graph.node}


@pytest.mark.parametrize("name", STATIC)
def test_statically_quantized_networks_go_through_all_stages(name: str, tmp_path: Path) -> None:
    *_, kind, operators = STATIC[name]
    kinds = [kind, kind] if isinstance(kind, str) else kind
    proto = statically_quantized(name, tmp_path)
    model = loaded(proto)
    report = inspect(model, InspectOptions())
    assert [(row["operator"], row["type"]) for row in report.layers] == list(
        zip(operators, kinds, strict=True)
    )
    assert report.uncovered == () and model.normalized == ()
    chain = through(proto)
    assert len(stored(chain.packed.proto)) == 2
    assert_sound(chain)
    error_of(proto, simulate(chain.packed, SimulateOptions(array=ARRAY, verify=True)))


@pytest.mark.parametrize("name", ["QDQ, int4", "QDQ, uint4"])
def test_quantization_of_onnxruntimes_domain_becomes_that_of_onnx(name: str, tmp_path: Path) -> None:
    proto = statically_quantized(name, tmp_path, opset=17)
    assert {node.domain for node in proto.graph.node if "Linear" in node.op_type} == {"com.microsoft"}
    model = loaded(proto)
    assert model.normalized == (
        "QuantizeLinear and DequantizeLinear of com.microsoft are those of ONNX now; "
        "opset raised from 17 to 21 by onnx's converter; outputs equal on random inputs",
    )
    report = inspect(model, InspectOptions())
    assert [row["type"] for row in report.layers] == [STATIC[name][4]] * 2 and report.uncovered == ()
    assert_sound(through(proto))
    for one, other in zip(
        *(outputs(given, models.feeds(proto)) for given in contents(proto, model)), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def contents(proto: onnx.ModelProto, model: Model) -> tuple[bytes, bytes]:
    return proto.SerializeToString(), model.to_bytes()


def test_it_stays_where_the_opset_cannot_be_raised(tmp_path: Path) -> None:
    proto = statically_quantized("QDQ, int4", tmp_path, opset=17)
    proto.graph.node.append(helper.make_node("Plugin", ["y"], ["z"]))
    proto.graph.output[0].name = "z"
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    assert to_standard_quantization(copy, "net.onnx") == ""
    assert copy.SerializeToString() == proto.SerializeToString()


def sizes(proto: onnx.ModelProto) -> dict[str, tuple[int, int]]:
    """Type and bytes of each tensor."""
    return {tensor.name: (tensor.data_type, len(tensor.raw_data)) for tensor in proto.graph.initializer}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_go_through_all_stages(name: str) -> None:
    proto = onnx.load(FIXTURES / f"{name}.onnx")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 3
    model = loaded(proto)
    kind = "uint4" if name.startswith("a") else "int4"
    report = inspect(model, InspectOptions())
    assert [(row["operator"], row["type"]) for row in report.layers] == [("MatMul", kind)] * 2
    assert report.uncovered == ()
    chain = through(proto)
    before, after = constants(proto), constants(chain.unpacked.proto)
    assert all(np.array_equal(before[key], after[key]) for key in before if not key.endswith("Q4"))
    for stage in (chain.pruned, chain.unpacked):
        assert sizes(stage.proto) == sizes(proto), "nibbles stay packed"
    assert len(stored(chain.packed.proto)) == 2
    assert_sound(chain)
    error_of(proto, simulate(chain.packed, SimulateOptions(array=ARRAY, verify=True)))


@pytest.mark.parametrize("name", BLOCKS)
def test_onnxruntime_optimizes_packed_blocks_as_plain_ones(name: str) -> None:
    """It may fuse them to MatMulNBits, which rounds the other operand too."""
    proto = onnx.load(FIXTURES / f"{name}.onnx")
    chain = through(proto, simulated=False)
    x = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    plain, packed = (
        onnxruntime.InferenceSession(model.to_bytes()).run(None, {"x": x})[0]
        for model in (chain.pruned, chain.packed)
    )
    np.testing.assert_allclose(packed, plain, atol=0.02 * np.abs(plain).max())


@pytest.mark.parametrize("name", BLOCKS)
def test_the_matrix_of_blocks_is_what_onnxruntime_dequantizes(name: str) -> None:
    proto = onnx.load(FIXTURES / f"{name}.onnx")
    network = read_network(loaded(proto))
    for layer in network.layers:
        value = network.quantized[layer.weight].value
        proto.graph.output.append(helper.make_empty_tensor_value_info(value))
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        (made,) = session.run([value], {"x": np.zeros((1, 40), np.float32)})
        assert np.array_equal(network.dequantized_tensor(layer), made)
        np.testing.assert_allclose(network.dequantized_matrix(layer), made.T, rtol=1e-6)


def test_onnxruntimes_own_form_of_blocks_is_named_with_its_share() -> None:
    proto = onnx.load(FIXTURES / "symmetric-nbits.onnx")
    with pytest.raises(
        ModelError, match=r"MatMulNBits is onnxruntime's own form .* quantize with QuantFormat.QDQ"
    ):
        read_network(loaded(proto))
    proto.graph.output[0].name = "z"
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 7
    proto.graph.initializer.append(numpy_helper.from_array(models.sparse(24, 7, density=1), "v"))
    proto.graph.node.append(helper.make_node("MatMul", ["y", "v"], ["z"], name="three"))
    report = inspect(loaded(proto), InspectOptions(batch=2))
    assert [row["macs"] for row in report.uncovered] == [2 * 40 * 32, 2 * 32 * 24]
    assert report.totals["macs_covered"] == pytest.approx(24 * 7 / (40 * 32 + 32 * 24 + 24 * 7))


@pytest.mark.parametrize("trans_b", [0, 1])
def test_qgemm_without_quantized_outputs_is_named(trans_b: int) -> None:
    shape = (5, 6) if trans_b else (6, 5)
    proto = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]> net (float[2, 6] x) => (float[2, 7] y) {{
            q = QuantizeLinear(x, s, z)
            [odd] a = com.microsoft.QGemm<transB = {trans_b}>(q, s, z, w, ws, wz)
            [plain] y = MatMul(a, v)
        }}"""
    )
    tensors = {
        "s": np.float32(0.1), "z": np.array(3, np.uint8), "w": np.ones(shape, np.int8), "ws": np.float32(0.1),
        "wz": np.int8(0), "v": models.sparse(5, 7, density=1),
    }  # fmt: skip
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), name) for name, a in tensors.items()
    )
    alone = "QGemm is packed with quantized outputs alone"
    report = inspect(loaded(proto), InspectOptions())
    assert [(row["name"], row["reason"], row["macs"]) for row in report.uncovered] == [
        ("odd", alone, 2 * 6 * 5)
    ]


def test_qgemm_without_operands_is_named_too() -> None:
    proto = network()
    proto.graph.node.append(helper.make_node("QGemm", ["y"], [""], "odd", domain="com.microsoft"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    (row,) = inspect(loaded(proto), InspectOptions()).uncovered
    assert (row["name"], row["macs"]) == ("odd", None)
