"""docs/report.md has the pictures and the sections that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")


def test_the_pictures_are_there() -> None:
    named = re.findall(r"!\[[^\]]+\]\(images/([\w-]+\.png)\)", TEXT)
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs" / "images").glob("report-*.png"))


def test_the_page_has_the_sections_that_are_listed() -> None:
    rows = re.findall(r"^\| (\w[\w ]*) \| .* \|$", TEXT.partition("## Why")[0], re.MULTILINE)
    navigation = (ROOT / "src/tightc/report_page/templates/page.html.jinja").read_text(encoding="utf-8")
    assert rows[1:] == re.findall(r'<a href="#\w+">([\w ]+)</a>', navigation)
