"""What docs/hardware.md shows of the embedded example is what the commands print, and what its formulas give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

import tightc
from tightc import ArrayShape, Model, Report, RtlOptions
from tightc.example import RECIPE
from tightc.rtl.rtl import rtl

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "hardware.md").read_text(encoding="utf-8")
ARRAY = ArrayShape(16, 16)
SHOWN = {
    tuple(arguments.split()): int(cycles.replace(",", ""))
    for arguments, cycles in re.findall(r"^\$ cycles(.*)\ncycles: ([\d,]+)$", PAGE, re.MULTILINE)
}
TRACED = "--prefetch-weights --overlap-drain --columns-per-lane-register 4"


def options(arguments: Sequence[str]) -> RtlOptions:
    named = iter(arguments)
    given = {flag[2:].replace("-", "_"): int(next(named)) if "columns" in flag else True for flag in named}
    return RtlOptions.model_validate(given)


def closed_form(arguments: Sequence[str], tiles: int, vectors: int) -> int:
    """The table of the page."""
    rows, columns = ARRAY.rows, ARRAY.columns
    hops = (columns - 1) // (4 if "--columns-per-lane-register" in arguments else 1)
    pass_without_load = rows + vectors - 1 + hops
    if "--overlap-drain" in arguments:
        return rows + (tiles - 1) * max(vectors, 2 * rows - 1) + pass_without_load
    if "--prefetch-weights" in arguments:
        return rows + tiles * pass_without_load
    return tiles * (rows + pass_without_load)


@pytest.fixture(scope="module")
def packed() -> Model:
    assert "prune src/tightc/example/digits.onnx --sparsity 0.9" in PAGE
    assert "permute --array 16x16 --fan-in 8" in PAGE
    folder = RECIPE.parent
    pruned, _ = tightc.prune(tightc.load(folder / "digits.onnx"), sparsity=0.9)
    quantized, _ = tightc.quantize(pruned, images=tightc.load_images(folder / "digits.npz", pruned))
    model, _ = tightc.permute(quantized, array=ARRAY, fan_in=8)
    return model


@pytest.fixture(scope="module")
def reports(packed: Model) -> dict[tuple[str, ...], Report]:
    return {arguments: rtl(packed, options(arguments)).report for arguments in SHOWN}


def test_all_modes_are_shown(reports: dict[tuple[str, ...], Report]) -> None:
    assert len(SHOWN) == 5
    assert {arguments: report.totals["cycles"] for arguments, report in reports.items()} == SHOWN


def test_the_formulas_give_the_cycles_of_every_layer(reports: dict[tuple[str, ...], Report]) -> None:
    for arguments, report in reports.items():
        for row in report.layers:
            assert row["cycles"] == closed_form(arguments, row["passes"], row["vectors"]), (
                arguments,
                row["name"],
            )


def test_the_lines_of_the_testbench_are_those_of_the_last_mode(
    reports: dict[tuple[str, ...], Report],
) -> None:
    lines = re.findall(r"^layer (\d+): (\d+) tiles, (\d+) cycles, (\d+) sums, (.*)$", PAGE, re.MULTILINE)
    report = reports[tuple(TRACED.split())]
    assert [tuple(map(int, line[:4])) for line in lines] == [
        (number, row["passes"], row["cycles"], row["vectors"] * row["filters"])
        for number, row in enumerate(report.layers)
    ]
    assert f"passed: {len(lines)} layers, {report.totals['cycles']} cycles" in PAGE


def table_rows(page: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|")
    ]


def test_the_costs_of_a_pe_are_those_of_the_synthesis_page() -> None:
    synthesis = (ROOT / "docs" / "benchmarks" / "synthesis.md").read_text(encoding="utf-8")
    section = PAGE.partition("## What a PE costs")[2].partition("\n## ")[0]
    shown = [
        row for row in table_rows(section.partition("<!-- tables -->")[0]) if row[0].startswith("fan-in")
    ]
    assert len(shown) == 8
    for number, library in enumerate(("nangate45", "sg13g2")):
        part = synthesis.partition(f"\n## {library}\n")[2].partition("\n## ")[0]
        rows = table_rows(part)
        area = {row[0]: (row[2], row[6]) for row in rows if len(row) == 10}
        energy = {row[0]: row[1] for row in rows if len(row) == 4}
        for row in shown:
            assert tuple(row[1 + 3 * number : 4 + 3 * number]) == (*area[row[0]], energy[row[0]]), row[0]
        (command,) = (line for line in section.splitlines() if f"--name {library}" in line)
        assert command in part
        assert re.search(r"^\| requantizer of a column .* \| no \|$", part, re.MULTILINE)
    registered, wires, shadow = (
        next(row for row in shown if row[0] == f"fan-in 8, {kind}")
        for kind in ("register, tree", "wires, tree", "register, tree, shadow weights")
    )
    prose = " ".join(section.split())
    assert (
        f"fan-in 8 takes {wires[1]} and {wires[4]} of the plain PE in place of {registered[1]} and" in prose
    )
    assert (
        f"Shadow weights raise {registered[1]} to {shadow[1]}, and {registered[4]} to {shadow[4]}." in prose
    )
