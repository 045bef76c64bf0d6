"""The page of all synthesized libraries, made from their tables alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from synthesis.designs import COLUMNS, FAN_INS, ROWS
from tightc.accelerator.area_table import AreaEntry, AreaTable, MeasuredEntry, PeEntry
from tightc.accelerator.energy_table import EnergyEntry, EnergyTable, MemoryEntry, Sourced
from tightc.config.yaml import read_options

_HEAD = """# Area, timing and energy by synthesis

Made by `scripts/synthesise.py`, a command for each cell library; the figures are those of `configs/area` and
`configs/energy`. The library files are not part of this repository.

**How.** Yosys flattens a module and maps it with abc. Multiplier and adder stay apart (`synth -flatten -noalumacc`):
fused, as Yosys has them by default, they take more area. Three mappings are tried, from the smallest to the fastest,
each for several target delays. OpenSTA gives the longest path, from register to register or port, without wires.
Inputs come from a register of the library that drives four inverters. "At the clock" is the smallest netlist found
that meets the clock. That clock is the shortest, in steps of 50 ps, that all processing elements meet. "Fastest" has
the shortest path found, "smallest" the least area.

**Energy.** Slots of real tiles are streamed through the netlist in Icarus, at the clock, with the delay of every cell,
so that glitches count. The tiles are those of a ResNet-20 pruned to a tenth and packed for each fan-in. The activations
are int8, of the unpruned network on test images. Subwords are those of the same weights, and the second weight of a 2:8
element is one of another slot. Outputs are compared with the RTL in every cycle. A toggle costs half the load times the
voltage squared, and what the cell's tables of internal power say.

**Forms.** "Register" has the lane's inputs registered in each element, "wires" passes them on. With a register every g
columns, `columns // g` elements of a row are of the first form and the others of the second. A fan-in of 8 is also the
element of column combining, and that of a 1:8 pattern. A 2:8 element holds two weights and adds two products.

**Not modeled.** Wires, clock tree, clock gating, leakage and placement. A lane that passes as wires drives several
elements, and neither its wire nor its stronger driver is counted.
"""


def write_page(configs: Path, path: Path) -> None:
    """Writes the page of all tables in `configs`."""
    tables = [read_options(file, AreaTable) for file in sorted((configs / "area").glob("*.yaml"))]
    energies = [read_options(configs / "energy" / f"{table.name}.yaml", EnergyTable) for table in tables]
    path.write_text(page(tables, energies), encoding="utf-8")


def page(tables: Sequence[AreaTable], energies: Sequence[EnergyTable]) -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for table, energy in zip(tables, energies, strict=True):
        parts += _library(table, energy)
    return "\n".join(parts)


def _library(table: AreaTable, energy: EnergyTable) -> list[str]:
    plain = table.pe(1)
    ports = [("feeder, per lane input", table.feeder_input), ("the same, shadow", table.shadow_feeder_input)]
    ports += [(f"network, {entry.banks} banks, per lane input", entry) for entry in table.banks]
    modules = [
        *_baselines(table),
        *ports,
        ("accumulator of a column", table.accumulator),
        ("requantizer of a column", table.requantizer),
        ("controller", table.controller),
        ("step counter", table.step_counter),
    ]
    return [
        f"## {table.name}",
        "",
        f"{table.node:g} nm, {table.voltage:g} V, clock {table.clock:g} ns; {table.tools}. Command:",
        "",
        *(f"    {line}" for line in _wrapped(table.command)),
        "",
        "### Processing elements",
        "",
        "Area in um2 and longest path in ns; ratios to the plain element, which has fan-in 1 and a lane register.",
        "",
        *_table(
            [
                "element",
                "at the clock",
                "ratio",
                "path",
                "fastest",
                "ratio",
                "path",
                "smallest",
                "ratio",
                "path",
            ],
            ([_form(entry), *_figures(entry, plain)] for entry in table.pes),
        ),
        "",
        "Energy in pJ of a cycle: with a weight, with an empty slot, and of loading. In a dense array, of fan-in 1, an",
        "empty slot is a weight of 0.",
        "",
        *_table(
            ["element", "used", "idle", "load"],
            (
                [name, *(f"{value:.3f}" for value in (entry.used, entry.idle, entry.load))]
                for name, entry in [*((_form(entry), entry) for entry in table.pes), *_baselines(table)]
            ),
        ),
        "",
        "### Other modules",
        "",
        "Where no netlist meets the clock, the fastest stands for it: that module has to be pipelined. Feeders and",
        "step counter are those for a buffer of 64 KiB and maps of up to 63x63 with their padding.",
        "",
        *_table(
            ["module", "at the clock", "path", "fastest", "path", "smallest", "path", "meets the clock"],
            (
                [name, *_plain_figures(entry), "yes" if entry.delay <= table.clock else "no"]
                for name, entry in modules
            ),
        ),
        "",
        *_array(table),
        *(_sram(table) if table.sram else []),
        "### Energy table",
        "",
        "The entries add up to a cycle of the element of fan-in 8 with a lane register and a weight. A level of",
        "another fan-in may take more or less. An idle element is an empty slot of fan-in 1, without the sum that it",
        "passes on. The multiplexer of an empty slot follows its lane's inputs, and that is not counted: at fan-in 8",
        f"it takes {_of_multiplexer(table):.2f} pJ more. An element that no data reach takes less.",
        "",
        *_table(
            ["entry", "energy", "source"],
            (
                [
                    name.replace("_", " "),
                    _energy(entry),
                    _source(entry),
                ]
                for name, entry in energy
                if isinstance(entry, EnergyEntry | MemoryEntry)
            ),
        ),
        "",
    ]


def _of_multiplexer(table: AreaTable) -> float:
    """pJ that an empty slot of fan-in 8 takes above one of fan-in 1."""
    return table.pe(8, lane_register=False).idle - table.pe(1, lane_register=False).idle


def _baselines(table: AreaTable) -> list[tuple[str, MeasuredEntry]]:
    """The elements of other methods."""
    found: list[tuple[str, MeasuredEntry]] = [
        (f"{entry.weights}:{entry.inputs} element, {entry.weights} weights", entry) for entry in table.nm
    ]
    return [*found, *([("zero-gated dense element", table.zero_gated)] if table.zero_gated else [])]


def _form(entry: PeEntry) -> str:
    marks = [entry.multiplexer if entry.fan_in > 1 else "", "shadow weights" if entry.shadow else ""]
    marks.append(f"{entry.subword_bits}-bit subwords" if entry.subword_bits else "")
    lane = "register" if entry.lane_register else "wires"
    return ", ".join([f"fan-in {entry.fan_in}", lane, *filter(None, marks)])


def _figures(entry: AreaEntry, plain: AreaEntry) -> list[str]:
    return [
        *(f"{entry.area:.0f}", f"{entry.area / plain.area:.2f}", f"{entry.delay:.2f}"),
        *(
            f"{entry.fastest_area:.0f}",
            f"{entry.fastest_area / plain.fastest_area:.2f}",
            f"{entry.fastest_delay:.2f}",
        ),
        *(f"{entry.smallest_area:.0f}", f"{entry.smallest_area / plain.smallest_area:.2f}"),
        f"{entry.smallest_delay:.2f}",
    ]


def _plain_figures(entry: AreaEntry) -> list[str]:
    return [
        *(
            f"{entry.area:.0f}",
            f"{entry.delay:.2f}",
            f"{entry.fastest_area:.0f}",
            f"{entry.fastest_delay:.2f}",
        ),
        *(f"{entry.smallest_area:.0f}", f"{entry.smallest_delay:.2f}"),
    ]


def _sram(table: AreaTable) -> list[str]:
    rows = (
        [entry.source, f"{entry.words}x{entry.bits}", f"{entry.area:.0f}", f"{entry.access:.2f}"]
        for entry in table.sram
    )
    return [
        "SRAM macros, by their files: area in um2, and pJ of a cycle of the clock pin.",
        "",
        *_table(["file", "words x bits", "area", "access"], rows),
        "",
    ]


def _array(table: AreaTable) -> list[str]:
    """An array of ROWS x COLUMNS with what is around it, without buffers, by fan-in."""
    banks = min((entry for entry in table.banks if entry.banks >= ROWS), key=lambda entry: entry.banks)
    column = table.accumulator.area + table.requantizer.area
    rows, plain = [], 0.0
    for fan_in in FAN_INS:
        parts = [
            ROWS * COLUMNS * table.pe(fan_in).area,
            ROWS * fan_in * table.feeder_input.area,
            ROWS * fan_in * banks.area,
            COLUMNS * column,
            table.controller.area + table.step_counter.area,
        ]
        total = sum(parts)
        plain = plain or total
        rows.append([str(fan_in), *(f"{part / 1e6:.3f}" for part in [*parts, total]), f"{total / plain:.2f}"])
    return [
        f"An array of {ROWS}x{COLUMNS} in mm2 without its buffers, with lane inputs registered in each element and",
        f"{banks.banks} banks. A column has an accumulator and a requantizer.",
        "",
        *_table(["fan-in", "elements", "feeders", "network", "columns", "control", "all", "ratio"], rows),
        "",
    ]


def _energy(entry: EnergyEntry | MemoryEntry) -> str:
    return f"{entry.energy:.4g} pJ" + ("/byte" if isinstance(entry, MemoryEntry) else "")


def _source(entry: Sourced) -> str:
    """The source without the command, which stands above."""
    return entry.source.partition("; python scripts")[0] + (" (assumed)" if entry.assumed else "")


def _table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    marks = ["---"] + ["---:"] * (len(head) - 1)
    return [f"| {' | '.join(row)} |" for row in [head, marks, *rows]]


def _wrapped(command: str) -> list[str]:
    """The command over lines of at most about 110 letters."""
    lines = [""]
    for word in command.split():
        if len(lines[-1]) + len(word) > 104:
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines
