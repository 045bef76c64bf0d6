"""Tables fit the width that they are given."""

import io

import pytest
from rich.console import Console

from tightc.report import Report
from tightc.reporting.text import cell_text, summary, table, table_columns

NAMES = ["stem", "/features/features.0/conv/conv.0/conv.0.0/Conv", "head [bold]"]
ROWS = [
    {
        "name": name,
        "operator": "Conv",
        "filters": 16,
        "inputs": 144,
        "groups": 1,
        "shares": None,
        "cycles": 1118,
        "energy_pj": 2.5e6,
    }
    for name in NAMES
]
COLUMNS = ["name", "operator", "matrix", "cycles", "energy_pj"]


def lines(width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(table(COLUMNS, ROWS, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_wide_enough_for_all() -> None:
    header, *rows = lines(100)
    assert header.split() == ["name", "operator", "N", "x", "K", "cycles", "energy"]
    assert [row.split("  ")[0] for row in rows] == NAMES


@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_nothing_is_folded_or_beyond_the_width(width: int) -> None:
    shown = lines(width)
    assert len(shown) == 1 + len(ROWS)
    assert max(map(len, shown)) <= width
    assert "1,118" in shown[2] and "16 x 144" in shown[2]


def test_long_names_lose_their_beginning() -> None:
    assert lines(60)[2].startswith("…") and "conv.0.0/Conv " in lines(60)[2]


def test_the_gap_is_shown_where_a_layer_has_one() -> None:
    dense, dropped = {"name": "dense", "stall_cycles": 0}, {"name": "lossy", "stall_cycles": 0, "gap": None}
    packed = Report("simulate", {}, ({"name": "stem", "stall_cycles": 0, "gap": 1200}, dense, dropped))
    assert "gap" in table_columns(packed)
    assert [cell_text("gap", row) for row in packed.layers] == ["1,200", "-", "-"]
    assert "gap" not in table_columns(Report("simulate", {}, (dense, dropped)))


def test_a_summary_is_one_line() -> None:
    report = Report("pack", {"density": 0.1, "passes": 47, "bytes_out": 259340, "unlisted": 1})
    assert summary(report) == "pack: density 0.100, passes 47, bytes_out 259,340"
