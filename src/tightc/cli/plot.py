"""`--plot FILE`: the report as a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tightc.errors import OptionError
from tightc.names import message_text

if TYPE_CHECKING:
    from tightc.cli.common import Display
    from tightc.report import Report

Command = TypeVar("Command", bound=Callable[..., Any])


def plot_flag(command: Command) -> Command:
    """`--plot FILE`, given to the command as `plot`: a path that was checked, or None."""
    return click.option(
        "--plot",
        metavar="FILE",
        callback=_checked,
        help="Also draw the result: FILE.svg, FILE.png or FILE.pdf. Needs pip install 'tightc[report]'.",
    )(command)


def _checked(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    if value is None:
        return None
    if not value:
        raise OptionError("--plot: expected a file, got an empty text", "give a name or leave it out")
    from tightc.plots.save import check_plot

    check_plot(Path(value))
    return Path(value)


def write_plot(report: Report, plot: Path | None, display: Display) -> None:
    """Draws `report` into the file `plot` where there is one, and says so."""
    if plot is None:
        return
    from tightc.plots.report_chart import report_chart
    from tightc.plots.save import save_chart

    save_chart(report_chart(report.stage, report.layers), plot)
    if not display.quiet:
        click.echo(message_text(f"wrote {plot}"), err=True)
