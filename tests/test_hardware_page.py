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

PAGE = (Path(__file__).parents[1] / "docs" / "hardware.md").read_text(encoding="utf-8")
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


def test_the_bypass_gains_what_the_page_says(packed: Model) -> None:
    shown = re.findall(
        r"^\$ tightc simulate digits.onnx --array 16x16(.*) 2> /dev/null .*\nenergy_gain: (.*)x$",
        PAGE,
        re.MULTILINE,
    )
    found = [
        tightc.simulate(packed, array=ARRAY, accumulator_bypass=bypass).totals["energy_gain"]
        for bypass in (False, True)
    ]
    assert shown == [("", f"{found[0]:.2f}"), (" --accumulator-bypass", f"{found[1]:.2f}")]
