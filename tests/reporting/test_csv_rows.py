"""Rows as CSV."""

from __future__ import annotations

import csv
import io

from tightc.reporting.rows import rows_as_csv


def test_names_first_then_a_line_for_each_row() -> None:
    rows = [{"name": "a", "cycles": 1, "gain": 0.1}, {"name": "b", "cycles": 2, "gain": None}]
    assert rows_as_csv(rows) == "name,cycles,gain\na,1,0.1\nb,2,\n"


def test_mappings_are_columns_of_their_own() -> None:
    rows = [{"name": "a", "parts": {"macs": 1.5, "of": {"sram": 2}}}]
    assert rows_as_csv(rows) == "name,parts.macs,parts.of.sram\na,1.5,2\n"


def test_columns_are_those_of_all_rows() -> None:
    assert rows_as_csv([{"a": 1}, {"b": 2, "a": 3}]) == "a,b\n1,\n3,2\n"


def test_texts_that_need_quotes_come_back() -> None:
    rows = [{"name": 'tight, "fan-in" 4\nand more', "shares": "x"}]
    assert list(csv.DictReader(io.StringIO(rows_as_csv(rows)))) == rows


def test_lists_and_truths() -> None:
    assert (
        rows_as_csv([{"l": ["a", 1, None], "e": [], "t": True, "f": False}])
        == "l,e,t,f\na 1 None,,true,false\n"
    )


def test_floats_keep_every_bit() -> None:
    value = 0.1 + 0.2
    (row,) = csv.DictReader(io.StringIO(rows_as_csv([{"v": value}])))
    assert float(row["v"]) == value


def test_nothing_gives_nothing() -> None:
    assert rows_as_csv([]) == ""
