"""Packing without what only people read: smaller, and in nothing else another model."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

import models
from tightc.model.file import Model, load_model_bytes
from tightc.model.history import read_history
from tightc.packing.options import PackOptions
from tightc.packing.pack import pack
from tightc.packing.strip import stripped
from tightc.packing.unpack import unpack
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.permutation.schedule import Schedule
from tightc.tiles.array import ArrayShape

SMALL = PermuteOptions(
    array=ArrayShape(8, 4), fan_in=3, temp_schedule=Schedule(steps=5, moves_per_weight=20), jobs=1
)
NOTE = "written by an exporter for people"


def noted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same with notes wherever a model may have some, and the shape of every inner value."""
    proto = onnx.shape_inference.infer_shapes(proto)
    proto.doc_string = proto.graph.doc_string = NOTE
    graph = proto.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info):
        part.doc_string = NOTE
        part.metadata_props.add(key="note", value=NOTE)
    proto.metadata_props.add(key="author", value="a person")
    return proto


def permuted(proto: onnx.ModelProto) -> Model:
    model = load_model_bytes(proto.SerializeToString(), "net.onnx")
    return permute(model, SMALL)[0]


def outputs(model: Model, proto: onnx.ModelProto) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    return list(session.run(None, models.feeds(proto)))


@pytest.mark.parametrize("form", models.FORMS)
def test_a_stripped_model_computes_the_same(form: str) -> None:
    proto = noted(models.FORMS[form]())
    arranged = permuted(proto)
    (whole, first), (short, second) = (pack(arranged, PackOptions(strip=strip)) for strip in (False, True))
    onnx.checker.check_model(short.proto, full_check=True)
    for one, other in zip(outputs(whole, proto), outputs(short, proto), strict=True):
        assert one.tobytes() == other.tobytes()
    assert NOTE.encode() in whole.to_bytes() and NOTE.encode() not in short.to_bytes()
    assert second.totals["bytes_out"] == len(short.to_bytes()) < first.totals["bytes_out"]


def test_names_and_the_models_own_properties_stay() -> None:
    arranged = permuted(noted(models.cnn()))
    whole, short = (pack(arranged, PackOptions(strip=strip))[0].proto for strip in (False, True))
    assert not short.graph.value_info
    assert [node.name for node in short.graph.node] == [node.name for node in whole.graph.node]
    assert [value.type for value in short.graph.input] == [value.type for value in whole.graph.input]
    for one, other in zip(whole.graph.initializer, short.graph.initializer, strict=True):
        assert (one.name, one.raw_data, one.dims) == (other.name, other.raw_data, other.dims)
    assert {(entry.key, entry.value) for entry in short.metadata_props} >= {("author", "a person")}
    for function in short.functions:
        inner = {name for node in function.node for name in node.output} - set(function.output)
        assert inner and all(name.isdigit() for name in inner)
    assert [list(function.input) for function in short.functions] == [
        list(function.input) for function in whole.functions
    ]


def test_a_stripped_model_is_unpacked_and_says_what_was_done() -> None:
    proto = noted(models.cnn())
    short, _ = pack(permuted(proto), PackOptions(strip=True))
    assert read_history(short)[-1]["options"] == {"strip": True}
    plain, _ = unpack(short)
    onnx.checker.check_model(plain.proto, full_check=True)
    before = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    after = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in plain.proto.graph.initializer}
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_notes_within_branches_go_too() -> None:
    proto = models.with_if()
    for node in proto.graph.node:
        for attribute in node.attribute:
            for inner in attribute.g.node:
                inner.doc_string = NOTE
            if attribute.HasField("g"):
                attribute.g.value_info.add(name=NOTE)
    model = load_model_bytes(proto.SerializeToString(), "net.onnx")
    assert NOTE.encode() in model.to_bytes() and NOTE.encode() not in stripped(model).to_bytes()


def test_settings_that_are_the_default_go_and_others_stay() -> None:
    text = """
        net (float[1,2,9,9] x) => (float[1,2,2,2] y) {
            a = Conv <auto_pad = "NOTSET", dilations = [1, 1], group = 1, pads = [0, 0, 0, 0], strides = [1, 1]> (x, w)
            b = Conv <dilations = [2, 1], group = 2, pads = [1, 0, 1, 0], strides = [1, 2]> (a, v)
            y = AveragePool <kernel_shape = [2, 2], ceil_mode = 0, count_include_pad = 1, strides = [3, 1]> (b)
        }"""
    proto = models.build(text, w=models.sparse(2, 2, 3, 3, seed=1), v=models.sparse(2, 1, 3, 3, seed=2))
    model = load_model_bytes(proto.SerializeToString(), "net.onnx")
    for short in (stripped(model), pack(permuted(proto), PackOptions(strip=True))[0]):
        first, second, third = (
            {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            for node in short.proto.graph.node
        )
        assert first == {}
        assert second == {"dilations": [2, 1], "group": 2, "pads": [1, 0, 1, 0], "strides": [1, 2]}
        assert third == {"kernel_shape": [2, 2], "count_include_pad": 1, "strides": [3, 1]}
        np.testing.assert_allclose(outputs(model, proto)[0], outputs(short, proto)[0], rtol=1e-5, atol=1e-6)
    assert outputs(model, proto)[0].tobytes() == outputs(stripped(model), proto)[0].tobytes()
