"""The work between layers, recounted from the shapes that onnxruntime computes, and the latency of whole networks."""

from __future__ import annotations

from math import ceil, prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import SMALL, hardware
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.permutation.permute import permute
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

NETWORK = """net (float[N, 3, 12, 12] x) => (float[N, 2, 7] y, float[N, 6, 2] extra) {
    [conv1] c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    [bn1] n1 = BatchNormalization(c1, scale, shift, mean, var)
    [relu1] r1 = Relu(n1)
    [pool] p = MaxPool<kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1>(r1)
    [conv2] c2 = Conv<pads = [1, 1, 1, 1]>(p, w2)
    [gate] g = Sigmoid(c2)
    [silu] s = Mul(c2, g)
    [skip] a = Add(s, p)
    [relu2] r2 = Relu(a)
    [up] u = Resize<mode = "linear">(r2, , scales)
    [near] v = Resize(r2, , scales)
    [both] k = Concat<axis = 1>(u, v)
    [slice] l = Slice(k, starts, ends, axes)
    [rotate] t = Transpose<perm = [0, 2, 3, 1]>(l)
    [pad] q = Pad(t, pads)
    [sums] m = Sum(q, q, q)
    [mean] e = ReduceMean<keepdims = 0>(m, last)
    [wide] f = Flatten(e)
    [fc] h = Gemm<transB = 1>(f, w3, b3)
    [shifted] hb = Add(h, b4)
    [clipped] hc = Clip(hb, low, high)
    [column] hv = Unsqueeze(hc, last1)
    [scores] z = MatMul(hv, row)
    [norm] i = LayerNormalization(z, ones)
    [best] best, place = TopK(i, two)
    [chosen] ch = Gather<axis = 1>(i, index)
    [smax] y = Softmax(ch)
    [shape] sh = Shape(h)
    [fill] fl = ConstantOfShape(sh)
    [rest] extra = Add(best, one)
}"""


def network() -> onnx.ModelProto:
    def ints(*values: int) -> np.ndarray:
        return np.array(values, np.int64)

    def floats(*values: float) -> np.ndarray:
        return np.array(values, np.float32)

    return models.build(
        NETWORK,
        w1=models.sparse(4, 3, 3, 3), b1=floats(1, 2, 3, 4), w2=models.sparse(4, 4, 3, 3, seed=1),
        scale=np.ones(4, np.float32), shift=np.zeros(4, np.float32), mean=np.zeros(4, np.float32),
        var=np.ones(4, np.float32), scales=floats(1, 1, 1.5, 2), starts=ints(0), ends=ints(5), axes=ints(1),
        pads=ints(0, 1, 0, 0, 0, 0, 1, 0), last=ints(3), w3=models.sparse(6, 130, seed=2), b3=floats(*range(6)),
        b4=floats(*range(6)), low=np.array(-1, np.float32), high=np.array(1, np.float32), last1=ints(2),
        row=models.sparse(1, 1, 7, seed=3, density=1.0)[0], ones=np.ones(7, np.float32), two=ints(2), index=ints(0, 2),
        one=floats(1),
    )  # fmt: skip


def shapes_of(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The shapes of all values, from one run with everything as an output."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    names = [name for node in probe.graph.node for name in node.output if name]
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = dict(zip(names, session.run(names, feeds), strict=True))
    return {name: np.shape(value) for name, value in {**found, **feeds}.items()}


def recount(batch: int) -> dict[str, int]:
    """Operations of every node that is no layer, from the sizes of what onnxruntime computes."""
    proto = network()
    shapes = shapes_of(proto, {"x": np.zeros((batch, 3, 12, 12), np.float32)})
    size = {name: prod(shape) for name, shape in shapes.items()}
    return {
        "pool": 6 * size["p"],
        "gate": size["g"],
        "silu": size["s"],
        "skip": size["a"],
        "relu2": size["r2"],  # behind an addition, not a layer
        "up": 4 * size["u"],
        "near": size["v"],
        "rotate": size["t"],
        "pad": size["q"],
        "sums": 2 * size["m"],
        "mean": size["m"],  # more than it writes
        "norm": 5 * size["i"],
        "best": size["i"],
        "chosen": size["ch"],
        "smax": 5 * size["y"],
        "rest": size["extra"],
    }


def options(**changes: Any) -> SimulateOptions:
    return SimulateOptions(hardware=hardware(**changes))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("rate", [None, 7])
def test_operations_are_those_of_a_recount(batch: int, rate: int | None) -> None:
    given = {} if rate is None else {"vector_unit": f"{rate} operations/cycle"}
    report = simulate(loaded(network()), options(**given).model_copy(update={"batch": batch}))
    expected = recount(batch)
    found = {row["name"]: row["operations"] for row in report.totals["vector_unit_operators"]}
    assert found == expected
    columns, arrays = int(report.totals["array"].split("x")[1]), report.totals["arrays"]
    rate = rate or columns * arrays
    cycles = sum(ceil(operations / rate) for operations in expected.values())
    assert report.totals["vector_unit_cycles"] == cycles
    clock = hardware().clock
    for dense in ("", "dense_"):
        total = report.totals[f"{dense}cycles"] + cycles
        assert report.totals[f"{dense}latency_ms"] == pytest.approx(1000 * total / clock)


def test_matmul_by_a_constant_is_a_layer_here() -> None:
    """The recount leaves `scores` out: it is on the array."""
    names = [row["name"] for row in simulate(loaded(network()), options()).layers]
    assert names == ["conv1", "conv2", "fc", "scores"]


def test_without_a_clock_there_is_no_latency() -> None:
    totals = simulate(loaded(network()), SimulateOptions()).totals
    assert not {"latency_ms", "dense_latency_ms", "vector_unit_cycles", "vector_unit_operators"} & set(totals)


def test_an_uncovered_layer_takes_its_multiply_accumulates() -> None:
    totals = simulate(loaded(models.attention()), options()).totals
    shapes = shapes_of(models.attention(), {"x": np.zeros((1, 5, 8), np.float32)})
    found = {row["name"]: row["operations"] for row in totals["vector_unit_operators"]}
    transposed = next(name for name in found if name != "scores")
    inner = shapes["q"][-1]
    assert found == {transposed: prod(shapes["k"]), "scores": prod(shapes["y"]) * inner}


@pytest.mark.parametrize(
    ("proto", "name"),
    [
        (models.with_lstm(), "LSTM rnn"),
        (models.with_if("v"), "If choice"),
        (
            models.build(
                """net (float[5, 6] x) => (seq(float[5, 4]) y) {
                    [p] a = MatMul(x, w) b = Sigmoid(a) [pair] y = SequenceConstruct(b, b)
                }""",
                w=models.sparse(6, 4),
            ),
            "SequenceConstruct pair",
        ),
    ],
)
def test_what_cannot_be_counted_leaves_the_latency_unknown(proto: onnx.ModelProto, name: str) -> None:
    report = simulate(loaded(proto), options())
    assert report.totals["latency_ms"] is report.totals["dense_latency_ms"] is None
    assert report.totals["vector_unit_cycles"] is None
    assert f"latency_ms is unknown, since the operations of {name} are" in report.notes


BEHIND = {
    "a relu": ("y = Relu(a)", []),
    "a relu that two read": ("b = Relu(a) y = Add(b, a)", ["Relu", "Add"]),
    "what the model returns too": ("y = Identity(a) z = Relu(a)", ["Relu"]),
    "a scale and a bias for each filter": ("b = Mul(a, f) y = Add(b, f)", []),
    "a scale for each input": ("y = Mul(a, m)", ["Mul"]),
    "a reciprocal": ("y = Div(f, a)", ["Div"]),
    "its difference": ("y = Sub(f, a)", []),
    "quantization, then a clip": ("q = QuantizeLinear(a, s, o) b = DequantizeLinear(q, s, o) y = Clip(b, s)", []),
    "its square": ("y = Mul(a, a)", ["Mul"]),
    "bounds from outside": ("y = Max(a, x2)", ["Max"]),
    "a sigmoid, then a relu": ("b = Sigmoid(a) y = Relu(b)", ["Sigmoid", "Relu"]),
}  # fmt: skip


@pytest.mark.parametrize("form", BEHIND)
def test_what_runs_as_sums_leave_costs_nothing(form: str) -> None:
    body, expected = BEHIND[form]
    outputs = "float[5, 4] y, float[5, 4] z" if " z = " in body else "float[5, 4] y"
    proto = models.build(
        f"net (float[5, 6] x, float[5, 4] x2) => ({outputs}) {{ [p] a = MatMul(x, w) {body} }}",
        w=models.sparse(6, 4),
        f=np.arange(1, 5, dtype=np.float32),
        m=np.ones((5, 4), np.float32),
        s=np.array(0.1, np.float32),
        o=np.array(0, np.int8),
    )
    operators = simulate(loaded(proto), options()).totals["vector_unit_operators"]
    assert [row["operator"] for row in operators] == expected
    assert all(row["operations"] == 5 * 4 for row in operators)


def test_a_packing_shortens_the_layers_alone() -> None:
    model, first_fit = loaded(models.cnn()), SMALL.model_copy(update={"method": "first-fit"})
    dense, packed = (simulate(one, options()).totals for one in (model, permute(model, first_fit)[0]))
    assert packed["vector_unit_cycles"] == dense["vector_unit_cycles"]
    assert packed["dense_latency_ms"] == dense["latency_ms"] > packed["latency_ms"]


def test_compare_reports_latencies() -> None:
    model = loaded(models.cnn())
    asked = CompareOptions(hardware=hardware(), method=("dense", "first-fit"), fan_in=(3,))
    dense, packed = compare([model], asked).layers
    assert dense["latency_ms"] == simulate(model, options()).totals["latency_ms"]
    assert packed["latency_ms"] < dense["latency_ms"]
    assert packed["vector_unit_cycles"] == dense["vector_unit_cycles"]


def test_the_text_leaves_out_lists_without_entries() -> None:
    text = "net (float[2, 6] x) => (float[2, 4] y) { [p] y = MatMul(x, w) }"
    report = simulate(loaded(models.build(text, w=models.sparse(6, 4))), options())
    assert report.totals["vector_unit_operators"] == []
    lines = str(report).splitlines()
    assert "vector_unit_cycles: 0" in lines
    assert not [line for line in lines if line.startswith("vector_unit_operators")]
