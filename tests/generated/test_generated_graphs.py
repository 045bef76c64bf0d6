"""Drawn graphs through every stage, through torch, and with filters pruned; refusals are sentences."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import onnx
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from helpers.graphs import drawing
from helpers.graphs.drawing import GeneratedGraph, graphs
from helpers.graphs.stages import METHODS, check_bridge, check_chain, check_filters
from helpers.graphs.weights import FORMS
from tightc.cli.main import run

# TIGHTC_GRAPHS=2000 draws that many graphs for each test, others every time
MANY = int(os.environ.get("TIGHTC_GRAPHS", "0"))
Test = Callable[..., None]


def examples(count: int) -> Callable[[Test], Test]:
    """`count` graphs, the same in each run; or as many as TIGHTC_GRAPHS says, drawn anew."""
    slow = [
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
        HealthCheck.filter_too_much,
    ]
    return settings(
        max_examples=MANY or count, derandomize=not MANY, suppress_health_check=slow, deadline=None
    )


def test_a_graph_comes_out_of_all_stages_equal_or_is_refused_by_a_sentence() -> None:
    packed = []

    @examples(120)
    @given(graphs(), st.sampled_from([*METHODS]))
    def check(graph: GeneratedGraph, method: str) -> None:
        packed.append(check_chain(graph, method))

    check()
    assert np.mean(packed) > 0.7


def test_torch_computes_what_onnxruntime_computes() -> None:
    computed = []

    @examples(300)
    @given(graphs(plain=True))
    def check(graph: GeneratedGraph) -> None:
        computed.append(check_bridge(graph))

    check()
    assert np.mean(computed) > 0.7


def test_removed_filters_output_zeros_and_nothing_else_changes() -> None:
    removed = []

    @examples(250)
    @given(graphs(plain=True), st.sampled_from([0.5, 0.3, 0.8]))
    def check(graph: GeneratedGraph, sparsity: float) -> None:
        removed.append(check_filters(graph, sparsity))

    check()
    assert np.mean(removed) > 0.1


# --- files that are not valid


def without_a_weight(proto: onnx.ModelProto) -> None:
    if proto.graph.initializer:
        del proto.graph.initializer[0]


def of_another_shape(proto: onnx.ModelProto) -> None:
    for tensor in proto.graph.initializer[:1]:
        tensor.dims.append(3)


def of_an_unknown_operator(proto: onnx.ModelProto) -> None:
    proto.graph.node[-1].op_type = "Convolution"


def without_an_input(proto: onnx.ModelProto) -> None:
    del proto.graph.input[0]


def computed_twice(proto: onnx.ModelProto) -> None:
    proto.graph.node.add().CopyFrom(proto.graph.node[0])


def of_another_type(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64


def of_an_opset_to_come(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 99


def with_other_attributes(proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("strides", "pads", "perm", "group", "axis"):
                attribute.i = 7
                attribute.ints[:] = [7]


DAMAGE = (
    without_a_weight,
    of_another_shape,
    of_an_unknown_operator,
    without_an_input,
    computed_twice,
    of_another_type,
    of_an_opset_to_come,
    with_other_attributes,
)


@examples(60)
@given(graphs(), st.sampled_from(DAMAGE))
def test_a_file_that_is_not_valid_is_refused_by_one_sentence(
    graph: GeneratedGraph, damage: Callable[[onnx.ModelProto], None]
) -> None:
    damage(graph.proto)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as lines:
        source, target = Path(folder, "in.onnx"), Path(folder, "out.onnx")
        source.write_bytes(graph.proto.SerializeToString())
        code = run(["prune", str(source), "--sparsity", "0.5", "-q", "-o", str(target)])
        written = target.read_bytes() if target.exists() else b""
    event(f"{damage.__name__}: {code}")
    text = lines.getvalue()
    if code == 0:  # the damage was in what nothing reads, or an operator that onnx does not know stays
        assert written and "error" not in text
        return
    assert code == 2 and not written
    assert text.startswith("tightc: error: ") and text.count("\n") == 1 and "Traceback" not in text


# --- what is drawn

OPERATORS = (
    *(
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "ConvInteger",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
    ),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "BatchNormalization"),
    *(
        "Relu",
        "Sigmoid",
        "Clip",
        "LeakyRelu",
        "Tanh",
        "Softmax",
        "Add",
        "Mul",
        "Sub",
        "Concat",
        "Split",
        "Slice",
    ),
    *(
        "Gather",
        "Transpose",
        "Reshape",
        "Flatten",
        "Unsqueeze",
        "Pad",
        "Resize",
        "Upsample",
        "Cast",
        "Constant",
    ),
    *("QuantizeLinear", "DequantizeLinear", "If", "Loop", "function"),
)
STRUCTURES = (
    *("structure: If", "structure: Loop that carries", "structure: Loop that stacks", "structure: function"),
    *("structure: nested", "function: nested", "function: attribute reference", "function: called twice"),
    *("body: own constants", "body: captured constants", "If: condition is an input"),
)
LAYERS = (
    *("Conv: 1-D", "Conv: 2-D", "Conv: 3-D", "group: depthwise", "group: several", "ConvTranspose: groups"),
    *("auto_pad: SAME_UPPER", "auto_pad: SAME_LOWER", "auto_pad: VALID", "output_padding"),
    *("Gemm: transA", "Gemm: constant A", "Gemm: alpha or beta", "MatMul: matrix", "MatMul: vector"),
    *("MatMul: stack", "MatMul: constant left matrix", "MatMul: constant left vector"),
    *("MatMul: constant left stack", "ceil_mode: MaxPool", "ceil_mode: AveragePool"),
    *("integer weight: int8", "integer weight: uint8", "weight: shared"),
    *(
        f"weight: dequantized {kind}, per {unit}"
        for kind in ("int8", "uint8")
        for unit in ("filter", "tensor")
    ),
)
FILES = (
    *(f"sizes: {form}" for form in ("fixed", "open batch", "open", "-1", "0")),
    *("outputs without a shape", "outputs: several", "outputs: one that is read", "outputs: a weight"),
    *("inputs: several", "value_info", "IR 3", "dtype: float16", "chain", "branches"),
    *(f"node names: {form}" for form in ("their own", "none", "repeated")),
    *("branches: Add", "branches: Mul"),
)
DRAWN = 900


def test_every_kind_is_drawn_and_few_graphs_are_left_out() -> None:
    seen: set[str] = set()
    nodes, refused = [], []
    drawing.REJECTED.clear()

    @settings(
        max_examples=DRAWN, derandomize=True, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(graphs())
    def draw(graph: GeneratedGraph) -> None:
        seen.update(graph.kinds)
        nodes.append(len(graph.proto.graph.node))
        refused.append(len(graph.refused))

    draw()
    wanted = {f"op: {operator}" for operator in OPERATORS} | {f"weight: {form}" for form in FORMS}
    wanted |= {*STRUCTURES, *LAYERS, *FILES, *(f"opset: {opset}" for opset in drawing.opsets())}
    assert sorted(wanted - seen) == []
    assert len(nodes) == DRAWN
    assert len(drawing.REJECTED) < 0.2 * DRAWN
    assert sum(refused) < 0.2 * sum(nodes)
    assert np.mean(nodes) > 4
