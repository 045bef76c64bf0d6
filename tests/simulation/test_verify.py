"""Verify: the cycle engine on real layers of every form, against onnxruntime and the closed form; what is broken shows.

What the engine multiplies and what it is to give come from verify itself, so some tests look over its shoulder with an
onnxruntime of their own, and others break one thing and want to see it found.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import models
from tightc.cli.main import run
from tightc.config.yaml import read_options
from tightc.errors import DataError, ModelError, VerifyError
from tightc.model.file import Model, load_model, load_model_bytes
from tightc.packing.pack import pack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.permutation.schedule import Schedule
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.report import Report
from tightc.simulation import verify as verify_module
from tightc.simulation.engine.run import Ran
from tightc.simulation.hardware import Hardware
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tiles.array import ArrayShape
from tightc.tiles.packing import EMPTY

HARDWARE = Path(__file__).parents[2] / "configs" / "hardware"
QUICK = Schedule(steps=5, moves_per_weight=30)
ARRAY = ArrayShape(8, 4)
OURS = "; this is a fault of tightc, not of the model: please report it with the model"


def loaded(proto: onnx.ModelProto) -> Model:
    return load_model_bytes(proto.SerializeToString(), "net.onnx")


def arranged(model: Model, method: str = "tight", array: ArrayShape = ARRAY, **changes: object) -> Model:
    lossy = {"alpha": 3, "gamma": 0.3} if method == "column-combine" else {"pattern": Pattern(2, 4)}
    options = {
        "array": array,
        "fan_in": 4,
        "method": method,
        "temp_schedule": QUICK,
        "jobs": 1,
        **lossy,
        **changes,
    }
    return permute(model, PermuteOptions(**options))[0]


def verified(model: Model, layers: int | None = None, **options: object) -> Report:
    """The report of a simulation that was verified, every layer of it."""
    report = simulate(model, SimulateOptions(verify=True, **options))
    assert report.totals["verified_layers"] == len(report.layers) == (layers or len(report.layers)) > 0
    assert report.totals["value_error"] == max(row["value_error"] for row in report.layers)
    for row in report.layers:
        # the engine does not know of DRAM
        assert row["engine_cycles"] == row["cycles"] - row["dram_stall_cycles"]
        assert 0 <= row["value_error"] <= 1e-4
    return report


# --- every form of layer


def conv(
    shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = False, **attributes: object
) -> onnx.ModelProto:
    """One Conv; `group` follows from the shapes."""
    tensors = {"w": models.sparse(*weight, density=0.6)}
    if bias:
        tensors["b"] = np.linspace(-1, 2, weight[0], dtype=np.float32)
    node = helper.make_node(
        "Conv", ["x", *tensors], ["y"], name="c", group=shape[1] // weight[1], **attributes
    )
    return one_node(node, shape, tensors)


def one_node(
    node: onnx.NodeProto,
    shape: tuple[int, ...],
    tensors: dict[str, np.ndarray],
    kind: int = onnx.TensorProto.FLOAT,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "net",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(tensor, name) for name, tensor in tensors.items()],
    )
    opset = helper.make_opsetid("", models.OPSET)
    proto = helper.make_model(graph, opset_imports=[opset], ir_version=models.IR)
    return onnx.shape_inference.infer_shapes(proto)


def gemm(
    shape: tuple[int, int], weight: tuple[int, int], addend: tuple[int, ...] | None, **attributes: object
):
    tensors = {"w": models.sparse(*weight, density=0.6)}
    if addend is not None:
        tensors["c"] = np.random.default_rng(3).normal(size=addend).astype(np.float32)
    return one_node(helper.make_node("Gemm", ["x", *tensors], ["y"], name="g", **attributes), shape, tensors)


def matmul(shape: tuple[int, ...], weight: tuple[int, int], left: bool = False) -> onnx.ModelProto:
    inputs = ["w", "x"] if left else ["x", "w"]
    node = helper.make_node("MatMul", inputs, ["y"], name="m")
    return one_node(node, shape, {"w": models.sparse(*weight, density=0.6)})


def mobile_block() -> onnx.ModelProto:
    """Expand, depthwise 3x3 with a stride, project; a bias and a ReLU6 here and there."""
    return models.build(
        """net (float[B, 6, 9, 9] x) => (float[B, 8, 5, 5] y) {
            [expand] a = Conv(x, u, ub)
            low = Constant<value = float {0}>()
            high = Constant<value = float {6}>()
            b = Clip(a, low, high)
            [depthwise] c = Conv<group = 18, pads = [1, 1, 1, 1], strides = [2, 2]>(b, v, vb)
            d = Clip(c, low, high)
            [project] y = Conv(d, w)
        }""",
        u=models.sparse(18, 6, 1, 1, density=0.6),
        ub=np.linspace(-1, 1, 18, dtype=np.float32),
        v=models.sparse(18, 1, 3, 3, density=0.6),
        vb=np.linspace(-1, 1, 18, dtype=np.float32),
        w=models.sparse(8, 18, 1, 1, density=0.4),
    )


BY_HAND: dict[str, Callable[[], onnx.ModelProto]] = {
    "stride": lambda: conv((2, 3, 9, 8), (5, 3, 3, 3), strides=[2, 3], bias=True),
    "dilation": lambda: conv((2, 3, 9, 10), (5, 3, 3, 2), dilations=[2, 3]),
    "pads that differ": lambda: conv((1, 3, 5, 6), (5, 3, 3, 2), pads=[2, 0, 1, 3], bias=True),
    "SAME_UPPER": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="SAME_UPPER", strides=[2, 3]),
    "SAME_LOWER": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="SAME_LOWER", strides=[2, 3]),
    "VALID": lambda: conv((1, 3, 7, 8), (5, 3, 4, 3), auto_pad="VALID"),
    "groups": lambda: conv((2, 8, 6, 6), (12, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], bias=True),
    "depthwise": lambda: conv((1, 7, 6, 6), (7, 1, 3, 3), pads=[1, 1, 1, 1]),
    "depthwise, two filters each": lambda: conv((1, 5, 6, 6), (10, 1, 3, 3)),
    "1-D": lambda: conv((3, 4, 11), (5, 4, 3), strides=[2], pads=[2, 1], dilations=[2], bias=True),
    "1-D depthwise": lambda: conv((2, 6, 9), (6, 1, 4), pads=[1, 2]),
    "3-D": lambda: conv(
        (1, 2, 5, 6, 7), (3, 2, 2, 3, 2), strides=[1, 2, 3], pads=[1, 0, 2, 0, 3, 1], bias=True
    ),
    "3-D depthwise": lambda: conv((1, 3, 4, 5, 4), (3, 1, 3, 3, 3), pads=[1] * 6),
    "one window": lambda: conv((2, 3, 3, 4), (4, 3, 3, 4)),
    "Gemm": lambda: gemm((5, 9), (9, 6), (6,), alpha=1.0, beta=1.0),
    "Gemm, alpha and beta": lambda: gemm((5, 9), (9, 6), (6,), alpha=-0.25, beta=3.0),
    "Gemm, beta 0": lambda: gemm((5, 9), (9, 6), (6,), beta=0.0),
    "Gemm, transA": lambda: gemm((9, 5), (9, 6), None, transA=1),
    "Gemm, transA, transB": lambda: gemm((9, 5), (6, 9), (6,), transA=1, transB=1, alpha=2.0),
    "Gemm, transB, no bias": lambda: gemm((5, 9), (6, 9), None, transB=1, alpha=0.5),
    "Gemm, an addend for each row": lambda: gemm((5, 9), (9, 6), (5, 1), beta=0.5),
    "Gemm, an addend for each output": lambda: gemm((5, 9), (9, 6), (5, 6)),
    "Gemm, one addend": lambda: gemm((5, 9), (9, 6), (1,)),
    "MatMul, weight right": lambda: matmul((5, 9), (9, 6)),
    "MatMul, weight left": lambda: matmul((9, 5), (6, 9), left=True),
    "MatMul, batched": lambda: matmul((2, 3, 4, 9), (9, 6)),
    "MatMul, batched, weight left": lambda: matmul((2, 3, 9, 4), (6, 9), left=True),
    "MatMul, a vector": lambda: matmul((9,), (9, 6)),
    "MatMul, a vector, weight left": lambda: matmul((9,), (6, 9), left=True),
    "MobileNet": mobile_block,
}
FORMS = {**models.FORMS, **BY_HAND}


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("form", FORMS)
def test_dense_layers_of_every_form(form: str, dataflow: str) -> None:
    verified(loaded(FORMS[form]()), array=ArrayShape(5, 4), dataflow=dataflow)


@pytest.mark.parametrize("method", ["dense", "structured", "first-fit", "tight", "column-combine", "nm"])
@pytest.mark.parametrize("form", FORMS)
def test_arranged_layers_of_every_form(form: str, method: str) -> None:
    model = arranged(loaded(FORMS[form]()), method)
    one, other = verified(model), verified(pack(model)[0])
    assert one.layers == other.layers


@pytest.mark.parametrize("form", FORMS)
def test_several_arrays_that_load_ahead_with_tiles_side_by_side(form: str) -> None:
    model = loaded(FORMS[form]())
    way = {"arrays": 3, "prefetch_weights": True, "side_by_side": True, "batch": None}
    for dataflow in ("ws", "os", "is"):
        verified(model, array=ArrayShape(9, 8), dataflow=dataflow, **way)
    verified(arranged(model, array=ArrayShape(16, 16)), **way)


@pytest.mark.parametrize("batch", [1, 3])
def test_images_of_a_batch(batch: int) -> None:
    verified(loaded(models.cnn()), array=ARRAY, batch=batch)
    verified(loaded(mobile_block()), array=ARRAY, batch=batch)


@pytest.mark.parametrize("name", sorted(path.stem for path in HARDWARE.glob("*.yaml")))
def test_on_the_hardware_that_comes_along(name: str) -> None:
    hardware = read_options(HARDWARE / f"{name}.yaml", Hardware)
    for proto in (models.cnn(), mobile_block()):
        for dataflow in ("ws", "os", "is"):
            verified(loaded(proto), hardware=hardware, dataflow=dataflow)
        fan_in = {"fan_in": hardware.fan_in, "array": hardware.array, "pattern": Pattern(1, 2)}
        model = arranged(loaded(proto), **fan_in)
        for beside in (False, True):
            verified(model, hardware=hardware, side_by_side=beside)


SLOW = {
    "name": "slow",
    "array": "8x4",
    "arrays": 3,
    "fan_in": 4,
    "operands": "int8",
    "clock": "100 MHz",
    "prefetch_weights": True,
    "side_by_side": True,
    "activation_buffer": {"size": "64 B", "bandwidth": "1.5 words/cycle", "double_buffered": True},
    "weight_buffer": {"size": "64 B", "bandwidth": "3 words/cycle", "double_buffered": True},
    "partial_sum_buffer": {"size": "32 B", "bandwidth": "0.7 words/cycle", "double_buffered": False},
    "dram": {"bandwidth": "20 MB/s", "keep_feature_maps": True},
}


@pytest.mark.parametrize("changes", [{}, {"arrays": 1}, {"prefetch_weights": False}, {"operands": "fp32"}])
@pytest.mark.parametrize("form", ["cnn", "grouped", "MobileNet", "shared weight", "gemm transB"])
def test_on_buffers_that_stall_and_are_small(form: str, changes: dict[str, object]) -> None:
    larger = {"size": "256 B"} if changes.get("operands") == "fp32" else {}
    buffers = {name: {**SLOW[name], **larger} for name in ("activation_buffer", "weight_buffer")}
    hardware = Hardware.model_validate({**SLOW, **buffers, **changes})
    model = loaded(FORMS[form]())
    report = verified(arranged(model), hardware=hardware)
    assert report.totals["stall_cycles"] > 0
    if form != "gemm transB":  # of a single vector
        assert report.totals["activation_stall_cycles"] > 0 and report.totals["sum_stall_cycles"] > 0
    for dataflow in ("ws", "os", "is"):
        verified(model, hardware=hardware, dataflow=dataflow)


# --- other weights and networks


@pytest.mark.parametrize("form", ["cnn", "matmul right", "gemm", "depthwise"])
def test_float16(form: str) -> None:
    simulate(loaded(models.FORMS[form](dtype="float16")), SimulateOptions(array=ARRAY, verify=True))


@pytest.mark.parametrize("form", ["gemm", "gemm transB", "gemm without bias", "matmul right", "matmul left"])
def test_float64(form: str) -> None:
    model = loaded(models.FORMS[form](dtype="float64"))
    for dataflow in ("ws", "os", "is"):
        verified(model, array=ARRAY, dataflow=dataflow)
    verified(arranged(model))


def test_what_onnxruntime_does_not_run_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"^net.onnx: onnxruntime cannot load it \(Could not find an implementation"
    ):
        simulate(loaded(models.depthwise(dtype="float64")), SimulateOptions(array=ARRAY, verify=True))


@pytest.mark.parametrize(
    ("form", "layers"), [("attention", 1), ("transposed", 1), ("with_lstm", 1), ("quantised", 2)]
)
def test_layers_behind_and_before_what_is_not_covered(form: str, layers: int) -> None:
    verified(loaded(getattr(models, form)()), layers, array=ARRAY)


def test_a_layer_of_nothing_but_zeros() -> None:
    model = loaded(models.empty_layer())
    assert [row["engine_cycles"] > 0 for row in verified(model, array=ARRAY).layers] == [True, True]
    assert [row["engine_cycles"] > 0 for row in verified(arranged(model)).layers] == [False, True]


@pytest.mark.parametrize("seed", range(3))
def test_other_random_inputs(seed: int) -> None:
    model = loaded(models.cnn())
    errors = [
        [
            row["value_error"]
            for row in simulate(model, SimulateOptions(array=ARRAY, verify=True), seed=s).layers
        ]
        for s in (seed, seed, seed + 1)
    ]
    assert errors[0] == errors[1] != errors[2]


def identity_bias() -> onnx.ModelProto:
    return models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y) {
            again = Identity(b)
            [c] y = Conv(x, w, again)
        }""",
        w=models.sparse(4, 3, 3, 3),
        b=np.linspace(1, 2, 4, dtype=np.float32),
    )


def addend_from_outside() -> onnx.ModelProto:
    return models.build(
        "net (float[2, 9] x, float[2, 5] c) => (float[2, 5] y) { [g] y = Gemm(x, w, c) }",
        w=models.sparse(9, 5),
    )


def root_before() -> onnx.ModelProto:
    text = "net (float[1, 9] x) => (float[1, 5] y) { r = Sqrt(x)\n [m] y = MatMul(r, w) }"
    return models.build(text, w=models.sparse(9, 5))


@pytest.mark.parametrize("make", [identity_bias, addend_from_outside])
def test_a_bias_that_is_computed(make: Callable[[], onnx.ModelProto]) -> None:
    verified(loaded(make()), array=ARRAY)


def test_a_model_that_gives_no_numbers_is_not_a_fault_of_tightc() -> None:
    with pytest.raises(DataError, match="numbers that are not finite; give other --inputs"):
        verified(loaded(root_before()), array=ARRAY)


# --- over its shoulder: the engine's outputs against an onnxruntime of our own


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Ran]]]:
    """(layer, what the engine ran), two of each layer: floats and int8."""
    found: list[tuple[str, Ran]] = []
    own = verify_module._run

    def looking(entry, *rest):  # type: ignore[no-untyped-def]
        found.append((entry.layer.name, own(entry, *rest)))
        return found[-1][1]

    monkeypatch.setattr(verify_module, "_run", looking)
    yield found


def node_outputs(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every node gives, by onnxruntime."""
    every = onnx.ModelProto()
    every.CopyFrom(proto)
    del every.graph.output[:]
    names = [name for node in every.graph.node for name in node.output if name]
    every.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(every.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds), strict=True))


def check_outputs(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], seen: list[tuple[str, Ran]]) -> None:
    """Convolutions and Gemms (alpha and beta 1): sums and bias are what the node gives."""
    values = node_outputs(proto, feeds)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    assert [name for name, _ in seen] == [node.name for node in layers for _ in range(2)]
    for node, (_, floats), (_, integers) in zip(layers, seen[::2], seen[1::2], strict=True):
        expected = values[node.output[0]]
        if node.op_type == "Conv":
            expected = expected.transpose(0, *range(2, expected.ndim), 1).reshape(-1, expected.shape[1])
        bias = constants[node.input[2]] if len(node.input) > 2 else 0.0
        np.testing.assert_allclose(floats.outputs + bias, expected, atol=1e-4 * np.abs(expected).max())
        assert floats.outputs.dtype == np.float32 and integers.outputs.dtype == np.int32
        # int8: each operand is at most half a step from its float, so sums go together
        if floats.outputs.any():
            assert np.corrcoef(floats.outputs.ravel(), integers.outputs.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("make", [models.cnn, mobile_block, models.grouped])
def test_the_engines_outputs_are_those_of_onnxruntime(
    make: Callable[[], onnx.ModelProto], tight: bool, seen: list[tuple[str, Ran]], tmp_path: Path
) -> None:
    proto = make()
    feeds = models.feeds(proto, batch=2)
    np.savez(tmp_path / "in.npz", **feeds)
    model = arranged(loaded(proto)) if tight else loaded(proto)
    simulate(model, SimulateOptions(array=ARRAY, batch=2, inputs=str(tmp_path / "in.npz")))
    check_outputs(proto, feeds, seen)


# --- the real network: engine and closed form to the cycle, engine and onnxruntime in every layer

ARRAYS = [ArrayShape(8, 8), ArrayShape(16, 64), ArrayShape(32, 32)]


@pytest.fixture(scope="module")
def whole(resnet20: Path) -> Model:
    return load_model(resnet20)


@pytest.fixture(scope="module")
def pruned(whole: Model) -> Model:
    return prune(whole, PruneOptions(sparsity=0.9))[0]


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_the_dense_resnet20(whole: Model, array: ArrayShape, dataflow: str) -> None:
    report = verified(whole, 20, array=array, dataflow=dataflow)
    assert report.totals["speedup"] == 1.0 and report.totals["value_error"] < 1e-5


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_the_pruned_resnet20(pruned: Model, array: ArrayShape) -> None:
    verified(pruned, 20, array=array)


@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_the_resnet20_with_columns_combined(pruned: Model, array: ArrayShape, gamma: float) -> None:
    model = arranged(pruned, "column-combine", array, alpha=8, gamma=gamma, fan_in=8)
    assert verified(model, 20).totals["speedup"] > 1.5


@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("fan_in", [4, 8, 16])
def test_the_tight_resnet20(pruned: Model, array: ArrayShape, fan_in: int) -> None:
    model = arranged(pruned, "tight", array, fan_in=fan_in)
    report = verified(pack(model)[0], 20)
    assert report.totals["speedup"] > 2 and 1 < report.totals["fan_in_max"] <= fan_in


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_the_tight_resnet20_on_three_arrays_side_by_side(pruned: Model, array: ArrayShape) -> None:
    model = arranged(pruned, "tight", array, fan_in=8, objective="side-by-side")
    one = verified(model, 20, side_by_side=True).totals["cycles"]
    assert one < verified(model, 20).totals["cycles"]
    assert verified(model, 20, arrays=3, prefetch_weights=True, side_by_side=True).totals["cycles"] < one


@pytest.mark.parametrize("tight", [False, True])
def test_the_engines_outputs_of_the_resnet20(
    whole: Model, pruned: Model, tight: bool, seen: list[tuple[str, Ran]], tmp_path: Path
) -> None:
    model = arranged(pruned, "tight", ArrayShape(32, 32), fan_in=8) if tight else whole
    plain = pruned if tight else whole
    feeds = models.feeds(plain.proto, batch=1, seed=7)
    np.savez(tmp_path / "in.npz", **feeds)
    simulate(model, SimulateOptions(inputs=str(tmp_path / "in.npz")))
    named = onnx.ModelProto()
    named.CopyFrom(plain.proto)
    names = iter([name for name, _ in seen[::2]])
    for node in named.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            node.name = next(names)
    check_outputs(named, feeds, seen)


# --- what is broken is found

TWO = """net (float[2, 9] x) => (float[2, 5] y) {
    [one] a = MatMul(x, v)
    [two] y = MatMul(a, w)
}"""


def two_layers() -> onnx.ModelProto:
    return models.build(TWO, v=models.sparse(9, 7), w=models.sparse(7, 5, seed=1))


def wrong(model: Model, **options: object) -> str:
    with pytest.raises(VerifyError) as caught:
        simulate(model, SimulateOptions(verify=True, **options))
    assert caught.value.exit_code == 1
    assert caught.value.remedy == OURS[2:]
    return caught.value.sentence


def breaking(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Ran], Ran], layer: str, dtype: type = np.float32
) -> None:
    """Changes what the engine gives for a layer, in one of its two runs."""
    own = verify_module._run

    def broken(entry, dataflow, operands, *rest):  # type: ignore[no-untyped-def]
        ran = own(entry, dataflow, operands, *rest)
        return change(ran) if entry.layer.name == layer and operands.vectors.dtype == dtype else ran

    monkeypatch.setattr(verify_module, "_run", broken)


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("layer", ["one", "two"])
def test_wrong_values(monkeypatch: pytest.MonkeyPatch, layer: str, tight: bool) -> None:
    breaking(monkeypatch, lambda ran: replace(ran, outputs=1.5 * ran.outputs), layer)
    model = loaded(two_layers())
    words = f"{layer}: the engine's values are off by 0.5 of the largest"
    assert wrong(arranged(model) if tight else model) == words


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    def spoiled(ran: Ran) -> Ran:
        outputs = ran.outputs.copy()
        outputs[1, 2] = value
        return replace(ran, outputs=outputs)

    breaking(monkeypatch, spoiled, "two")
    assert wrong(loaded(two_layers())) == f"two: the engine's values are off by {value} of the largest"


@pytest.mark.parametrize(("factor", "found"), [(1 + 5e-5, False), (1 + 2e-4, True)])
def test_values_are_off_from_a_ten_thousandth_on(
    monkeypatch: pytest.MonkeyPatch, factor: float, found: bool
) -> None:
    breaking(monkeypatch, lambda ran: replace(ran, outputs=ran.outputs * np.float32(factor)), "two")
    if found:
        assert wrong(loaded(two_layers())) == "two: the engine's values are off by 0.0002 of the largest"
    else:
        row = verified(loaded(two_layers())).layers[1]
        assert row["value_error"] == pytest.approx(5e-5, rel=0.05)


def test_wrong_whole_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_off(ran: Ran) -> Ran:
        outputs = ran.outputs.copy()
        outputs[-1, -1] += 1
        return replace(ran, outputs=outputs)

    breaking(monkeypatch, one_off, "two", np.int32)
    assert wrong(loaded(two_layers())) == "two: the engine's int8 values are not those of onnxruntime"


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize("more", [-1, 1])
def test_wrong_cycles(monkeypatch: pytest.MonkeyPatch, more: int, dtype: type) -> None:
    breaking(monkeypatch, lambda ran: replace(ran, cycles=ran.cycles + more), "two", dtype)
    cycles = simulate(loaded(two_layers()), SimulateOptions()).layers[1]["cycles"]
    assert (
        wrong(loaded(two_layers()))
        == f"two: the engine took {cycles + more} cycles, the closed form {cycles}"
    )


def test_a_wrong_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    own = verify_module.schedule

    def one_more(*given):  # type: ignore[no-untyped-def]
        way = own(*given)
        return replace(way, cycles=replace(way.cycles, computing=way.cycles.computing + 1))

    monkeypatch.setattr(verify_module, "schedule", one_more)
    cycles = simulate(loaded(two_layers()), SimulateOptions()).layers[0]["cycles"]
    assert (
        wrong(loaded(two_layers())) == f"one: the engine took {cycles} cycles, the closed form {cycles + 1}"
    )


@pytest.mark.parametrize("dataflow", ["ws", "os", "is", "tight"])
@pytest.mark.parametrize("form", sorted({*FORMS} - {"empty layer"}))  # whose other layer reads zeros only
def test_a_wrong_weight_is_found_in_every_form(
    form: str, dataflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = verify_module._operands

    def broken(layer, node, value, weight):  # type: ignore[no-untyped-def]
        """The largest weight, half as large."""
        weight = weight.copy()
        at = np.abs(weight).argmax()
        weight.flat[at] = weight.flat[at] / 2
        return own(layer, node, value, weight)

    monkeypatch.setattr(verify_module, "_operands", broken)
    model = loaded(FORMS[form]())
    given = {} if dataflow == "tight" else {"array": ARRAY, "dataflow": dataflow}
    sentence = wrong(arranged(model) if dataflow == "tight" else model, **given)
    assert re.fullmatch(r"\w+: the engine's values are off by \S+ of the largest", sentence)


@pytest.mark.parametrize(
    ("form", "broken"),
    [
        *product(("cnn", "grouped", "depthwise", "matmul left", "MobileNet"), ("weight lost", "input")),
        *product(("cnn", "matmul left", "MobileNet"), ("filter",)),  # one that reads the same inputs
    ],
)
def test_a_wrong_packing_is_found(form: str, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = verify_module.run_packing

    def with_broken(packing, *rest):  # type: ignore[no-untyped-def]
        tile = packing.tiles[0]
        lane, column = (int(axis[0]) for axis in np.nonzero(tile.select != EMPTY))
        if broken == "weight lost":
            select = tile.select.copy()
            select[lane, column] = EMPTY
            tile = replace(tile, select=select)
        elif broken == "filter":
            tile = replace(tile, filters=np.roll(tile.filters, 1) if tile.columns > 1 else tile.filters + 1)
        else:
            size = packing.inputs
            inputs = tile.inputs.copy()
            inputs[0] = inputs[0] // size * size + (inputs[0] + 1) % size
            tile = replace(tile, inputs=inputs)
        return own(replace(packing, tiles=(tile, *packing.tiles[1:])), *rest)

    model = arranged(loaded(FORMS[form]()))
    monkeypatch.setattr(verify_module, "run_packing", with_broken)
    assert "the engine's values are off by" in wrong(model)


def test_a_tile_too_many_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = arranged(loaded(two_layers()))
    own = verify_module.run_packing

    def twice(packing, operands, *rest):  # type: ignore[no-untyped-def]
        # the same tile again, with no weight in it, costs cycles and changes no value
        last = packing.tiles[-1]
        blank = replace(last, select=np.full_like(last.select, EMPTY))
        return own(replace(packing, tiles=(*packing.tiles, blank)), operands, *rest)

    monkeypatch.setattr(verify_module, "run_packing", twice)
    cycles = simulate(model, SimulateOptions()).layers[0]["cycles"]
    pass_cycles = ARRAY.pass_cycles(2)
    assert wrong(model) == f"one: the engine took {cycles + pass_cycles} cycles, the closed form {cycles}"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (np.float32, "two: the engine's values are off by 0.5 of the largest"),
        (np.int32, "two: the engine's int8 values are not those of onnxruntime"),
    ],
)
def test_on_the_command_line_it_ends_with_one(
    kind: type,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models.save(two_layers(), tmp_path / "net.onnx")

    def half_more(ran: Ran) -> Ran:
        return replace(ran, outputs=ran.outputs + ran.outputs / 2)

    breaking(monkeypatch, half_more, "two", kind)
    assert run(["simulate", str(tmp_path / "net.onnx"), "--verify"]) == 1
    assert capsys.readouterr() == ("", f"tightc: error: {words}{OURS}\n")
    assert run(["simulate", str(tmp_path / "net.onnx")]) == 0


def test_wrong_cycles_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models.save(two_layers(), tmp_path / "net.onnx")
    breaking(monkeypatch, lambda ran: replace(ran, cycles=ran.cycles + 7), "one")
    assert run(["simulate", str(tmp_path / "net.onnx"), "--array", "8x4", "--verify", "--json"]) == 1
    cycles = simulate(loaded(two_layers()), SimulateOptions(array=ARRAY)).layers[0]["cycles"]
    words = f"one: the engine took {cycles + 7} cycles, the closed form {cycles}"
    assert capsys.readouterr() == ("", f"tightc: error: {words}{OURS}\n")


# --- inputs from a file


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    models.save(models.cnn(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def image(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape or (1, 3, 8, 8)).astype(dtype)


def errors_of(**options: object) -> list[float]:
    report = simulate(load_model("net.onnx"), SimulateOptions(array=ARRAY, **options))
    assert report.totals["verified_layers"] == 3
    return [row["value_error"] for row in report.layers]


def test_inputs_are_what_the_engine_gets(place: Path, seen: list[tuple[str, Ran]]) -> None:
    np.savez("in.npz", image=image())
    errors_of(inputs="in.npz")
    check_outputs(models.cnn(), {"image": image()}, seen)
    assert errors_of(inputs="in.npz") == errors_of(inputs="in.npz", verify=True) != errors_of(verify=True)


def test_inputs_of_another_dtype_and_more_arrays_than_needed(place: Path) -> None:
    np.savez("in.npz", image=image())
    np.savez_compressed("more.npz", image=image().astype(np.float64), label=np.zeros(3))
    assert errors_of(inputs="in.npz") == errors_of(inputs="more.npz")


def test_inputs_of_a_batch_need_the_flag(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("in.npz", image=image(2, 3, 8, 8))
    assert run(["simulate", "net.onnx", "--inputs", "in.npz", "--batch", "2", "-q"]) == 0
    assert capsys.readouterr() == ("", "")
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    assert capsys.readouterr() == (
        "",
        "tightc: error: in.npz: image is 2x3x8x8, the model takes 1x3x8x8; mend the array, or give --batch\n",
    )


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"picture": image()}, "in.npz: has no array for input image (it has picture); add image"),
        ({}, "in.npz: has no array for input image (it has nothing); add image"),
        (
            {"image": image(1, 3, 8, 9)},
            "in.npz: image is 1x3x8x9, the model takes 1x3x8x8; mend the array, or give --batch",
        ),
        (
            {"image": image(3, 8, 8)},
            "in.npz: image is 3x8x8, the model takes 1x3x8x8; mend the array, or give --batch",
        ),
        (
            {"image": np.full((1, 3, 8, 8), None)},
            "in.npz: cannot be read as .npz (Object arrays cannot be loaded when allow_pickle=False); "
            "write it with numpy.savez",
        ),
    ],
)
def test_arrays_that_do_not_fit(
    place: Path, capsys: pytest.CaptureFixture[str], arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez("in.npz", **arrays)
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    assert capsys.readouterr() == ("", f"tightc: error: {words}\n")


def npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, image())
    return stream.getvalue()


def npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image=image())
    return stream.getvalue()


def flipped() -> bytes:
    content = bytearray(npz())
    content[400] ^= 255
    return bytes(content)


def texts() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image=np.full((1, 3, 8, 8), "abc"))
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("image", "hello")
    return stream.getvalue()


FILES = {
    "a text": b"hello",
    "an .npy": npy(),
    "empty": b"",
    "half an .npz": npz()[:200],
    "a truncated .npz": npz()[:-50],
    "a flipped bit": flipped(),
    "an array of texts": texts(),
    "a zip of something else": zipped(),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_files_that_are_no_npz(place: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    Path("in.npz").write_bytes(content)
    assert run(["simulate", "net.onnx", "--inputs", "in.npz"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"tightc: error: in\.npz: [^\n]+; [^\n]+\n", err)


def test_a_file_that_is_not_there(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "net.onnx", "--inputs", "no.npz"]) == 2
    assert capsys.readouterr() == (
        "",
        "tightc: error: no.npz: cannot be read as .npz ([Errno 2] No such file or directory: 'no.npz'); "
        "write it with numpy.savez\n",
    )


def test_a_number_in_place_of_an_array(place: Path) -> None:
    np.savez("in.npz", image=np.float32(3))
    with pytest.raises(DataError) as caught:
        errors_of(inputs="in.npz")
    assert not caught.value.sentence.startswith("in.npz: image is ,")


def test_inputs_that_are_no_numbers(place: Path) -> None:
    np.savez("in.npz", image=np.full((1, 3, 8, 8), np.nan))
    with pytest.raises(DataError):
        errors_of(inputs="in.npz")
