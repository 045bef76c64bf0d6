"""The page that a run ends with, in its folder; a run without one is a run all the same."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tightc.errors import InternalError, TightcError
from tightc.files import write_file_atomically
from tightc.progress import Progress, no_progress
from tightc.recipe.workspace import PAGE, Workspace
from tightc.report import Report
from tightc.report_page.options import ReportOptions
from tightc.report_page.page import report_page
from tightc.report_page.style import altair


def write_page(folder: Path, *, progress: Progress = no_progress) -> list[str]:
    """Write `report.html` on the run in `folder`.

    Returns a remark where there is none: the packages that draw are missing, another run works there, or the run cannot
    be shown. A page of an earlier run is then removed, since it has other figures.
    """
    page = folder / PAGE
    try:
        altair()
        with Workspace.locked(folder):
            html, _ = report_page([folder], ReportOptions(), progress=progress)
            write_file_atomically(page, html)
    except InternalError:
        raise
    except TightcError as error:
        with suppress(OSError):
            page.unlink(missing_ok=True)
        return [f"no report page: {error.sentence}; {error.remedy}, then tightc report {folder}"]
    return []


def with_page(report: Report, folder: Path, *, progress: Progress = no_progress) -> Report:
    """`report` of the run in `folder`, with the path of its page in the totals; None and a note without one."""
    notes = write_page(folder, progress=progress)
    page = None if notes else str(folder / PAGE)
    return replace(report, totals={**report.totals, "report": page}, notes=(*report.notes, *notes))
