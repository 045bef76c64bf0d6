"""Models of other tools are brought into the form that stages work with, and say so; others stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from helpers import models
from helpers.chains import assert_sound, outputs, through
from helpers.loading import loaded
from tightc.config.input_sizes import InputSizeOptions
from tightc.errors import ModelError
from tightc.inspection.inspect import inspect
from tightc.inspection.options import InspectOptions
from tightc.model.file import load_model, load_model_bytes
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.reading import opset as reading_opset
from tightc.model.reading.normalize import ReadingOptions
from tightc.model.runtime.open_sizes import resolve_open_sizes
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune

X = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


def old(opset: int, nodes: str, out: str, **constants: np.ndarray) -> onnx.ModelProto:
    """A model of an old opset: IR version 3 lists initializers among the inputs."""
    proto = parser.parse_model(
        f'<ir_version: 3, opset_import: ["" : {opset}]> net (float[2, 3, 8, 8] x) => (float[{out}] y) {{ {nodes} }}'
    )
    for name, array in constants.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
    return proto


W = models.sparse(4, 3, 3, 3, density=0.9)
OLD = {
    "7": lambda: old(
        7,
        "c = Conv<pads = [1, 1, 1, 1]>(x, w, b) n = BatchNormalization(c, s, b, m, v) d = Dropout(n) "
        "p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(d) f = Reshape(p, k) g = Gemm<transB = 1>(f, l, z) "
        "y = Softmax(g)",
        "2, 5", w=W, b=models.sparse(4, density=1), s=np.full(4, 1.5, np.float32), m=models.sparse(4, density=1),
        v=np.full(4, 0.7, np.float32), k=np.array([2, -1]), l=models.sparse(5, 64), z=models.sparse(5, density=1),
    ),
    "8": lambda: old(
        8, "c = Conv(x, w) r = Relu(c) s = ReduceSum<axes = [2, 3]>(r) y = Identity(s)", "2, 4, 1, 1", w=W
    ),
    "9": lambda: old(
        9, "c = Conv(x, w) u = Upsample<mode = \"nearest\">(c, s) y = Clip<min = 0.0, max = 6.0>(u)", "2, 4, 12, 12",
        w=W, s=np.array([1, 1, 2, 2], np.float32),
    ),
    "11": lambda: old(
        11, "c = Conv(x, w) q = Squeeze<axes = [0]>(z) y = Add(c, q)", "2, 4, 6, 6", w=W, z=np.ones((1, 1), np.float32)
    ),
    "12": lambda: old(12, "c = Conv(x, w) y = Softmax<axis = 1>(c)", "2, 4, 6, 6", w=W),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_an_old_opset_is_raised_and_its_outputs_stay(name: str) -> None:
    proto = OLD[name]()
    model = loaded(proto)
    assert model.normalized[-1] == (
        f"opset raised from {name} to 13 by onnx's converter; outputs equal on random inputs"
    )
    assert model.normalized[0].startswith("initializers that were inputs too are constants now: ")
    onnx.checker.check_model(model.proto, full_check=True)
    assert [value.name for value in model.proto.graph.input] == ["x"]
    assert {t.name for t in proto.graph.initializer} >= {layer.weight for layer in read_network(model).layers}
    for one, other in zip(
        outputs(proto.SerializeToString(), {"x": X}), outputs(model.to_bytes(), {"x": X}), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    chain = through(proto)
    assert_sound(chain, {"x": X})
    assert any("opset raised" in note for note in read_history(chain.pruned)[0]["notes"])


@pytest.mark.parametrize("scale", [2.0, 3.0, 1.5, 2.25])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("opset", "operator"), [(9, "Upsample"), (10, "Resize")])
def test_old_resizing_samples_as_before(opset: int, operator: str, mode: str, scale: float) -> None:
    side = int(6 * scale)
    proto = old(
        opset, f'c = Conv(x, w) y = {operator}<mode = "{mode}">(c, s)', f"2, 4, {side}, {side}",
        w=W, s=np.array([1, 1, scale, scale], np.float32),
    )  # fmt: skip
    want = outputs(proto.SerializeToString(), {"x": X})
    model = loaded(proto)
    assert model.normalized[-1].endswith("outputs equal on random inputs")
    for one, other in zip(want, outputs(model.to_bytes(), {"x": X}), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [7, 9, 10])
@pytest.mark.parametrize("kind", ["float", "float16"])
def test_clip_and_pad_keep_their_types(opset: int, kind: str) -> None:
    dtype = {"float": np.float32, "float16": np.float16}[kind]
    proto = models.build(
        f"""net ({kind}[1, 2, 3, 4] x, bool flag) => ({kind}[1, 2, 5, 4] y) {{
            a = Clip<min = -0.5, max = 6.0>(x)
            b = Pad<pads = [0, 0, 1, 0, 0, 0, 1, 0], value = 0.25>(a)
            c = If (flag) <
                then_branch = one () => ({kind}[1, 2, 5, 4] d) {{ d = Clip<min = 0.0, max = 0.5>(b) }},
                else_branch = two () => ({kind}[1, 2, 5, 4] e) {{ e = Identity(b) }}
            >
            y = MatMul(c, w)
        }}""",
        opset=opset,
        ir=8,
        w=models.sparse(4, 4, dtype=np.dtype(dtype).name),
    )
    model = loaded(proto)
    for flag in (True, False):
        feeds = {"x": models.feeds(proto)["x"], "flag": np.array(flag)}
        (one,), (other,) = (outputs(entry.SerializeToString(), feeds) for entry in (proto, model.proto))
        np.testing.assert_array_equal(one, other)


def test_an_old_opset_with_a_value_that_nothing_computes_is_refused_in_a_sentence() -> None:
    proto = old(9, "y = Conv(x, w)", "2, 4, 6, 6")
    words = (
        r"opset 9 cannot be raised to 13 \(Input w is undefined!\); export the model again with a newer opset"
    )
    with pytest.raises(ModelError, match=words):
        loaded(proto)


def test_a_conversion_that_onnxruntime_does_not_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = reading_opset.version_converter.convert_version

    def wrong(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
        converted = convert(proto, target)
        converted.graph.node[-1].op_type = "Plugin"
        return converted

    monkeypatch.setattr(reading_opset.version_converter, "convert_version", wrong)
    words = r"opset 9 cannot be raised to 13 \(afterwards, onnxruntime cannot load it \(.*\)\); export the model again"
    with pytest.raises(ModelError, match=words):
        loaded(old(9, "y = Conv(x, w)", "2, 4, 6, 6", w=W))


def test_both_branches_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(opset: int, negated: str) -> onnx.ModelProto:
        branches = [
            f"{name} = g_{name} () => (float[2, 4] {name}_y) {{ {name}_y = {'Neg' if name == negated else 'Relu'}(a) }}"
            for name in ("then_branch", "else_branch")
        ]
        return models.build(
            f"net (float[2, 4] x, bool flag) => (float[2, 4] y) "
            f"{{ a = MatMul(x, w) y = If (flag) <{', '.join(branches)}> }}",
            opset=opset,
            ir=8,
            w=models.sparse(4, 4),
        )

    for negated in ("then_branch", "else_branch"):
        monkeypatch.setattr(
            reading_opset.version_converter, "convert_version", lambda *_, at=negated: build(13, at)
        )
        with pytest.raises(ModelError, match="raising its opset changes its outputs"):
            loaded(build(11, ""))


def test_an_opset_that_cannot_be_raised_is_refused_in_a_sentence() -> None:
    proto = old(9, "c = Conv(x, w) y = Plugin(c)", "2, 4, 6, 6", w=W)
    with pytest.raises(
        ModelError, match=r"opset 9 cannot be raised to 13 \(.*\); export the model again with"
    ) as fault:
        loaded(proto)
    assert "\n" not in str(fault.value)


def test_a_conversion_that_changes_outputs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = reading_opset.version_converter.convert_version

    def wrong(proto: onnx.ModelProto, target: int) -> onnx.ModelProto:
        converted = convert(proto, target)
        converted.graph.node[0].attribute[0].ints[:] = [2, 2]
        return converted

    monkeypatch.setattr(reading_opset.version_converter, "convert_version", wrong)
    with pytest.raises(ModelError, match="raising its opset changes its outputs; export the model again"):
        loaded(old(12, "c = Conv<strides = [1, 1]>(x, w) y = Relu(c)", "N, 4, H, K", w=W))


def test_a_conversion_that_cannot_be_compared_says_so() -> None:
    proto = old(12, "c = Conv(x, w) y = com.example.Twice(c)", "2, 4, 6, 6", w=W)
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    assert "outputs not compared (onnxruntime cannot load it" in loaded(proto).normalized[-1]


@pytest.mark.parametrize("form", models.FORMS)
def test_what_needs_nothing_stays_untouched_to_the_byte(form: str) -> None:
    content = models.FORMS[form]().SerializeToString()
    model = load_model_bytes(content)
    assert model.normalized == () and model.to_bytes() == content


def test_overridable_initializers_stay_inputs_where_they_are_kept() -> None:
    proto = models.matmul_right()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [10, 6]))
    content = proto.SerializeToString()
    kept = load_model_bytes(content, options=ReadingOptions(keep_overridable=True))
    assert kept.to_bytes() == content and kept.normalized == ()
    assert [value.name for value in load_model_bytes(content).proto.graph.input] == ["x"]


@pytest.mark.parametrize("size", [-1, 0])
def test_placeholders_for_a_size_are_open(size: int) -> None:
    proto = models.cnn()
    for axis in (0, 2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = size
    model = loaded(proto)
    assert model.normalized == ("sizes of -1 or 0 taken as open: image",)
    report = inspect(model, InspectOptions(input_shape=("image=1x3x8x8",)))
    assert report.totals["macs"] == inspect(loaded(models.cnn()), InspectOptions()).totals["macs"]


def test_open_sizes_are_assumed_aloud() -> None:
    """The first size that the whole network runs with: here the Gemm behind it needs 32 x 32."""
    proto = models.build(
        """net (float[N, 3, H, W] image) => (float[N, 4] y) {
            c = Conv<strides = [4, 4]>(image, w)
            f = Flatten(c)
            y = Gemm(f, v)
        }""",
        w=models.sparse(2, 3, 4, 4),
        v=models.sparse(2 * 8 * 8, 4),
    )
    sizes, notes = resolve_open_sizes(proto, "net.onnx", InputSizeOptions())
    assert sizes.shapes == {"image": (1, 3, 32, 32)}
    assert notes == (
        "the size of input image is open (Nx3xHxW): 1x3x32x32 is assumed; give --input-shape image=... for another",
    )
    report = inspect(loaded(proto), InspectOptions())
    assert notes[0] in report.notes and report.layers[0]["vectors"] == 64
    given = InputSizeOptions(input_shape=("image=1x3x32x32",))
    assert resolve_open_sizes(proto, "net.onnx", given) == (given, ())


def test_a_size_that_nothing_runs_with_is_asked_for() -> None:
    proto = models.build(
        "net (float[N, 3, H, W] image) => (float[N, 4] y) { f = Flatten(image) y = Gemm(f, v) }",
        v=models.sparse(3 * 7 * 7, 4),
    )
    with pytest.raises(ModelError, match=r"the size of input image is open \(1x3xHxW\); give --input-shape"):
        resolve_open_sizes(proto, "net.onnx", InputSizeOptions())


@pytest.mark.parametrize("missing", ["shape", "type"])
def test_an_output_without_a_shape_gets_one(missing: str) -> None:
    proto = models.cnn()
    if missing == "shape":
        proto.graph.output[0].type.tensor_type.ClearField("shape")
    else:
        proto.graph.output[0].ClearField("type")
    model = loaded(proto)
    assert model.normalized == ("shapes inferred for the outputs logits",)
    assert [d.dim_value for d in model.proto.graph.output[0].type.tensor_type.shape.dim][1] == 4
    assert_sound(through(proto))


def test_an_output_that_onnx_does_not_infer_gets_the_rank_of_onnxruntime() -> None:
    proto = models.build(
        "net (float[1, 4] x, int64[R] s) => (float[A, B] y, float[C, D] z) { y = MatMul(x, w) z = Reshape(y, k) }",
        w=models.sparse(4, 6), k=np.array([2, 3]),
    )  # fmt: skip
    proto.graph.output[1].type.tensor_type.ClearField("shape")
    model = loaded(proto)
    assert len(model.proto.graph.output[1].type.tensor_type.shape.dim) == 2


@pytest.mark.parametrize("flat", [True, False])
def test_a_sparse_initializer_is_stored_dense(flat: bool) -> None:
    weight = models.sparse(4, 3, 3, 3, density=0.3)
    places = np.flatnonzero(weight) if flat else np.argwhere(weight)
    proto = models.build("net (float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y) { y = Conv(x, w) }", w=weight)
    del proto.graph.initializer[:]
    values = numpy_helper.from_array(weight.ravel()[np.flatnonzero(weight)], "w")
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(places, "places"), list(weight.shape))
    )
    model = loaded(proto)
    assert model.normalized == ("sparse initializers stored dense: w",)
    assert np.array_equal(read_network(model).weights["w"], weight)


def test_a_sparse_initializer_with_wrong_indices_is_refused() -> None:
    proto = models.matmul_right()
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array([0, 60]), "places")
    del proto.graph.initializer[:]
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [10, 6]))
    with pytest.raises(ModelError, match="expected indices within 10x6 in the sparse tensor w, got others"):
        loaded(proto)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_only_weights_and_biases_have_to_be_finite(value: float) -> None:
    text = "net (float[1, 4] x) => (float[1, 6] y) { m = Max(x, lo) y = Gemm(m, w, b) }"
    constants = {"w": models.sparse(4, 6), "b": models.sparse(6), "lo": np.float32(value)}
    proto = models.build(text, **constants)
    assert loaded(proto).normalized == ()
    if value == -np.inf:  # with the others, all outputs are infinite or NaN
        assert_sound(through(proto))
    for name in ("w", "b"):
        broken = constants[name].copy()
        broken.flat[1] = value
        with pytest.raises(ModelError, match=f"tensor {name} holds NaN or infinite values"):
            loaded(models.build(text, **{**constants, name: broken}))


def test_one_operator_that_onnx_does_not_know_does_not_refuse_the_rest() -> None:
    proto = models.cnn()
    proto.graph.node.append(helper.make_node("EfficientNMS_TRT", ["logits"], ["boxes"], name="nms"))
    model = loaded(proto)
    network = read_network(model)
    assert [entry.reason for entry in network.uncovered] == [
        "EfficientNMS_TRT is not an operator of ONNX in opset 20"
    ]
    pruned, report = prune(model, PruneOptions(sparsity=0.5))
    before = inspect(model, InspectOptions()).totals["nonzeros"]
    assert 0 < report.totals["nonzeros"] <= before and report.uncovered[0]["name"] == "nms"
    assert [node.op_type for node in pruned.proto.graph.node] == [node.op_type for node in proto.graph.node]


def test_external_data_within_a_branch_is_read(tmp_path: Path) -> None:
    proto = models.with_if("v")
    branch = proto.graph.node[-1].attribute[0].g
    inner = numpy_helper.from_array(np.full((64, 64), 2, np.float32), "inner")
    branch.initializer.append(inner)
    want = onnx.ModelProto()
    want.CopyFrom(proto)
    onnx.save_model(
        proto, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    model = load_model(tmp_path / "m.onnx")
    branch = model.proto.graph.node[-1].attribute[0].g
    found = next(tensor for tensor in branch.initializer if tensor.name == "inner")
    assert np.array_equal(numpy_helper.to_array(found), numpy_helper.to_array(inner))
    feeds = models.feeds(want)
    one = onnxruntime.InferenceSession(want.SerializeToString()).run(None, feeds)
    other = onnxruntime.InferenceSession(model.to_bytes()).run(None, feeds)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nodes_without_names_and_with_the_same_name_are_read() -> None:
    proto = models.cnn()
    for node in proto.graph.node:
        node.name = "same"
    assert [layer.name for layer in read_network(loaded(proto)).layers] == ["same", "same_3", "same_7"]
    for node in proto.graph.node:
        node.name = ""
    assert len({layer.name for layer in read_network(loaded(proto)).layers}) == 3
