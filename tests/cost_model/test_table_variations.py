"""Tables with one entry changed, against sums by hand."""

from __future__ import annotations

from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc
from tightc.accelerator.accelerator import Accelerator
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable, default_table
from tightc.config.yaml import parse_options, read_options
from tightc.cost_model.area import ArrayForm, area_metrics
from tightc.cost_model.energy import PARTS, energy_pj
from tightc.cost_model.events import Events
from tightc.cost_model.sensitivity import area_variations, energy_variations
from tightc.tile.array import ArrayShape

TABLE = default_table()
CHANGES = {"halved": 0.5, "-20 %": 0.8, "+20 %": 1.2, "doubled": 2.0}
EVENTS = Events(**dict.fromkeys(asdict(Events()), 80))
ASSUMED = {"register_byte": "registers", "lane_byte": "lanes", "multiplexer_level": "multiplexer"}
# for int8, what an entry is in each part: all of it, or a fraction of the 80 events
BUFFERS = ("activation_buffer", "weight_buffer", "partial_sum_buffer", "index")
MEASURED = {
    "int8_multiply": {"mac": 0.2 / 0.3},
    "int32_add": {"mac": 0.1 / 0.3},
    "fp32_multiply": {},
    "fp32_add": {},
    "sram": dict.fromkeys(BUFFERS, 1.0),
    "dram": {"dram": 1.0},
}


def changed_parts(table: EnergyTable) -> dict[str, float]:
    """Parts with another multiple of their energy in the default table."""
    accelerator = Accelerator(ArrayShape(2, 2), dram_bytes_per_cycle=1.0)
    was, found = energy_pj(EVENTS, TABLE, accelerator), energy_pj(EVENTS, table, accelerator)
    return {part: found[part] / was[part] if was[part] else inf for part in PARTS if found[part] != was[part]}


def test_every_entry_is_changed_alone_and_ranges_are_taken_at_their_other_end() -> None:
    found = {(v.entry, v.change): changed_parts(v.table) for v in energy_variations(TABLE)}
    expected: dict[tuple[str, str], dict[str, float]] = {}
    for change, factor in CHANGES.items():
        for entry, part in ASSUMED.items():
            expected[entry, change] = {part: factor}
        for entry, parts in MEASURED.items():
            expected[entry, change] = {part: 1 + share * (factor - 1) for part, share in parts.items()}
        expected["all assumed", change] = dict.fromkeys(ASSUMED.values(), factor)
    expected["dram", "325 pJ/byte instead of 162.5"] = {"dram": 2.0}
    expected["idle_pe", "0.09 pJ instead of 0"] = {"idle": inf}
    assert found.keys() == expected.keys()
    for key, parts in expected.items():
        assert found[key] == pytest.approx(parts), key
    assert changed_parts(TABLE) == {}


def test_what_is_assumed_is_marked() -> None:
    marked = {v.entry for v in energy_variations(TABLE) if v.assumed and " instead of " not in v.change}
    assert marked == {*ASSUMED, "all assumed"}
    assert all(v.assumed for v in energy_variations(TABLE) if " instead of " in v.change)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_all_that_is_assumed_is_changed_together_if_it_is_more_than_one(count: int) -> None:
    text = TABLE.model_dump(mode="json")
    for name, entry in text.items():
        if isinstance(entry, dict):
            entry["assumed"] = name in list(ASSUMED)[:count]
    del text["dram"]["up_to"], text["idle_pe"]
    table = parse_options(yaml.safe_dump(text), "e.yaml", EnergyTable)
    found = {(v.entry, v.change) for v in energy_variations(table) if v.assumed}
    assert len(found) == 4 * (count + (count > 1))
    assert (("all assumed", "-20 %") in found) is (count > 1)


# --- area

FOLDER = Path(__file__).parents[2] / "configs" / "area"
SPEEDUP = 4.0


def um2(text: str) -> float:
    return float(text.removesuffix(" um2"))


def expected_areas(content: dict[str, Any], form: ArrayForm, scale: dict[str, float]) -> float:
    """mm2 of one array of `form`, by the YAML file, with each entry times what `scale` says of its name."""
    rows, columns = form.array
    registers = columns // form.columns_per_lane_register
    of = {}
    for entry in content["pes"]:
        if entry["multiplexer"] == "tree" and entry["shadow"] == form.shadow:
            name = pe_name(entry["fan_in"], entry["lane_register"], form.shadow, entry.get("subword_bits"))
            of[name] = um2(entry["area"]) * scale.get(name, 1.0)
    row = registers * of[pe_name(form.fan_in, True, form.shadow, form.subword_bits)]
    row += (columns - registers) * of[pe_name(form.fan_in, False, form.shadow, form.subword_bits)]
    single = {
        key: um2(value["area"]) * scale.get(key, 1.0)
        for key, value in content.items()
        if isinstance(value, dict) and "area" in value
    }
    feeder = single["shadow_feeder_input" if form.shadow else "feeder_input"]
    columns_take = columns * (single["accumulator"] + single["requantizer"])
    control = single["controller"] + single["step_counter"]
    return (rows * row + rows * form.fan_in * feeder + columns_take + control) / 1e6


def pe_name(fan_in: int, registered: bool, shadow: bool, subword_bits: int | None) -> str:
    parts = [f"pe of fan-in {fan_in}", "register" if registered else "wires"]
    parts += ["shadow weights"] if shadow else []
    return ", ".join([*parts, *([f"{subword_bits}-bit subwords"] if subword_bits else [])])


@pytest.mark.parametrize("name", ["nangate45", "sg13g2"])
@pytest.mark.parametrize(
    ("fan_in", "every", "shadow", "subword_bits"),
    [(8, 4, False, None), (8, 1, True, None), (4, 32, False, 4), (1, 4, False, None)],
)
def test_every_entry_that_counts_is_changed(
    name: str, fan_in: int, every: int, shadow: bool, subword_bits: int | None
) -> None:
    table = read_options(str(FOLDER / f"{name}.yaml"), AreaTable)
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    form = ArrayForm(ArrayShape(8, 16), 2, fan_in, every, shadow=shadow, subword_bits=subword_bits)
    words = ArrayForm(ArrayShape(8, 8 if subword_bits else 16), 2, 1, every, shadow=shadow, subword_bits=None)
    found = {
        (row["entry"], row["change"]): row["speedup_per_area"]
        for row in area_metrics(form, SPEEDUP, table)["speedup_per_area_if"]
    }
    registers = {True: every <= 16, False: every > 1}
    names = {
        pe_name(fan, kind, shadow, bits)
        for fan, bits in ((fan_in, subword_bits), (1, None))
        for kind in (True, False)
        if registers[kind]
    }
    names |= {"accumulator", "requantizer", "controller", "step_counter"}
    names.add("shadow_feeder_input" if shadow else "feeder_input")
    assert {entry for entry, _ in found} == names
    for entry, change in found:
        scale = {entry: CHANGES[change]}
        ratio = expected_areas(content, words, scale) / expected_areas(content, form, scale)
        assert found[entry, change] == pytest.approx(SPEEDUP * ratio)
    assert len(found) == 4 * len(names)


def test_without_a_speedup_there_is_nothing_to_vary() -> None:
    table = read_options(str(FOLDER / "nangate45.yaml"), AreaTable)
    form = ArrayForm(ArrayShape(4, 4), 1, 8, 1, shadow=False, subword_bits=None)
    rows = area_metrics(form, None, table)["speedup_per_area_if"]
    assert rows and all(row["speedup_per_area"] is None for row in rows)


@pytest.mark.parametrize("name", ["nangate45", "sg13g2"])
def test_registers_of_a_lane_never_take_less_than_nothing(name: str) -> None:
    table = read_options(tightc.configs() / f"area/{name}.yaml", AreaTable)
    assert table.lane_registers_area(8) == table.pe(8).area - table.pe(8, lane_register=False).area > 0
    changed = {
        v.change: v.table.lane_registers_area(8)
        for v in area_variations(table, lambda _: True)
        if v.entry == "pe of fan-in 8, wires"
    }
    assert changed["doubled"] == 0.0 < changed["+20 %"] < table.lane_registers_area(8) < changed["halved"]
