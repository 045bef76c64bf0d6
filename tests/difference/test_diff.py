"""What differs between two models, against plain numpy and separate simulations."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import tightc
from helpers import models
from helpers.loading import loaded

FAST = {"array": (8, 8), "fan_in": 4, "method": "first-fit"}
LAYERS = {"first": "first_w", "second": "second_w", "last": "last_w"}


@pytest.fixture(scope="module")
def dense() -> tightc.Model:
    return loaded(models.cnn(), "dense.onnx")


@pytest.fixture(scope="module")
def pruned(dense: tightc.Model) -> tightc.Model:
    return tightc.prune(dense, sparsity=0.8).model


@pytest.fixture(scope="module")
def permuted(pruned: tightc.Model) -> tightc.Model:
    return tightc.permute(pruned, **FAST).model


@pytest.fixture(scope="module")
def packed(permuted: tightc.Model) -> tightc.Model:
    return tightc.pack(permuted).model


def tensors(model: tightc.Model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.to_proto().graph.initializer}


def changed(model: tightc.Model, name: str, values: np.ndarray) -> tightc.Model:
    """`model` with other values, or another type, of one initializer."""
    proto = model.to_proto()
    (tensor,) = (entry for entry in proto.graph.initializer if entry.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return loaded(proto, "changed.onnx")


def rows(report: tightc.Report) -> dict[str, Any]:
    return {row["name"]: row for row in report.layers}


def test_a_model_is_equal_to_itself(
    dense: tightc.Model, permuted: tightc.Model, packed: tightc.Model
) -> None:
    for model in (dense, permuted, packed):
        report = tightc.diff(model, model)
        assert report.equal is True
        assert {row["change"] for row in report.layers} == {"same"}
        assert all(row[name]["a"] == row[name]["b"] for row in report.layers for name in ("passes", "bytes"))
        assert (report.totals["weights_changed"], report.totals["largest_change"]) == (0, 0.0)


def test_weights_that_were_pruned_are_counted(dense: tightc.Model, pruned: tightc.Model) -> None:
    report = tightc.diff(dense, pruned, array=(8, 8))
    before, after = tensors(dense), tensors(pruned)
    total = 0
    for name, weight in LAYERS.items():
        row = rows(report)[name]
        count = sum(int(x != y) for x, y in zip(before[weight].flat, after[weight].flat, strict=True))
        largest = max(
            abs(float(x) - float(y)) for x, y in zip(before[weight].flat, after[weight].flat, strict=True)
        )
        assert (row["weight"], row["weights_changed"], row["largest_change"]) == (weight, count, largest)
        for side, values in (("a", before), ("b", after)):
            assert row["density"][side] == np.count_nonzero(values[weight]) / values[weight].size
        total += count
    assert report.totals["weights_changed"] == total and not report.equal
    assert (report.totals["other_tensors_changed"], report.totals["graph_changed"]) == (0, False)


def test_the_measures_are_those_of_two_simulations(pruned: tightc.Model, packed: tightc.Model) -> None:
    report = tightc.diff(pruned, packed)
    alone = {"a": tightc.simulate(pruned, array=(8, 8)), "b": tightc.simulate(packed)}
    for side, simulated in alone.items():
        for name in ("passes", "cycles", "energy_pj", "speedup", "array"):
            assert report.totals[name][side] == simulated.totals[name]
        for row in simulated.layers:
            for name in ("passes", "cycles", "energy_pj", "method"):
                assert rows(report)[row["name"]][name][side] == row[name]
    assert report.totals["bytes"] == {"a": len(pruned.to_bytes()), "b": len(packed.to_bytes())}


def test_bytes_of_a_layer_are_those_of_its_tensors(permuted: tightc.Model, packed: tightc.Model) -> None:
    report = tightc.diff(permuted, packed)
    stored = tensors(packed)
    for name, weight in LAYERS.items():
        own = sum(array.nbytes for key, array in stored.items() if key.startswith(f"{weight}."))
        assert own > 0
        assert rows(report)[name]["bytes"] == {"a": tensors(permuted)[weight].nbytes, "b": own}
    assert report.totals["weights_changed"] == 0 and report.totals["graph_changed"] is False
    assert {row["change"] for row in report.layers} == {"changed"}


def test_each_side_runs_on_the_array_of_its_own_tiles(pruned: tightc.Model, permuted: tightc.Model) -> None:
    wide = tightc.permute(pruned, array=(16, 16), fan_in=4, method="first-fit").model
    assert tightc.diff(permuted, wide).totals["array"] == {"a": "8x8", "b": "16x16"}
    assert tightc.diff(pruned, wide).totals["array"] == {"a": "16x16", "b": "16x16"}
    assert tightc.diff(wide, pruned).totals["array"] == {"a": "16x16", "b": "16x16"}
    assert tightc.diff(pruned, pruned).totals["array"] == {"a": "32x32", "b": "32x32"}
    with pytest.raises(tightc.OptionError, match="array: expected 16x16"):
        tightc.diff(permuted, wide, array=(8, 8))


def test_other_tiles_with_the_same_measures_are_a_difference(dense: tightc.Model) -> None:
    quick = {"steps": 3, "moves_per_weight": 20}
    one, two = (
        tightc.permute(dense, array=(4, 4), fan_in=4, temp_schedule=quick, seed=seed).model for seed in (0, 1)
    )
    report = tightc.diff(one, two)
    assert not report.equal
    assert "tiles" in {row["change"] for row in report.layers}
    assert report.totals["layers_changed"] == sum(row["change"] != "same" for row in report.layers)


def test_a_bias_is_another_tensor(dense: tightc.Model) -> None:
    other = changed(dense, "first_b", tensors(dense)["first_b"] + 1)
    report = tightc.diff(dense, other)
    assert {row["change"] for row in report.layers} == {"same"}
    assert (report.totals["other_tensors_changed"], report.equal) == (1, False)


@pytest.mark.parametrize("value", ["value_float = {}.0", "value_floats = [1.0, {}.0, 1.0, 1.0]"])
def test_a_constant_that_is_no_tensor_is_compared(value: str) -> None:
    text = "net (float[1, 8] x) => (float[1, 4] y) {{ c = Constant<{}>() h = MatMul(x, w) y = Mul(h, c) }}"
    weight = models.sparse(8, 4, density=1.0)
    one, two = (loaded(models.build(text.format(value.format(number)), w=weight)) for number in (1, 2))
    report = tightc.diff(one, two)
    assert (report.totals["graph_changed"], report.equal) == (True, False)
    assert tightc.diff(one, one).equal


@pytest.mark.parametrize("part", ["stride", "operator", "input", "output", "opset"])
def test_the_graph_is_compared(dense: tightc.Model, part: str) -> None:
    proto = dense.to_proto()
    if part == "stride":
        proto.graph.node[0].attribute.append(helper.make_attribute("dilations", [1, 1]))
    elif part == "operator":
        proto.graph.node[1].op_type = "Sigmoid"
    elif part == "input":
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    elif part == "output":
        proto.graph.output[0].name = proto.graph.node[-1].output[0] = "scores"
    else:
        proto.opset_import[0].version += 1
    report = tightc.diff(dense, loaded(proto))
    assert (report.totals["graph_changed"], report.equal) == (True, False)


def test_names_of_nodes_and_metadata_do_not_count(dense: tightc.Model) -> None:
    proto = dense.to_proto()
    for index, node in enumerate(proto.graph.node):
        node.name, node.doc_string = f"n{index}", "renamed"
        attributes = list(node.attribute)
        del node.attribute[:]
        node.attribute.extend(reversed(attributes))
    proto.metadata_props.append(onnx.StringStringEntryProto(key="author", value="somebody"))
    report = tightc.diff(dense, loaded(proto))
    assert report.equal and [row["weight"] for row in report.layers] == list(LAYERS.values())


def test_a_layer_of_another_size(dense: tightc.Model) -> None:
    proto = dense.to_proto()
    values = tensors(dense)
    for tensor in proto.graph.initializer:
        if tensor.name == "last_w":
            tensor.CopyFrom(numpy_helper.from_array(np.concatenate([values["last_w"]] * 2), "last_w"))
        if tensor.name == "last_b":
            tensor.CopyFrom(numpy_helper.from_array(np.tile(values["last_b"], 2), "last_b"))
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    row = rows(tightc.diff(dense, loaded(proto)))["last"]
    assert (row["weights_changed"], row["largest_change"], row["change"]) == (None, None, "changed")


def test_layers_that_only_one_has(dense: tightc.Model) -> None:
    text = """net (float[B, 3, 8, 8] image) => (float[B, 8, 8, 8] a) {
        [first] a = Conv<pads = [1, 1, 1, 1]>(image, first_w)
    }"""
    short = loaded(models.build(text, first_w=tensors(dense)["first_w"]))
    for a, b, side in ((dense, short, "a"), (short, dense, "b")):
        report = tightc.diff(a, b)
        assert {name: row["change"] for name, row in rows(report).items()} == {
            "first": "same", "second": f"only in {side}", "last": f"only in {side}"
        }  # fmt: skip
        assert report.totals[f"layers_only_in_{side}"] == 2 and not report.equal
        other = "b" if side == "a" else "a"
        assert rows(report)["second"]["cycles"][other] is None
        assert rows(report)["second"]["weights_changed"] is None


def test_another_type_of_the_same_numbers(dense: tightc.Model) -> None:
    quantized = tightc.quantize(dense).model
    report = tightc.diff(dense, quantized)
    for name, row in rows(report).items():
        assert row["type"] == {"a": "float32", "b": "int8"}
        exact = tensors(dense)[LAYERS[name]].astype(np.float64)
        stored = rows(tightc.quantize(dense).report)[name]
        assert 0 < row["largest_change"] <= np.abs(exact).max() and stored["error"] >= 0
    assert report.totals["graph_changed"] is True


def test_stripped_weights_are_matched_by_their_layers(permuted: tightc.Model) -> None:
    stripped = tightc.pack(permuted, strip=True).model
    report = tightc.diff(permuted, stripped)
    assert [row["name"] for row in report.layers] == list(LAYERS)
    assert report.totals["weights_changed"] == 0 and report.totals["layers_only_in_a"] == 0


def test_a_shared_weight_counts_once() -> None:
    text = """net (float[B, 6] x) => (float[B, 6] z) {
        [one] y = MatMul(x, w)
        [two] z = MatMul(y, w)
    }"""
    weight = models.sparse(6, 6)
    one, two = (loaded(models.build(text, w=values)) for values in (weight, weight + 1))
    report = tightc.diff(one, two)
    assert [row["weights_changed"] for row in report.layers] == [36, 36]
    assert report.totals["weights_changed"] == 36
    assert report.layers[1]["shares"] == "one"


def test_a_model_without_layers_is_refused(dense: tightc.Model) -> None:
    relu = loaded(models.build("net (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }"))
    with pytest.raises(tightc.ModelError, match="no layer can be packed"):
        tightc.diff(dense, relu)
