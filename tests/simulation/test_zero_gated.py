"""A dense array that gates zero weights, by counting what single PEs multiply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import oracle
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import SMALL, product
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.config.yaml import parse_options, read_options
from tightc.permutation.permute import permute
from tightc.quantization.options import QuantizeOptions
from tightc.quantization.quantize import quantize
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

AREAS = Path(__file__).parents[2] / "configs" / "area"
ARRAY = ArrayShape(8, 4)
MULTIPLY_ADD, IDLE = 0.2 + 0.1, 0.07  # pJ


def table(idle: float) -> EnergyTable:
    text = default_table().model_dump(mode="json")
    text["idle_pe"] = {"energy": f"{idle} pJ", "source": "x", "node": "45 nm", "voltage": "1 V"}
    return parse_options(yaml.safe_dump(text), "e.yaml", EnergyTable)


@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize("idle", [0, IDLE])
def test_a_zero_costs_no_product_and_keeps_its_cycles(dataflow: str, idle: float) -> None:
    matrix, vectors = models.sparse(6, 10, density=0.4), 3
    run = oracle.run_dense(
        dataflow, matrix, 1, np.ones((vectors, 10)), oracle.Machine((8, 4)), temporal_tiles=1
    )
    zeros = sum(
        weight == 0 for _ in range(vectors) for row in matrix.tolist() for weight in row
    )  # each weight meets each vector once
    assert run.counts["mac"] == matrix.size * vectors
    report = simulate(
        product(matrix, vectors), SimulateOptions(array=ARRAY, dataflow=dataflow, energy=table(idle))
    )
    saved = zeros * (MULTIPLY_ADD - idle)
    for row in (report.totals, *report.layers):
        assert row["dense_cycles"] == run.cycles
        assert row["zero_gated_energy_pj"] == pytest.approx(row["dense_energy_pj"] - saved)
        assert row["energy_gain_over_zero_gated"] == pytest.approx(
            row["zero_gated_energy_pj"] / row["energy_pj"]
        )


def test_a_packing_is_measured_against_its_own_weights() -> None:
    model = loaded(models.cnn())
    dense, packed = (
        simulate(one, SimulateOptions(array=ARRAY)).totals for one in (model, permute(model, SMALL)[0])
    )
    assert packed["zero_gated_energy_pj"] == dense["zero_gated_energy_pj"] < dense["dense_energy_pj"]
    assert packed["energy_gain_over_zero_gated"] < packed["energy_gain"]


def test_where_slots_hold_subwords_whole_weights_are_gated() -> None:
    model = quantize(loaded(models.gemm()), QuantizeOptions())[0]
    subwords, _ = permute(model, SMALL.model_copy(update={"subword_bits": 2}))
    words = simulate(model, SimulateOptions(array=ARRAY.of_words(4))).totals
    found = simulate(subwords, SimulateOptions(array=ARRAY)).totals
    assert found["dense_energy_pj"] == pytest.approx(words["dense_energy_pj"])
    assert found["zero_gated_energy_pj"] == pytest.approx(words["zero_gated_energy_pj"])


@pytest.mark.parametrize("every", [1, 4])
def test_its_elements_take_more_area(every: int) -> None:
    area = read_options(AREAS / "nangate45.yaml", AreaTable)
    content = yaml.safe_load((AREAS / "nangate45.yaml").read_text(encoding="utf-8"))
    gated, plain = (
        float(entry["area"].removesuffix(" um2")) for entry in (content["zero_gated"], content["pes"][0])
    )
    options = SimulateOptions(array=ARRAY, arrays=3, area=area, columns_per_lane_register=every)
    totals = simulate(product(models.sparse(6, 10), 3), options).totals
    more = totals["zero_gated_area_mm2"] - totals["dense_area_mm2"]
    assert more == pytest.approx(3 * 8 * 4 * (gated - plain) / 1e6)
    without = options.model_copy(update={"area": area.model_copy(update={"zero_gated": None})})
    assert "zero_gated_area_mm2" not in simulate(product(models.sparse(6, 10), 3), without).totals


def test_compare_gives_the_gain_over_it() -> None:
    options = CompareOptions(array=ARRAY, method=("dense", "first-fit"), fan_in=(3,))
    dense, packed = compare([loaded(models.cnn())], options).layers
    assert dense["energy_gain_over_zero_gated"] < dense["energy_gain"] == 1
    over = packed["energy_gain_over_zero_gated"] / dense["energy_gain_over_zero_gated"]
    assert over == pytest.approx(packed["energy_gain"])


@pytest.mark.parametrize("dataflow", ["ws", "is"])
def test_every_baseline_has_the_lanes_and_the_bypass_of_the_options(dataflow: str) -> None:
    """Dense and zero-gated arrays get what tight packing gets: fewer lane registers, and sums that bypass a buffer."""
    model = loaded(models.cnn())
    plain = simulate(model, SimulateOptions(array=ARRAY, dataflow=dataflow)).totals
    for liberty, part in (
        ({"accumulator_bypass": True}, "partial_sum_buffer"),
        ({"columns_per_lane_register": 4}, "registers"),
    ):
        given = simulate(model, SimulateOptions(array=ARRAY, dataflow=dataflow, **liberty)).totals
        assert given["dense_energy_parts_pj"][part] < plain["dense_energy_parts_pj"][part]
        saved = plain["dense_energy_pj"] - given["dense_energy_pj"]
        assert plain["zero_gated_energy_pj"] - given["zero_gated_energy_pj"] == pytest.approx(saved)
