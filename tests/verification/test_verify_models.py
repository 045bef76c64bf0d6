"""Two models verified: what agrees passes, and any single fault is found; errors against a plain loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import tightc
from helpers import models, weight_forms
from helpers.loading import loaded
from tightc.verification.outputs import output_error, output_rows

FAST = {"array": (8, 8), "fan_in": 4, "method": "first-fit"}


@pytest.fixture(scope="module")
def dense() -> tightc.Model:
    return loaded(models.cnn(), "dense.onnx")


def packed_of(model: tightc.Model, **options: Any) -> tightc.Model:
    return tightc.pack(tightc.permute(model, **FAST).model, **options).model


def edited(model: tightc.Model, edit: Callable[[onnx.ModelProto], object]) -> tightc.Model:
    proto = model.to_proto()
    edit(proto)
    return loaded(proto, "edited.onnx")


def with_values(model: tightc.Model, name: str, change: Callable[[np.ndarray], np.ndarray]) -> tightc.Model:
    def edit(proto: onnx.ModelProto) -> None:
        (tensor,) = (entry for entry in proto.graph.initializer if entry.name == name)
        tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))

    return edited(model, edit)


def failed(report: tightc.Report) -> dict[str, Any]:
    assert report.passed == all(row["result"] == "ok" for row in report.layers)
    return {row["name"]: row for row in report.layers if row["result"] == "failed"}


FORMS: dict[str, Callable[[], onnx.ModelProto]] = {
    "cnn": models.cnn,
    "float16": lambda: models.cnn(dtype="float16"),
    "float64": lambda: models.gemm(dtype="float64"),
    "grouped": models.grouped,
    "depthwise": models.depthwise,
    "gemm": models.gemm,
    "transposed": lambda: weight_forms.transposed("", "2, 6, 7, 7"),
    "qlinear uint8": lambda: weight_forms.qlinear_conv("uint8", 120),
    "qlinear per filter": lambda: weight_forms.qlinear_conv("int8", 3, per_filter=True),
    "qlinear matmul": lambda: weight_forms.qlinear_matmul(left=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_packed_model_agrees_with_the_plain_one(form: str) -> None:
    model = loaded(FORMS[form]())
    for other in (packed_of(model), packed_of(model, strip=True), tightc.unpack(packed_of(model)).model):
        report = tightc.verify(model, other)
        assert report.passed, str(report)
        assert report.totals["layers_differing"] == report.totals["outputs_differing"] == 0
        assert report.totals["layers"] == len([row for row in report.layers if row["kind"] == "weight"]) > 0


@pytest.mark.parametrize("activations", [False, True])
def test_a_quantized_model_packed(dense: tightc.Model, activations: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), np.uint8)
    images = tightc.load_images((pixels, np.arange(8) % 4), dense) if activations else None
    quantized = tightc.quantize(dense, images=images).model
    assert tightc.verify(quantized, packed_of(quantized), batch=4).passed
    report = tightc.verify(dense, quantized)
    assert {row["reason"] for row in failed(report).values() if row["kind"] == "weight"} == {
        "float32 in a, int8 in b"
    }


@pytest.mark.parametrize("name", ["first_w", "second_w", "last_w"])
def test_the_last_bit_of_one_weight_is_found(dense: tightc.Model, name: str) -> None:
    def change(values: np.ndarray) -> np.ndarray:
        place = np.flatnonzero(values)[-1]
        values.flat[place] = np.nextafter(values.flat[place], np.float32(9))
        return values

    other = packed_of(with_values(dense, name, change))
    report = tightc.verify(dense, other)
    (row,) = failed(report).values()
    assert (row["name"], row["kind"], row["differing"]) == (name.removesuffix("_w"), "weight", 1)
    assert 0 < row["largest_difference"] < 1e-6
    assert report.totals["weights_differing"] == 1 and report.totals["outputs_differing"] == 0


def test_the_sign_of_zeros_does_not_count(dense: tightc.Model) -> None:
    other = with_values(dense, "first_w", lambda values: np.where(values == 0, np.float32(-0.0), values))
    assert np.signbit(numpy_helper.to_array(other.proto.graph.initializer[0])).any()
    assert tightc.verify(dense, other).passed


def test_weights_set_to_zero_are_counted(dense: tightc.Model) -> None:
    def change(values: np.ndarray) -> np.ndarray:
        values.flat[np.flatnonzero(values)[:5]] = 0
        return values

    report = tightc.verify(dense, packed_of(with_values(dense, "second_w", change)))
    row = failed(report)["second"]
    largest = np.abs(numpy_helper.to_array(dense.proto.graph.initializer[2])).flat
    assert row["differing"] == report.totals["weights_differing"] == 5
    assert row["largest_difference"] in list(map(float, largest)) and report.totals["layers_differing"] == 1


def test_another_bias_is_found(dense: tightc.Model) -> None:
    rows = failed(tightc.verify(dense, with_values(dense, "first_b", lambda values: values + 1)))
    assert (rows["first_b"]["kind"], rows["first_b"]["differing"]) == ("constant", 8)
    assert rows["logits"]["kind"] == "output"


def test_another_operator_is_found_by_the_outputs(dense: tightc.Model) -> None:
    other = edited(dense, lambda proto: setattr(proto.graph.node[1], "op_type", "Sigmoid"))
    report = tightc.verify(dense, other)
    (row,) = failed(report).values()
    assert row["name"] == "logits" and row["error"] > 1e-4 and "above the tolerance 0.0001" in row["reason"]
    assert tightc.verify(dense, other, tolerance=row["error"]).passed
    assert not tightc.verify(dense, other, tolerance=row["error"] * 0.999).passed


def test_a_layer_that_only_one_has(dense: tightc.Model) -> None:
    text = """net (float[B, 3, 8, 8] image) => (float[B, 8, 8, 8] logits) {
        [first] logits = Conv<pads = [1, 1, 1, 1]>(image, first_w)
    }"""
    short = loaded(models.build(text, first_w=numpy_helper.to_array(dense.proto.graph.initializer[0])))
    for a, b, side in ((dense, short, "a"), (short, dense, "b")):
        rows = failed(tightc.verify(a, b))
        assert rows["second"]["reason"] == rows["last"]["reason"] == f"only in {side}"
        assert " in a, " in rows["logits"]["reason"] and "first" not in rows


def test_other_inputs_and_outputs(dense: tightc.Model) -> None:
    renamed = edited(dense, lambda proto: _rename(proto, "image", "x"))
    assert tightc.verify(dense, renamed).passed
    renamed = edited(dense, lambda proto: _rename(proto, "logits", "scores"))
    assert tightc.verify(dense, renamed).passed
    more = edited(
        dense, lambda proto: proto.graph.output.append(onnx.helper.make_empty_tensor_value_info("a"))
    )
    assert failed(tightc.verify(dense, more)).keys() == {"a"}
    wide = loaded(models.cnn(dtype="float16"), "half.onnx")
    assert (
        failed(tightc.verify(dense, wide))["outputs"]["reason"]
        == "half.onnx takes other inputs than dense.onnx"
    )


def _rename(proto: onnx.ModelProto, old: str, new: str) -> None:
    for value in (*proto.graph.input, *proto.graph.output):
        value.name = new if value.name == old else value.name
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]


def test_integer_outputs_have_to_be_equal() -> None:
    text = "net (float[B, 9] x) => (int64[B, 1] y) { [fc] a = MatMul(x, w)\n y = ArgMax<axis = 1>(a) }"
    weight = models.sparse(9, 5, density=1.0)
    one, two = (loaded(models.build(text, w=values)) for values in (weight, -weight))
    assert tightc.verify(one, one, batch=16).passed
    row = failed(tightc.verify(one, two, batch=16, tolerance=1e9))["y"]
    assert (row["error"], row["reason"], row["type"]) == (None, "other values", "int64") and row[
        "differing"
    ] > 0


def test_open_sizes_are_assumed_or_given() -> None:
    text = """net (float[B, 2, H, W] x) => (float[B, 3, H, W] y) {
        [c] y = Conv<pads = [1, 1, 1, 1]>(x, w)
    }"""
    model = loaded(models.build(text, w=models.sparse(3, 2, 3, 3)))
    report = tightc.verify(model, packed_of(model))
    assert report.passed and any("is assumed" in note for note in report.notes)
    report = tightc.verify(model, packed_of(model), input_shape=["x=2x2x5x7"])
    assert report.passed and report.totals["input_shapes"] == {"x": [2, 2, 5, 7]}
    assert not any("is assumed" in note for note in report.notes)


def test_the_seed_chooses_the_inputs(dense: tightc.Model) -> None:
    other = edited(dense, lambda proto: setattr(proto.graph.node[1], "op_type", "Sigmoid"))
    errors = [tightc.verify(dense, other, seed=seed).totals["output_error"] for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]


def test_what_is_no_model_is_refused(dense: tightc.Model) -> None:
    with pytest.raises(tightc.OptionError, match=r"other: expected a Model, got Result; give result\.model"):
        tightc.verify(dense, tightc.prune(dense, sparsity=0.5))  # type: ignore[call-overload]
    with pytest.raises(tightc.OptionError, match="tolerance: expected largest difference"):
        tightc.verify(dense, dense, tolerance=-1.0)


def test_without_another_model_the_cycle_engine_verifies(dense: tightc.Model) -> None:
    options = tightc.SimulateOptions(array=tightc.ArrayShape(8, 8))
    for report in (
        tightc.verify(dense, array=(8, 8)),
        tightc.verify(dense, options),
        tightc.verify(dense, options=options),
    ):
        assert report.stage == "simulate" and report.totals["verified_layers"] == 3


# --- the error of an output

VALUES = st.floats(-1e6, 1e6, width=32)
PAIRS = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=12)


def error_by_hand(pairs: list[tuple[float, float]]) -> float:
    largest = scale = 0.0
    for one, two in pairs:
        largest, scale = max(largest, abs(one - two)), max(scale, abs(one))
    return largest / scale if scale else largest


@given(pairs=PAIRS)
def test_the_error_is_the_largest_difference_over_the_largest_value(pairs: list[tuple[float, float]]) -> None:
    a, b = (np.array(side, np.float64) for side in zip(*pairs, strict=True))
    assert output_error(a, b) == error_by_hand(pairs)
    assert output_error(a, a) == 0.0


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_have_to_be_in_the_same_places(odd: float) -> None:
    a, b = np.array([1.0, odd, 2.0]), np.array([1.0, odd, 2.0])
    assert output_error(a, b) == 0.0
    for other in (np.array([1.0, 3.0, 2.0]), np.array([odd, odd, 2.0]), np.array([1.0, -odd, odd])):
        assert output_error(a, other) is None and output_error(other, a) is None
    (row,) = output_rows({"y": a}, {"y": np.array([1.0, 3.0, 2.0])}, 1e9)
    assert (row["result"], row["reason"]) == ("failed", "NaN or infinity in one of them")


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_outputs_without_any_finite_value_verify_nothing(odd: float) -> None:
    nothing = np.full(3, odd, np.float32)
    (row,) = output_rows({"y": nothing}, {"y": nothing}, None)
    assert row["result"] == "failed" and row["reason"].startswith("no finite value in either")
    (row,) = output_rows({"y": np.append(nothing, 1.0)}, {"y": np.append(nothing, 1.0)}, None)
    assert row["result"] == "ok"
    empty = np.zeros((0, 3), np.float32)
    assert [row["result"] for row in output_rows({"y": empty}, {"y": empty}, None)] == ["ok"]


def test_half_precision_has_a_tolerance_of_its_own() -> None:
    a = np.array([1.0, 2.0])
    for dtype, tolerance in ((np.float16, 1e-2), (np.float32, 1e-4), (np.float64, 1e-4)):
        for factor, result in ((0.5, "ok"), (2.0, "failed")):
            b = (a + np.array([0.0, 2 * tolerance * factor])).astype(dtype)
            (row,) = output_rows({"y": a.astype(dtype)}, {"y": b}, None)
            assert row["result"] == result, (dtype, factor)
