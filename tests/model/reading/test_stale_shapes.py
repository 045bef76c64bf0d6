"""Shapes that contradict the inputs, and names that several nodes have: onnxruntime runs the first, not the second."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tightc.errors import ModelError
from tightc.model.file import load_model_bytes

RNG = np.random.default_rng(0)


def network(
    *, batch: int = 1, inner: list[int] | None = None, output: list[int] | None = None, names: tuple[str, str]
) -> bytes:
    """A convolution and a linear layer of these `names`; `inner` and `output` are stated shapes."""
    tensors = {"first": RNG.normal(size=(4, 3, 3, 3)), "second": RNG.normal(size=(10, 144))}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["sums"], name=names[0]),
        helper.make_node("Flatten", ["sums"], ["flat"]),
        helper.make_node("Gemm", ["flat", "second"], ["y"], name=names[1], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output or [batch, 10])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in tensors.items()],
        value_info=[helper.make_tensor_value_info("flat", TensorProto.FLOAT, inner or [batch, 144])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def outputs(content: bytes, batch: int = 1) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).normal(size=(batch, 3, 8, 8)).astype(np.float32)
    (found,) = session.run(None, {"x": image})
    return np.asarray(found)


@pytest.mark.parametrize(
    ("batch", "inner", "output", "named"),
    [
        (1, [1, 100], None, "flat"),
        (1, [1, 12, 12], None, "flat"),
        (1, None, [1, 1000], "y"),
        (4, [1, 144], [1, 10], "flat, y"),
    ],
)
def test_shapes_that_contradict_the_inputs_are_left_out(
    batch: int, inner: list[int] | None, output: list[int] | None, named: str
) -> None:
    content = network(batch=batch, inner=inner, output=output, names=("a", "b"))
    model = load_model_bytes(content)
    assert model.normalized == (f"stated shapes that contradict the inputs left out: {named}",)
    written = model.to_bytes()
    onnx.checker.check_model(written, full_check=True)
    assert np.array_equal(outputs(content, batch), outputs(written, batch))
    (declared,) = onnx.load_model_from_string(written).graph.output
    assert [size.dim_value for size in declared.type.tensor_type.shape.dim] == [batch, 10]


def test_right_shapes_stay_to_the_byte() -> None:
    content = network(names=("a", "b"))
    model = load_model_bytes(content)
    assert model.to_bytes() == content and model.normalized == ()


def test_a_network_that_does_not_fit_together_is_refused_with_the_checker_s_reason() -> None:
    wrong = onnx.load_model_from_string(network(names=("a", "b"), inner=[1, 100]))
    wrong.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9  # 168 inputs for a layer of 144
    with pytest.raises(ModelError, match="the ONNX checker refuses it"):
        load_model_bytes(wrong.SerializeToString())


def test_node_names_are_made_unique_in_each_graph() -> None:
    content = network(names=("same", "same"))
    with pytest.raises(Exception, match="two nodes with same node name"):
        outputs(content)
    model = load_model_bytes(content)
    assert model.normalized == ("node names that several nodes had are numbered: same",)
    assert [node.name for node in model.proto.graph.node] == ["same", "", "same_2"]
    assert np.array_equal(outputs(model.to_bytes()), outputs(network_of_other_names(content)))


def network_of_other_names(content: bytes) -> bytes:
    proto = onnx.load_model_from_string(content)
    for number, node in enumerate(proto.graph.node):
        node.name = f"node{number}"
    return proto.SerializeToString()


def test_numbers_pass_over_names_that_are_there() -> None:
    proto = onnx.load_model_from_string(network(names=("same", "same")))
    proto.graph.node[1].name = "same_2"
    names = [node.name for node in load_model_bytes(proto.SerializeToString()).proto.graph.node]
    assert names == ["same", "same_2", "same_3"]
