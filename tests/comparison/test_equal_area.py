"""compare --equal-area: ranks and ratios against separate runs, each on an array of its own fan-in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tightc
from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import QUICK, hardware
from tightc.accelerator.area_table import AreaTable
from tightc.cli.main import run
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.config.yaml import read_options
from tightc.errors import OptionError
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

CONFIGS = Path(__file__).parents[2] / "configs"
AREA = read_options(CONFIGS / "area" / "nangate45.yaml", AreaTable)
ARRAY = ArrayShape(8, 4)
ROOMY = {"size": "1 KiB", "bandwidth": "64 words/cycle", "double_buffered": True}
WIDE = hardware(fan_in=16, arrays=1, activation_buffer=ROOMY)


def options(**given: Any) -> CompareOptions:
    shared = {"array": ARRAY, "area": AREA, "temp_schedule": QUICK, "jobs": 1, "fan_in": (2, 8)}
    return CompareOptions(
        **{**shared, "method": ("dense", "structured", "column-combine", "first-fit"), **given}
    )


def by_variant(report: Report) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in report.layers}


def test_rows_are_ranked_and_their_figures_stay() -> None:
    model = loaded(models.cnn())
    plain, ranked = (compare([model], options(equal_area=flag)) for flag in (False, True))
    before, found = by_variant(plain), by_variant(ranked)
    assert found.keys() == before.keys()
    for name, row in before.items():
        assert {key: found[name][key] for key in row} == row  # on ideal hardware each has its fan-in anyway
    speeds = [row["speedup_per_area"] for row in ranked.layers]
    assert speeds == sorted(speeds, reverse=True) and len(set(speeds)) > 2
    reference = before["column-combine 0"]["speedup_per_area"]
    for row in ranked.layers:
        assert row["over_column_combine_per_area"] == pytest.approx(row["speedup_per_area"] / reference)
    assert all("over_column_combine_per_area" not in row for row in plain.layers)
    (note,) = set(ranked.notes) - set(plain.notes)
    assert note.startswith("ranked by speedup at equal area: ")


def test_each_method_pays_for_the_multiplexers_that_it_needs() -> None:
    """On hardware of fan-in 16, first-fit with fan-in 2 is simulated with fan-in 2, dense with none."""
    model = loaded(models.cnn())
    report = compare([model], options(array=None, hardware=WIDE, equal_area=True))
    rows = by_variant(report)
    for name, method, fan_in in (
        ("first-fit, fan-in 2", "first-fit", 2),
        ("first-fit, fan-in 8", "first-fit", 8),
        ("structured", "structured", 1),
    ):
        own = WIDE.model_copy(update={"fan_in": fan_in})
        asked = PermuteOptions(array=ARRAY, method=method, fan_in=fan_in, temp_schedule=QUICK, jobs=1)
        alone = simulate(permute(model, asked)[0], SimulateOptions(hardware=own, area=AREA)).totals
        for figure in ("area_mm2", "speedup_per_area", "energy_pj", "cycles"):
            assert rows[name][figure] == alone[figure]
    assert rows["dense"]["speedup_per_area"] == 1
    assert rows["dense"]["area_mm2"] < rows["first-fit, fan-in 2"]["area_mm2"]
    assert report.totals["hardware_file"]["fan_in"] == 16
    shared = by_variant(compare([model], options(array=None, hardware=WIDE)))
    assert len({row["area_mm2"] for row in shared.values()}) == 1


def test_a_permuted_model_pays_for_its_own_fan_in() -> None:
    permuted = permute(
        loaded(models.cnn()), PermuteOptions(array=ARRAY, method="first-fit", fan_in=2, temp_schedule=QUICK)
    )[0]
    asked = options(array=None, hardware=WIDE, equal_area=True, method=("dense", "first-fit"), fan_in=(2,))
    rows = by_variant(compare([permuted], asked))
    assert rows["as arranged"]["area_mm2"] == rows["first-fit, fan-in 2"]["area_mm2"]


def test_what_has_no_figures_comes_last_and_several_models_stay_apart() -> None:
    narrow = hardware(fan_in=3, arrays=1, activation_buffer=ROOMY)
    asked = options(
        array=None, hardware=narrow, equal_area=True, method=("nm", "dense", "column-combine"), fan_in=(2,)
    )
    models_given = [loaded(models.cnn(), "one.onnx"), loaded(models.gemm(), "two.onnx")]
    report = compare(models_given, asked)
    names = [row["model"] for row in report.layers]
    assert names == sorted(names)
    for name in ("one", "two"):
        own = [row for row in report.layers if row["model"] == name]
        assert own[-1]["method"] == "nm" and own[-1]["speedup_per_area"] is None
        assert own[-1]["over_column_combine_per_area"] is None


def test_without_an_area_table_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    assert run(["compare", str(path), "--equal-area"]) == 2
    assert capsys.readouterr().err == (
        "tightc: error: --equal-area: expected an area table beside it, got none; add --area, or leave --equal-area "
        "out\n"
    )
    with pytest.raises(OptionError, match=r"^equal_area: expected an area table beside it, got none; "):
        tightc.compare(tightc.load(path), equal_area=True)


def test_the_table_shows_the_ranks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models.save(models.cnn(), tmp_path / "net.onnx")
    flags = ["--equal-area", "--area", str(CONFIGS / "area" / "nangate45.yaml"), "--array", "8x4"]
    assert run(["compare", str(path), *flags, "--method", "dense,column-combine"]) == 0
    header = capsys.readouterr().out.splitlines()[0]
    assert "per area  per area vs combining" in header and "  vs combining" not in header
    assert run(["compare", str(path), *flags, "--method", "dense"]) == 0
    assert "vs combining" not in capsys.readouterr().out
    assert run(["compare", str(path), *flags, "--method", "dense", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["layers"]
    assert row["over_column_combine_per_area"] is None
