"""The functions that rebuild packed weights, run by onnxruntime without optimization, against the weights."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from helpers import models
from helpers.chains import outputs
from helpers.loading import loaded
from helpers.products import chain_of
from tightc.errors import ModelError
from tightc.model.file import Model
from tightc.model.file_format import functions
from tightc.model.file_format.functions import PackedWeight, needs_int64
from tightc.model.file_format.rebuild import WeightLayout
from tightc.model.onnx_proto.stored_tensors import tensor_values
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.tile.array import ArrayShape
from tightc.tile.store import BitStream

QUICK = PermuteOptions(
    array=ArrayShape(8, 4),
    fan_in=3,
    method="first-fit",
    temp_schedule=TemperatureSchedule(moves_per_weight=0),
    jobs=1,
)
OPSETS = (13, 18, models.newest_opset())


def rebuilt(model: Model) -> dict[str, NDArray[Any]]:
    """What the nodes of the domain `tightc` compute, without any optimization by onnxruntime."""
    nodes = [node for node in model.proto.graph.node if node.domain == "tightc"]
    names = [name for node in nodes for name in node.output]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "weights",
        [],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [tensor for tensor in model.proto.graph.initializer if tensor.name in read],
    )
    alone = helper.make_model(
        graph,
        functions=model.proto.functions,
        opset_imports=model.proto.opset_import,
        ir_version=model.proto.ir_version,
    )
    return dict(zip(names, outputs(alone.SerializeToString(), {}), strict=True))


def shapes(sizes: Sequence[int], density: float, seed: int) -> list[NDArray[Any]]:
    return [
        models.sparse(before, after, density=density, seed=seed + i)
        for i, (before, after) in enumerate(pairwise(sizes))
    ]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=6),
    density=st.sampled_from([0.02, 0.3, 0.9, 1.0]),
    array=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    fan_in=st.sampled_from([1, 2, 3, 16, 70]),
    method=st.sampled_from(["first-fit", "dense", "structured"]),
    opset=st.sampled_from(OPSETS),
    wide=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_weights_come_back_to_the_bit(
    sizes: list[int],
    density: float,
    array: tuple[int, int],
    fan_in: int,
    method: str,
    opset: int,
    wide: bool,
    seed: int,
) -> None:
    weights = shapes(sizes, density, seed)
    options = {"array": ArrayShape(*array), "fan_in": fan_in, "method": method}
    source, _ = permute(loaded(chain_of(weights, opset)), QUICK.model_copy(update=options))
    with pytest.MonkeyPatch.context() as patch:
        if wide:
            patch.setattr(functions, "needs_int64", lambda _: True)
        packed, _ = pack(source, PackOptions(strip=False))
    onnx.checker.check_model(packed.proto, full_check=True)
    found = rebuilt(packed)
    assert found.keys() == {f"w{i}" for i in range(len(weights))}
    for i, weight in enumerate(weights):
        assert found[f"w{i}"].dtype == weight.dtype
        np.testing.assert_array_equal(found[f"w{i}"], weight)


@pytest.mark.parametrize("wide", [False, True], ids=["int32", "int64"])
@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("opset", OPSETS)
def test_subwords_come_back_to_the_bit(
    opset: int, bits: int, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = models.cnn(opset, models.ir_for(opset))
    whole, _ = quantize(loaded(proto), QuantizeOptions())
    pruned, _ = prune(whole, PruneOptions(sparsity=0.5, granularity="subword", subword_bits=bits))
    source, _ = permute(pruned, QUICK.model_copy(update={"subword_bits": bits}))
    if wide:
        monkeypatch.setattr(functions, "needs_int64", lambda _: True)
    found = rebuilt(pack(source)[0])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.proto.graph.initializer}
    assert len(found) == 3
    for name, weight in found.items():
        assert weight.dtype == np.int8
        np.testing.assert_array_equal(weight, weights[name])


@pytest.mark.parametrize("strip", [False, True], ids=["", "strip"])
def test_weights_of_several_types_are_rebuilt_by_a_node_for_each(strip: bool) -> None:
    dtypes = ("float32", "float16", "float32", "float64", "float16")
    weights = [models.sparse(6, 6, seed=i, dtype=dtype) for i, dtype in enumerate(dtypes)]
    source, _ = permute(loaded(chain_of(weights)), QUICK)
    packed, _ = pack(source, PackOptions(strip=strip))
    onnx.checker.check_model(packed.proto, full_check=True)
    nodes = [node for node in packed.proto.graph.node if node.domain == "tightc"]
    assert [node.op_type for node in nodes] == ["RebuildFloat32", "RebuildFloat16", "RebuildFloat64"]
    assert [len(node.output) for node in nodes] == [2, 2, 1]
    feeds = {"x": np.ones((2, 6), np.float32)}
    (one,), (other,) = (outputs(model.to_bytes(), feeds) for model in (source, packed))
    assert np.abs(one).max() > 0
    np.testing.assert_array_equal(one, other)
    (back,) = outputs(unpack(packed)[0].to_bytes(), feeds)
    np.testing.assert_array_equal(one, back)


def test_layouts_of_both_types_are_read() -> None:
    wide = np.zeros((70_000, 3), np.float32)
    wide[[0, 40_000, 69_999], [0, 1, 2]] = 1, 2, 3
    weights = [models.sparse(2, 70_000, density=0.001), wide, models.sparse(3, 5, density=0.5)]
    source, _ = permute(loaded(chain_of(weights)), QUICK)
    packed, _ = pack(source)
    layouts = {
        tensor.name: tensor.data_type
        for tensor in packed.proto.graph.initializer
        if tensor.name.endswith(".layout")
    }
    assert set(layouts.values()) == {onnx.TensorProto.UINT16, onnx.TensorProto.INT32}
    assert list(packed.proto.graph.node[0].output) == ["w2", "w0", "w1"]
    for name, weight in rebuilt(packed).items():
        np.testing.assert_array_equal(weight, weights[int(name[1:])])


def test_input_numbers_that_four_bytes_may_hold_are_read() -> None:
    weight = np.zeros((140_000, 2), np.float32)
    places = np.arange(5, 140_000, 1_234)
    weight[places, places % 2] = places
    packed, _ = pack(permute(loaded(chain_of([weight, models.sparse(2, 3)])), QUICK)[0])
    numbers = tensor_values(
        next(tensor for tensor in packed.proto.graph.initializer if tensor.name == "w0.layout")
    )
    assert numbers.tolist()[6:21][3 * 3 + 2] == 18  # width of the input numbers
    np.testing.assert_array_equal(rebuilt(packed)["w0"], weight)


def test_a_layer_more_adds_one_node() -> None:
    counts = []
    for layers in (3, 4, 9):
        packed, _ = pack(permute(loaded(chain_of(shapes([6] * (layers + 1), 0.5, 0))), QUICK)[0])
        assert len(packed.proto.graph.node) == 1 + 2 * layers
        counts.append(sum(len(function.node) for function in packed.proto.functions))
    assert counts[1] - counts[0] == 1 and counts[2] - counts[0] == 6


def test_onnxruntime_folds_the_weights_of_many_layers(tmp_path) -> None:
    weights = shapes([6] * 41, 0.4, 0)
    packed, _ = pack(permute(loaded(chain_of(weights)), QUICK)[0])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(packed.to_bytes(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    assert [node.op_type for node in optimized.graph.node] == ["MatMul"] * 40
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in optimized.graph.initializer}
    for i, node in enumerate(optimized.graph.node):
        np.testing.assert_array_equal(found[node.input[1]], weights[i])


def test_a_rebuilt_weight_that_another_tool_renamed_is_refused() -> None:
    packed, _ = pack(permute(loaded(chain_of(shapes([6, 6, 6], 0.5, 0))), QUICK)[0])
    proto = packed.copy_proto()
    for node in proto.graph.node:
        node.input[:] = ["other" if name == "w1" else name for name in node.input]
        node.output[:] = ["other" if name == "w1" else name for name in node.output]
    with pytest.raises(ModelError, match=r"the packing of other is not recorded: .*; run tightc pack again"):
        unpack(packed.with_proto(proto))


def weight_of(
    grid: tuple[int, int, int] = (1, 1, 1), count: int = 1, width: int = 1, rows: int = 1
) -> PackedWeight:
    stream = BitStream(np.zeros(1, np.uint8), grid, ((0, count, width),))
    return PackedWeight(WeightLayout(1, 1, 1, (rows, 2**10)), stream, int32_layout=False)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([weight_of(width=17)] * 3, False),
        ([weight_of(), weight_of(width=18)], True),
        ([weight_of(rows=2**20)], False),
        ([weight_of(rows=2**20)] * 2, True),
        ([weight_of(grid=(2**13, 2**7, 2**6))], False),
        ([weight_of(grid=(2**13, 2**7, 2**6))] * 2, True),
        ([weight_of(count=2**26)], False),
        ([weight_of(count=2**26)] * 2, True),
    ],
)
def test_positions_beyond_int32_need_int64(weights: list[PackedWeight], expected: bool) -> None:
    assert needs_int64(weights) is expected


@pytest.mark.parametrize("more", [0, 1])
def test_the_largest_int32_numbers_elements_still(more: int) -> None:
    """One element more than the weights have takes what empty slots write."""
    stream = BitStream(np.zeros(1, np.uint8), (1, 1, 1), ((0, 1, 1),))
    layout = WeightLayout(1, 1, 1, (2**31 - 2 + more,))
    assert needs_int64([PackedWeight(layout, stream, int32_layout=True)]) is bool(more)


@pytest.mark.parametrize(("slots", "expected"), [(6, False), (7, True)])
def test_the_largest_int32_numbers_bits_still(slots: int, expected: bool) -> None:
    """8 bits for each byte, 64 of padding, and one for each slot, which may be beyond the streams."""
    content = np.broadcast_to(np.zeros(1, np.uint8), (268_435_447,))
    assert 8 * len(content) + 64 + slots == 2**31 - 2 + expected
    stream = BitStream(content, (1, 1, slots), ((0, 1, 1),))
    assert needs_int64([PackedWeight(WeightLayout(1, 1, 1, (1, 1)), stream, False)]) is expected
