"""Shapes of values, compared with those of onnxruntime."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from helpers import models, sized
from helpers.sized import Sized, by_onnxruntime
from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.model.runtime import shapes
from tightc.model.runtime.shapes import value_shapes

ONE = InputSizeOptions()


def check(case: Sized, open_batch: bool = False) -> None:
    """Shapes are those of a run, where onnxruntime can run the model at all."""
    proto = case.model(open_batch)
    found = by_onnxruntime(proto, ["y", "z"], x=case.image())
    if found is None:
        return
    input_sizes = InputSizeOptions(batch=case.shape[0]) if open_batch else ONE
    known = value_shapes(proto, "net.onnx", ["x", "y", "z"], input_sizes)
    assert [known["x"], known["y"], known["z"]] == [case.shape, *(value.shape for value in found)]


CASES = sized.POOLS | sized.RESIZES | sized.OTHERS


@pytest.mark.parametrize("open_batch", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_sizes_are_those_of_onnxruntime(case: str, open_batch: bool) -> None:
    assert by_onnxruntime(CASES[case].model(), ["y"], x=CASES[case].image()) is not None
    check(CASES[case], open_batch)


@given(st.one_of(sized.pools(), sized.resizes()), st.booleans())
@settings(max_examples=150)
def test_sizes_of_any_pool_and_resize_are_those_of_onnxruntime(case: Sized, open_batch: bool) -> None:
    check(case, open_batch)


@pytest.mark.parametrize(("start", "limit", "step"), [(0.2, 10, 0.2), (0.1, 1, 0.01), (0.2, 3, 0.7)])
def test_as_many_steps_as_onnxruntime_takes(start: float, limit: float, step: float) -> None:
    proto = models.build(
        "net (float x) => (float[N] y) { r = Range(start, limit, step)\n y = Add(r, x) }",
        **{
            name: np.float32(value)
            for name, value in zip(("start", "limit", "step"), (start, limit, step), strict=True)
        },
    )
    (found,) = by_onnxruntime(proto, ["y"], x=np.zeros((), np.float32))
    assert value_shapes(proto, "net.onnx", ["y"], ONE)["y"] == found.shape


@pytest.mark.parametrize("batch", ["B", "1"])
def test_what_is_computed_from_a_size_is_what_onnxruntime_computes(batch: str) -> None:
    """With a fixed input, onnxruntime folds a Shape after a Resize to the size that ONNX infers."""
    proto = models.build(
        f"""net (float[{batch}, 2, 10, 10] x) => (float[N, C, H, W] y) {{
            a = Resize<mode = "nearest">(x, , scales)
            s = Shape(a)
            y = ConstantOfShape(s)
        }}""",
        scales=np.array([1, 1, 0.7, 0.7], np.float32),
    )
    found = by_onnxruntime(proto, ["a", "y"], x=np.zeros((1, 2, 10, 10), np.float32))
    known = value_shapes(proto, "net.onnx", ["a", "y"], ONE)
    assert [known["a"], known["y"]] == [value.shape for value in found]


def test_a_resize_in_a_branch_counts_too() -> None:
    def branch(scale: float) -> onnx.GraphProto:
        scales = numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")
        node = helper.make_node("Resize", ["x", "", "scales"], ["out"], mode="nearest")
        return helper.make_graph([node], "branch", [], [helper.make_empty_tensor_value_info("out")], [scales])

    proto = models.build("net (float[B, 2, 10, 10] x, bool flag) => (float[N, C, H, W] y) { y = Relu(x) }")
    choice = helper.make_node("If", ["flag"], ["a"], then_branch=branch(0.7), else_branch=branch(0.7))
    proto.graph.node.insert(0, choice)
    proto.graph.node[1].input[0] = "a"
    assert value_shapes(proto, "net.onnx", ["y"], ONE)["y"] == (1, 2, 7, 7)


def test_a_size_that_the_model_states_of_an_output_does_not_count() -> None:
    proto = models.cnn()
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 5
    onnx.checker.check_model(proto, full_check=True)
    assert value_shapes(proto, "net.onnx", ["logits"], InputSizeOptions(batch=2))["logits"] == (2, 4)


def test_a_model_runs_only_where_inference_may_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("it runs")

    monkeypatch.setattr(shapes, "open_session", refuse)
    assert value_shapes(models.cnn(), "net.onnx", ["a", "c", "logits"], ONE)["c"] == (1, 8, 3, 3)
    assert value_shapes(sized.scaled(), "net.onnx", ["a"], ONE)["a"] == (1, 6, 10, 10)
    with pytest.raises(AssertionError, match="it runs"):
        value_shapes(sized.scaled(), "net.onnx", ["c"], ONE)


def test_a_model_that_onnxruntime_cannot_load_is_an_error() -> None:
    proto = sized.scaled()
    proto.graph.node.insert(0, helper.make_node("Nowhere", ["x"], ["unused"], domain="far"))
    proto.opset_import.append(helper.make_opsetid("far", 1))
    with pytest.raises(ModelError, match=r"^net\.onnx: onnxruntime cannot load it \("):
        value_shapes(proto, "net.onnx", ["c"], ONE)


def test_a_model_that_onnxruntime_cannot_run_is_an_error() -> None:
    case = Sized("MaxPool", (1, 1, 2, 2), (), {"kernel_shape": [4, 4], "ceil_mode": 1})
    assert by_onnxruntime(case.model(), ["y"], x=case.image()) is None
    with pytest.raises(ModelError, match=r"^net\.onnx: onnxruntime cannot run it on zeros \("):
        value_shapes(case.model(), "net.onnx", ["y"], ONE)


@pytest.mark.parametrize(
    ("given_input", "got"),
    [
        (helper.make_tensor_sequence_value_info("more", onnx.TensorProto.FLOAT, None), "sequence"),
        (
            helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT8E4M3FN, [2]),
            "a tensor of float8_e4m3fn",
        ),
    ],
    ids=["sequence", "float8"],
)
def test_an_input_that_cannot_be_fed_is_an_error_where_the_model_has_to_run(
    given_input: onnx.ValueInfoProto, got: str
) -> None:
    proto = sized.scaled()
    proto.graph.input.append(given_input)
    assert value_shapes(proto, "net.onnx", ["a"], ONE)["a"] == (1, 6, 10, 10)
    sentence = f"net.onnx: expected a tensor of a numpy dtype for input more, got {got}"
    with pytest.raises(ModelError, match=f"^{re.escape(sentence)};"):
        value_shapes(proto, "net.onnx", ["c"], ONE)
