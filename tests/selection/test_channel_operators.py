"""Filters before single operators: readers are cut where zeros stay zeros, and filters stay where they do not."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune

FILTERS = 8
RNG = np.random.default_rng(7)
CONSTANTS = {
    "scale": RNG.uniform(0.5, 2, FILTERS).astype(np.float32),
    "shift": RNG.normal(size=FILTERS).astype(np.float32),
    "slopes": RNG.normal(size=(FILTERS, 1, 1)).astype(np.float32),
    "condition": RNG.random((1, 1, 6, 6)) < 0.5,
    "zero": np.float32(0),
    "one": np.float32(1),
    "two": np.float32(2),
    "six": np.float32(6),
    "step": np.float32(0.1),
    "middle": np.uint8(100),
    "scales": np.array([1, 1, 1.5, 2], np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "fewer": np.array([0, -3, 0, 0, 0, -1, 0, 0]),
    "pixels": np.array([2, 3]),
    "last_two": np.array([-2, -1]),
    "twice": np.array([1, 2, 1, 1]),
    "wide": np.array([1, 1, 6, 6]),
    "eight": np.array([1, 8, 6, 6]),
    "backward": np.array([7, 6, 5, 4, 3, 2, 1, 0]),
    "from_5": np.array([5]),
    "to_all": np.array([2**40]),
    "channel_axis": np.array([1]),
    "axis_0": np.array([0]),
}

FOLLOWED = {
    "norm of pixels": "z = InstanceNormalization(a, scale, shift)",
    "norm with a tensor that is read four times": "z = BatchNormalization(a, scale, shift, scale, scale)",
    "norm with the tensor of another": """b = BatchNormalization(a, scale, shift, shift, scale)
        z = BatchNormalization(b, scale, shift, shift, scale)""",
    "neighbors": "z = LRN<size = 3>(a)",
    "bounds around zero": "z = Clip(a, zero, six)",
    "largest with zero": "z = Max(a, zero)",
    "smallest with six": "b = Abs(a)\n z = Min(b, six)",
    "choice": "b = Neg(a)\n z = Where(condition, a, b)",
    "choice with zero": "z = Where(condition, a, zero)",
    "power": "z = Pow(a, two)",
    "quotient": "z = Div(a, slopes)",
    "quantized": """q = QuantizeLinear(a, step, middle)
        z = DequantizeLinear(q, step, middle)""",
    "slopes": "z = PRelu(a, slopes)",
    "sigmoid-weighted": "b = Sigmoid(a)\n z = Mul(b, a)",
    "gelu of operators": "b = Erf(a)\n c = Add(b, one)\n d = Mul(a, c)\n z = Div(d, two)",
    "mish of operators": "b = Softplus(a)\n c = Tanh(b)\n z = Mul(a, c)",
    "hard swish of operators": "b = Add(a, two)\n c = Clip(b, zero, six)\n z = Mul(c, a)",
    "resized": 'z = Resize<mode = "linear">(a, , scales)',
    "padded pixels": "z = Pad(a, pads)",
    "mirrored": 'z = Pad<mode = "reflect">(a, pads)',
    "cropped channels": "z = Pad(a, fewer)",
    "repeated": "z = Tile(a, twice)",
    "pooled and expanded": "b = ReduceMean<keepdims = 1>(a, pixels)\n z = Expand(b, wide)",
    "pooled without axes": "b = ReduceMax<keepdims = 0>(a, last_two)\n c = Unsqueeze(b, pixels)\n z = Expand(c, eight)",
    "channels last": """b = Transpose<perm = [0, 2, 3, 1]>(a)
        c = Add(b, shift)
        z = Transpose<perm = [0, 3, 1, 2]>(c)""",
    "reversed": "z = Gather<axis = 1>(a, backward)",
    "last channels": "z = Slice(a, from_5, to_all, channel_axis)",
    "variadic sum": "b = Tanh(a)\n z = Sum(a, b, a)",
    "dropout": "z = Dropout(a)",
    "two equal parts": "b, c = Split<axis = 1, num_outputs = 2>(a)\n z = Concat<axis = 1>(c, b)",
    "uneven parts": "b, c, d = Split<axis = 1, num_outputs = 3>(a)\n z = Concat<axis = 1>(d, b, c)",
}

KEPT = {
    "Sigmoid": "z = Sigmoid(a)",
    "HardSigmoid": "z = HardSigmoid(a)",
    "Exp": "z = Exp(a)",
    "Softmax": "z = Softmax<axis = 1>(a)",
    "LayerNormalization": "b = Transpose<perm = [0, 2, 3, 1]>(a)\n [it] c = LayerNormalization(b, scale)\n"
    " z = Transpose<perm = [0, 3, 1, 2]>(c)",
    "Pad": "z = Pad(a, pads, one)",
    "Add": "z = Add(a, one)",
    "Clip": "z = Clip(a, one)",
    "Max": "z = Max(a, one)",
    "Div": "b = Abs(a)\n [it] z = Div(one, b)",
    "Reciprocal": "z = Reciprocal(a)",
    "CumSum": "z = CumSum(a, channel_axis)",
    "Pow": "z = Pow(a, zero)",
}


def network(fragment: str) -> onnx.ModelProto:
    """Two convolutions with a fragment between; the second reads as many channels as there are."""
    probe = models.build(
        f"net (float[1, 3, 6, 6] x) => (float[A, C, H, W] z) {{ {body(fragment)} }}", **used(fragment)
    )
    channels = run(probe)[0].shape[1]
    return models.build(
        f"net (float[1, 3, 6, 6] x) => (float[1, 4, H, W] y) {{ {body(fragment)}\n [last] y = Conv(z, v) }}",
        **used(fragment),
        v=np.random.default_rng(2).normal(size=(4, channels, 3, 3)).astype(np.float32),
    )


def body(fragment: str) -> str:
    return f"[first] a = Conv<pads = [1, 1, 1, 1]>(x, w, bias)\n {fragment}"


def used(fragment: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(FILTERS, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(size=FILTERS).astype(np.float32),
    }
    names = set(fragment.replace(",", " ").replace("(", " ").replace(")", " ").split())
    return {**weights, **{name: array for name, array in CONSTANTS.items() if name in names}}


def run(proto: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(3).normal(size=(1, 3, 6, 6)).astype(np.float32)
    return session.run(None, {"x": x})


def tensors(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def alive(weight: np.ndarray, axis: int = 0) -> np.ndarray:
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).any(axis=1)


def with_zeros(proto: onnx.ModelProto, stay: np.ndarray) -> onnx.ModelProto:
    """The network with channels of `a` and of every norm after it multiplied by zero, but those that `stay`."""
    forced = onnx.ModelProto.FromString(proto.SerializeToString())
    mask = stay.astype(np.float32).reshape(1, -1, 1, 1)
    forced.graph.initializer.extend(
        [numpy_helper.from_array(mask, "mask"), numpy_helper.from_array(mask.reshape(-1), "last_mask")]
    )
    nodes = list(forced.graph.node)
    del forced.graph.node[:]
    for node in nodes:
        name, place = node.output[0], ""
        if node.op_type in ("Conv", "BatchNormalization", "InstanceNormalization") and name != "y":
            place = "mask"
        elif "shift" in node.input:
            place = "last_mask"
        if place:
            node.output[0] = f"{name}_raw"
        forced.graph.node.append(node)
        if place:
            forced.graph.node.append(onnx.helper.make_node("Mul", [f"{name}_raw", place], [name]))
    return forced


@pytest.mark.parametrize("name", FOLLOWED)
def test_readers_are_cut_and_outputs_are_those_of_zero_channels(name: str) -> None:
    proto = network(FOLLOWED[name])
    pruned, report = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    found = tensors(pruned.proto)
    stay = alive(found["w"])
    assert 2 <= stay.sum() < FILTERS
    assert not report.notes
    (ours,), (theirs,) = run(pruned.proto), run(with_zeros(proto, stay))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    read = alive(found["v"], axis=1)
    assert read.sum() == round(read.size * stay.sum() / FILTERS) or name in (
        "last channels",
        "cropped channels",
    )
    assert report.totals["density"] <= 0.5


@pytest.mark.parametrize("name", KEPT)
def test_filters_stay_before_what_cannot_be_followed(name: str) -> None:
    proto = network(KEPT[name])
    pruned, report = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    assert all(np.array_equal(array, tensors(pruned.proto)[key]) for key, array in tensors(proto).items())
    label = next(node.name or node.output[0] for node in proto.graph.node if node.op_type == name)
    assert report.notes == (
        f"first: filters stay, since their channels cannot be followed through {name} {label}",
        "expected a density of 0.5, got 1: the other filters stay, since they reach an output or are the last of their "
        "layers; prune single weights too, or expect less",
    )


def test_a_bias_behind_identity_or_dequantization_is_set_to_zero() -> None:
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 2, 2] y) {
            b = DequantizeLinear(bias, step)
            c = Identity(shift)
            [first] a = Conv(x, w, b)
            d = BatchNormalization(a, scale, c, zeros, scale)
            [last] y = Conv(d, v)
        }""",
        bias=np.arange(1, 9, dtype=np.int32), step=np.float32(0.1), shift=CONSTANTS["shift"], scale=CONSTANTS["scale"],
        zeros=np.zeros(8, np.float32), w=RNG.normal(size=(8, 3, 3, 3)).astype(np.float32),
        v=RNG.normal(size=(4, 8, 3, 3)).astype(np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    found = tensors(pruned.proto)
    stay = alive(found["w"])
    assert 2 <= stay.sum() <= 4 and np.array_equal(alive(found["v"], axis=1), stay)
    assert np.array_equal(found["bias"], np.where(stay, np.arange(1, 9), 0))
    assert np.array_equal(found["shift"], np.where(stay, CONSTANTS["shift"], 0))


def test_a_copied_tensor_leaves_its_other_readers_as_they_were() -> None:
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 2, 2] y, float[8] z) {
            [first] a = Conv(x, w, shift)
            [last] y = Conv(a, v)
            z = Identity(shift)
        }""",
        shift=CONSTANTS["shift"], w=RNG.normal(size=(8, 3, 3, 3)).astype(np.float32),
        v=RNG.normal(size=(4, 8, 3, 3)).astype(np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    found = tensors(pruned.proto)
    stay = alive(found["w"])
    assert np.array_equal(found["shift"], CONSTANTS["shift"])
    (node,) = [node for node in pruned.proto.graph.node if node.name == "first"]
    assert node.input[2] == "shift.a"
    assert np.array_equal(found["shift.a"], np.where(stay, CONSTANTS["shift"], 0))


@pytest.mark.parametrize("size", ["6, 6", "H, W"])
def test_a_shuffle_with_computed_shapes_is_followed_whatever_the_size(size: str) -> None:
    proto = models.build(
        f"""net (float[N, 3, {size}] x) => (float[N, 4, K, L] y) {{
            [first] a = Conv<pads = [1, 1, 1, 1]>(x, w)
            shape = Shape(a)
            batch = Slice(shape, zero, one)
            channels = Slice(shape, one, two)
            half = Div(channels, two)
            pixels = Slice(shape, two, four)
            split_shape = Concat<axis = 0>(batch, two, half, pixels)
            b = Reshape(a, split_shape)
            c = Transpose<perm = [0, 2, 1, 3, 4]>(b)
            d = Reshape(c, shape)
            e = Slice(d, zero, half, one)
            f = Slice(d, half, channels, one)
            g = Concat<axis = 1>(f, e, f)
            [last] y = Conv(g, v)
        }}""",
        zero=np.array([0]), one=np.array([1]), two=np.array([2]), four=np.array([4]),
        w=RNG.normal(size=(8, 3, 3, 3)).astype(np.float32), v=RNG.normal(size=(4, 12, 3, 3)).astype(np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    found = tensors(pruned.proto)
    stay = alive(found["w"])
    shuffled = np.arange(8).reshape(2, 4).T.ravel()
    order = np.concatenate([shuffled[4:], shuffled[:4], shuffled[4:]])
    assert 2 <= stay.sum() < 8 and np.array_equal(alive(found["v"], axis=1), stay[order])


def test_layers_that_share_a_weight_lose_filters_together_and_inputs_that_both_read_as_zeros() -> None:
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 4, 6, 6] y) {
            [first] a = Conv(x, w)
            [left] b = Conv(a, h)
            c = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [1, 1]>(a)
            [right] d = Conv(c, h)
            e = Concat<axis = 1>(b, d)
            [last] y = Conv(e, v)
        }""",
        w=RNG.normal(size=(8, 3, 1, 1)).astype(np.float32), h=RNG.normal(size=(6, 8, 1, 1)).astype(np.float32),
        v=RNG.normal(size=(4, 12, 1, 1)).astype(np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.6, "granularity": "filter"}))
    found = tensors(pruned.proto)
    stay, shared = alive(found["w"]), alive(found["h"])
    assert 2 <= stay.sum() < 8 and np.array_equal(alive(found["h"], axis=1), stay)
    assert 1 <= shared.sum() < 6 and np.array_equal(alive(found["v"], axis=1), np.tile(shared, 2))


@pytest.mark.parametrize("sparsity", [0.9, 0.99])
def test_no_layer_falls_to_a_single_filter(sparsity: float) -> None:
    """The last layer is large and keeps its filters, so the others pay for it, up to a point."""
    proto = models.build(
        """net (float[1, 3, 6, 6] x) => (float[1, 64, 6, 6] y) {
            [first] a = Conv(x, w)
            [middle] b = Conv(a, u)
            [last] y = Conv(b, v)
        }""",
        w=np.ones((16, 3, 1, 1), np.float32), u=np.ones((16, 16, 1, 1), np.float32),
        v=RNG.normal(size=(64, 16, 1, 1)).astype(np.float32),
    )  # fmt: skip
    pruned, report = prune(loaded(proto), PruneOptions.of({"sparsity": sparsity, "granularity": "filter"}))
    found = tensors(pruned.proto)
    assert [int(alive(found[name]).sum()) for name in "wu"] == [2, 2]
    assert report.notes[-1].startswith(f"expected a density of {1 - sparsity:.3g}, got ")


def test_equal_filters_go_from_all_layers_and_groups_alike() -> None:
    proto = models.build(
        """net (float[1, 8, 6, 6] x) => (float[1, 4, 6, 6] y) {
            [first] a = Conv<group = 2>(x, w)
            [middle] b = Conv<group = 4>(a, u)
            [last] y = Conv(b, v)
        }""",
        w=np.ones((32, 4, 1, 1), np.float32), u=np.ones((32, 8, 1, 1), np.float32),
        v=np.ones((4, 32, 1, 1), np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.6, "granularity": "filter"}))
    found = tensors(pruned.proto)
    first, middle = alive(found["w"]), alive(found["u"])
    assert abs(int(first.sum()) - int(middle.sum())) <= 2 and first.sum() < 30
    assert np.ptp(first.reshape(4, 8).sum(axis=1)) <= 2 and np.ptp(middle.reshape(4, 8).sum(axis=1)) <= 2


def test_a_weight_that_another_node_reads_keeps_its_filters() -> None:
    proto = models.build(
        """net (float[1, 8, 6, 6] x) => (float[1, 4, 6, 6] y) {
            [first] a = Conv(x, w)
            d = Concat<axis = 1>(x, x)
            [second] b = Conv<group = 2>(d, w)
            c = Add(a, b)
            [last] y = Conv(c, v)
        }""",
        w=RNG.normal(size=(8, 8, 1, 1)).astype(np.float32), v=RNG.normal(size=(4, 8, 1, 1)).astype(np.float32),
    )  # fmt: skip
    pruned, report = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    assert all(np.array_equal(array, tensors(pruned.proto)[key]) for key, array in tensors(proto).items())
    assert report.notes[0] == (
        "first: filters stay, since their channels cannot be followed through the other readers of its weight"
    )


def test_a_model_with_an_empty_batch_is_followed_without_shapes() -> None:
    proto = models.build(
        """net (float[0, 3, 6, 6] x) => (float[0, 4, 6, 6] y) {
            [first] a = Conv(x, w)
            b = Relu(a)
            [last] y = Conv(b, v)
        }""",
        w=RNG.normal(size=(8, 3, 1, 1)).astype(np.float32), v=RNG.normal(size=(4, 8, 1, 1)).astype(np.float32),
    )  # fmt: skip
    pruned, _ = prune(loaded(proto), PruneOptions.of({"sparsity": 0.5, "granularity": "filter"}))
    found = tensors(pruned.proto)
    assert np.array_equal(alive(found["w"]), alive(found["v"], axis=1)) and alive(found["w"]).sum() == 4
