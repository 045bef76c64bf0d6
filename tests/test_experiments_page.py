"""The page of the comparison, from records written by hand."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from equal_accuracy.folder import ResultsFolder
from equal_accuracy.section import BEGIN, END, rewrite, written
from equal_accuracy.settings import Setting, best, packed_row, settings_of
from equal_accuracy.table import COLUMNS, read_table, table_text
from helpers.runs import ROOT, record
from tightc.errors import TightcError

RATE = "matrix_compression_rate"
RESULTS = ResultsFolder(ROOT / "docs" / "results")


def cells(text: str) -> dict[str, list[list[str]]]:
    """The rows of all tables in `text`, by their first cell."""
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        if line.startswith("| "):
            first, *rest = (cell.strip() for cell in line.split("|")[1:-1])
            found.setdefault(first, []).append(rest)
    return found


def test_seeds_are_put_together_and_methods_compared_at_equal_accuracy() -> None:
    text = written(
        [
            record("resnet20", "aligned", 12.0, 0.4, budget="compression=12"),
            record("resnet20", "aligned", 12.0, 0.8, seed=1, budget="compression=12"),
            record("resnet20", "unaligned", 11.0, 0.9),
            record("resnet20", "filters", 20.0, 0.9),
            record("resnet20", "column-combine-0.5", 6.0, 0.9),
            record("resnet20", "column-combine-1.75", 8.0, 2.0),
            record("resnet20", "subword", 18.0, 0.9),
        ],
        "results/drawing.svg",
    )
    lines = cells(text)
    assert "### ResNet-20, dense 90.00 %\n" in text and "(results/drawing.svg)" in text
    seen = ["aligned", "20", "16", "89.40 % (89.20 to 89.60)", "0.60", "0.083"]
    assert lines["resnet20-aligned-compression=12-0, resnet20-aligned-compression=12-1"][0][:6] == seen
    assert lines["largest compression"] == [[f"drop up to {loss}" for loss in ("0.5", "1", "1.5", "2")]]
    assert lines["aligned"] == [["-", *["12.00x (89.40 %)"] * 3]]
    assert lines["tight over combining"] == [["the two with most", "compression", "speedup", "energy gain"]]
    assert lines["subwords over combining"] == lines["subwords over weights"] == lines["tight over combining"]
    every = "compression, speedup, energy gain"
    tight = [every, "2.00 (12.00x, 6.00x)", "2.00 (6.00x, 3.00x)", "2.00 (4.00x, 2.00x)"]
    below = [every, "3.00 (18.00x, 6.00x)", "3.00 (9.00x, 3.00x)", "3.00 (6.00x, 2.00x)"]
    gain = [every, "1.50 (18.00x, 12.00x)", "1.50 (9.00x, 6.00x)", "1.50 (6.00x, 4.00x)"]
    assert lines["drop up to 0.5"] == [["-"] * 4] * 3
    assert lines["drop up to 1"] == lines["drop up to 1.5"] == [tight, below, gain]
    assert lines["drop up to 2"][0][1] == "1.50 (12.00x, 8.00x)"
    assert "20 epochs a run; 2 cores of a processor; tightc 0.1.0." in text


def test_each_line_of_ratios_is_of_two_files() -> None:
    small, fast = record("resnet20", "aligned", 12.0, 0.9), record("resnet20", "unaligned", 8.0, 0.9)
    fast["rows"][-1].update(speedup=9.0, energy_gain=5.0)
    text = written([small, fast, record("resnet20", "column-combine-0.5", 6.0, 0.9)], None)
    assert cells(text)["drop up to 1"] == [
        ["compression", "2.00 (12.00x, 6.00x)", "2.00 (6.00x, 3.00x)", "2.00 (4.00x, 2.00x)"],
        ["speedup, energy gain", "1.33 (8.00x, 6.00x)", "3.00 (9.00x, 3.00x)", "2.50 (5.00x, 2.00x)"],
    ]


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
    assert Setting((one,)).fan_in == fan_in


def test_what_is_lost_counts_from_the_network_that_each_run_starts_from() -> None:
    other = record("vgg16", "column-combine-0.5", 8.0, 0.9)
    for row, accuracy in zip(other["rows"], (88.0, 87.1), strict=True):
        row["accuracy"] = accuracy
    text = written([record("vgg16", "aligned", 16.0, 0.9), other], None)
    assert "### VGG-16, dense 88.00 % or 90.00 %\n" in text
    assert cells(text)["drop up to 1"][0][1] == "2.00 (16.00x, 8.00x)"


def test_without_runs_there_is_no_best() -> None:
    assert best([], "accuracy") is None


def test_without_column_combining_there_are_no_ratios() -> None:
    text = written([record("vgg16", "aligned", 30.0, 0.1)], None)
    assert (
        "over combining" not in text
        and "over weights" not in text
        and "![" not in text
        and "### VGG-16" in text
    )


def test_runs_without_a_packed_model_are_left_out() -> None:
    dense = record("vgg16", "dense", 1.0, 0.0)
    dense["rows"] = dense["rows"][:1]
    assert settings_of([dense]) == {}
    assert written([dense], None) == "No run is recorded yet."


def test_other_json_files_are_no_records(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "a.json").write_text(json.dumps(record("n", "aligned", 9.0, 0.6)))
    (runs / "b.json").write_text("{}")
    assert [found["method"] for found in ResultsFolder(tmp_path).read_records()] == ["aligned"]


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_a_page_without_its_marks_is_left_as_it_is(text: str, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(TightcError, match="put both where the tables belong"):
        rewrite(page, [], None)
    assert page.read_text() == text


def test_the_page_of_the_project_is_what_its_records_make(tmp_path: Path) -> None:
    copy = tmp_path / "README.md"
    shutil.copy(RESULTS.page, copy)
    rewrite(copy, RESULTS.read_records(), RESULTS.drawing.name)
    assert copy.read_text() == RESULTS.page.read_text(), "run python scripts/experiments.py --page"


def test_the_table_of_the_project_is_what_its_records_make() -> None:
    records = RESULTS.read_records()
    assert RESULTS.table.read_text() == table_text(records, RESULTS), (
        "run python scripts/experiments.py --page"
    )
    lines = read_table(RESULTS)
    assert len(lines) == len(records) == len(list(RESULTS.runs.glob("*.json")))
    for one in records:
        row, line = packed_row(one), lines[one["id"]]
        assert line["command"] == one["command"] and RESULTS.record(one["id"]).stem == one["id"]
        for name in set(row) & set(COLUMNS):
            assert float(line[name]) == pytest.approx(row[name], rel=1e-9)


@pytest.mark.parametrize(
    ("target", "over", "under", "figure", "equal_over", "equal_under"),
    [
        (
            "weights over baseline, compression 1.75",
            "r20-w-10x",
            "r20-cc-5x",
            RATE,
            "r20-w-7.5x",
            "r20-cc-5x",
        ),
        (
            "subwords over weights, compression 1.37",
            "r20-sf-15x",
            "r20-w-10x",
            RATE,
            "r20-sf-15x",
            "r20-w-7.5x",
        ),
        (
            "weights over baseline, throughput 2.12",
            "r20-w-8x",
            "r20-cc-5x",
            "speedup",
            "r20-w-6.2x",
            "r20-cc-5x",
        ),
        (
            "subwords over baseline, throughput 2.75",
            "r20-s-14.4x",
            "r20-cc-5x",
            "speedup",
            "r20-s-14.4x",
            "r20-cc-5x",
        ),
        (
            "weights over baseline, energy 1.57",
            "r20-w-8x",
            "r20-cc-5x",
            "energy_gain",
            "r20-w-6.2x",
            "r20-cc-5x",
        ),
        (
            "subwords over baseline, energy 1.86",
            "r20-s-14.4x",
            "r20-cc-5x",
            "energy_gain",
            "r20-s-14.4x",
            "r20-cc-5x",
        ),
    ],
)
def test_what_is_reached_of_the_targets_is_what_the_records_say(
    target: str, over: str, under: str, figure: str, equal_over: str, equal_under: str
) -> None:
    lines = read_table(RESULTS)
    reached, runs, equal = cells(RESULTS.page.read_text())[target][0]
    assert reached == f"{float(lines[over][figure]) / float(lines[under][figure]):.2f}"
    assert runs == f"`{over}` over `{under}`"
    assert (
        equal.partition(" ")[0]
        == f"{float(lines[equal_over][figure]) / float(lines[equal_under][figure]):.2f}"
    )
    assert lines[equal_over]["epochs"] == lines[equal_under]["epochs"]
    for run_id in (over, under, equal_over, equal_under):
        assert float(lines[run_id]["accuracy_drop"]) <= 1.0


def test_the_models_that_are_kept_are_those_of_the_table() -> None:
    """Each with its SHA-256."""
    named = {line["model"]: line["sha256"] for line in read_table(RESULTS).values() if line["model"]}
    models = sorted((RESULTS.root / "models").iterdir())
    assert {f"models/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in models} == named


def test_a_dense_network_has_accuracy_and_no_drop() -> None:
    line = read_table(RESULTS)["v16-dense"]
    assert line["accuracy"] == "87.18" and not line["accuracy_drop"] and not line["model"]


def test_the_same_records_make_the_same_drawing() -> None:
    pytest.importorskip("matplotlib")
    from equal_accuracy.drawing import _best_of, draw

    runs = [
        *(record("resnet20", "aligned", rate, rate / 10, budget=str(rate)) for rate in (6.0, 8.0, 12.0)),
        *(
            record("resnet20", "column-combine-0.5", 6.0, drop, seed=seed)
            for seed, drop in enumerate((0.9, 1.1))
        ),
        record("vgg16", "aligned", 30.0, 0.5),
    ]
    svg = draw(settings_of(runs))
    assert svg == draw(settings_of(runs)) and svg.startswith(b"<?xml")
    assert _best_of([(6, 0.5), (8, 0.4), (8, 0.7), (9, 0.6), (9, 0.6), (10, 0.6)]) == [(8, 0.4), (10, 0.6)]
    texts = b"ResNet-20,VGG-16,aligned,column-combine-0.5,drop up to 0.5,drop up to 1"
    for text in texts.split(b","):
        assert text in svg
    assert b">6.30<" not in svg
    assert b">6.30<" in draw(
        settings_of([*runs, record("resnet20", "nm-1-16", 16.0, 6.3)])
    )  # below the drawing
