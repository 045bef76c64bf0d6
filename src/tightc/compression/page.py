"""The report page at the end of a compression."""

from __future__ import annotations

from pathlib import Path

from tightc.errors import OptionError
from tightc.files import write_file_atomically
from tightc.report_page.options import ReportOptions
from tightc.report_page.page import report_page
from tightc.report_page.style import altair

PAGE = "report.html"


def write_page(folder: Path) -> list[str]:
    """Write `report.html` on the run in `folder`; a remark, and no page, where the packages that draw are missing."""
    page = folder / PAGE
    try:
        altair()
    except OptionError as error:
        page.unlink(missing_ok=True)  # one of an earlier run would have other figures
        return [f"no report page: {error.sentence}; {error.remedy}, then tightc report {folder}"]
    html, _ = report_page([folder], ReportOptions())
    write_file_atomically(page, html)
    return []
