"""All stages on a small model, each reading the bytes of the one before; stock onnxruntime computes the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.model.file import Model, load_model_bytes
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

ARRAY = ArrayShape(8, 8)
SMALL = PermuteOptions(
    array=ARRAY,
    fan_in=4,
    temp_schedule=TemperatureSchedule(steps=3, moves_per_weight=5),
    jobs=1,
    method="first-fit",
)
Feeds = Mapping[str, Any]


@dataclass(frozen=True)
class Chain:
    """The model of each stage, and the reports of prune and simulate."""

    pruned: Model
    permuted: Model
    packed: Model
    unpacked: Model
    pruning: Report
    simulation: Report | None


def again(model: Model) -> Model:
    """`model` as the next command reads it."""
    return load_model_bytes(model.to_bytes(), model.origin)


def through(
    proto: onnx.ModelProto, method: str = "first-fit", *, strip: bool = False, simulated: bool = True
) -> Chain:
    """Run prune, permute, pack, unpack and, if `simulated`, simulate on a model."""
    pruned, pruning = prune(loaded(proto), PruneOptions(sparsity=0.5))
    permuted = again(permute(again(pruned), SMALL.model_copy(update={"method": method}))[0])
    packed = again(pack(permuted, PackOptions(strip=strip))[0])
    unpacked = again(unpack(packed)[0])
    simulation = simulate(packed, SimulateOptions(array=ARRAY)) if simulated else None
    return Chain(pruned, permuted, packed, unpacked, pruning, simulation)


def packed_model(proto: onnx.ModelProto, *, strip: bool = False) -> Model:
    return again(pack(permute(loaded(proto), SMALL)[0], PackOptions(strip=strip))[0])


def outputs(content: bytes, feeds: Feeds) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, dict(feeds))]


def assert_same_outputs(chain: Chain, feeds: Feeds) -> None:
    """Every model of the chain has the outputs of the pruned model, bit by bit."""
    want = outputs(chain.pruned.to_bytes(), feeds)
    assert all(np.abs(value).max() > 0 for value in want)
    for model in (chain.permuted, chain.packed, chain.unpacked):
        for one, other in zip(want, outputs(model.to_bytes(), feeds), strict=True):
            np.testing.assert_array_equal(one, other)


def assert_sound(chain: Chain, feeds: Feeds | None = None) -> None:
    """All outputs are equal, the packed file is valid, and unpacked tensors equal the pruned ones bit by bit."""
    onnx.checker.check_model(onnx.load_from_string(chain.packed.to_bytes()), full_check=True)
    before, after = constants(chain.pruned.proto), constants(chain.unpacked.proto)
    assert set(before) == set(after)
    for name, weight in before.items():
        other = after[name]
        assert (other.dtype, other.shape) == (weight.dtype, weight.shape)
        if weight.dtype != object:
            assert unsigned(other) == unsigned(weight), name
    assert_same_outputs(chain, models.feeds(chain.pruned.proto) if feeds is None else feeds)


def unsigned(weight: np.ndarray) -> bytes:
    """The bytes of an array with all its zeros positive."""
    return np.where(weight == 0, np.zeros_like(weight), weight).tobytes()


def constants(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """All constants by name, from initializers and Constant nodes."""
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


def stored(proto: onnx.ModelProto, key: str = "values") -> list[str]:
    """The weights with a packed tensor `key` in a packed file."""
    suffix = f".{key}"
    return [name.removesuffix(suffix) for name in constants(proto) if name.endswith(suffix)]
