"""Pack and unpack, against stock onnxruntime in a process that cannot import tightc."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from helpers import models
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.file import Model, load_model, load_model_bytes, save_model
from tightc.packing.pack import pack
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.tile.array import ArrayShape

SMALL = PermuteOptions(
    array=ArrayShape(8, 4), fan_in=3, temp_schedule=TemperatureSchedule(steps=5, moves_per_weight=20), jobs=1
)
NEWEST = models.newest_opset()
CASES = [(form, models.OPSET, "float32") for form in models.FORMS]
CASES += [(form, 13, "float32") for form in models.FORMS]
CASES += [(form, NEWEST, "float32") for form in models.FORMS]
CASES += [(form, models.OPSET, "float16") for form in models.FORMS]
CASES += [("cnn", 18, "float32")]  # from which on Split says how many parts it makes
RUNNER = """
import json, pathlib, sys
sys.modules["tightc"] = None
import numpy, onnx, onnxruntime
try:
    import tightc
except ImportError:
    pass
else:
    raise SystemExit("tightc can be imported")
folder = pathlib.Path(sys.argv[1])
for model in sorted(folder.glob("*.onnx")):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(model.with_suffix(".optimized"))
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feeds = dict(numpy.load(folder / (model.stem.split(".")[0] + ".npz")))
    numpy.savez(model.with_suffix(".out.npz"), *session.run(None, feeds))
"""


def permuted(proto: onnx.ModelProto, **changes: object) -> Model:
    return permute(loaded(proto), SMALL.model_copy(update=changes))[0]


def packed(proto: onnx.ModelProto, **changes: object) -> Model:
    return pack(permuted(proto, **changes))[0]


def weights_of(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    """Every case before and after pack, run by one process with stock onnxruntime; gives the folder."""
    folder = tmp_path_factory.mktemp("done")
    for number, (form, opset, dtype) in enumerate(CASES):
        proto = models.FORMS[form](opset, models.ir_for(opset), dtype)
        models.save(proto, folder / f"{number}.before.onnx")
        save_model(packed(proto), folder / f"{number}.packed.onnx")
        np.savez(folder / f"{number}.npz", **models.feeds(proto))
    subprocess.run([sys.executable, "-c", RUNNER, str(folder)], check=True, timeout=300)
    return folder


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: "-".join(map(str, CASES[n])))
def test_stock_onnxruntime_gives_the_same_outputs(done, number: int) -> None:
    before = np.load(done / f"{number}.before.out.npz")
    after = np.load(done / f"{number}.packed.out.npz")
    assert before.files == after.files
    for name in before.files:
        one, other = before[name].astype(np.float64), after[name].astype(np.float64)
        assert np.abs(one).max() > 0
        assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()


@pytest.mark.parametrize("fan_in", [1, 2, 4, 16, 17, 300])
def test_selects_of_any_width_are_rebuilt(fan_in: int) -> None:
    proto = models.FORMS["gemm"]()
    before, after = (
        onnxruntime.InferenceSession(model.to_bytes()).run(None, models.feeds(proto))[0]
        for model in (loaded(proto), packed(proto, fan_in=fan_in, array=ArrayShape(2, 2)))
    )
    assert np.array_equal(before, after)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: "-".join(map(str, CASES[n])))
def test_onnxruntime_folds_the_rebuilding_at_load(done, number: int) -> None:
    def operators(name: str) -> list[str]:
        proto = onnx.load(done / f"{number}.{name}.optimized")
        return sorted(node.op_type for node in proto.graph.node)

    assert operators("packed") == operators("before")


@pytest.mark.parametrize(("form", "opset", "dtype"), CASES)
def test_packed_models_pass_the_checker_and_keep_opset_ir_and_names(
    form: str, opset: int, dtype: str
) -> None:
    proto = models.FORMS[form](opset, models.ir_for(opset), dtype)
    after = packed(proto).proto
    onnx.checker.check_model(after, full_check=True)
    assert after.ir_version == proto.ir_version
    assert {e.domain: e.version for e in after.opset_import} == {"": opset, "tightc": 2}
    assert list(after.graph.input) == list(proto.graph.input)
    assert list(after.graph.output) == list(proto.graph.output)
    assert after.graph.name == proto.graph.name
    rebuild, *nodes = after.graph.node
    assert (rebuild.domain, rebuild.op_type) == ("tightc", f"Rebuild{dtype.title()}")
    weights = set(rebuild.output)
    assert nodes == [
        node for node in proto.graph.node if node.op_type != "Constant" or node.output[0] not in weights
    ]


@pytest.mark.parametrize(("form", "opset", "dtype"), CASES)
def test_unpack_restores_every_weight_to_the_bit_under_its_name(form: str, opset: int, dtype: str) -> None:
    proto = models.FORMS[form](opset, models.ir_for(opset), dtype)
    back, _ = unpack(packed(proto))
    onnx.checker.check_model(back.proto, full_check=True)
    before, after = weights_of(proto), weights_of(back.proto)
    assert set(before) == set(after)
    for name, weight in before.items():
        assert after[name].dtype == weight.dtype and after[name].shape == weight.shape
        assert after[name].tobytes() == weight.tobytes(), name
    assert not back.proto.functions
    assert [(e.domain, e.version) for e in back.proto.opset_import] == [("", opset)]
    kept = [node for node in proto.graph.node if node.op_type not in ("Constant", "Identity")]
    again = [node for node in back.proto.graph.node if node.op_type not in ("Constant", "Identity")]
    assert [(n.name, n.op_type, n.domain, list(n.output)) for n in again] == [
        (n.name, n.op_type, n.domain, list(n.output)) for n in kept
    ]
    assert [n.attribute for n in again] == [n.attribute for n in kept]


def test_untouched_tensors_and_nodes_stay_as_they_are() -> None:
    proto = models.cnn()
    after = packed(proto).proto
    tensors = {tensor.name: tensor for tensor in after.graph.initializer}
    for tensor in proto.graph.initializer:
        if tensor.name.endswith("_b"):
            assert tensors[tensor.name] == tensor
        else:
            assert tensor.name not in tensors
    assert list(after.graph.node)[1:] == list(proto.graph.node)


def test_repacking_an_unpacked_model_gives_the_same_tensors() -> None:
    once = packed(models.cnn())
    twice, _ = pack(unpack(once)[0])
    assert list(once.proto.graph.initializer) == list(twice.proto.graph.initializer)
    assert list(once.proto.functions) == list(twice.proto.functions)


def test_a_shared_weight_is_stored_once() -> None:
    after = packed(models.shared_weight()).proto
    assert sum(tensor.name == "w.values" for tensor in after.graph.initializer) == 1
    assert [node.op_type for node in after.graph.node] == ["RebuildFloat32", "Conv", "Relu", "Conv"]


def test_values_hold_the_non_zeros_alone() -> None:
    proto = models.cnn()
    tensors = weights_of(packed(proto).proto)
    for name in ("first_w", "second_w", "last_w"):
        weight = weights_of(proto)[name]
        zero, *values = tensors[f"{name}.values"].tolist()
        assert zero == 0 and sorted(values) == sorted(weight[weight != 0].tolist())


def test_numbers_beyond_sixteen_bits_are_rebuilt() -> None:
    weight = np.zeros((4, 70_000), np.float32)
    places = np.random.default_rng(0).choice(weight.size, 300, replace=False)
    weight.flat[places] = np.arange(1, 301)
    proto = models.build(
        "net (float[1, 70000] x) => (float[1, 4] y) { [g] y = Gemm<transB = 1>(x, w) }", w=weight
    )
    compact = packed(proto)
    assert weights_of(compact.proto)["w.layout"].max() == 70_000
    feeds = models.feeds(proto)
    for one, other in zip(
        outputs(proto.SerializeToString(), feeds), outputs(compact.to_bytes(), feeds), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    assert np.array_equal(weights_of(unpack(compact)[0].to_proto())["w"], weight)


@pytest.mark.parametrize("value", ["null", "0", '"x"', "[]"])
def test_a_packed_model_whose_header_is_damaged_is_refused(value: str) -> None:
    model = packed(models.cnn())
    proto = model.copy_proto()
    for entry in proto.metadata_props:
        if entry.key == "tightc.packings":
            entry.value = entry.value.replace('"fan_in":3', f'"fan_in":{value}')
    with pytest.raises(ModelError, match=r"damaged|does not fit"):
        unpack(model.with_proto(proto))


def test_a_layer_without_weights_stays_as_it_is() -> None:
    proto = models.empty_layer()
    after = packed(proto).proto
    assert [node.op_type for node in after.graph.node] == ["RebuildFloat32", "MatMul", "Gemm"]
    assert (weights_of(after)["v"] == 0).all()


@pytest.mark.parametrize("method", ["dense", "structured"])
def test_other_methods_pack_too(method: str) -> None:
    proto = models.grouped()
    after = packed(proto, method=method)
    onnx.checker.check_model(after.proto, full_check=True)
    assert weights_of(unpack(after)[0].proto)["w"].tobytes() == weights_of(proto)["w"].tobytes()


def test_history_records_the_whole_chain() -> None:
    model = loaded(models.cnn())
    source = permute(model, SMALL, seed=5)[0]
    compact = pack(source)[0]
    plain = unpack(compact)[0]
    properties = {entry.key: entry.value for entry in plain.proto.metadata_props}
    history = json.loads(properties["tightc.history"])
    assert [entry["stage"] for entry in history] == ["permute", "pack", "unpack"]
    assert {entry["version"] for entry in history} == {version("tightc")}
    assert [entry["input"] for entry in history] == [model.sha256, source.sha256, compact.sha256]
    assert [entry["seed"] for entry in history] == [5, None, None]
    assert all(isinstance(entry["options"], dict) for entry in history)


def test_packing_is_reported_with_its_bytes() -> None:
    source = permuted(models.cnn())
    compact, report = pack(source)
    assert report.totals["bytes_in"] == len(source.to_bytes())
    assert report.totals["bytes_out"] == len(compact.to_bytes())
    assert [row["name"] for row in report.layers] == ["first", "second", "last"]


def test_two_files_stay_two_files(tmp_path) -> None:
    path = models.save(models.cnn(), tmp_path / "two.onnx", external_data=True)
    compact, _ = pack(permute(load_model(path), SMALL)[0])
    plain, _ = unpack(compact)
    save_model(plain, tmp_path / "back.onnx")
    assert len(list(tmp_path.glob("back.onnx.*.data"))) == 1
    again = load_model(tmp_path / "back.onnx")
    assert weights_of(again.proto)["second_w"].tobytes() == weights_of(models.cnn())["second_w"].tobytes()


# --- what cannot be packed


def test_a_model_without_packings_is_refused() -> None:
    with pytest.raises(
        ModelError,
        match=r"^net.onnx: expected a permuted model, got one without packings; run tightc permute first$",
    ):
        pack(loaded(models.cnn()))


def test_a_packed_model_is_not_packed_again() -> None:
    with pytest.raises(
        ModelError,
        match=r"expected a permuted model, got a packed one; use it as it is, or run tightc unpack first",
    ):
        pack(packed(models.cnn()))


def test_a_plain_model_is_not_unpacked() -> None:
    with pytest.raises(
        ModelError, match=r"expected a packed model, got a plain one; give a model that tightc pack wrote"
    ):
        unpack(loaded(models.cnn()))


def test_weights_that_changed_since_permute_are_refused() -> None:
    source = permuted(models.cnn())
    full = np.ones_like(weights_of(models.cnn())["second_w"])
    with pytest.raises(
        ModelError, match=r"the packing of second does not fit its weights .*run tightc permute again"
    ):
        pack(source.with_tensors({"second_w": full}))


@pytest.mark.parametrize("key", ["values", "index", "layout"])
def test_damaged_packed_tensors_are_named(key: str) -> None:
    proto = packed(models.cnn()).copy_proto()
    for tensor in proto.graph.initializer:
        if tensor.name == f"second_w.{key}":
            shorter = numpy_helper.to_array(tensor)[:-1].copy()
            tensor.CopyFrom(numpy_helper.from_array(shorter, tensor.name))
    broken = load_model_bytes(packed(models.cnn()).to_bytes()).with_proto(proto)
    with pytest.raises(ModelError, match=r"damaged packed tensors of second \(weight second_w\): "):
        unpack(broken)


# --- models made to trip it


def outputs(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def assert_packs_unchanged(proto: onnx.ModelProto) -> None:
    compact = packed(proto)
    onnx.checker.check_model(onnx.load_model_from_string(compact.to_bytes()), full_check=True)
    feeds = models.feeds(proto)
    for one, other in zip(
        outputs(proto.SerializeToString(), feeds), outputs(compact.to_bytes(), feeds), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_unnamed_node_whose_output_has_the_name_of_another_node() -> None:
    proto = models.build(
        "net (float[1,4,6,6] x) => (float[1,4,6,6] y) { same = Conv(x, v)\n [same] y = Conv(same, w) }",
        v=models.sparse(4, 4, 1, 1, seed=1),
        w=models.sparse(4, 4, 1, 1, seed=2),
    )
    assert_packs_unchanged(proto)


def test_a_weight_that_is_an_output_of_the_model_by_way_of_an_identity() -> None:
    proto = models.build(
        "net (float[1,4,6,6] x) => (float[1,4,6,6] y, float[4,4,1,1] z) { z = Identity(v)\n y = Conv(x, v) }",
        v=models.sparse(4, 4, 1, 1),
    )
    with pytest.raises(ModelError, match="its weight v is also an output of the model"):
        packed(proto)


def test_a_weight_that_a_subgraph_reads_too() -> None:
    with pytest.raises(ModelError, match="Conv outside: its weight w also feeds choice"):
        packed(models.with_if())


def test_a_tensor_that_already_has_the_name_of_a_packed_one() -> None:
    proto = models.build(
        "net (float[1,4,6,6] x) => (float[1,4,6,6] y) { [one] a = Conv(x, v)\n y = Add(a, other) }",
        v=models.sparse(4, 4, 1, 1),
        other=models.sparse(4, 1, 1, seed=3),
    )
    for tensor in proto.graph.initializer:
        tensor.name = "v.values" if tensor.name == "other" else tensor.name
    proto.graph.node[1].input[1] = "v.values"
    onnx.checker.check_model(proto, full_check=True)
    assert_packs_unchanged(proto)


@pytest.mark.parametrize("odd", [-1e-40, 3e-45, 65504.0])
def test_odd_numbers_survive_pack_and_unpack_to_the_bit(odd: float) -> None:
    weight = np.array([[1.0, odd, 0.0], [odd, 2.0, 0.0]], np.float32)
    proto = models.build("net (float[1,2] x) => (float[1,3] y) { [fc] y = MatMul(x, w) }", w=weight)
    back = weights_of(unpack(packed(proto))[0].proto)["w"]
    assert back.tobytes() == weight.tobytes()


def test_zeros_come_back_without_their_sign() -> None:
    weight = np.array([[1.0, -0.0]], np.float32)
    proto = models.build("net (float[1,1] x) => (float[1,2] y) { [fc] y = MatMul(x, w) }", w=weight)
    back = weights_of(unpack(packed(proto))[0].proto)["w"]
    assert np.array_equal(back, weight) and not np.signbit(back).any()


def test_functions_of_the_model_itself_stay() -> None:
    proto = models.cnn()
    function = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 20)],
    )
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    back, _ = unpack(packed(proto))
    assert list(back.proto.functions) == [function]
    assert {e.domain for e in back.proto.opset_import} == {"", "mine"}


def test_the_shared_resnet20_is_under_a_quarter_of_its_bytes(resnet20) -> None:
    from tightc.pruning.options import PruneOptions
    from tightc.pruning.prune import prune

    dense = load_model(resnet20)
    pruned, _ = prune(dense, PruneOptions(sparsity=0.9))
    quick = PermuteOptions(temp_schedule=TemperatureSchedule(moves_per_weight=300))
    compact, _ = pack(permute(pruned, quick)[0])
    assert len(compact.to_bytes()) < 0.25 * resnet20.stat().st_size
    feeds = {"image": np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)}
    (one,), (other,) = outputs(pruned.to_bytes(), feeds), outputs(compact.to_bytes(), feeds)
    assert np.abs(one - other).max() <= 1e-4 * np.abs(one).max()
    assert weights_of(unpack(compact)[0].proto).keys() == weights_of(dense.proto).keys()


def test_a_tensor_that_nobody_reads_keeps_its_name_too() -> None:
    proto = models.gemm(bias=False)
    proto.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "w.values"))
    onnx.checker.check_model(proto, full_check=True)
    assert_packs_unchanged(proto)


def test_packed_names_do_not_clash_with_those_of_another_weight() -> None:
    proto = models.build(
        "net (float[1,4] x) => (float[1,4] y) { a = MatMul(x, v)\n b = MatMul(a, v_)\n y = Add(b, other) }",
        v=models.sparse(4, 4),
        v_=models.sparse(4, 4, seed=1),
        other=models.sparse(4, seed=2),
    )
    proto.graph.initializer[2].name = proto.graph.node[2].input[1] = "v.values"
    assert_packs_unchanged(proto)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (
            "not json",
            r"not JSON of packings \(expected JSON, got something else at character 0\); run tightc permute a",
        ),
        (
            "[]",
            r"not JSON of packings \(expected an object with common and weights, got something else\); run tight",
        ),
        (
            '{"common": {}, "weights": {"w": {"tiles": {}}}}',
            r"damaged packing of w \(weight w\): it has no digest; copy the file again, or run tightc permute ag",
        ),
    ],
)
def test_a_damaged_record_of_packings_is_refused(record: str, sentence: str) -> None:
    model = permuted(models.cnn())
    proto = model.copy_proto()
    for entry in proto.metadata_props:
        if entry.key == "tightc.packings":
            entry.value = record
    with pytest.raises(ModelError, match=sentence):
        pack(model.with_proto(proto))
