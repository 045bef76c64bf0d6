"""The area of an array: a sum by hand over the entries of a table, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

import tightc
from tightc.accelerator.area_table import AreaTable
from tightc.config.yaml import read_options
from tightc.cost_model.area import AREA_PARTS, ArrayForm, area_metrics, area_mm2
from tightc.errors import OptionError
from tightc.tile.array import ArrayShape

FOLDER = Path(__file__).parents[2] / "configs" / "area"


def table(name: str) -> AreaTable:
    return read_options(str(FOLDER / f"{name}.yaml"), AreaTable)


def um2(name: str, **form: object) -> float:
    """The area of an entry as the YAML file has it, without the code under test."""
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    (found,) = (
        entry
        for entry in content["pes"]
        if {"subword_bits": None, **entry}.items() >= {"subword_bits": None, **form}.items()
    )
    return float(found["area"].removesuffix(" um2"))


def part(name: str, key: str) -> float:
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return float(content[key]["area"].removesuffix(" um2"))


@pytest.mark.parametrize("name", ["nangate45", "sg13g2"])
@pytest.mark.parametrize(("every", "registers"), [(1, 20), (3, 6), (8, 2), (20, 1), (32, 0)])
def test_the_area_is_the_sum_over_the_parts(name: str, every: int, registers: int) -> None:
    form = ArrayForm(ArrayShape(10, 20), 2, 8, every, shadow=False, subword_bits=None)
    plain = {"fan_in": 8, "multiplexer": "tree", "shadow": False}
    row = registers * um2(name, lane_register=True, **plain)
    row += (20 - registers) * um2(name, lane_register=False, **plain)
    control = part(name, "controller") + part(name, "step_counter")
    expected = {
        "pes": 2 * 10 * row,
        "feeders": 2 * 10 * 8 * part(name, "feeder_input"),
        "accumulators": 2 * 20 * part(name, "accumulator"),
        "requantizers": 2 * 20 * part(name, "requantizer"),
        "control": 2 * control,
    }
    assert tuple(expected) == AREA_PARTS
    assert area_mm2(form, table(name)) == pytest.approx({key: value / 1e6 for key, value in expected.items()})


def test_shadow_weights_take_second_registers_and_lists() -> None:
    plain = ArrayForm(ArrayShape(4, 4), 1, 4, 1, shadow=False, subword_bits=None)
    shadow = ArrayForm(ArrayShape(4, 4), 1, 4, 1, shadow=True, subword_bits=None)
    more = {
        key: area_mm2(shadow, table("nangate45"))[key] - area_mm2(plain, table("nangate45"))[key]
        for key in AREA_PARTS
    }
    of_pe = {
        one: um2("nangate45", fan_in=4, lane_register=True, multiplexer="tree", shadow=one)
        for one in (True, False)
    }
    assert more["pes"] == pytest.approx(16 * (of_pe[True] - of_pe[False]) / 1e6)
    feeders = part("nangate45", "shadow_feeder_input") - part("nangate45", "feeder_input")
    assert more["feeders"] == pytest.approx(16 * feeders / 1e6)
    assert more["accumulators"] == more["requantizers"] == more["control"] == 0


def test_subwords_are_compared_with_the_whole_words_of_the_same_multipliers() -> None:
    form = ArrayForm(ArrayShape(8, 8), 1, 8, 1, shadow=False, subword_bits=4)
    assert form.dense == ArrayForm(ArrayShape(8, 4), 1, 1, 1, shadow=False, subword_bits=None)


def test_a_speedup_is_divided_by_what_the_array_takes_more() -> None:
    form = ArrayForm(ArrayShape(32, 32), 1, 8, 1, shadow=False, subword_bits=None)
    found = area_metrics(form, 4.5, table("nangate45"))
    assert found["area_mm2"] > found["dense_area_mm2"]
    assert found["speedup_per_area"] == pytest.approx(4.5 / (found["area_mm2"] / found["dense_area_mm2"]))
    dense = area_metrics(form.dense, 1.0, table("nangate45"))
    assert dense["speedup_per_area"] == 1.0
    assert area_metrics(form, None, table("nangate45"))["speedup_per_area"] is None


def test_a_form_that_the_table_lacks() -> None:
    form = ArrayForm(ArrayShape(4, 4), 1, 64, 1, shadow=False, subword_bits=None)
    with pytest.raises(OptionError, match=r"^area table nangate45: expected a form of the processing element that it "
                       r"holds, got fan-in 64 \(tree\); give another fan-in or form, or another table$"):  # fmt: skip
        area_mm2(form, table("nangate45"))


def net() -> tightc.Model:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((24, 40)) * (rng.random((24, 40)) < 0.2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [16, 40])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    from tightc.model.file import load_model_bytes

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return load_model_bytes(model.SerializeToString())


def test_arrays_of_another_kind_have_no_area_in_the_table() -> None:
    area = FOLDER / "nangate45.yaml"
    with pytest.raises(OptionError, match=r"^area: expected dataflow ws or is, as the table's elements keep a weight, "
                       r"got os; leave area out$"):  # fmt: skip
        tightc.simulate(net(), area=area, dataflow="os")
    edge = FOLDER.parent / "hardware" / "edge-32x32.yaml"
    floats = yaml.safe_load(edge.read_text(encoding="utf-8")) | {"operands": "fp32"}
    with pytest.raises(OptionError, match=r"^area: expected hardware with int8 operands, as the table's elements have, "
                       r"got fp32; leave area out$"):  # fmt: skip
        tightc.simulate(net(), area=area, hardware=floats)


def test_simulate_and_compare_report_the_area_of_the_packings_fan_in() -> None:
    area = FOLDER / "nangate45.yaml"
    model, _ = tightc.permute(net(), array="8x8", fan_in=4, method="first-fit")
    report = tightc.simulate(model, area=area, columns_per_lane_register=4, prefetch_weights=True)
    form = ArrayForm(ArrayShape(8, 8), 1, 4, 4, shadow=True, subword_bits=None)
    expected = area_metrics(form, report.speedup, table("nangate45"))
    assert {key: report.totals[key] for key in expected} == expected
    assert "area_mm2" not in tightc.simulate(model).totals
    rows = tightc.compare(model, array="8x8", fan_in="4", method="dense,first-fit", area=area).layers
    of = {row["method"]: row for row in rows}
    assert of["dense"]["speedup_per_area"] == 1.0
    assert of["dense"]["area_mm2"] < of["first-fit"]["area_mm2"]
