"""`tightc report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tightc.cli.command import StageCommand
from tightc.cli.common import Display, display_flags, read_model, show
from tightc.cli.flags import option_flags, parsed_options
from tightc.cli.streams import is_stdout
from tightc.errors import OptionError
from tightc.files import check_writable, write_file_atomically
from tightc.names import message_text
from tightc.report_page.options import ReportOptions

if TYPE_CHECKING:
    from tightc.model.file import Model


@click.command(cls=StageCommand, epilog="Example: tightc report tightc-run/digits -o digits.html")
@click.argument("sources", nargs=-1, metavar="[RUN_DIR | MODEL]...")
@option_flags(ReportOptions)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Page to write; - is stdout.  [default: report.html, in RUN_DIR where one is given]",
)
@display_flags
def report(sources: tuple[str, ...], output: str | None, display: Display, **flags: Any) -> None:
    """Write one HTML page on a run or on models.

    The page is one HTML file that needs no network. It shows a folder of tightc run, or a model; of two the page shows
    one next to the other. They are simulated by closed forms; nothing is searched or trained. A run is simulated on the
    accelerator of its recipe, unless options name another. Needs altair: pip install 'tightc[report]'.
    """
    from tightc.report_page.page import report_page
    from tightc.report_page.style import altair

    options = parsed_options(ReportOptions, flags)
    altair()
    path = _path(output, sources)
    is_piped = output == "-" or is_stdout(path)
    if is_piped and display.as_json:
        raise OptionError("--json: stdout would hold both the page and the JSON object", "add -o FILE")
    if is_piped and display.as_csv:
        raise OptionError("--csv: stdout would hold both the page and the table", "add -o FILE")
    if not is_piped:
        check_writable(path)
    with display.progress() as progress:
        html, found = report_page([_source(one) for one in sources or (None,)], options, progress=progress)
    if is_piped:
        sys.stdout.buffer.write(html)
        sys.stdout.buffer.flush()
        return
    write_file_atomically(path, html)
    show(found, display)
    if not display.quiet and not display.as_json:
        click.echo(message_text(f"wrote {path}"), err=True)


def _path(output: str | None, sources: tuple[str, ...]) -> Path:
    if output == "":
        raise OptionError("--output: expected a file, got an empty text", "give a name or leave it out")
    if output is not None:
        return Path(output)
    from tightc.recipe.workspace import PAGE

    folders = [Path(source) for source in sources if Path(source).is_dir()]
    return folders[0] / PAGE if len(sources) == 1 and folders else Path(PAGE)


def _source(source: str | None) -> Model | Path:
    """The folder of a run, or a model that is read."""
    if source is not None and source != "-" and Path(source).is_dir():
        return Path(source)
    return read_model(source)
