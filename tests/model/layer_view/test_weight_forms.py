"""Layers of the less common operators: as matrices, through all stages, on the cycle engine, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from helpers import models
from helpers.chains import ARRAY, SMALL, assert_sound, stored, through
from helpers.loading import loaded
from helpers.weight_forms import WEIGHT_FORMS, blocks, dequantized, several_zeros
from tightc.errors import ModelError
from tightc.model.layer_view.layers import read_network
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_every_stage_keeps_the_outputs(form: str) -> None:
    proto = WEIGHT_FORMS[form]()
    chain = through(proto)
    assert 0.45 < chain.pruning.totals["density"] <= 0.55
    assert len(stored(chain.packed.proto)) == 1, "it is packed"
    feeds = {
        name: np.random.default_rng(3).normal(size=array.shape).astype(array.dtype)
        for name, array in models.feeds(proto).items()
    }
    assert_sound(chain, feeds)
    verified = simulate(chain.packed, SimulateOptions(array=ARRAY, verify=True))
    assert verified.totals["verified_layers"] == 1


HAVE_ZERO_POINTS = [
    form for form in WEIGHT_FORMS if any(word in form for word in ("asymmetric", "uint8", "zero point"))
]


@pytest.mark.parametrize("form", HAVE_ZERO_POINTS)
def test_pruning_writes_the_zero_point(form: str) -> None:
    proto = WEIGHT_FORMS[form]()
    before, after = loaded(proto), through(proto).pruned
    old, new = (
        next(t for t in model.proto.graph.initializer if t.name in ("w", "q")) for model in (before, after)
    )
    zeros = next(t for t in before.proto.graph.initializer if t.name in ("wz", "z"))
    values, pruned = numpy_helper.to_array(old), numpy_helper.to_array(new)
    changed = values != pruned
    assert changed.any() and pruned.dtype == values.dtype
    assert (old.ByteSize(), old.data_type) == (new.ByteSize(), new.data_type), "nibbles stay packed"
    expected = each_zero(proto, numpy_helper.to_array(zeros), values.shape)
    assert (pruned[changed] == expected[changed]).all()


def each_zero(proto: onnx.ModelProto, zeros: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The zero point of each element of a weight, one by one."""
    node = next(
        (node for node in proto.graph.node if node.op_type == "DequantizeLinear"), proto.graph.node[0]
    )
    settings = {entry.name: entry.i for entry in node.attribute}
    found = np.empty(shape, zeros.dtype)
    for place in np.ndindex(*shape):
        if zeros.size == 1 or "axis" not in settings:
            found[place] = zeros.reshape(-1)[0]
        elif "block_size" in settings:
            block = [*place]
            block[settings["axis"]] //= settings["block_size"]
            found[place] = zeros[tuple(block)]
        else:
            found[place] = zeros[place[settings["axis"]]]
    return found


@pytest.mark.parametrize("seed", range(25))
def test_transposed_convolutions_of_all_kinds(seed: int) -> None:
    """Random strides, dilations, pads and output shapes, as onnxruntime computes them."""
    rng = np.random.default_rng(seed)
    draw = lambda low, high: rng.integers(low, high, 2).tolist()  # noqa: E731
    strides, dilations, kernel, size = draw(1, 4), draw(1, 3), draw(1, 4), draw(2, 6)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    full = [(s - 1) * t + r for s, t, r in zip(size, strides, reach, strict=True)]
    kind = rng.integers(4)
    settings = f", strides = {strides}, dilations = {dilations}"
    if kind == 0:
        pads = [int(rng.integers(0, max(1, f // 3 + 1))) for f in (*full, *full)]
        settings += f", pads = {pads}"
    elif kind == 1:
        settings += f', auto_pad = "{rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])}"'
    elif kind == 2:
        settings += f", output_shape = {[max(s, f - int(rng.integers(0, 3))) for s, f in zip(size, full, strict=True)]}"
    else:
        settings += f", output_padding = {[int(rng.integers(0, t)) for t in strides]}"
    proto = models.build(
        f"net (float[1, 2, {size[0]}, {size[1]}] x) => (float[1, 4, H, W] y) "
        f"{{ [up] y = ConvTranspose<group = 2{settings}>(x, w) }}",
        w=models.sparse(2, 2, *kernel, density=0.9, seed=seed),
    )
    try:
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, models.feeds(proto))
    except Exception:  # noqa: BLE001
        pytest.skip("onnxruntime refuses these settings")
    report = simulate(loaded(proto), SimulateOptions(array=ARRAY, verify=True))
    assert report.totals["value_error"] < 1e-5


@pytest.mark.parametrize("alike", [True, False])
def test_integer_operators_share_a_weight_if_they_read_it_alike(alike: bool) -> None:
    proto = models.build(
        """net (float[2, 6] x) => (float[2, 6] y) {
            q = QuantizeLinear(x, s, z)
            [one] a = QLinearMatMul(q, s, z, w, ws, wz, s, z)
            [two] b = QLinearMatMul(a, s, z, w, vs, wz, s, z)
            y = DequantizeLinear(b, s, z)
        }""",
        w=np.random.default_rng(0).integers(-90, 90, (6, 6)).astype(np.int8),
        ws=np.float32(0.01), vs=np.float32(0.01 if alike else 0.03), wz=np.int8(0), s=np.float32(0.05),
        z=np.array(128, np.uint8),
    )  # fmt: skip
    network = read_network(loaded(proto))
    assert [layer.name for layer in network.layers] == (["one", "two"] if alike else ["one"])
    reasons = [entry.reason for entry in network.uncovered]
    assert reasons == (
        [] if alike else ["its weight w has other scales or another zero point in an earlier layer"]
    )
    assert_sound(through(proto))
    simulate(loaded(proto), SimulateOptions(array=ARRAY, verify=True))


@pytest.mark.parametrize(
    ("proto", "got"),
    [
        (dequantized("uint8", 120), "uint8, the zero point 120"),
        (dequantized("int4", 0), "int4, the zero point 0"),
        (several_zeros("int8"), "int8, several zero points"),
        (blocks("int8"), "int8, the zero point 0, several scales in a filter"),
    ],
)
def test_only_plain_int8_has_subwords(proto: onnx.ModelProto, got: str) -> None:
    options = PruneOptions(sparsity=0.5, granularity="subword")
    for run in (
        lambda: prune(loaded(proto), options),
        lambda: permute(loaded(proto), SMALL.model_copy(update={"subword_bits": 4})),
    ):
        with pytest.raises(
            ModelError, match=rf"zero point 0 and a scale for each filter, got {got} in \w+; start from"
        ):
            run()


@pytest.mark.parametrize(("kind", "zero"), [("int4", 0), ("uint4", 7)])
def test_four_bits_count_four_bits(kind: str, zero: int) -> None:
    _, report = permute(loaded(dequantized(kind, zero)), SMALL)
    dense_bits = report.totals["packed_bits"] * report.totals["bit_compression"]
    assert dense_bits == pytest.approx(6 * 36 * 4)


@pytest.mark.parametrize("form", ["int4 blocks", "uint4 blocks with zero points"])
def test_criteria_that_need_images_name_the_type(form: str) -> None:
    proto = WEIGHT_FORMS[f"DequantizeLinear, {form}"]()
    options = PruneOptions(sparsity=0.5, criterion="fisher")
    with pytest.raises(
        ModelError, match=rf"criterion fisher: expected float weights, got {form.split()[0]}; prune"
    ):
        prune(loaded(proto), options)


@pytest.mark.parametrize("zero", [30, 128])
def test_weights_less_their_zero_point_count_eight_bits(zero: int) -> None:
    _, report = permute(loaded(dequantized("uint8", zero)), SMALL)
    _, symmetric = permute(loaded(dequantized("int8", 0)), SMALL)
    assert report.totals["packed_bits"] < 1.2 * symmetric.totals["packed_bits"]
    dense_bits = report.totals["packed_bits"] * report.totals["bit_compression"]
    assert dense_bits == pytest.approx(6 * 36 * 8)
