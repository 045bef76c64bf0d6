"""A model's own functions are read as the nodes that they stand for."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from helpers import models
from helpers.chains import assert_sound, outputs, through
from helpers.loading import loaded
from tightc.errors import ModelError
from tightc.model.layer_view.layers import read_network


def with_functions(opset: int = 17, of_functions: int | None = None) -> onnx.ModelProto:
    """A convolution in a function that a function calls, once in the graph and once in a branch."""
    stated = f'opset_import: ["" : {of_functions or opset}, "mine" : 1]'
    proto = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}, "mine" : 1]>
        net (float[1, 4, 6, 6] x, bool flag) => (float[1, 4, 2, 2] y) {{
            a = mine.Outer <steps = [1, 1]> (x, w)
            y = If (flag) <
                then_branch = one () => (float[1, 4, 2, 2] b) {{ b = mine.Outer <steps = [1, 1]> (a, v) }},
                else_branch = two () => (float[1, 4, 2, 2] c) {{ c = mine.Inner <steps = [1, 1]> (a, v) }}
            >
        }}
        <domain: "mine", {stated}>
        Outer <steps> (x, w) => (y) {{
            a = mine.Inner <steps: ints = @steps> (x, w)
            y = Relu (a)
        }}
        <domain: "mine", {stated}>
        Inner <steps> (x, w) => (y) {{ [conv] y = Conv <strides: ints = @steps> (x, w) }}"""
    )
    for seed, name in enumerate(("w", "v")):
        proto.graph.initializer.append(numpy_helper.from_array(models.sparse(4, 4, 3, 3, seed=seed), name))
    return proto


@pytest.mark.parametrize("opset", [11, 17])
def test_a_layer_in_a_function_goes_through_all_stages(opset: int) -> None:
    proto = with_functions(opset)
    model = loaded(proto)
    assert model.normalized[0] == "functions replaced by their nodes: Outer, Inner"
    assert not model.proto.functions
    (layer,) = read_network(model).layers
    assert layer.weight == "w"
    feeds = {"x": models.feeds(proto)["x"], "flag": np.array(True)}
    for flag in (True, False):
        feeds["flag"] = np.array(flag)
        for one, other in zip(
            outputs(proto.SerializeToString(), feeds), outputs(model.to_bytes(), feeds), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert_sound(through(proto), feeds)


def test_functions_of_the_packed_form_stay() -> None:
    chain = through(models.cnn(), simulated=False)
    assert len(chain.packed.proto.functions) > 0
    assert chain.packed.normalized == ()


def test_a_function_that_nothing_calls_stays() -> None:
    proto = models.cnn()
    proto.functions.extend(with_functions(models.OPSET).functions)
    proto.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    model = loaded(proto)
    assert model.normalized == () and list(model.proto.functions) == list(proto.functions)


def test_a_function_for_another_opset_stays() -> None:
    model = loaded(with_functions(17, of_functions=16))
    assert model.normalized == ()
    assert {function.name for function in model.proto.functions} == {"Outer", "Inner"}


def test_an_old_opset_with_functions_for_another_is_refused() -> None:
    words = (
        r"^net.onnx: opset 11 cannot be raised to 13 \(function Inner is for another opset than the graph\); "
        "export the model again with a newer opset$"
    )
    with pytest.raises(ModelError, match=words):
        loaded(with_functions(11, of_functions=10))


def test_functions_in_a_circle_are_refused() -> None:
    proto = with_functions()
    proto.functions[1].node[0].CopyFrom(proto.functions[0].node[0])
    proto.functions[1].node[0].output[0] = "y"
    with pytest.raises(
        ModelError, match=r"^net.onnx: its functions call each other in a circle \(\w+\); export"
    ):
        loaded(proto)
