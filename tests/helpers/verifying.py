"""Verified simulations, and onnxruntime as the reference of the engine."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from tightc.model.file import Model
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.pattern import Pattern
from tightc.permutation.permute import permute
from tightc.report import Report
from tightc.simulation.engine.run import EngineResult
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

QUICK = TemperatureSchedule(steps=5, moves_per_weight=30)
ARRAY = ArrayShape(8, 4)


def permuted(model: Model, method: str = "tight", array: ArrayShape = ARRAY, **changes: object) -> Model:
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
    """The report of a simulation with every layer verified."""
    report = simulate(model, SimulateOptions(verify=True, **options))
    assert report.totals["verified_layers"] == len(report.layers) == (layers or len(report.layers)) > 0
    assert report.totals["value_error"] == max(row["value_error"] for row in report.layers)
    for row in report.layers:
        # the engine does not know of DRAM
        assert row["engine_cycles"] == row["cycles"] - row["dram_stall_cycles"]
        assert 0 <= row["value_error"] <= 1e-4
    return report


def node_outputs(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of every node, by onnxruntime."""
    every = onnx.ModelProto()
    every.CopyFrom(proto)
    del every.graph.output[:]
    names = [name for node in every.graph.node for name in node.output if name]
    every.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(every.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(names, feeds), strict=True))


def check_outputs(
    proto: onnx.ModelProto, feeds: dict[str, np.ndarray], seen: list[tuple[str, EngineResult]]
) -> None:
    """Convolutions and Gemms (alpha and beta 1): sums and bias equal the node's output."""
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
        # int8: each operand is at most half a step from its float, so sums correlate
        if floats.outputs.any():
            assert np.corrcoef(floats.outputs.ravel(), integers.outputs.ravel())[0, 1] > 0.98
