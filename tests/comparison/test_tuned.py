"""Methods that are tuned over their fan-in: compare shows the best of several alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers import models
from helpers.loading import loaded
from helpers.small_accelerator import QUICK, hardware
from tightc.accelerator.area_table import AreaTable
from tightc.comparison.compare import compare
from tightc.comparison.options import CompareOptions
from tightc.comparison.variants import variants
from tightc.config.yaml import read_options
from tightc.model.file import Model
from tightc.permutation.options import PermuteOptions
from tightc.permutation.permute import permute
from tightc.permutation.registry import BUILT_IN, method_names
from tightc.report import Report
from tightc.simulation.options import SimulateOptions
from tightc.simulation.simulate import simulate
from tightc.tile.array import ArrayShape

ARRAY = ArrayShape(8, 4)
LARGEST_IN_TABLE = 16
WHOLE = read_options(Path(__file__).parents[2] / "configs" / "area" / "nangate45.yaml", AreaTable)
AREA = WHOLE.model_copy(
    update={"pes": tuple(entry for entry in WHOLE.pes if entry.fan_in <= LARGEST_IN_TABLE)}
)
TRIED = {
    "row-nm": (4, 8, 16, 32),
    "series-nm": (4, 8, 16, 32),
    "displace": (2, 4, 8, 16, 32),
    "vusa": (2, 4, 8, 16, 32),
}
ROOMY = {"size": "1 KiB", "bandwidth": "64 words/cycle", "double_buffered": True}


def options(**given: Any) -> CompareOptions:
    shared = {"array": ARRAY, "temp_schedule": QUICK, "jobs": 1, "method": tuple(TRIED)}
    return CompareOptions(**{**shared, **given})


def alone(model: Model, method: str, fan_in: int, **asked: Any) -> dict[str, Any]:
    """The totals of separate runs of permute and simulate."""
    permuted, _ = permute(model, PermuteOptions(array=ARRAY, method=method, fan_in=fan_in, jobs=1))
    return dict(simulate(permuted, SimulateOptions(array=ARRAY, **asked)).totals)


def by_method(report: Report) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in report.layers}


@pytest.mark.parametrize("form", ["cnn", "grouped"])
def test_the_row_is_that_of_the_fewest_cycles_then_of_the_least_energy(form: str) -> None:
    model = loaded(models.FORMS[form]())
    report = compare([model], options(fan_in=(3,)))  # which is for tight and first-fit
    assert [row["method"] for row in report.layers] == list(TRIED)
    for row in report.layers:
        found = {fan_in: alone(model, row["method"], fan_in) for fan_in in TRIED[row["method"]]}
        best = min(found, key=lambda fan_in: (found[fan_in]["cycles"], found[fan_in]["energy_pj"]))
        assert (row["fan_in"], row["variant"]) == (best, f"{row['method']}, fan-in {best}")
        for name in ("passes", "cycles", "energy_pj", "packed_bits"):
            assert row[name] == found[best][name]


def test_a_note_names_the_fan_ins_that_were_tried() -> None:
    notes = compare([loaded(models.cnn())], options()).notes
    for method, tried in TRIED.items():
        assert f"{method} is shown with the best of fan-in {', '.join(map(str, tried))}" in notes


def test_several_models_have_a_best_each() -> None:
    subjects = [loaded(models.cnn(), "one.onnx"), loaded(models.gemm(), "two.onnx")]
    rows = compare(subjects, options()).layers
    assert [row["model"] for row in rows] == ["one"] * 4 + ["two"] * 4
    assert rows[4:] == compare(subjects[1:], options()).layers


@pytest.mark.parametrize(("fan_in", "expected"), [(16, (4, 8, 16)), (5, (4,)), (3, (3,)), (1, (1,))])
def test_only_fan_ins_of_the_hardware_are_tried(fan_in: int, expected: tuple[int, ...]) -> None:
    own = hardware(fan_in=fan_in, arrays=1, activation_buffer=ROOMY)
    asked = options(array=None, hardware=own, method=("row-nm",))
    assert tuple(one.fan_in for one in variants(asked, ARRAY)) == expected
    (row,) = compare([loaded(models.cnn())], asked).layers
    assert row["fan_in"] in expected and row["cycles"] > 0


def test_at_equal_area_the_fastest_there_is_shown() -> None:
    model = loaded(models.cnn())
    rows = by_method(compare([model], options(area=AREA, equal_area=True)))
    for method, tried in TRIED.items():
        found = {
            fan_in: alone(model, method, fan_in, area=AREA)["speedup_per_area"]
            for fan_in in tried
            if fan_in <= LARGEST_IN_TABLE
        }
        assert rows[method]["speedup_per_area"] == max(found.values())
        assert found[rows[method]["fan_in"]] == max(found.values())


def test_only_fan_ins_of_the_area_table_are_tried() -> None:
    asked = options(area=AREA, method=("row-nm",))
    assert [one.fan_in for one in variants(asked, ARRAY)] == [4, 8, 16]
    assert [one.fan_in for one in variants(options(area=WHOLE, method=("row-nm",)), ARRAY)] == [4, 8, 16, 32]


def test_all_stands_for_every_method_once() -> None:
    own = tuple(reversed(BUILT_IN))
    others = tuple(name for name in method_names() if name not in BUILT_IN)
    assert own[0] == "dense" and own[-1] == "tight"
    assert CompareOptions.of({"method": "all"}).method == (*own, *others)
    assert CompareOptions.of({"method": ["nm", "all"]}).method == ("nm", *own, *others)
    labels = [one.label for one in variants(CompareOptions.of({"method": "all,nm"}), ARRAY)]
    assert len(labels) == len(set(labels))


def test_all_methods_are_rows() -> None:
    report = compare([loaded(models.cnn())], options(method="all"))
    assert {row["method"] for row in report.layers} == set(method_names())
    lossy = {"nm", "column-combine"}
    assert not any(row["dropped_weights"] for row in report.layers if row["method"] not in lossy)
