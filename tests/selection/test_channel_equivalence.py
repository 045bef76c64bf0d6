"""Pruned filters against the same channels forced to zero by onnxruntime, on random networks."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from helpers.channel_networks import PIXELS, random_network
from helpers.loading import loaded
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune


def constants(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def weights(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Of each layer, filters first."""
    found = constants(proto)
    return {
        node.input[1]: filters_first(found[node.input[1]], node)
        for node in proto.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")
    }


def filters_first(weight: np.ndarray, node: onnx.NodeProto) -> np.ndarray:
    if node.op_type == "ConvTranspose":
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        inputs, each, *kernel = weight.shape
        by_group = weight.reshape(groups, inputs // groups, each, *kernel)
        return by_group.swapaxes(1, 2).reshape(groups * each, inputs // groups, *kernel)
    return weight.T if node.op_type == "MatMul" else weight


def images() -> dict[str, np.ndarray]:
    return {"image": np.random.default_rng(0).normal(size=(2, 3, PIXELS, PIXELS)).astype(np.float32)}


def run(proto: onnx.ModelProto, names: list[str] | None = None) -> list[np.ndarray]:
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    if names is not None:
        del proto.graph.output[:]
        proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, images())


def dead_filters(before: onnx.ModelProto, after: onnx.ModelProto) -> dict[str, np.ndarray]:
    old = weights(before)
    return {
        name: old[name].reshape(len(weight), -1).any(axis=1) & ~weight.reshape(len(weight), -1).any(axis=1)
        for name, weight in weights(after).items()
    }


def with_channels_forced_to_zero(
    proto: onnx.ModelProto, values: dict[str, str], dead: dict[str, np.ndarray]
) -> onnx.ModelProto:
    """The network with the `dead` channels of `values`, by weight, multiplied by zero."""
    forced = onnx.ModelProto.FromString(proto.SerializeToString())
    masks = {value: dead[weight] for weight, value in values.items() if weight in dead}
    nodes = list(forced.graph.node)
    del forced.graph.node[:]
    for node in nodes:
        own = next((name for name in node.output if name in masks), None)
        if own is None:
            forced.graph.node.append(node)
            continue
        node.output[0] = f"{own}_raw"
        alive = (~masks[own]).astype(np.float32)
        shape = (1, -1) if node.op_type == "Gemm" else (1, -1, 1, 1)
        forced.graph.initializer.append(numpy_helper.from_array(alive.reshape(shape), f"{own}_mask"))
        forced.graph.node.extend([node, helper.make_node("Mul", [f"{own}_raw", f"{own}_mask"], [own])])
    return forced


NETWORKS = st.integers(0, 10**6).map(random_network)


@settings(max_examples=60, deadline=None)
@given(NETWORKS, st.sampled_from([0.2, 0.4, 0.6, 0.8]), st.sampled_from(["global", "layer"]))
def test_outputs_are_those_with_the_channels_forced_to_zero(
    network: tuple[onnx.ModelProto, dict[str, str]], sparsity: float, scope: str
) -> None:
    proto, values = network
    options = PruneOptions.of({"sparsity": sparsity, "granularity": "filter", "scope": scope})
    pruned, _ = prune(loaded(proto), options)
    dead = dead_filters(proto, pruned.proto)
    wanted = run(with_channels_forced_to_zero(proto, values, dead))
    for ours, theirs in zip(run(pruned.proto), wanted, strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(theirs).max())))
    assert all(weight.any() for weight in weights(pruned.proto).values()), "a layer was emptied"


@settings(max_examples=60, deadline=None)
@given(NETWORKS, st.sampled_from([0.3, 0.6]))
def test_every_input_that_reads_a_channel_of_zeros_is_removed(
    network: tuple[onnx.ModelProto, dict[str, str]], sparsity: float
) -> None:
    proto, _ = network
    options = PruneOptions.of({"sparsity": sparsity, "granularity": "filter"})
    pruned, _ = prune(loaded(proto), options)
    before, after = weights(proto), weights(pruned.proto)
    readers = {
        node.input[1]: node for node in pruned.proto.graph.node if node.input[1:2] and node.input[1] in after
    }
    names = [node.input[0] for node in readers.values()]
    old, new = run(proto, names), run(pruned.proto, names)
    for (weight, node), dense, sparse in zip(readers.items(), old, new, strict=True):
        axes = tuple(axis for axis in range(dense.ndim) if axis != 1)
        zero = ~sparse.any(axis=axes) & dense.any(axis=axes)
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        matrix = after[weight].reshape(groups, -1, *after[weight].shape[1:])
        for channel in np.flatnonzero(zero):
            group, place = divmod(int(channel), matrix.shape[2])
            assert not matrix[group, :, place].any(), f"{weight} reads the zeros of channel {channel}"
        removed = (before[weight] != 0) & (after[weight] == 0)
        assert np.array_equal(np.where(removed, 0, before[weight]), after[weight]), (
            "the others keep their weights"
        )
