"""Tables fit the width that they are given: no cell of a stage is cut, and each column that has no room is named."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tightc.report import Report
from tightc.reporting.printing import print_report, report_text
from tightc.reporting.text import cell_text, column_title, summary, table_columns

NAMES = ["stem", "/features/features.0/conv/conv.0/conv.0.0/Conv", "head [bold]"]
ROWS = [
    {
        "name": name,
        "operator": "Conv",
        "filters": 16,
        "inputs": 144,
        "groups": 1,
        "shares": None,
        "weights": 2304,
        "nonzeros": 1118,
        "density": 0.485,
    }
    for name in NAMES
]
PRUNED = Report("prune", {"weights": 6912}, ROWS)
STAGES = ["dense", "prune", "finetune", "quantize", "permute", "pack", "simulate"]
RUN = Report(
    "run",
    {"model": "net.onnx", "folder": "out"},
    [
        {
            "name": f"{number:02}-{stage}",
            "stage": stage,
            "accuracy": 91.25 - number,
            "accuracy_drop": float(number),
            "density": 0.1,
            "matrix_compression_rate": 8.21,
            "passes": 12345,
            "cycles": 1234567,
            "speedup": 7.02,
            "energy_gain": 4.57,
            "bytes": None if stage == "simulate" else 4000 // (1 + number),
            "state": "done, ended by interrupt" if stage == "finetune" else "done",
        }
        for number, stage in enumerate(STAGES)
    ],
)
REPORTS = {report.stage: report for report in (PRUNED, RUN)}
REMEDY = "-v shows all, --json and --csv have them"


def printed(report: Report, width: int, *, whole: bool = False) -> list[str]:
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=width), whole=whole)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def left_out(lines: list[str]) -> list[str]:
    """The columns that the output says it has no room for."""
    found = re.search(rf"no room for (.*?); {REMEDY}", " ".join(" ".join(lines).split()))
    return found[1].split(", ") if found else []


def in_columns(lines: list[str], first: str) -> list[str]:
    """The headings above the first row, whose words may stand in several lines: those under each other, joined."""
    end = next(number for number, line in enumerate(lines) if line.startswith(first))
    above = [line.ljust(300) for line in lines[:end]]
    covered = [any(line[at] != " " for line in above) for at in range(300)]
    spans, start = [], None
    for at, here in enumerate(covered):
        if here and start is None:
            start = at
        if start is not None and not any(covered[at : at + 2]):
            spans.append((start, at))
            start = None
    headings = (" ".join(" ".join(line[a:b] for line in above).split()) for a, b in spans)
    return [heading.replace("- ", "") for heading in headings]


def test_wide_enough_for_all() -> None:
    header, *rows = printed(PRUNED, 120)
    assert re.split("  +", header) == ["name", "operator", "N x K", "weights", "nonzeros", "density"]
    assert [row.split("  ")[0] for row in rows[:3]] == NAMES
    assert "no room" not in " ".join(rows)


@given(st.sampled_from(sorted(REPORTS)), st.integers(40, 220))
def test_every_column_is_shown_or_named_and_nothing_is_beyond_the_width(stage: str, width: int) -> None:
    report = REPORTS[stage]
    lines = printed(report, width)
    assert max(map(len, lines)) <= width
    named = left_out(lines)
    titles = [column_title(column) for column in table_columns(report)]
    assert in_columns(lines, str(report.layers[0].get("stage") or "stem")) == [
        title for title in titles if title not in named
    ]
    assert set(named) <= set(titles)


def test_figures_of_a_run_fit_80_columns() -> None:
    rows = [
        {**row, "passes": 313, "cycles": 20228, "bytes": 323129, "state": "unchanged"} for row in RUN.layers
    ]
    lines = printed(Report("run", RUN.totals, rows), 80)
    assert left_out(lines) == ["state"]
    assert [line[29:37] for line in lines[:3]] == ["compres-", "    sion", "   8.21x"]


@given(st.integers(20, 220), st.booleans())
def test_stages_are_never_cut(width: int, whole: bool) -> None:
    lines = printed(RUN, width, whole=whole)
    assert [line.split()[0] for line in lines if line.split()[:1] and line.split()[0] in STAGES][
        : len(STAGES)
    ] == STAGES


@given(st.sampled_from(sorted(REPORTS)), st.integers(60, 220))
def test_the_whole_has_every_column_and_every_cell_uncut(stage: str, width: int) -> None:
    report = REPORTS[stage]
    lines = printed(report, width, whole=True)
    text = " ".join(lines)
    assert max(map(len, lines)) <= width and "no room" not in text and "…" not in text
    for column in table_columns(report):
        title = column_title(column)
        assert all(word in text for word in title.split()) or (title == "compression" and "compres-" in text)
        for row in report.layers:
            assert cell_text(column, row) in text, column


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_a_layer_has_one_line(width: int) -> None:
    shown = printed(PRUNED, width)
    rows = [line for line in shown if "16 x 144" in line]
    assert len(rows) == len(NAMES)


def test_long_names_lose_their_beginning_before_columns_go() -> None:
    long = printed(PRUNED, 78)
    assert left_out(long) == []
    assert long[2].startswith("…") and "conv.0.0/Conv " in long[2]


def test_in_python_the_text_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert report_text(RUN) == "\n".join(printed(RUN, 60, whole=True))


def test_the_gap_is_shown_where_a_layer_has_one() -> None:
    dense, dropped = {"name": "dense", "stall_cycles": 0}, {"name": "lossy", "stall_cycles": 0, "gap": None}
    packed = Report("simulate", {}, ({"name": "stem", "stall_cycles": 0, "gap": 1200}, dense, dropped))
    assert "gap" in table_columns(packed)
    assert [cell_text("gap", row) for row in packed.layers] == ["1,200", "-", "-"]
    assert "gap" not in table_columns(Report("simulate", {}, (dense, dropped)))


def test_a_summary_is_one_line() -> None:
    report = Report("pack", {"density": 0.1, "passes": 47, "bytes_out": 259340, "unlisted": 1})
    assert summary(report) == "pack: density 0.100, passes 47, bytes_out 259,340"
