"""Energy tables: the shipped one, its rule for on-chip memory, and the errors for wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import tightc.accelerator.energy_table as module
from tightc.accelerator.energy_table import EnergyEntry, EnergyTable, default_table
from tightc.config.yaml import parse_options, read_options
from tightc.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "configs" / "energy"
EVENTS = (
    "int8_multiply",
    "int32_add",
    "fp32_multiply",
    "fp32_add",
    "register_byte",
    "lane_byte",
    "multiplexer_level",
)
LINES = (FOLDER / "horowitz-45nm.yaml").read_text(encoding="utf-8")


def error(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_options(text, "e.yaml", EnergyTable)
    assert caught.value.exit_code == 2
    return str(caught.value)


def with_sram(**values: Any) -> str:
    """The shipped table with other values for on-chip memory, which then starts at line 1."""
    table = yaml.safe_load(LINES)
    sram = table.pop("sram") | values
    sram = {key: value for key, value in sram.items() if value is not None}
    return yaml.safe_dump({"sram": sram}, sort_keys=True) + yaml.safe_dump(table)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_the_files_that_come_along_load_and_read_back(path: Path) -> None:
    found = read_options(path, EnergyTable)
    assert found.name == path.stem
    assert parse_options(yaml.safe_dump(found.model_dump(mode="json")), "e.yaml", EnergyTable) == found


def test_the_default_is_the_file_to_copy() -> None:
    packaged = Path(module.__file__).with_name("energy-45nm.yaml")
    assert packaged.read_text(encoding="utf-8") == LINES
    assert default_table() == read_options(FOLDER / "horowitz-45nm.yaml", EnergyTable)
    assert default_table() is default_table()


def test_the_default_holds_the_published_figures() -> None:
    table = default_table()
    entries = {name: getattr(table, name) for name in EVENTS}
    assert {name: entry.energy for name, entry in entries.items()} == {
        "int8_multiply": 0.2,
        "int32_add": 0.1,
        "fp32_multiply": 3.7,
        "fp32_add": 0.9,
        "register_byte": 0.03,
        "lane_byte": 0.1,
        "multiplexer_level": 0.005,
    }
    assert {name for name, entry in entries.items() if entry.assumed} == {
        "register_byte",
        "lane_byte",
        "multiplexer_level",
    }
    assert (table.sram.energy, table.sram.at, table.sram.up_to) == (1.25, 8192, None)
    assert (table.dram.energy, table.dram.up_to) == (162.5, 325.0)
    assert table.idle_pe is not None
    assert (table.idle_pe.energy, table.idle_pe.up_to, table.idle_pe.assumed) == (0.0, 0.09, True)
    for entry in (*entries.values(), table.idle_pe, table.sram, table.dram):
        assert (entry.node, entry.voltage) == (45.0, 0.9) and entry.source


@pytest.mark.parametrize(("kib", "pj"), [(8, 10), (32, 20), (1024, 100)])
def test_the_rule_for_buffers_is_near_to_what_was_published(kib: int, pj: float) -> None:
    assert default_table().sram_pj_per_byte(kib * 1024) * 8 == pytest.approx(pj, rel=0.15)


def test_buffers_cost_by_the_square_root_of_its_size() -> None:
    table = default_table()
    assert table.sram_pj_per_byte(None) == table.sram_pj_per_byte(8192) == 1.25
    assert table.sram_pj_per_byte(4 * 8192) == 2.5
    assert table.sram_pj_per_byte(2048) == 0.625


@pytest.mark.parametrize("key", EVENTS)
@pytest.mark.parametrize(
    ("missing", "meaning"),
    [
        ("energy", "energy of one event, 0 or from 1e-9 pJ to 1e9 pJ, such as 0.2 pJ"),
        ("source", "source of the figure, or basis of the assumption"),
        ("node", "process node, from 0.1 nm to 1e6 nm, such as 45 nm"),
        ("voltage", "supply voltage, from 1 mV to 1000 V, such as 0.9 V"),
    ],
)
def test_every_entry_needs_all_of_its_keys(key: str, missing: str, meaning: str) -> None:
    table = yaml.safe_load(LINES)
    del table[key][missing]
    text = yaml.safe_dump(table)
    line = text.splitlines().index(f"{key}:") + 1
    assert error(text) == f"e.yaml:{line}: {key}.{missing}: expected {meaning}, got nothing; add it"


def test_every_entry_is_needed() -> None:
    for key in EnergyTable.model_fields.keys() - {"idle_pe"}:
        table = yaml.safe_load(LINES)
        del table[key]
        meaning = EnergyTable.model_fields[key].description
        assert error(yaml.safe_dump(table)) == f"e.yaml:1: {key}: expected {meaning}, got nothing; add it"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            "  energy: 0.2 pJ",
            "  energy: 0.2",
            "energy: expected energy of one event, 0 or from 1e-9 pJ to 1e9 pJ, such as 0.2 pJ, got 0.2; give a number"
            " with its unit (pJ, fJ or nJ), such as 0.2 pJ",
        ),
        (
            "  energy: 0.2 pJ",
            "  energy: -0.2 pJ",
            "energy: expected energy of one event, 0 or from 1e-9 pJ to 1e9 pJ, such as 0.2 pJ, got '-0.2 pJ'; give "
            "0 or a value from 1e-9 pJ to 1e9 pJ",
        ),
        (
            "  energy: 0.2 pJ",
            "  energy: 0.2 pJ/byte",
            "energy: expected energy of one event, 0 or from 1e-9 pJ to 1e9 pJ, such as 0.2 pJ, got '0.2 pJ/byte'; "
            "give a number in pJ, fJ or nJ, such as 0.2 pJ",
        ),
        (
            "  energy: 0.2 pJ",
            "  assumed: 1\n  energy: 0.2 pJ",
            "assumed: expected true or false, got 1; give true or false",
        ),
    ],
)
def test_wrong_entries_get_one_sentence(old: str, new: str, sentence: str) -> None:
    line = LINES[: LINES.index(old)].count("\n") + 1
    assert error(LINES.replace(old, new)) == f"e.yaml:{line}: int8_multiply.{sentence}"


def test_a_wrong_key_in_place_of_a_needed_one_gets_a_sentence_for_each() -> None:
    assert error(LINES.replace("  energy: 0.2 pJ", "  pj: 0.2 pJ", 1)).split("\n") == [
        "e.yaml:5: int8_multiply.energy: expected energy of one event, 0 or from 1e-9 pJ to 1e9 pJ, such as 0.2 pJ, "
        "got nothing; add it",
        "e.yaml:6: int8_multiply.pj: expected one of assumed, energy, node, source, voltage, got pj; remove it",
    ]


def test_an_entry_without_words_is_refused() -> None:
    text = LINES.replace("source: Horowitz, ISSCC 2014\n", "source: ''\n", 1)
    line = text[: text.index("source: ''")].count("\n") + 1
    assert error(text) == (
        f"e.yaml:{line}: int8_multiply.source: expected source of the figure, or basis of the assumption, "
        "got ''; give a non-empty string"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"energy": 10},
            "3: sram.energy: expected energy per width of an access, 0 or from 1e-9 pJ/byte to 1e9 pJ/byte, "
            "such as 10 pJ/64bit, got 10; "
            "give a number with its unit (pJ/byte, pJ/bit, pJ/64bit or nJ/64bit), such as 10 pJ/64bit",
        ),
        (
            {"at": None},
            "1: sram.at: expected capacity that the figure holds for, from 1 B to 1024 GiB, such as 8 KiB, "
            "got nothing; add it",
        ),
        (
            {"at": "-8 KiB"},
            "2: sram.at: expected capacity that the figure holds for, from 1 B to 1024 GiB, such as 8 KiB, "
            "got '-8 KiB'; "
            "give a value from 1 B to 1024 GiB",
        ),
        (
            {"voltage": 0.9},
            "6: sram.voltage: expected supply voltage, from 1 mV to 1000 V, such as 0.9 V, got 0.9; "
            "give a number with its unit (V or mV), such as 0.9 V",
        ),
        (
            {"node": "0 nm"},
            "4: sram.node: expected process node, from 0.1 nm to 1e6 nm, such as 45 nm, got '0 nm'; "
            "give a value from 0.1 nm to 1e6 nm",
        ),
        (
            {"up_to": "9.5 pJ/64bit"},
            "6: sram.up_to: expected at least the entry's energy, 10 pJ/64bit, got 9.5 pJ/64bit; swap them "
            "or leave up_to out",
        ),
    ],
)
def test_wrong_entries_of_memories_get_one_sentence(values: dict[str, Any], sentence: str) -> None:
    assert error(with_sram(**values)) == f"e.yaml:{sentence}"


def test_a_range_may_be_a_point() -> None:
    assert parse_options(with_sram(up_to="10 pJ/64bit"), "e.yaml", EnergyTable).sram.up_to == 1.25


def test_idle_pes_cost_nothing_unless_the_table_says_so() -> None:
    table = yaml.safe_load(LINES)
    del table["idle_pe"]
    found = parse_options(yaml.safe_dump(table), "e.yaml", EnergyTable)
    assert found.idle_pe is None and found.idle_pj == 0
    assert parse_options(yaml.safe_dump(found.model_dump(mode="json")), "e.yaml", EnergyTable) == found
    assert default_table().idle_pj == 0
    table["idle_pe"] = {"energy": "0.2 pJ", "source": "x", "node": "45 nm", "voltage": "1 V"}
    assert parse_options(yaml.safe_dump(table), "e.yaml", EnergyTable).idle_pj == 0.2
    table["idle_pe"]["up_to"] = "0.1 pJ"
    text = yaml.safe_dump(table)
    line = text.splitlines().index("idle_pe:") + 5
    assert error(text) == (
        f"e.yaml:{line}: idle_pe.up_to: expected at least the entry's energy, 0.2 pJ, got 0.1 pJ; swap them or leave "
        "up_to out"
    )


def test_an_entry_is_frozen_and_takes_texts() -> None:
    entry = EnergyEntry.model_validate({"energy": "5 fJ", "source": "x", "node": "7 nm", "voltage": "700 mV"})
    assert (entry.energy, entry.node, entry.voltage, entry.assumed) == (0.005, 7.0, 0.7, False)
    with pytest.raises(ValueError, match="frozen"):
        entry.energy = 4.0  # type: ignore[misc]
