"""The layers of a model as matrices, and the reasons for uncovered operators."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.file import Model, load_model_bytes
from tightc.model.layer_view.layers import read_network
from tightc.model.reading.normalize import ReadingOptions

# form -> (name, operator, weight, filters over all groups, inputs of a group, groups)
EXPECTED = {
    "cnn": [
        ("first", "Conv", "first_w", 8, 27, 1),
        ("second", "Conv", "second_w", 8, 72, 1),
        ("last", "Gemm", "last_w", 4, 8, 1),
    ],
    "grouped": [("g", "Conv", "w", 12, 18, 4)],
    "depthwise": [("dw", "Conv", "w", 12, 9, 6)],
    "gemm": [("fc", "Gemm", "w", 5, 9, 1)],
    "gemm transB": [("fc", "Gemm", "w", 5, 9, 1)],
    "gemm without bias": [("fc", "Gemm", "w", 5, 9, 1)],
    "gemm transA": [("fc", "Gemm", "w", 5, 9, 1)],
    "matmul right": [("mm", "MatMul", "w", 6, 10, 1)],
    "matmul left": [("mm", "MatMul", "w", 6, 10, 1)],
    "shared weight": [("one", "Conv", "w", 4, 36, 1), ("two", "Conv", "w", 4, 36, 1)],
    "weight in Constant": [("mm", "MatMul", "w", 6, 10, 1)],
    "weight through Identity": [("one", "Conv", "w", 4, 36, 1), ("two", "Conv", "w", 4, 36, 1)],
    "unnamed nodes, 1-D": [("a", "Conv", "v", 5, 12, 1), ("y", "Conv", "w", 3, 5, 1)],
    "empty layer": [("nothing", "MatMul", "v", 5, 6, 1), ("something", "Gemm", "w", 4, 5, 1)],
    "BatchNorm": [("conv", "Conv", "w", 4, 27, 1)],
}


@pytest.mark.parametrize("form", models.FORMS)
def test_layers_as_matrices(form: str) -> None:
    network = read_network(loaded(models.FORMS[form]()))
    found = [(x.name, x.op, x.weight, x.filters, x.inputs, x.groups) for x in network.layers]
    assert found == EXPECTED[form]
    assert network.uncovered == ()


@pytest.mark.parametrize("form", models.FORMS)
def test_a_matrix_times_a_vector_is_the_output_of_the_layer(form: str) -> None:
    network = read_network(loaded(models.FORMS[form]()))
    for layer in network.layers:
        weight = network.weights[layer.weight]
        matrix = network.matrix(layer)
        assert matrix.shape == (layer.filters, layer.inputs)
        back = layer.tensor(matrix, weight.shape)
        assert back.dtype == weight.dtype and back.tobytes() == weight.tobytes()


def test_a_filter_is_a_column_of_a_right_factor_and_a_row_of_a_left_one() -> None:
    for form, by_row in (
        ("matmul right", False),
        ("matmul left", True),
        ("gemm", False),
        ("gemm transB", True),
    ):
        network = read_network(loaded(models.FORMS[form]()))
        (layer,) = network.layers
        weight = network.weights["w"]
        first = weight[0] if by_row else weight[:, 0]
        assert network.matrix(layer)[0].tolist() == first.tolist()


def test_layers_that_share_a_weight_name_the_first() -> None:
    for form in ("shared weight", "weight through Identity"):
        network = read_network(loaded(models.FORMS[form]()))
        assert [layer.shared_with for layer in network.layers] == [None, "one"]
        assert [layer.name for layer in network.owners] == ["one"]


def reasons(proto: onnx.ModelProto) -> dict[str, str]:
    return {entry.node.label: entry.reason for entry in read_network(loaded(proto)).uncovered}


def pair(second: str, **weights: np.ndarray) -> onnx.ModelProto:
    """A MatMul that is a layer, and another operator."""
    shapes = "(float[2, 4] x, float[4, 4] free) => (float[2, 4] y, float z)"
    text = f"net {shapes} {{ [fine] y = MatMul(x, fine_w)\n {second} }}"
    proto = models.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 20]>\n{text}')
    for name, weight in {"fine_w": models.sparse(4, 4), **weights}.items():
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    proto.graph.output[1].CopyFrom(helper.make_empty_tensor_value_info("z"))
    return proto


W = models.sparse(4, 4, seed=3)


@pytest.mark.parametrize(
    ("proto", "label", "reason"),
    [
        (models.attention(), "scores", "it has no constant weight: both sides are computed at run time"),
        (models.with_lstm(), "rnn", "LSTM is not among the operators that are packed"),
        (models.with_if("v"), "choice", "layers inside a subgraph are not read"),
        (
            pair("[odd] z = MatMul(x, free)"),
            "odd",
            "it has no constant weight: both sides are computed at run time",
        ),
        (pair("[odd] z = MatMul(v, w)", v=W, w=W), "odd", "both of its sides are constant"),
        (
            pair("[odd] z = MatMul(x, w)", w=models.sparse(3, 1, 4, 4)),
            "odd",
            "its weight w has an axis of length 1 between several matrices",
        ),
        (pair("[odd] z = Plugin(x)"), "odd", "Plugin is not an operator of ONNX in opset 20"),
        (
            pair("[odd] a = MatMul(x, w)\n [sum] z = Add(a, w)", w=W[:1].repeat(4, 0)[:, :4]),
            "odd",
            "its weight w also feeds sum",
        ),
        (pair("[odd] z = MatMul(w, w)", w=W), "odd", "its weight w also feeds odd"),
        (
            pair("[odd] z = Gemm<transB = 1>(x, fine_w)"),
            "odd",
            "its weight fine_w is shared with fine, which reads it as another matrix",
        ),
    ],
)
def test_uncovered_operators_have_a_reason(proto: onnx.ModelProto, label: str, reason: str) -> None:
    if label == "odd":
        model = Model(proto, "net.onnx")
        found = {entry.node.label: entry.reason for entry in read_network(model).uncovered}
    else:
        found = reasons(proto)
    assert found == {label: reason}


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"group": 0}, "its group is 0, which does not divide the 8 of its weight"),
        ({"group": -1}, "its group is -1, which does not divide the 8 of its weight"),
        ({"group": 2**15}, "its group is 32768, which does not divide the 8 of its weight"),
        ({"strides": [0, 1]}, "its strides are [0, 1], which do not fit 2 axes"),
        ({"dilations": [1]}, "its dilations are [1], which do not fit 2 axes"),
        ({"pads": [1, 1]}, "its pads are [1, 1], which do not fit 2 axes"),
        ({"kernel_shape": [3, 5]}, "its kernel_shape is [3, 5], and its weight (8, 3, 3, 3)"),
    ],
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_convolution_that_contradicts_its_weight_is_no_layer(
    attributes: dict[str, int | list[int]], reason: str, transposed: bool
) -> None:
    proto = models.cnn()
    node = next(node for node in proto.graph.node if node.op_type == "Conv")
    node.op_type = "ConvTranspose" if transposed else "Conv"
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    found = {entry.node.label: entry.reason for entry in read_network(Model(proto, "net.onnx")).uncovered}
    assert found[node.name] == reason


def test_a_weight_that_a_caller_may_replace_is_no_layer_where_it_stays_so() -> None:
    proto = models.cnn()
    value = helper.make_tensor_value_info("second_w", onnx.TensorProto.FLOAT, [8, 8, 3, 3])
    proto.graph.input.append(value)
    content = proto.SerializeToString()
    kept = read_network(load_model_bytes(content, options=ReadingOptions(keep_overridable=True)))
    assert [entry.reason for entry in kept.uncovered] == [
        "its weight second_w is also an input of the model, which a caller may replace"
    ]
    fixed = load_model_bytes(content)
    assert read_network(fixed).uncovered == ()
    assert fixed.normalized == ("initializers that were inputs too are constants now: 1",)


def test_a_weight_that_is_an_output_is_no_layer() -> None:
    proto = models.cnn()
    value = helper.make_tensor_value_info("second_w", onnx.TensorProto.FLOAT, [8, 8, 3, 3])
    proto.graph.output.append(value)
    assert reasons(proto) == {"second": "its weight second_w is also an output of the model"}


@pytest.mark.parametrize(
    "capture",
    [
        "w",
        "again",
    ],
)
def test_a_weight_that_a_subgraph_reads_is_no_layer(capture: str) -> None:
    with pytest.raises(ModelError, match="Conv outside: its weight w also feeds choice"):
        read_network(loaded(models.with_if(capture)))


def test_integer_weights_are_not_covered() -> None:
    proto = models.build(
        "net (float[2, 4] x, int32[2, 4] n) => (float[2, 4] y, int32[2, 4] z) "
        "{ [fine] y = MatMul(x, v)\n [odd] z = MatMul(n, w) }",
        v=models.sparse(4, 4),
        w=np.ones((4, 4), np.int32),
    )
    assert reasons(proto) == {"odd": "its weight w is int32, not a floating-point type numpy has"}


def test_of_the_operators_of_onnxruntimes_quantizer_those_that_multiply_matrices_are_listed() -> None:
    proto = models.cnn()
    for op in ("QLinearAdd", "QLinearConcat", "QLinearGlobalAveragePool", "QAttention"):
        proto.graph.node.append(helper.make_node(op, ["logits"], [f"of {op}"], op, domain="com.microsoft"))
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert {entry.node.op: entry.reason for entry in read_network(loaded(proto)).uncovered} == {
        "QAttention": "operators of the domain com.microsoft are not known (give the model as it was before "
        "onnxruntime optimized it, or quantized with QuantFormat.QDQ)"
    }


def test_functions_for_another_opset_are_listed() -> None:
    proto = models.cnn()
    node = helper.make_node("Twice", ["logits"], ["more"], name="foreign", domain="mine")
    proto.graph.node.append(node)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    proto.functions.append(
        helper.make_function("mine", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 19)])
    )
    assert reasons(proto) == {
        "foreign": "operators of the domain mine are not known (functions: inline them with onnx.inliner)"
    }


def test_a_model_without_a_layer_is_refused() -> None:
    proto = models.build("net (float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }")
    words = r"^net.onnx: no layer can be packed \(it has no Conv, Gemm or MatMul\); give a model with Conv"
    with pytest.raises(ModelError, match=words):
        read_network(loaded(proto))


def test_a_model_without_usable_layers_gives_the_reasons() -> None:
    proto = models.build("net (float[2, 4] x, float[4, 3] v) => (float[2, 3] y) { [dot] y = MatMul(x, v) }")
    with pytest.raises(ModelError, match=r"no layer can be packed \(MatMul dot: it has no constant weight"):
        read_network(loaded(proto))
