"""The page of the experiments, from records written by hand."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from helpers.runs import ROOT, record
from results.folder import ResultsFolder
from results.matrix import Comparison, Matrix, Published, read_matrix
from results.page import headlines, marks, rewrite, surroundings, tables, titled_table
from results.pages import page_bodies
from results.ratios import ratio_of
from results.rows import Measured, measured_rows, packed_row
from results.table import COLUMNS, read_table, table_text
from tightc.errors import TightcError

MATRIX = ROOT / "configs" / "experiments" / "matrix.yaml"
RESULTS = ResultsFolder(ROOT / "docs" / "results")


def cells(text: str) -> dict[str, list[list[str]]]:
    """The rows of all tables in `text`, by their first cell."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            first, *rest = (cell.strip() for cell in line.split("|")[1:-1])
            found.setdefault(first, []).append(rest)
    return found


def compared(over: str, under: str) -> Comparison:
    return Comparison(claim=f"{over} over {under}", over=over, under=under)


def test_seeds_are_put_together() -> None:
    runs = [
        *(record("resnet20", "aligned", 12.0, drop, seed) for seed, drop in ((1, 0.4), (2, 0.8), (3, 0.9))),
        record("resnet20", "column-combine-0.5", 6.0, 0.87),
        record("resnet20", "subword", 18.0, 0.95, chosen_on="test"),
    ]
    text = tables(runs, "drawing.svg")
    lines = cells(text)
    assert "### ResNet-20, dense 90.00 %\n" in text and "(drawing.svg)" in text
    mean_of_three = ["aligned", "20", "16", "3", "89.30 ± 0.26", "0.70 ± 0.26", "0.083", "12.00x"]
    assert lines["resnet20-aligned"][0][:8] == mean_of_three
    assert lines["resnet20-column-combine-0.5"][0][3:6] == ["1", "89.1", "0.9"], "few seeds: one decimal"
    assert lines["resnet20-subword"][0][3:5] == ["1, test", "89.0"]
    assert surroundings(runs) == "20 epochs a run; 2 cores of a processor; tightc 0.1.0."


def test_what_differs_between_runs_is_listed() -> None:
    runs = [record("resnet20", f"nm-{epochs}", 8.0, 0.5) | {"epochs": epochs} for epochs in (20, 4, 8)]
    assert surroundings(runs) == "4, 8 or 20 epochs a run; 2 cores of a processor; tightc 0.1.0."
    assert surroundings([runs[0], runs[2]]).startswith("8 or 20 epochs a run; ")
    assert surroundings([]) == ""


def test_rows_of_a_titled_group_are_in_a_table_of_their_own() -> None:
    runs = [
        record("resnet20", method, 12.0, 0.4)
        | {
            "array": array,
            "recipe": {"stages": [{"finetune": {"budget": "energy=4"}}, {"permute": {"fan_in": 8}}]},
        }
        for method, array in (("aligned", "8x8"), ("filters", "32x32"))
    ]
    text = titled_table(runs, "What counts", ["resnet20-filters", "resnet20-nm", "resnet20-aligned"])
    assert text.startswith("### What counts\n\n| row ")
    assert list(cells(text)) == ["row", "resnet20-filters", "resnet20-aligned"]
    assert cells(text)["resnet20-aligned"][0][:4] == ["8x8", "energy=4", "1", "89.6"]
    assert titled_table(runs, "What counts", ["resnet20-nm"]) == ""


def test_the_budget_of_a_row_is_that_of_its_last_stage_with_one() -> None:
    stages = {
        "aligned": [{"finetune": {"budget": "energy=4"}}, {"permute": {"fan_in": 8}}, {"pack": None}],
        "column-combine": [{"permute": {"budget": "energy=2"}}, {"permute": {"budget": "energy=3"}}],
        "filters": [{"evaluate": {}}, {"finetune": {"sparsity": 0.4}}, {"permute": {"budget": None}}],
    }
    runs = [
        record("resnet20", method, 12.0, 0.4) | {"array": "8x8", "recipe": {"stages": own}}
        for method, own in stages.items()
    ]
    found = cells(titled_table(runs, "Budgets", [run["row"] for run in runs]))
    assert [found[run["row"]][0][1] for run in runs] == ["energy=4", "energy=3", "-"]


def test_a_headline_is_of_two_rows_that_are_recorded() -> None:
    over, under = "resnet20-aligned", "resnet20-column-combine-0.5"
    runs = [record("resnet20", "aligned", 12.0, drop, seed) for seed, drop in ((1, 0.4), (2, 0.8), (3, 0.9))]
    one = record("resnet20", "column-combine-0.5", 6.0, 0.87)
    text = headlines([*runs, one], [compared(over, under), compared(over, "resnet20-filters")], [])
    assert cells(text) == {
        "headline": [["compression", "speedup", "energy gain", "drop, points", "seeds", "rows"]],
        f"{over} over {under}, ResNet-20": [
            [
                "2.00 (12.00x / 6.00x)", "2.00 (6.00x / 3.00x)", "2.00 (4.00x / 2.00x)", "0.70 ± 0.26 / 0.9", "3 / 1",
                f"`{over}` / `{under}`",
            ]
        ],
    }  # fmt: skip


def test_ratios_of_others_come_first() -> None:
    other = Published(claim="theirs", compression="1.75 (10.28x / 5.88x)", throughput="2.12", energy="1.57")
    text = headlines([], [], [other])
    assert cells(text)["theirs"] == [["1.75 (10.28x / 5.88x)", "2.12", "1.57", "-", "-", "-"]]


def test_the_spread_of_a_ratio_is_that_of_runs_with_the_same_seed() -> None:
    over = Measured(
        tuple(record("n", "aligned", rate, 0.5, seed) for seed, rate in enumerate((8.0, 9.0, 10.0)))
    )
    under = Measured(
        tuple(record("n", "filters", rate, 0.5, seed) for seed, rate in enumerate((4.0, 3.0, 2.0)))
    )
    assert ratio_of(over, under, "matrix_compression_rate") == "3.33 ± 1.53"  # of 2, 3 and 5, by hand
    assert ratio_of(over, Measured(under.records[:2]), "matrix_compression_rate") == "2.57"  # 9 / 3.5


def test_a_row_that_was_done_again_no_longer_shows_what_the_test_set_chose() -> None:
    old = record("resnet20", "aligned", 12.0, 0.1, seed=0, chosen_on="test")
    again = [record("resnet20", "aligned", 12.0, drop, seed) for seed, drop in ((1, 0.5), (2, 0.9))]
    (found,) = measured_rows([old, *again])["resnet20"]
    assert found.seeds == "2" and found.mean("accuracy_drop") == pytest.approx(0.7)
    assert measured_rows([old])["resnet20"][0].seeds == "1, test"


@pytest.mark.parametrize(
    ("permuted", "fan_in"),
    [
        ({"method": "tight", "fan_in": 16, "alpha": 8, "pattern": "2:4"}, 16),
        ({"method": "column-combine", "fan_in": 16, "alpha": 8, "pattern": "2:4"}, 8),
        ({"method": "nm", "fan_in": 16, "alpha": 8, "pattern": "1:12"}, 12),
        ({"method": "structured", "fan_in": 16, "alpha": 8, "pattern": "2:4"}, 1),
        (None, None),
    ],
)
def test_how_many_inputs_a_lane_may_carry(permuted: dict[str, object] | None, fan_in: int | None) -> None:
    one = record("resnet20", "aligned", 12.0, 0.9)
    one["recipe"]["stages"] = [{"prune": {}}, {"permute": permuted}] if permuted else [{"prune": {}}]
    assert Measured((one,)).fan_in == fan_in


def test_what_is_lost_counts_from_the_network_that_each_run_starts_from() -> None:
    other = record("vgg16", "column-combine-0.5", 8.0, 0.9)
    other["rows"][-1]["accuracy"] = 87.1
    text = tables([record("vgg16", "aligned", 16.0, 0.9), other], None)
    assert "### VGG-16, dense 88.00 % or 90.00 %\n" in text and "![" not in text


def test_runs_without_a_packed_model_are_left_out() -> None:
    dense = record("vgg16", "dense", 1.0, 0.0)
    dense["rows"] = dense["rows"][:1]
    assert measured_rows([dense]) == {}
    assert tables([dense], None) == "No run is recorded yet."


def test_other_json_files_are_no_records(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "a.json").write_text(json.dumps(record("n", "aligned", 9.0, 0.6)))
    (runs / "b.json").write_text("{}")
    assert [found["method"] for found in ResultsFolder(tmp_path).read_records()] == ["aligned"]


@pytest.mark.parametrize("text", ["", "{0}", "{1}\n{0}", "{0}{0}{1}"])
def test_a_page_without_its_marks_is_left_as_it_is(text: str, tmp_path: Path) -> None:
    page, text = tmp_path / "README.md", text.format(*marks("tables"))
    page.write_text(text)
    with pytest.raises(TightcError, match="put both where the tables belong"):
        rewrite(page, {"tables": "a"})
    assert page.read_text() == text


def test_the_pages_of_the_project_are_what_its_records_make(tmp_path: Path) -> None:
    bodies = page_bodies(RESULTS, read_matrix(MATRIX))
    assert list(bodies) == [RESULTS.page, RESULTS.budgets]
    for page, own in bodies.items():
        copy = tmp_path / page.name
        shutil.copy(page, copy)
        rewrite(copy, own)
        assert copy.read_text() == page.read_text(), "run python scripts/experiments.py --pages"


def test_rows_of_titled_groups_are_on_a_page_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    results = ResultsFolder(tmp_path)
    for method in ("aligned", "filters"):
        one = record("resnet20", method, 12.0, 0.4) | {"array": "8x8"}
        results.record(one["id"]).write_text(json.dumps(one))
    row = {"name": "resnet20-aligned", "network": "resnet20", "method": "aligned"}
    groups = [{"seeds": [1], "rows": [row]}, {"seeds": [1], "rows": [{**row, "name": "resnet20-filters"}]}]
    alone = page_bodies(results, Matrix.model_validate({"experiments": groups}))
    assert list(alone) == [results.page]
    assert list(cells(alone[results.page]["experiments"])) == ["row", "resnet20-aligned", "resnet20-filters"]
    groups[1]["title"] = "Filters"
    apart = page_bodies(results, Matrix.model_validate({"experiments": groups}))
    assert list(cells(apart[results.page]["experiments"])) == ["row", "resnet20-aligned"]
    assert list(cells(apart[results.budgets]["experiments"])) == ["row", "resnet20-filters"]


def test_the_first_sentences_say_the_largest_speedups_of_the_headlines() -> None:
    page = RESULTS.page.read_text(encoding="utf-8")
    lead = " ".join(page.partition("\n## ")[0].split())
    best = {}
    for network, *figures in re.findall(
        r"^\| weights over column combining, (\S+) +\|[^|]*\| ([^(|]*) \([^|]*\| ([^(|]*) \([^|]*\|[^|]*\| (\d+)",
        page,
        re.MULTILINE,
    ):
        best[network] = max(best.get(network, figures), figures, key=lambda one: float(one[0].split()[0]))
    for network, (speedup, _, _) in best.items():
        assert f"{speedup} on {network}" in lead
    gaining = {name for name, (_, energy, _) in best.items() if float(energy.split()[0]) > 1}
    assert gaining == {"VGG-16", "ResNet-20"}
    assert {name: seeds for name, (_, _, seeds) in best.items()} == {
        "ResNet-20": "3",
        "Fashion-MNIST": "3",
        "VGG-16": "1",
    }


def test_headlines_stand_on_the_first_screen() -> None:
    assert RESULTS.page.read_text().splitlines().index(marks("headlines")[1]) < 40


def test_the_table_of_the_project_is_what_its_records_make() -> None:
    records = RESULTS.read_records()
    assert RESULTS.table.read_text() == table_text(records, RESULTS), (
        "run python scripts/experiments.py --pages"
    )
    lines = read_table(RESULTS)
    assert len(lines) == len(records) == len(list(RESULTS.runs.glob("*.json")))
    for one in records:
        row, line = packed_row(one), lines[one["id"]]
        assert RESULTS.record(one["id"]).stem == one["id"] and line["chosen_on"] == one["chosen_on"]
        for name in set(row) & set(COLUMNS):
            assert float(line[name]) == pytest.approx(row[name], rel=1e-9)


def test_the_models_that_are_kept_are_those_of_the_table() -> None:
    """Each with its SHA-256."""
    named = {line["model"]: line["sha256"] for line in read_table(RESULTS).values() if line["model"]}
    models = sorted((RESULTS.root / "models").iterdir())
    assert {f"models/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in models} == named


def test_a_dense_network_has_accuracy_and_no_drop() -> None:
    line = read_table(RESULTS)["v16-dense"]
    assert line["accuracy"] == "87.18" and not line["accuracy_drop"] and not line["model"]


def test_a_held_out_split_and_the_test_set_are_columns_of_their_own() -> None:
    shown = packed_row(record("resnet20", "aligned", 12.0, 0.5))
    assert (shown["validation_accuracy"], shown["accuracy"], shown["accuracy_drop"]) == (94.5, 89.5, 0.5)
    assert "validation_accuracy" not in packed_row(record("resnet20", "aligned", 12.0, 0.5, chosen_on="test"))


def test_the_pages_of_the_project_are_short() -> None:
    assert len(RESULTS.page.read_text().splitlines()) <= 200
    assert len(RESULTS.budgets.read_text().splitlines()) <= 100


def test_the_same_records_make_the_same_drawing() -> None:
    pytest.importorskip("matplotlib")
    from results.drawing import draw, front_of

    runs = [
        *(record("resnet20", "aligned", rate, rate / 10, budget=str(rate)) for rate in (6.0, 8.0, 12.0)),
        *(record("resnet20", "column-combine-0.5", 6.0, drop, seed) for seed, drop in enumerate((0.9, 1.1))),
        record("vgg16", "aligned", 30.0, 0.5, chosen_on="test"),
    ]
    svg = draw(measured_rows(runs))
    assert svg == draw(measured_rows(runs)) and svg.startswith(b"<?xml")
    assert front_of([(6, 0.5), (8, 0.4), (8, 0.7), (9, 0.6), (9, 0.6), (10, 0.6)]) == [(8, 0.4), (10, 0.6)]
    for text in b"ResNet-20,VGG-16,aligned,column-combine-0.5,one point,speedup".split(b","):
        assert text in svg
    assert b">6.3<" not in svg
    deep = draw(measured_rows([*runs, record("resnet20", "nm-1-16", 16.0, 6.3)]))
    assert b">6.3<" in deep, "below the drawing"
