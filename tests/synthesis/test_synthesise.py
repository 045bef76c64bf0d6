"""The synthesis script: what it reads from its tools, the smallest element through all of them, and its page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import synthesise
from helpers.tiny_library import TINY_LIBRARY
from synthesis import search, tools
from synthesis.bench import Bench, Stimuli, measure, nm_words, pe_words, subword_words, zero_gated_words
from synthesis.designs import PeForm, baseline_designs, pe_forms
from synthesis.liberty import parse_liberty
from synthesis.library import read_library
from synthesis.page import page
from synthesis.tools import Design, Netlist, Setup, ToolError, read_area, read_period, setup_of
from synthesis.vectors import Slot, picked
from tightc.accelerator.area_table import AreaTable
from tightc.accelerator.energy_table import EnergyTable
from tightc.config.yaml import read_options

ROOT = Path(__file__).parents[2]
LIBRARIES = ("nangate45", "sg13g2")
LIBRARY = read_library(parse_liberty(TINY_LIBRARY, "tiny.lib"))
SMALLEST = Design("tiny-pe", "pe", PeForm(1).design.sources, {"FAN_IN": 1, "SUM_BITS": 4, "LANE_REGISTER": 0})

needs_tools = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in tools.TOOLS),
    reason="yosys, opensta or iverilog is not installed",
)


def test_the_area_is_that_of_the_module() -> None:
    text = "   Number of cells:  3\n     NAND2  3\n\n   Chip area for module '\\pe': 1692.292000\n"
    assert read_area(text) == 1692.292
    assert read_area(text.replace("module", "top module")) == 1692.292
    with pytest.raises(ToolError, match="expected a chip area"):
        read_area("Number of cells: 3")


def test_the_period_is_that_of_the_longest_path() -> None:
    text = "Startpoint   Endpoint     Slack\n----\n_1_/Q (DFF) _2_/D (DFF)   -2.4478\n_1_/Q (DFF) out (output)  -0.3\n"
    assert read_period(text) == 2.4478
    with pytest.raises(ToolError, match=r"expected the slack of a path, got 'No paths found\.'"):
        read_period("No paths found.\n")


def test_a_missing_program_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "sta" else "/bin/true")
    monkeypatch.setattr(tools, "TOOLS", {"sta": "sta -version"})
    assert synthesise.main(["--liberty", "a.lib", "--node", "45"]) == 2
    said = capsys.readouterr().err
    assert said == "synthesise.py: expected sta on the path, got none; install yosys, opensta and iverilog\n"


def test_a_program_that_fails_says_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"^sh failed: two / three$"):
        tools.run(["sh", "-c", "echo two; echo three; exit 1"], tmp_path)


def test_a_file_that_is_no_library_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(synthesise, "require_tools", dict)
    (tmp_path / "a.lib").write_text("hello")
    assert synthesise.main(["--liberty", str(tmp_path / "a.lib"), "--node", "45"]) == 2
    assert "expected a Liberty library, got another file" in capsys.readouterr().err


def test_the_recorded_command_has_no_folders() -> None:
    options = synthesise.parse_arguments(
        ["--liberty", "/x/y/cells.lib.gz", "--node", "45", "--sram", "/x/a.lib", "/x/b.lib"]
    )
    assert synthesise.command_of(options, "cells") == (
        "python scripts/synthesise.py --liberty cells.lib.gz --name cells --node 45 --sram a.lib b.lib"
    )


def netlist(period: float, area: float, mapping: str = "small", target: int = 0) -> Netlist:
    return Netlist(area, period, mapping, target, Path(), Path())


def test_the_common_clock_is_the_slowest_ones_in_steps_of_50_ps() -> None:
    assert search.common_clock([netlist(1.2, 1), netlist(1.61, 1)]) == 1.65
    assert search.common_clock([netlist(1.65, 1)]) == 1.65


@pytest.mark.parametrize(
    ("clock", "area", "mapping"),
    [
        (3.0, 100.0, "small"),
        (1.9, 110.0, "small"),
        (1.7, 145.6, "balanced"),
        (1.2, 194.4, "fast"),
        (0.9, None, None),
    ],
)
def test_the_smallest_netlist_that_meets_the_clock_is_found(
    monkeypatch: pytest.MonkeyPatch, clock: float, area: float | None, mapping: str | None
) -> None:
    """A stand-in for the tools: a shorter target gives a larger and faster netlist, within each mapping's limits."""
    limits = {"small": (1.8, 2.4, 100.0), "balanced": (1.5, 1.9, 140.0), "fast": (1.0, 1.6, 180.0)}

    def synthesized(design: Design, mapping: str, target: int, setup: Setup) -> Netlist:
        fastest, slowest, smallest = limits[mapping]
        period = min(max(target / 1000, fastest), slowest)
        return netlist(period, smallest * (1 + 0.2 * (slowest - period)), mapping, target)

    monkeypatch.setattr(search, "synthesize", synthesized)
    found = search.smallest_at(SMALLEST, clock, None)  # type: ignore[arg-type]
    assert (found and found.mapping) == mapping
    if found and area:
        assert found.period <= clock
        assert found.area == pytest.approx(area)


def test_every_form_is_there_once() -> None:
    forms = pe_forms()
    assert len({form.design.name for form in forms}) == len(forms)
    assert {form.fan_in for form in forms} == {1, 2, 4, 8, 16, 32}
    for form in forms:
        assert all((ROOT / source).is_file() for source in form.design.sources)


def random_slots(fan_in: int, count: int) -> list[Slot]:
    rng = np.random.default_rng(3)
    found = []
    for number in range(count):
        kind = "used" if number % 2 else "idle"
        selects = rng.integers(0, fan_in, 4)
        selects[-1] = selects[-1] if kind == "used" else -1
        weights = np.where(selects >= 0, rng.integers(-128, 128, 4), 0)
        lane = rng.integers(-128, 128, (8, fan_in))
        found.append(Slot(kind, weights, selects, lane, rng.integers(-(2**20), 2**20, 8)))
    return found


def test_the_picked_lane_carries_what_the_slot_multiplies() -> None:
    slot = random_slots(4, 2)[1]
    alone = picked(slot)
    assert alone.lane.shape == (8, 1)
    assert alone.lane[:, 0].tolist() == slot.lane[:, slot.selects[-1]].tolist()
    assert set(alone.selects.tolist()) <= {-1, 0}


@needs_tools
def test_the_smallest_element_goes_through_all_tools(tmp_path: Path) -> None:
    (tmp_path / "tiny.lib").write_text(TINY_LIBRARY)
    setup = setup_of(LIBRARY, tmp_path / "tiny.lib", tmp_path / "results")
    found = tools.synthesize(SMALLEST, "small", 5000, setup)
    module = json.loads(found.json.read_text())["modules"]["pe"]
    cells = [cell["type"] for cell in module["cells"].values()]
    areas = {"INV": 1, "BUF": 2, "NAND2": 2, "NOR2": 2.5, "DFF": 5}
    assert found.area == pytest.approx(sum(areas[cell] for cell in cells))
    assert cells.count("DFF") == 8 + 1 + 4  # weight, select and sum
    assert found.period > 10 * 0.03  # a multiplier of 4 bits is deeper than ten cells
    assert tools.synthesize(SMALLEST, "small", 5000, setup) == found

    bench = Bench(SMALLEST, pe_words(1), 50.0, setup.arrival, setup.slew)
    measured = measure(bench, found, random_slots(1, 6), LIBRARY)
    assert measured.compared == 6 * 12 - 4 - 1
    assert set(measured.parts) == {"load", "used", "idle"}
    assert measured.total("used") > measured.total("idle") > 0
    # at least every clock pin: 0.002 pF twice a cycle, and 0.004 pJ or more inside
    assert measured.total("idle") > 13 * (2 * 0.002 * 2 + 0.004)


SUBWORD = Design(
    "tiny-subword",
    "pe",
    PeForm(1).design.sources,
    {"FAN_IN": 2, "SUM_BITS": 4, "LANE_REGISTER": 0, "SUBWORD_BITS": 4},
)
SHADOW = Design(
    "tiny-shadow", "pe", PeForm(1).design.sources, {"FAN_IN": 2, "SUM_BITS": 4, "ONE_HOT": 1, "SHADOW": 1}
)
TWO_OF_FOUR = Design(
    "tiny-nm", "nm_pe", baseline_designs()["nm_2_8"].sources, {"N": 2, "M": 4, "SUM_BITS": 4}
)
GATED = Design("tiny-gated", "zero_gated_pe", baseline_designs()["zero_gated"].sources, {"SUM_BITS": 4})


@needs_tools
@pytest.mark.parametrize(
    ("design", "fan_in", "stimuli"),
    [
        (SUBWORD, 2, lambda slots: subword_words(2)),
        (SHADOW, 2, lambda slots: pe_words(2, True)),
        (TWO_OF_FOUR, 4, lambda slots: nm_words(slots, 4)),
        (GATED, 1, lambda slots: zero_gated_words),
    ],
    ids=lambda value: value.name if isinstance(value, Design) else "",
)
def test_the_other_elements_run_too(
    tmp_path: Path, design: Design, fan_in: int, stimuli: Callable[[list[Slot]], Stimuli]
) -> None:
    (tmp_path / "tiny.lib").write_text(TINY_LIBRARY)
    setup = setup_of(LIBRARY, tmp_path / "tiny.lib", tmp_path / "results")
    found = tools.synthesize(design, "small", 5000, setup)
    slots = random_slots(fan_in, 6)
    measured = measure(Bench(design, stimuli(slots), 50.0, setup.arrival, setup.slew), found, slots, LIBRARY)
    assert measured.compared == 6 * 12 - 4 - 1
    assert measured.total("used") > measured.total("idle") > 0


def test_a_subword_is_the_highest_of_its_weight() -> None:
    slot = replace(random_slots(1, 2)[1], weights=np.array([0, 7, -16, -113]))
    # {place, sign, magnitude}: 7, then -1 and -7 in the higher place
    assert subword_words(1)(slot)["slot_below"][:4] == [0, 0b000111, 0b110001, 0b110111]


def test_the_second_weight_is_that_of_the_slot_before_of_its_kind() -> None:
    slots = random_slots(4, 6)  # idle and used in turns
    words = nm_words(slots, 4)(slots[3])
    for cycle in range(4):
        first, second = int(slots[3].weights[cycle]) & 255, int(slots[1].weights[cycle]) & 255
        assert words["slots_below"][cycle] == first | second << 8
        codes = [4 + int(slots[i].selects[cycle]) if slots[i].selects[cycle] >= 0 else 0 for i in (3, 1)]
        assert words["selects_below"][cycle] == codes[0] | codes[1] << 3


@needs_tools
def test_a_netlist_that_is_not_the_rtl_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.lib").write_text(TINY_LIBRARY)
    setup = setup_of(LIBRARY, tmp_path / "tiny.lib", tmp_path / "results")
    found = tools.synthesize(SMALLEST, "small", 5000, setup)
    netlists = json.loads(found.json.read_text())
    gates = [cell for cell in netlists["modules"]["pe"]["cells"].values() if cell["type"] == "NAND2"]
    gates[len(gates) // 2]["type"] = "NOR2"
    (tmp_path / "other").mkdir()
    other = replace(found, json=tmp_path / "other" / "netlist.json")
    other.json.write_text(json.dumps(netlists))
    bench = Bench(SMALLEST, pe_words(1), 50.0, setup.arrival, setup.slew)
    with pytest.raises(
        ToolError, match=r"tiny-pe: expected a netlist equal to its RTL, got mismatches \d+ of 67"
    ):
        measure(bench, other, random_slots(1, 6), LIBRARY)


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_page_shows_the_tables(name: str) -> None:
    table = read_options(ROOT / "configs" / "area" / f"{name}.yaml", AreaTable)
    energy = read_options(ROOT / "configs" / "energy" / f"{name}.yaml", EnergyTable)
    text = (ROOT / "docs" / "benchmarks" / "synthesis.md").read_text(encoding="utf-8")
    section = text.split(f"## {name}\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line[:1] == "|"
    ]
    plain = next(row for row in rows if row[0] == "fan-in 1, register")
    assert plain[1:4] == [f"{table.pe(1).area:.0f}", "1.00", f"{table.pe(1).delay:.2f}"]
    eight = next(row for row in rows if row[0] == "fan-in 8, register, tree")
    assert eight[2] == f"{table.pe(8).area / table.pe(1).area:.2f}"
    assert sum(row[0].startswith("fan-in") and len(row) == 10 for row in rows) == len(table.pes)
    entries = {row[0]: row[1] for row in rows if len(row) == 3}
    assert entries["int8 multiply"].split() == [f"{energy.int8_multiply.energy:.4g}", "pJ"]
    assert entries["dram"].split() == [f"{energy.dram.energy:.4g}", "pJ/byte"]
    assert table.command.split()[-1] in section
    assert table.tools in section


def test_the_committed_page_is_made_of_the_committed_tables() -> None:
    tables = [read_options(ROOT / "configs" / "area" / f"{name}.yaml", AreaTable) for name in LIBRARIES]
    energies = [read_options(ROOT / "configs" / "energy" / f"{name}.yaml", EnergyTable) for name in LIBRARIES]
    committed = (ROOT / "docs" / "benchmarks" / "synthesis.md").read_text(encoding="utf-8")
    assert page(tables, energies) == committed


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_energy_entries_add_up_to_the_measured_element(name: str) -> None:
    """What the table says of a slot of fan-in 8 is what the netlist took, within the digits that are written."""
    area = read_options(ROOT / "configs" / "area" / f"{name}.yaml", AreaTable)
    energy = read_options(ROOT / "configs" / "energy" / f"{name}.yaml", EnergyTable)
    total = energy.int8_multiply.energy + energy.int32_add.energy + 3 * energy.multiplexer_level.energy
    total += (8 + 4) * energy.register_byte.energy
    assert total == pytest.approx(area.pe(8).used, rel=2e-3)
    empty = area.pe(1, lane_register=False).idle
    assert energy.idle_pj + 4 * energy.register_byte.energy == pytest.approx(empty, rel=2e-3)
