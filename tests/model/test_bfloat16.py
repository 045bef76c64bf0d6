"""Models of bfloat16 through all stages; the oracle is onnxruntime on a float32 model of the same numbers."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

import tightc
from helpers.chains import ARRAY, Chain, again, constants, outputs, through, unsigned
from helpers.loading import loaded
from helpers.weight_forms import half_network
from tightc.data.images import Images, Normalization, NormalizedImages
from tightc.errors import ModelError
from tightc.evaluation.evaluate import evaluate
from tightc.evaluation.options import EvaluateOptions
from tightc.finetuning.options import FinetuneOptions
from tightc.model.file import Model
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate

NOTE = "onnxruntime has no bfloat16 operators on CPUs: it ran a float32 copy of the model"
FEEDS = {"x": np.random.default_rng(0).normal(size=(2, 3, 9, 9)).astype(np.float32)}


def of_type(element_type: int, *, typed_values: bool = False) -> onnx.ModelProto:
    """The network of the helpers for float16, with the same bfloat16 numbers stored as a type."""
    proto = half_network(22)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element_type)
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = element_type
    if typed_values:
        proto.graph.value_info.append(onnx.helper.make_tensor_value_info("r", element_type, [2, 8, 9, 9]))
        proto.graph.node[1].op_type = "Cast"
        proto.graph.node[1].attribute.append(onnx.helper.make_attribute("to", element_type))
    return proto


def chains() -> tuple[Chain, Chain]:
    """The stages on the model in bfloat16, and on that in float32."""
    return through(of_type(TensorProto.BFLOAT16)), through(of_type(TensorProto.FLOAT))


def as_float32(model: Model) -> bytes:
    """The bytes of a model with every bfloat16 tensor and type of its main graph in float32."""
    proto = onnx.load_from_string(model.to_bytes())
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.BFLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    return bytes(proto.SerializeToString())


def test_weights_keep_their_bytes_and_outputs_their_values() -> None:
    halves, floats = chains()
    before, after = constants(halves.pruned.proto), constants(halves.unpacked.proto)
    for name, wanted in constants(floats.pruned.proto).items():
        assert before[name].dtype == after[name].dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(before[name].astype(np.float32), wanted)
        assert unsigned(before[name]) == unsigned(after[name])
    for stage in ("pruned", "permuted", "packed", "unpacked"):
        (wanted,) = outputs(getattr(floats, stage).to_bytes(), FEEDS)
        (found,) = outputs(as_float32(getattr(halves, stage)), FEEDS)
        np.testing.assert_array_equal(found, wanted)
        assert np.abs(wanted).max() > 1


def test_the_packed_file_holds_bfloat16() -> None:
    packed = through(of_type(TensorProto.BFLOAT16)).packed
    onnx.checker.check_model(onnx.load_from_string(packed.to_bytes()), full_check=True)
    values = [t for t in packed.proto.graph.initializer if t.name.endswith(".values")]
    assert len(values) == 3
    assert {tensor.data_type for tensor in values} == {TensorProto.BFLOAT16}


def test_a_weight_has_16_bits_and_all_else_is_that_of_float32() -> None:
    halves, floats = chains()
    assert halves.simulation is not None and floats.simulation is not None
    one, other = halves.simulation.totals, floats.simulation.totals
    assert {key for key in one if one[key] != other[key]} == {"packed_bits", "stream_bits", "bit_compression"}
    assert one["packed_bits"] == other["packed_bits"] - 16 * one["area"]
    inspected = tightc.inspect(halves.pruned)
    assert [row["density"] for row in inspected.layers] == [
        row["density"] for row in tightc.inspect(floats.pruned).layers
    ]


@pytest.mark.parametrize("typed", [False, True])
def test_verify_agrees_with_the_float32_copy_and_says_so(typed: bool) -> None:
    packed = through(of_type(TensorProto.BFLOAT16, typed_values=typed)).packed
    report = simulate(packed, SimulateOptions(array=ARRAY, verify=True))
    assert report.totals["verified_layers"] == 3 and report.totals["value_error"] < 1e-5
    assert NOTE in report.notes
    assert NOTE not in simulate(packed, SimulateOptions(array=ARRAY)).notes


def images(count: int = 16) -> NormalizedImages:
    random = np.random.default_rng(4)
    pixels = random.normal(size=(count, 3, 9, 9)).astype(np.float32)
    return NormalizedImages(Images(pixels, random.integers(0, 10, count)), Normalization())


def models() -> list[Model]:
    return [loaded(of_type(kind)) for kind in (TensorProto.BFLOAT16, TensorProto.FLOAT)]


def test_evaluate_runs_the_float32_copy_and_says_so() -> None:
    given = images()
    found, wanted = (
        evaluate(model, given.images, given.normalization, EvaluateOptions()) for model in models()
    )
    assert found.totals == wanted.totals and found.notes == (NOTE,) and wanted.notes == ()


def test_obs_fits_the_weights_of_bfloat16() -> None:
    options = PruneOptions(sparsity=0.5, criterion="obs", calibration_images=16)
    found, wanted = (prune(model, options, images()) for model in models())
    assert NOTE in found.report.notes
    floats = constants(wanted.model.proto)
    for name, array in constants(found.model.proto).items():
        assert array.dtype == ml_dtypes.bfloat16
        largest = np.abs(floats[name]).max()
        assert np.abs(array.astype(np.float32) - floats[name]).mean() < 0.02 * largest


def test_quantize_gives_a_float32_model_with_int8_weights_and_says_so() -> None:
    (found, report), (wanted, _) = (quantize(model, QuantizeOptions(), images()) for model in models())
    assert "bfloat16 became float32: onnxruntime does not quantize it" in report.notes
    assert outputs(found.to_bytes(), FEEDS)[0].tolist() == outputs(wanted.to_bytes(), FEEDS)[0].tolist()
    assert TensorProto.BFLOAT16 not in {tensor.data_type for tensor in found.proto.graph.initializer}


def test_finetune_trains_it_and_keeps_the_type() -> None:
    model = through(of_type(TensorProto.BFLOAT16)).permuted
    options = FinetuneOptions.of({"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"})
    trained = tightc.finetune(model, images(), options).model
    before, after = constants(model.proto), constants(trained.proto)
    for name, array in after.items():
        assert array.dtype == ml_dtypes.bfloat16 and ((array == 0) == (before[name] == 0)).all()
    assert any((before[name] != array).any() for name, array in after.items())


def test_an_infinite_weight_is_refused() -> None:
    proto = of_type(TensorProto.BFLOAT16)
    values = numpy_helper.to_array(proto.graph.initializer[0]).copy()
    values.flat[3] = np.inf
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w"))
    with pytest.raises(ModelError, match=r"^net.onnx: tensor w holds NaN or infinite values"):
        loaded(proto)


def test_a_flipped_bit_of_a_packed_weight_is_found() -> None:
    packed = through(of_type(TensorProto.BFLOAT16)).packed
    proto = packed.copy_proto()
    tensor = next(t for t in proto.graph.initializer if t.name == "l.values")
    content = bytearray(tensor.raw_data)
    content[6] ^= 1
    tensor.raw_data = bytes(content)
    with pytest.raises(ModelError, match=r"damaged packed tensors of last \(weight l\)"):
        again(replace(packed, proto=proto))


def test_fisher_is_refused_with_a_remedy() -> None:
    with pytest.raises(ModelError) as fault:
        prune(loaded(of_type(TensorProto.BFLOAT16)), PruneOptions(sparsity=0.5, criterion="fisher"), images())
    assert fault.value.sentence == "net.onnx: tensor w is bfloat16, fisher computes in float32"
    assert fault.value.remedy == "prune before the model is converted, or by magnitude"


def test_inputs_of_bfloat16_are_fed_as_float32_where_onnxruntime_could_load_the_model() -> None:
    """Its Cast takes bfloat16, and numpy has none."""
    proto = of_type(TensorProto.FLOAT)
    proto.graph.input[0].name = "given"
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    proto.graph.node.insert(0, onnx.helper.make_node("Cast", ["given"], ["x"], to=TensorProto.FLOAT))
    onnxruntime.InferenceSession(proto.SerializeToString())
    given = images()
    found = evaluate(loaded(proto), given.images, given.normalization, EvaluateOptions())
    wanted = evaluate(models()[1], given.images, given.normalization, EvaluateOptions())
    assert found.totals == wanted.totals and found.notes == (NOTE,)


def behind_casts(*, twice: bool = False) -> onnx.ModelProto:
    """The network in float32, its weights in bfloat16 behind a Cast each; the first is read by `twice` as many."""
    proto = of_type(TensorProto.FLOAT)
    wide = {"w", "v", "l"}
    for tensor in proto.graph.initializer:
        if tensor.name in wide:
            values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in proto.graph.node:
        node.input[:] = [f"{name}.wide" if name in wide else name for name in node.input]
    casts = [onnx.helper.make_node("Cast", [name], [f"{name}.wide"], to=TensorProto.FLOAT) for name in wide]
    if twice:
        casts.append(onnx.helper.make_node("Cast", ["w"], ["w.again"], to=TensorProto.FLOAT))
        conv = onnx.helper.make_node("Conv", ["x", "w.again"], ["second"], "second", pads=[1, 1, 1, 1])
        total = onnx.helper.make_node("Add", ["a", "second"], ["sum"])
        next(node for node in proto.graph.node if node.input[0] == "a").input[0] = "sum"
        nodes = list(proto.graph.node)
        del proto.graph.node[:]
        proto.graph.node.extend([nodes[0], conv, total, *nodes[1:]])
    nodes = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*casts, *nodes])
    return proto


@pytest.mark.parametrize("twice", [False, True])
def test_a_weight_behind_a_cast_stays_bfloat16_and_stock_onnxruntime_runs_every_stage(twice: bool) -> None:
    proto = behind_casts(twice=twice)
    assert not loaded(proto).notes
    chain = through(proto)
    (wanted,) = outputs(chain.pruned.to_bytes(), FEEDS)
    for stage in (chain.permuted, chain.packed, chain.unpacked):
        np.testing.assert_array_equal(outputs(stage.to_bytes(), FEEDS)[0], wanted)
    before, after = constants(chain.pruned.proto), constants(chain.unpacked.proto)
    for name in ("w", "v", "l"):
        assert before[name].dtype == ml_dtypes.bfloat16 and (before[name] == 0).any()
        assert unsigned(before[name]) == unsigned(after[name])
    assert chain.simulation is not None and len(chain.simulation.layers) == 3 + twice
    assert not chain.simulation.uncovered
    report = simulate(chain.packed, SimulateOptions(array=ARRAY, verify=True))
    assert report.totals["verified_layers"] == 3 + twice and NOTE not in report.notes
    if not twice:
        floats = through(of_type(TensorProto.FLOAT))
        np.testing.assert_array_equal(outputs(floats.pruned.to_bytes(), FEEDS)[0], wanted)


def test_a_weight_behind_a_cast_is_trained_quantized_and_fitted() -> None:
    model = through(behind_casts()).permuted
    options = FinetuneOptions.of({"epochs": 2, "batch_size": 4, "learning_rate": 0.01, "device": "cpu"})
    trained = constants(tightc.finetune(model, images(), options).model.proto)
    for name, array in constants(model.proto).items():
        assert trained[name].dtype == array.dtype
        assert (array != trained[name]).any() and ((array == 0) == (trained[name] == 0)).all()
    quantized, _ = quantize(loaded(behind_casts()), QuantizeOptions(), images())
    wanted, _ = quantize(loaded(of_type(TensorProto.FLOAT)), QuantizeOptions(), images())
    np.testing.assert_array_equal(outputs(quantized.to_bytes(), FEEDS), outputs(wanted.to_bytes(), FEEDS))
    by_obs = PruneOptions(sparsity=0.5, criterion="obs", calibration_images=16)
    pruned = constants(prune(loaded(behind_casts()), by_obs, images()).model.proto)
    assert pruned["w"].dtype == ml_dtypes.bfloat16 and (pruned["w"] == 0).any()


def test_a_bfloat16_constant_that_feeds_something_else_is_no_layer() -> None:
    proto = behind_casts()
    proto.graph.node.append(onnx.helper.make_node("Identity", ["w"], ["copy"]))
    proto.graph.output.append(onnx.helper.make_tensor_value_info("copy", TensorProto.BFLOAT16, [8, 3, 3, 3]))
    (row,) = tightc.inspect(loaded(proto)).uncovered
    assert row["name"] == "first" and "w" in row["reason"]
