"""Verify on the real network: engine and closed form to the cycle, engine and onnxruntime in every layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import models
from helpers.verifying import check_outputs, permuted, verified
from tightc.model.file import Model, load_model
from tightc.packing.pack import pack
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.simulation.engine.run import EngineResult
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

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
    model = permuted(pruned, "column-combine", array, alpha=8, gamma=gamma, fan_in=8)
    assert verified(model, 20).totals["speedup"] > 1.5


@pytest.mark.parametrize("array", ARRAYS, ids=str)
@pytest.mark.parametrize("fan_in", [4, 8, 16])
def test_the_tight_resnet20(pruned: Model, array: ArrayShape, fan_in: int) -> None:
    model = permuted(pruned, "tight", array, fan_in=fan_in)
    report = verified(pack(model)[0], 20)
    assert report.totals["speedup"] > 2 and 1 < report.totals["fan_in_max"] <= fan_in


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_the_tight_resnet20_on_three_arrays(pruned: Model, array: ArrayShape) -> None:
    model = permuted(pruned, "tight", array, fan_in=8, objective="replicated-cycles")
    one = verified(model, 20, replicate_tiles=True).totals["cycles"]
    assert one < verified(model, 20).totals["cycles"]
    assert verified(model, 20, arrays=3, prefetch_weights=True, replicate_tiles=True).totals["cycles"] < one


@pytest.mark.parametrize("tight", [False, True])
def test_the_engines_outputs_of_the_resnet20(
    whole: Model, pruned: Model, tight: bool, seen: list[tuple[str, EngineResult]], tmp_path: Path
) -> None:
    model = permuted(pruned, "tight", ArrayShape(32, 32), fan_in=8) if tight else whole
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
