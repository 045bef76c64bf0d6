"""Packing with --strip: smaller files, and otherwise the same model."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import models
from helpers.loading import loaded
from tightc.model.file import Model
from tightc.model.history import read_history
from tightc.model.layer_view.layers import read_network
from tightc.model.packings.metadata import read_packings
from tightc.model.packings.packed_form import unpack_layers
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.strip import stripped
from tightc.packing.unpack import unpack
from tightc.permutation.annealing.temperature_schedule import TemperatureSchedule
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.pruning.options import PruneOptions
from tightc.pruning.prune import prune
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.tile.array import ArrayShape
from tightc.tile.store import to_stream

SMALL = PermuteOptions(
    array=ArrayShape(8, 4), fan_in=3, temp_schedule=TemperatureSchedule(steps=5, moves_per_weight=20), jobs=1
)
DIGITS = PruneOptions(sparsity=0.6, granularity="subword")
NOTE = "written by an exporter for people"


def noted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """`proto` with a note wherever a model may have one, and the shape of every inner value."""
    proto = onnx.shape_inference.infer_shapes(proto)
    proto.doc_string = proto.graph.doc_string = NOTE
    graph = proto.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.doc_string = NOTE
        part.metadata_props.add(key="note", value=NOTE)
    proto.metadata_props.add(key="author", value="a person")
    return proto


def permuted(proto: onnx.ModelProto) -> Model:
    model = loaded(proto)
    return permute(model, SMALL)[0]


def layer_names(model: Model) -> list[str]:
    return [layer.name for layer in read_network(unpack_layers(model)).layers]


def names_of_tensors(model: Model) -> list[str]:
    return [tensor.name for tensor in model.proto.graph.initializer]


def outputs(model: Model, proto: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    return list(session.run(None, models.feeds(proto)))


@pytest.mark.parametrize("form", models.FORMS)
def test_a_stripped_model_computes_the_same(form: str) -> None:
    proto = noted(models.FORMS[form]())
    source = permuted(proto)
    (full, first), (short, second) = (pack(source, PackOptions(strip=strip)) for strip in (False, True))
    onnx.checker.check_model(short.proto, full_check=True)
    for one, other in zip(outputs(full, proto), outputs(short, proto), strict=True):
        assert one.tobytes() == other.tobytes()
    assert NOTE.encode() in full.to_bytes() and NOTE.encode() not in short.to_bytes()
    assert second.totals["bytes_out"] == len(short.to_bytes()) < first.totals["bytes_out"]


def test_names_of_layers_inputs_and_outputs_and_the_models_own_properties_stay() -> None:
    source = permuted(noted(models.cnn()))
    full, short = (pack(source, PackOptions(strip=strip))[0] for strip in (False, True))
    assert layer_names(full) == layer_names(short) == layer_names(source)
    assert [node.name for node in short.proto.graph.node] == [node.name for node in full.proto.graph.node]
    for one, other in (
        (full.proto.graph.input, short.proto.graph.input),
        (full.proto.graph.output, short.proto.graph.output),
    ):
        assert [(value.name, value.type) for value in one] == [(value.name, value.type) for value in other]
    assert {(entry.key, entry.value) for entry in short.proto.metadata_props} >= {("author", "a person")}


def test_tensors_and_values_have_short_names_and_the_same_content() -> None:
    source = permuted(noted(models.cnn()))
    full, short = (pack(source, PackOptions(strip=strip))[0].proto for strip in (False, True))
    assert not short.graph.value_info
    for one, other in zip(full.graph.initializer, short.graph.initializer, strict=True):
        assert (one.raw_data, one.dims) == (other.raw_data, other.dims)
        assert len(other.name.partition(".")[0]) == 1
    values = {name for node in short.graph.node for name in node.output} - {short.graph.output[0].name}
    assert values and all(len(name) == 1 for name in values)
    for function in short.functions:
        inner = {name for node in function.node for name in node.output} - set(function.output)
        assert inner and all(name.isdigit() for name in inner)
    assert [list(function.input) for function in short.functions] == [
        list(function.input) for function in full.functions
    ]


def test_a_node_without_a_name_keeps_its_label() -> None:
    proto = models.cnn()
    for node in proto.graph.node:
        node.name = ""
    source = permuted(proto)
    short, _ = pack(source, PackOptions(strip=True))
    assert layer_names(short) == layer_names(source)


def test_int8_weights_are_renamed_with_their_packing() -> None:
    model, _ = prune(quantize(loaded(models.cnn()), QuantizeOptions())[0], DIGITS)
    source, _ = permute(model, SMALL.model_copy(update={"subword_bits": 4}))
    short, _ = pack(source, PackOptions(strip=True))
    onnx.checker.check_model(short.proto, full_check=True)
    assert layer_names(short) == layer_names(source)
    assert outputs(short, models.cnn())[0].tobytes() == outputs(source, models.cnn())[0].tobytes()
    plain, _ = unpack(short)
    assert outputs(plain, models.cnn())[0].tobytes() == outputs(source, models.cnn())[0].tobytes()
    one, other = (
        [to_stream(packing).content.tobytes() for packing in read_packings(each).values()]
        for each in (source, plain)
    )
    assert len(one) > 1 and one == other


def test_new_names_do_not_clash_with_those_that_stay() -> None:
    proto = models.build(
        """net (float[1,4] zero) => (float[1,3] one_index) { a = MatMul (zero, w)  one_index = Add (a, v) }""",
        w=models.sparse(4, 3, seed=1),
        v=models.sparse(3, seed=2),
    )
    final = {"zero": "0", "one_index": "1.index"}
    for entry in (*proto.graph.input, *proto.graph.output):
        entry.name = final[entry.name]
    for node in proto.graph.node:
        node.input[:] = [final.get(name, name) for name in node.input]
        node.output[:] = [final.get(name, name) for name in node.output]
    full, short = (pack(permuted(proto), PackOptions(strip=strip))[0] for strip in (False, True))
    onnx.checker.check_model(short.proto, full_check=True)
    assert outputs(full, proto)[0].tobytes() == outputs(short, proto)[0].tobytes()
    assert set(names_of_tensors(short)) == {"2.values", "2.index", "2.layout", "3"}


@pytest.mark.parametrize("form", models.FORMS)
def test_a_stripped_model_is_unpacked_with_its_history(form: str) -> None:
    proto = noted(models.FORMS[form]())
    short, _ = pack(permuted(proto), PackOptions(strip=True))
    assert read_history(short)[-1]["options"] == {"strip": True}
    plain, _ = unpack(short)
    onnx.checker.check_model(plain.proto, full_check=True)
    for one, other in zip(outputs(permuted(proto), proto), outputs(plain, proto), strict=True):
        assert one.tobytes() == other.tobytes()


def test_unpacked_tensors_are_those_of_the_model_under_short_names() -> None:
    proto = noted(models.cnn())
    plain, _ = unpack(pack(permuted(proto), PackOptions(strip=True))[0])
    before, after = (
        sorted(onnx.numpy_helper.to_array(tensor).tobytes() for tensor in one.graph.initializer)
        for one in (proto, plain.proto)
    )
    assert before == after


def test_branches_read_the_values_around_them_under_their_new_names() -> None:
    proto = models.with_if("again")
    model = loaded(proto)
    short = stripped(model)
    onnx.checker.check_model(short.proto, full_check=True)
    assert outputs(short, proto)[0].tobytes() == outputs(model, proto)[0].tobytes()
    inner = short.proto.graph.node[-1].attribute[0].g
    assert inner.node[0].input[0] == short.proto.graph.node[0].output[0] != "a"
    assert inner.node[0].output[0] == inner.output[0].name != "then_y"


def test_notes_on_quantization_go_by_the_new_name() -> None:
    proto = models.matmul_right()
    note = proto.graph.quantization_annotation.add(tensor_name="c")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    short = stripped(loaded(proto)).proto.graph
    renamed = short.quantization_annotation[0]
    assert renamed.tensor_name == short.node[-1].input[1] != "c"
    assert renamed.quant_parameter_tensor_names[0].value == short.node[0].input[1] != "w"


def test_packed_tensors_do_not_clash_with_names_within_a_branch() -> None:
    proto = models.with_if("v")
    branch = proto.graph.node[-1].attribute[0].g
    branch.node[0].output[0] = branch.output[0].name = "w.values"
    source = permuted(proto)
    for strip in (False, True):
        packed, _ = pack(source, PackOptions(strip=strip))
        onnx.checker.check_model(packed.proto, full_check=True)
        assert outputs(packed, proto)[0].tobytes() == outputs(source, proto)[0].tobytes()


def test_notes_within_branches_are_removed_too() -> None:
    proto = models.with_if()
    for node in proto.graph.node:
        for attribute in node.attribute:
            for inner in attribute.g.node:
                inner.doc_string = NOTE
            if attribute.HasField("g"):
                attribute.g.value_info.add(name=NOTE)
    model = loaded(proto)
    assert NOTE.encode() in model.to_bytes() and NOTE.encode() not in stripped(model).to_bytes()


def test_default_attributes_are_removed_and_others_stay() -> None:
    text = """
        net (float[1,2,9,9] x) => (float[1,2,2,2] y) {
            a = Conv <auto_pad = "NOTSET", dilations = [1, 1], group = 1, pads = [0, 0, 0, 0], strides = [1, 1]> (x, w)
            b = Conv <dilations = [2, 1], group = 2, pads = [1, 0, 1, 0], strides = [1, 2]> (a, v)
            y = AveragePool <kernel_shape = [2, 2], ceil_mode = 0, count_include_pad = 1, strides = [3, 1]> (b)
        }"""
    proto = models.build(text, w=models.sparse(2, 2, 3, 3, seed=1), v=models.sparse(2, 1, 3, 3, seed=2))
    model = loaded(proto)
    for short in (stripped(model), pack(permuted(proto), PackOptions(strip=True))[0]):
        first, second, third = (
            {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            for node in short.proto.graph.node
            if node.domain != "tightc"
        )
        assert first == {}
        assert second == {"dilations": [2, 1], "group": 2, "pads": [1, 0, 1, 0], "strides": [1, 2]}
        assert third == {"kernel_shape": [2, 2], "count_include_pad": 1, "strides": [3, 1]}
        np.testing.assert_allclose(outputs(model, proto)[0], outputs(short, proto)[0], rtol=1e-5, atol=1e-6)
    assert outputs(model, proto)[0].tobytes() == outputs(stripped(model), proto)[0].tobytes()
